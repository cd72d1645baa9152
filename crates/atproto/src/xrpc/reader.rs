//! A request's body for code that reads by blocking.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::body::Pieces;
use super::error::XrpcError;

/// Pieces that wait for the reading thread.
const AHEAD: usize = 8;

/// Reads a body on another thread; [`Feeder::run`] has to run meanwhile.
pub struct BlockingBody {
    from: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

/// Hands a body over to its [`BlockingBody`].
pub struct Feeder {
    pieces: Pieces,
    to: mpsc::Sender<io::Result<Bytes>>,
}

/// Splits a body into the half that blocks and the half that feeds it.
pub fn blocking(pieces: Pieces) -> (Feeder, BlockingBody) {
    let (to, from) = mpsc::channel(AHEAD);
    (
        Feeder { pieces, to },
        BlockingBody {
            from,
            piece: Bytes::new(),
        },
    )
}

impl Feeder {
    /// Feeds the whole body; a reader that stops early is no error.
    pub async fn run(mut self) -> Result<(), XrpcError> {
        loop {
            match self.pieces.next().await {
                Ok(Some(piece)) => {
                    if self.to.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(e) => {
                    let _ = self.to.send(Err(io::Error::other(e.to_string()))).await;
                    return Err(e);
                }
            }
        }
    }
}

impl Read for BlockingBody {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(out.len());
        if let Some(to) = out.get_mut(..count) {
            self.piece.copy_to_slice(to);
        }
        Ok(count)
    }
}
