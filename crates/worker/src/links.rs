//! The links in a block.

use bytes::Bytes;
use ues_data::block::{self, CodecError};
use ues_data::content_id::{DAG_PB, RAW};
use ues_data::{Cid, Ipld, Limits, dag_pb};

/// Everything that a block links to, in the order in which it stands there, repeated as often as it is.
///
/// # Errors
/// [`CodecError`] when the codec is not one that we read, or the bytes are not what it says.
pub fn links(codec: u64, bytes: &Bytes) -> Result<Vec<Cid>, CodecError> {
    match codec {
        RAW => Ok(Vec::new()),
        DAG_PB => {
            let node = dag_pb::decode(bytes)?;
            Ok(node.links.into_iter().map(|link| link.cid).collect())
        }
        _ => Ok(links_of(&block::decode(codec, bytes, Limits::GENERAL)?)),
    }
}

/// The links in a value. The depth of a decoded value is bounded, the stack is our own nevertheless.
fn links_of(value: &Ipld) -> Vec<Cid> {
    let mut found = Vec::new();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Ipld::Link(cid) => found.push(*cid),
            Ipld::List(items) => left.extend(items.iter().rev()),
            Ipld::Map(map) => left.extend(map.values().rev()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ues_data::content_id::DAG_CBOR;
    use ues_data::{dag_cbor, raw_cid};

    use super::*;

    #[test]
    fn in_order_and_at_any_depth() {
        let (a, b) = (raw_cid(b"a"), raw_cid(b"b"));
        let value = Ipld::Map(BTreeMap::from([
            (
                "x".to_owned(),
                Ipld::List(vec![Ipld::Link(a), Ipld::Link(b)]),
            ),
            ("y".to_owned(), Ipld::Link(a)),
        ]));
        let bytes = Bytes::from(dag_cbor::encode(&value).unwrap());
        assert_eq!(links(DAG_CBOR, &bytes).unwrap(), [a, b, a]);
        assert!(links(RAW, &bytes).unwrap().is_empty());
        assert!(matches!(
            links(0x78, &bytes),
            Err(CodecError::Unsupported(0x78))
        ));
    }
}
