//! What a tree node links to, read before its place in the tree is known.

use ues_data::{Cid, Ipld};

/// The links of a node.
pub(in crate::repo) struct Links {
    /// Nodes below.
    pub nodes: Vec<Cid>,
    /// Records.
    pub records: Vec<Cid>,
}

/// Reads a node's links; `None` if it is no node. Whether it is well-formed is checked when the tree is walked.
pub(in crate::repo) fn links(block: &[u8]) -> Option<Links> {
    let Ok(Ipld::Map(mut map)) = ues_data::dag_cbor::decode(block) else {
        return None;
    };
    let mut out = Links {
        nodes: Vec::new(),
        records: Vec::new(),
    };
    push(map.remove("l")?, &mut out.nodes)?;
    let Ipld::List(entries) = map.remove("e")? else {
        return None;
    };
    for entry in entries {
        let Ipld::Map(mut entry) = entry else {
            return None;
        };
        push(entry.remove("v")?, &mut out.records)?;
        push(entry.remove("t")?, &mut out.nodes)?;
    }
    Some(out)
}

fn push(link: Ipld, to: &mut Vec<Cid>) -> Option<()> {
    match link {
        Ipld::Null => Some(()),
        Ipld::Link(cid) => {
            to.push(cid);
            Some(())
        }
        _ => None,
    }
}
