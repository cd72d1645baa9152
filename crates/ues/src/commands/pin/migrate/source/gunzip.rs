//! Unpacks what is compressed by gzip, and leaves everything else as it is.

use std::io::Write;

use axum::body::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use futures::stream;

use super::Pieces;
use crate::failure::{Failure, Outcome};

/// What a gzip file begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Packed bytes that are unpacked at a time: a thousand times as many may come of them.
const STEP: usize = 16 << 10;

enum State {
    /// Nothing has come yet, or a single byte.
    Unknown(Bytes),
    Plain,
    Packed(Box<MultiGzDecoder<Vec<u8>>>),
}

/// The pieces, unpacked where needed. A packed source that is cut off ends with a failure.
pub(super) fn unpacked(pieces: Pieces) -> Pieces {
    let steps = pieces.flat_map(|piece| {
        let steps = match piece {
            Ok(piece) => split(piece).into_iter().map(Ok).collect(),
            Err(failure) => vec![Err(failure)],
        };
        stream::iter(steps)
    });
    let end = stream::once(async { Ok(None) });
    steps
        .map(|step| step.map(Some))
        .chain(end)
        .scan(State::Unknown(Bytes::new()), |state, step| {
            let out = step.and_then(|step| state.advance(step));
            futures::future::ready(Some(out))
        })
        .filter(|out| futures::future::ready(!matches!(out, Ok(bytes) if bytes.is_empty())))
        .boxed()
}

fn split(mut piece: Bytes) -> Vec<Bytes> {
    let mut steps = Vec::with_capacity(piece.len() / STEP + 1);
    while piece.len() > STEP {
        steps.push(piece.split_to(STEP));
    }
    steps.push(piece);
    steps
}

impl State {
    /// Takes the next packed bytes, or the end.
    fn advance(&mut self, step: Option<Bytes>) -> Outcome<Bytes> {
        if let Self::Unknown(before) = self {
            let first = [before.as_ref(), step.as_deref().unwrap_or_default()].concat();
            if first.len() < MAGIC.len() && step.is_some() {
                *self = Self::Unknown(first.into());
                return Ok(Bytes::new());
            }
            *self = match first.starts_with(&MAGIC) {
                true => Self::Packed(Box::new(MultiGzDecoder::new(Vec::new()))),
                false => Self::Plain,
            };
            return match self {
                Self::Packed(decoder) => unpack(decoder, &first),
                _ => Ok(first.into()),
            };
        }
        match (self, step) {
            (Self::Packed(decoder), Some(step)) => unpack(decoder, &step),
            (Self::Packed(decoder), None) => {
                let finish = decoder.try_finish();
                finish.map_err(Failure::while_doing("unpack the source to its end"))?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            (_, step) => Ok(step.unwrap_or_default()),
        }
    }
}

fn unpack(decoder: &mut MultiGzDecoder<Vec<u8>>, packed: &[u8]) -> Outcome<Bytes> {
    let unpacking = Failure::while_doing("unpack the source");
    decoder.write_all(packed).map_err(unpacking)?;
    // What an earlier step left inside comes as well.
    decoder
        .flush()
        .map_err(Failure::while_doing("unpack the source"))?;
    Ok(std::mem::take(decoder.get_mut()).into())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(source: &[u8], size: usize) -> Outcome<Vec<u8>> {
        let pieces: Vec<_> = source.chunks(size).map(Bytes::copy_from_slice).collect();
        let out = unpacked(stream::iter(pieces.into_iter().map(Ok)).boxed());
        let out: Vec<Outcome<Bytes>> = futures::executor::block_on(out.collect());
        out.into_iter()
            .collect::<Outcome<Vec<_>>>()
            .map(|out| out.concat())
    }

    proptest! {
        #[test]
        fn packed_or_not(content: Vec<u8>, more: Vec<u8>, size in 1usize..50, cut: prop::sample::Index) {
            prop_assume!(!content.starts_with(&MAGIC));
            prop_assert_eq!(read(&content, size).unwrap(), content.clone());
            let whole = packed(&content);
            prop_assert_eq!(read(&whole, size).unwrap(), content.clone());
            let two = [whole.clone(), packed(&more)].concat();
            prop_assert_eq!(read(&two, size).unwrap(), [content, more].concat());
            let cut = MAGIC.len() + cut.index(whole.len() - MAGIC.len());
            prop_assert!(read(&whole[..cut], size).is_err(), "{} of {}", cut, whole.len());
        }
    }
}
