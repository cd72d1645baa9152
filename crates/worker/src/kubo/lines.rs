//! An answer of Kubo read piece by piece: a failure may still follow what looks well, in the trailer of the answer.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use reqwest::{Body, Response};

use super::failure::{RpcError, describe};

/// Where Kubo says that a call failed of which it had answered a part.
const STREAM_ERROR: &str = "x-stream-error";
/// The longest line, in bytes: the CIDs of a group.
const MAX_LINE: usize = 1 << 20;

pub(super) struct Lines {
    body: Body,
    /// What has come and is not given away.
    pending: BytesMut,
    /// How much of it is known to hold no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(response: Response) -> Self {
        Self {
            body: Body::from(response),
            pending: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The next line that is not empty, without its end; `None` after the last. May be dropped half way.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RpcError> {
        loop {
            while let Some(line) = self.line() {
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some(line));
                }
            }
            if self.pending.len() > MAX_LINE {
                return Err(RpcError::TooLong(MAX_LINE));
            }
            if self.ended {
                return Ok(None);
            }
            self.more().await?;
        }
    }

    /// All that is left.
    pub(super) async fn rest(&mut self, max: usize) -> Result<Vec<u8>, RpcError> {
        while !self.ended {
            if self.pending.len() > max {
                return Err(RpcError::TooLong(max));
            }
            self.more().await?;
        }
        Ok(self.pending.split().to_vec())
    }

    /// A line that is there; what the last one lacks is only its end.
    fn line(&mut self) -> Option<Bytes> {
        let unseen = self.pending.get(self.searched..).unwrap_or_default();
        let end = unseen.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.searched = self.pending.len();
            if self.ended && !self.pending.is_empty() {
                self.searched = 0;
                return Some(self.pending.split().freeze());
            }
            return None;
        };
        let line = self.pending.split_to(self.searched + end + 1).freeze();
        self.searched = 0;
        Some(line)
    }

    async fn more(&mut self) -> Result<(), RpcError> {
        let Some(frame) = self.body.frame().await else {
            self.ended = true;
            return Ok(());
        };
        let frame = frame.map_err(|e| RpcError::Cut(describe(e)))?;
        match frame.into_data() {
            Ok(data) => self.pending.extend_from_slice(&data),
            Err(frame) => {
                let words = frame.trailers_ref().and_then(|t| t.get(STREAM_ERROR));
                if let Some(words) = words.filter(|words| !words.is_empty()) {
                    let words = String::from_utf8_lossy(words.as_bytes());
                    return Err(RpcError::said(&words));
                }
            }
        }
        Ok(())
    }
}
