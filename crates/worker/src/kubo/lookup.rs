//! Whether certain things are pinned.

use std::collections::HashMap;

use futures::stream;
use futures::{StreamExt, TryStreamExt};
use tokio::time::timeout;
use ues_data::Cid;
use ues_pins::PinMode;

use super::KuboBackend;
use super::failure::RpcError;
use super::list::{Line, type_of};
use super::rpc::read;
use crate::backend::JobError;

impl KuboBackend {
    /// How many of these, from the first on, are pinned this way. Kubo tells no more: it stops at one that is not.
    pub(super) async fn pinned_first(
        &self,
        cids: &[Cid],
        mode: PinMode,
    ) -> Result<usize, RpcError> {
        let names: Vec<String> = cids.iter().map(Cid::to_string).collect();
        let mut query = vec![("stream", "true"), ("type", type_of(mode))];
        query.extend(names.iter().map(|name| ("arg", name.as_str())));
        let mut asked = cids.iter();
        let reading = async {
            let mut lines = self.rpc.lines("pin/ls", &query).await?;
            while let Some(line) = lines.next().await? {
                let line: Line = read(&line)?;
                let cid = Cid::try_from(line.cid.as_str()).ok();
                if cid.is_none() || cid.as_ref() != asked.next() {
                    return Err(RpcError::Garbage(
                        "not the pins that were asked for".to_owned(),
                    ));
                }
            }
            Ok(())
        };
        let time = self.options.answer;
        let read = timeout(time, reading)
            .await
            .map_err(|_| RpcError::Slow(time))?;
        let found = cids.len() - asked.len();
        match read {
            Ok(()) if found == cids.len() => Ok(found),
            Ok(()) => Err(RpcError::Cut("pins are missing".to_owned())),
            Err(error) if error.is_not_pinned() => Ok(found),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn which(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        if cids.len() > self.options.few {
            return self.which_of_all(cids).await;
        }
        let groups: Vec<_> = cids
            .chunks(self.group())
            .map(|group| self.which_of_group(group))
            .collect();
        let found: Vec<_> = stream::iter(groups)
            .buffered(self.concurrency())
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Kubo is never asked for any type of pin: it would walk over all it has to find indirect ones.
    async fn which_of_group(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        let mut found = vec![None; cids.len()];
        for mode in [PinMode::Recursive, PinMode::Direct] {
            let mut open: Vec<usize> = (0..cids.len()).collect();
            open.retain(|index| found.get(*index).is_some_and(Option::is_none));
            let mut open = open.as_slice();
            while !open.is_empty() {
                let asked: Vec<Cid> = open.iter().filter_map(|i| cids.get(*i)).copied().collect();
                // it stops at the first that is not pinned this way
                let pinned = self.pinned_first(&asked, mode).await?;
                for index in open.iter().take(pinned) {
                    if let Some(place) = found.get_mut(*index) {
                        *place = Some(mode);
                    }
                }
                open = open.get(pinned + 1..).unwrap_or_default();
            }
        }
        Ok(found)
    }

    async fn which_of_all(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        let mut found: HashMap<Cid, Option<PinMode>> =
            cids.iter().map(|cid| (*cid, None)).collect();
        let mut pins = self.list();
        while let Some((cid, mode)) = pins.try_next().await? {
            if let Some(place) = found.get_mut(&cid) {
                *place = Some(mode);
            }
        }
        Ok(cids
            .iter()
            .map(|cid| found.get(cid).copied().flatten())
            .collect())
    }
}
