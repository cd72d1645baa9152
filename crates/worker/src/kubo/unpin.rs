//! Taking pins away.

use futures::StreamExt;
use futures::stream;
use serde::Deserialize;
use ues_data::Cid;

use super::KuboBackend;
use super::failure::RpcError;
use crate::backend::JobError;

/// Kubo's answer to `pin/rm`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    pins: Vec<String>,
}

impl KuboBackend {
    pub(super) async fn unpin_all(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        let groups: Vec<_> = cids
            .chunks(self.group())
            .map(|group| self.unpin_group(group))
            .collect();
        let outcomes: Vec<_> = stream::iter(groups)
            .buffered(self.concurrency())
            .collect()
            .await;
        outcomes.into_iter().flatten().collect()
    }

    async fn unpin_group(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        match self.remove(cids).await {
            Ok(()) => return vec![Ok(()); cids.len()],
            Err(error) if cids.len() == 1 || error.is_gone() => {
                return vec![unless_not_pinned(error); cids.len()];
            }
            // Kubo stops at the first that is not pinned and does not say which
            Err(error) => tracing::debug!(%error, "a group is unpinned one by one"),
        }
        let singles: Vec<_> = cids.iter().map(|cid| self.unpin_one(cid)).collect();
        stream::iter(singles)
            .buffered(self.concurrency())
            .collect()
            .await
    }

    async fn unpin_one(&self, cid: &Cid) -> Result<(), JobError> {
        match self.remove(std::slice::from_ref(cid)).await {
            Ok(()) => Ok(()),
            Err(error) => unless_not_pinned(error),
        }
    }

    async fn remove(&self, cids: &[Cid]) -> Result<(), RpcError> {
        let names: Vec<String> = cids.iter().map(Cid::to_string).collect();
        let query: Vec<_> = names.iter().map(|name| ("arg", name.as_str())).collect();
        let removed: Removed = self.rpc.ask("pin/rm", &query, self.options.answer).await?;
        if removed.pins.len() == cids.len() {
            Ok(())
        } else {
            Err(RpcError::Cut("it does not say that it unpinned".to_owned()))
        }
    }
}

fn unless_not_pinned(error: RpcError) -> Result<(), JobError> {
    if error.is_not_pinned() {
        Ok(())
    } else {
        Err(error.into())
    }
}
