//! What of an IPFS-Cluster's pins this service can hold.

use crate::model::{Pin, PinMode, PinType};

/// Why a pin is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It lists the shards of a DAG that the cluster divided: content is not divided here.
    ClusterDag,
    /// It is such a shard.
    Shard,
    /// Its end has passed.
    Ended,
}

impl LeftOut {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::ClusterDag => "clusterdag-pin",
            Self::Shard => "shard-pin",
            Self::Ended => "ended",
        }
    }
}

/// The pin as this service keeps it. A `meta-pin`, which stands for a DAG that the cluster divided into shards,
/// becomes an ordinary pin of the whole DAG.
///
/// # Errors
/// [`LeftOut`].
pub fn take(mut pin: Pin, now_s: u64) -> Result<Pin, LeftOut> {
    match pin.kind {
        PinType::ClusterDag => return Err(LeftOut::ClusterDag),
        PinType::Shard => return Err(LeftOut::Shard),
        PinType::Data | PinType::Meta => {}
    }
    if pin.options.expire_at.is_some_and(|end| end <= now_s) {
        return Err(LeftOut::Ended);
    }
    if pin.kind == PinType::Meta {
        pin.kind = PinType::Data;
        pin.reference = None;
        pin.options.mode = PinMode::Recursive;
        pin.max_depth = pin.options.mode.depth();
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PinOptions;

    #[test]
    fn what_is_taken() {
        let cid = ues_data::raw_cid(b"content");
        let plain = Pin::new(cid, PinOptions::default(), 5);
        assert_eq!(take(plain.clone(), 9), Ok(plain.clone()));
        let of = |kind| Pin {
            kind,
            max_depth: 0,
            reference: Some(cid),
            ..plain.clone()
        };
        assert_eq!(take(of(PinType::Meta), 9), Ok(plain.clone()));
        assert_eq!(take(of(PinType::ClusterDag), 9), Err(LeftOut::ClusterDag));
        assert_eq!(take(of(PinType::Shard), 9), Err(LeftOut::Shard));
        let mut ending = plain;
        ending.options.expire_at = Some(9);
        assert_eq!(take(ending.clone(), 8), Ok(ending.clone()));
        assert_eq!(take(ending, 9), Err(LeftOut::Ended));
    }
}
