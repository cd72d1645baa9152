//! All that is pinned.

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use tokio::time::timeout;
use ues_data::Cid;
use ues_pins::PinMode;

use super::KuboBackend;
use super::failure::RpcError;
use super::lines::Lines;
use super::rpc::read;
use crate::backend::JobError;

/// A line of Kubo's answer to `pin/ls`.
#[derive(Deserialize)]
pub(super) struct Line {
    #[serde(rename = "Cid")]
    pub(super) cid: String,
}

/// How Kubo calls a way of pinning.
pub(super) fn type_of(mode: PinMode) -> &'static str {
    match mode {
        PinMode::Recursive => "recursive",
        PinMode::Direct => "direct",
    }
}

/// How far the list is.
struct Listing {
    lines: Option<(Lines, PinMode)>,
    coming: std::vec::IntoIter<PinMode>,
}

impl KuboBackend {
    pub(super) fn list(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>> {
        // Direct ones first: one that becomes recursive meanwhile is told twice rather than not at all.
        let listing = Listing {
            lines: None,
            coming: vec![PinMode::Direct, PinMode::Recursive].into_iter(),
        };
        stream::try_unfold(listing, |listing| self.list_next(listing))
            .map_err(JobError::from)
            .boxed()
    }

    async fn list_next(
        &self,
        mut listing: Listing,
    ) -> Result<Option<((Cid, PinMode), Listing)>, RpcError> {
        let time = self.options.answer;
        let slow = |_| RpcError::Slow(time);
        loop {
            let Some((lines, mode)) = &mut listing.lines else {
                let Some(mode) = listing.coming.next() else {
                    return Ok(None);
                };
                let query = [("stream", "true"), ("type", type_of(mode))];
                let calling = self.rpc.lines("pin/ls", &query);
                let lines = timeout(time, calling).await.map_err(slow)??;
                listing.lines = Some((lines, mode));
                continue;
            };
            let Some(line) = timeout(time, lines.next()).await.map_err(slow)?? else {
                listing.lines = None;
                continue;
            };
            let line: Line = read(&line)?;
            match Cid::try_from(line.cid.as_str()) {
                Ok(cid) => return Ok(Some(((cid, *mode), listing))),
                // such as one with a longer digest than we know: nothing that we pinned
                Err(error) => {
                    tracing::warn!(%error, cid = line.cid, "a pin of Kubo is not understood")
                }
            }
        }
    }
}
