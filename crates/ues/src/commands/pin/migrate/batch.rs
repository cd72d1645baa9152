//! Pins of a source in batches, read ahead of what the service takes.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use ues_pins::migration::{LeftOut, Position, Values, read_pin, take};
use ues_pins::model::{Pin, PinType};

use super::source::Pieces;
use crate::failure::{Failure, Outcome};

/// Most pins of a batch.
const PINS: usize = 2000;
/// From so many bytes on a batch is full.
const BYTES: usize = 4 << 20;

/// A pin that the service is to take.
pub(super) struct Taken {
    pub pin: Pin,
    /// Whether it stood for a divided DAG.
    pub converted: bool,
    /// As the source has it.
    pub source: Bytes,
}

/// Some pins of a source.
pub(super) struct Batch {
    /// What is to be taken.
    pub pins: Vec<Taken>,
    /// What is not, and as the source has it.
    pub left_out: Vec<(LeftOut, Bytes)>,
    /// How many there are in all.
    pub read: u64,
    /// Where the next one begins.
    pub position: Position,
}

impl Batch {
    /// The pins as lines of JSON.
    pub(super) fn lines(&self) -> Outcome<Vec<u8>> {
        let mut out = Vec::with_capacity(self.pins.len() * 512);
        for taken in &self.pins {
            serde_json::to_writer(&mut out, &taken.pin)
                .map_err(Failure::while_doing("write a pin"))?;
            out.push(b'\n');
        }
        Ok(out)
    }
}

/// Reads ahead, by a batch or two.
pub(super) struct Batches(mpsc::Receiver<Outcome<Batch>>);

impl Batches {
    /// Begins to read, behind a position if there is one.
    pub(super) fn start(pieces: Pieces, position: Option<Position>) -> Self {
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            let values = position.map_or_else(Values::default, Values::resume);
            let mut reader = Reader::new(values);
            let read = reader.read(pieces, &send).await;
            // What came before a failure is as good as without it.
            let rest = (reader.read > 0).then(|| reader.batch());
            for last in rest.into_iter().map(Ok).chain(read.err().map(Err)) {
                if send.send(last).await.is_err() {
                    return;
                }
            }
        });
        Self(receive)
    }

    /// The next batch; `None` at the end of a source that is whole.
    pub(super) async fn next(&mut self) -> Outcome<Option<Batch>> {
        self.0.recv().await.transpose()
    }
}

struct Reader {
    values: Values,
    pins: Vec<Taken>,
    left_out: Vec<(LeftOut, Bytes)>,
    read: u64,
    bytes: usize,
    now_s: u64,
}

impl Reader {
    fn new(values: Values) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            values,
            pins: Vec::new(),
            left_out: Vec::new(),
            read: 0,
            bytes: 0,
            now_s: now.map_or(0, |time| time.as_secs()),
        }
    }

    async fn read(&mut self, mut pieces: Pieces, send: &mpsc::Sender<Outcome<Batch>>) -> Outcome {
        while let Some(piece) = pieces.next().await {
            self.values.push(&piece?).map_err(unreadable)?;
            while let Some(object) = self.values.next_object().map_err(unreadable)? {
                self.take(object)?;
                let full = self.pins.len() + self.left_out.len() >= PINS || self.bytes >= BYTES;
                if full && send.send(Ok(self.batch())).await.is_err() {
                    return Ok(());
                }
            }
        }
        self.values.finish().map_err(unreadable)
    }

    fn take(&mut self, object: Bytes) -> Outcome {
        let pin = match read_pin(&object) {
            Ok(pin) => pin,
            Err(why) => {
                // The position is behind this pin already, where nobody may go on.
                self.read = 0;
                let begin = self.values.offset() - object.len() as u64;
                return Err(Failure::failed(format!(
                    "the source has an unreadable pin at byte {begin}: {why}"
                )));
            }
        };
        let converted = pin.kind == PinType::Meta;
        self.bytes += object.len();
        // Kept apart from the piece that it came with.
        let source = Bytes::copy_from_slice(&object);
        match take(pin, self.now_s) {
            Ok(pin) => self.pins.push(Taken {
                pin,
                converted,
                source,
            }),
            Err(why) => self.left_out.push((why, source)),
        }
        self.read += 1;
        Ok(())
    }

    fn batch(&mut self) -> Batch {
        self.bytes = 0;
        Batch {
            pins: std::mem::take(&mut self.pins),
            left_out: std::mem::take(&mut self.left_out),
            read: std::mem::take(&mut self.read),
            position: self.values.position(),
        }
    }
}

fn unreadable(why: ues_pins::migration::ValueError) -> Failure {
    use ues_pins::migration::ValueError;
    let hint = matches!(why, ValueError::Another(_)).then_some(
        "a cluster whose pins have changed since is another source: begin again without --resume, which does no harm",
    );
    let failure = Failure::failed(format!("the source is not a whole list of pins: {why}"));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
