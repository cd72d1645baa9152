//! How much there is under a CID.

use std::collections::HashMap;

use serde::Deserialize;
use ues_data::Cid;
use ues_pins::PinMode;

use super::KuboBackend;

/// The codec of blocks without links.
const RAW: u64 = 0x55;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockStat {
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DagStats {
    #[serde(default)]
    dag_stats: Vec<DagStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DagStat {
    cid: String,
    #[serde(default)]
    size: u64,
}

impl KuboBackend {
    /// The size in bytes of what is pinned, with each block once; `None` when it cannot be found out in time.
    pub(super) async fn size_of(&self, cid: &Cid, mode: PinMode) -> Option<u64> {
        if mode == PinMode::Recursive && cid.codec() != RAW {
            let sizes = self.sizes_of(std::slice::from_ref(cid), mode).await;
            return sizes.get(cid).copied();
        }
        let name = cid.to_string();
        let query = [("arg", name.as_str())];
        let asked = self.rpc.ask("block/stat", &query, self.options.size);
        match asked.await {
            Ok(BlockStat { size }) => Some(size),
            Err(error) => {
                tracing::debug!(%error, %cid, "its size is not known");
                None
            }
        }
    }

    /// The sizes of several things with one call, those that can be found out in time.
    pub(super) async fn sizes_of(&self, cids: &[Cid], mode: PinMode) -> HashMap<Cid, u64> {
        // of what is pinned directly Kubo would walk over all, and look for what is not there
        let measured = |cid: &&Cid| mode == PinMode::Recursive || cid.codec() == RAW;
        let names: Vec<String> = cids.iter().filter(measured).map(Cid::to_string).collect();
        if names.is_empty() {
            return HashMap::new();
        }
        let mut query = vec![("progress", "false")];
        query.extend(names.iter().map(|name| ("arg", name.as_str())));
        let asked = self.rpc.ask("dag/stat", &query, self.options.size).await;
        let stats = asked.unwrap_or_else(|error| {
            tracing::debug!(%error, "sizes are not known");
            DagStats {
                dag_stats: Vec::new(),
            }
        });
        let sizes = stats.dag_stats.into_iter();
        sizes
            .filter_map(|stat| Some((Cid::try_from(stat.cid.as_str()).ok()?, stat.size)))
            .collect()
    }
}
