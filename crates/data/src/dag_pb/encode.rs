//! Writing nodes.

use super::protobuf::{put_bytes, put_varint};
use super::{Link, Node};

/// The bytes of a node; its links are put in the order of their names.
#[must_use]
pub fn encode(node: &Node) -> Vec<u8> {
    let mut links: Vec<&Link> = node.links.iter().collect();
    links.sort_by(|a, b| name(a).cmp(name(b)));
    let mut out =
        Vec::with_capacity(links.len() * 48 + node.data.as_ref().map_or(0, |d| d.len() + 8));
    let mut inner = Vec::with_capacity(64);
    for link in links {
        inner.clear();
        put_bytes(1, &link.cid.to_bytes(), &mut inner);
        if let Some(name) = &link.name {
            put_bytes(2, name.as_bytes(), &mut inner);
        }
        if let Some(size) = link.size {
            put_varint(3, size, &mut inner);
        }
        put_bytes(2, &inner, &mut out);
    }
    if let Some(data) = &node.data {
        put_bytes(1, data, &mut out);
    }
    out
}

pub(super) fn name(link: &Link) -> &[u8] {
    link.name.as_deref().unwrap_or_default().as_bytes()
}
