//! Nodes as values of IPLD's data model.

use std::collections::BTreeMap;

use bytes::Bytes;
use ipld_core::ipld::Ipld;

use super::{Link, Node};

/// A value that does not have the shape of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a DAG-PB node is {{Data: bytes, Links: [{{Hash: link, Name: text, Tsize: number}}]}}: {0} is not so"
)]
pub struct ShapeError(pub &'static str);

/// The value `{Data, Links: [{Hash, Name, Tsize}]}` of a node; absent fields stay absent.
#[must_use]
pub fn to_ipld(node: &Node) -> Ipld {
    let links = node.links.iter().map(|link| {
        let mut map = BTreeMap::from([("Hash".to_owned(), Ipld::Link(link.cid))]);
        if let Some(name) = &link.name {
            map.insert("Name".to_owned(), Ipld::String(name.clone()));
        }
        if let Some(size) = link.size {
            map.insert("Tsize".to_owned(), Ipld::Integer(i128::from(size)));
        }
        Ipld::Map(map)
    });
    let mut map = BTreeMap::from([("Links".to_owned(), Ipld::List(links.collect()))]);
    if let Some(data) = &node.data {
        map.insert("Data".to_owned(), Ipld::Bytes(data.to_vec()));
    }
    Ipld::Map(map)
}

/// The node that such a value describes.
pub fn from_ipld(value: &Ipld) -> Result<Node, ShapeError> {
    let Ipld::Map(map) = value else {
        return Err(ShapeError("the value"));
    };
    let mut node = Node::default();
    for (key, item) in map {
        match (key.as_str(), item) {
            ("Data", Ipld::Bytes(bytes)) => node.data = Some(Bytes::copy_from_slice(bytes)),
            ("Links", Ipld::List(items)) => {
                node.links = items.iter().map(link).collect::<Result<_, _>>()?;
            }
            _ => return Err(ShapeError("a field")),
        }
    }
    if map.contains_key("Links") {
        Ok(node)
    } else {
        Err(ShapeError("Links"))
    }
}

fn link(value: &Ipld) -> Result<Link, ShapeError> {
    let Ipld::Map(map) = value else {
        return Err(ShapeError("a link"));
    };
    let mut cid = None;
    let mut name = None;
    let mut size = None;
    for (key, item) in map {
        match (key.as_str(), item) {
            ("Hash", Ipld::Link(link)) => cid = Some(*link),
            ("Name", Ipld::String(text)) => name = Some(text.clone()),
            ("Tsize", Ipld::Integer(i)) => {
                size = Some(u64::try_from(*i).map_err(|_| ShapeError("Tsize"))?);
            }
            _ => return Err(ShapeError("a field of a link")),
        }
    }
    Ok(Link {
        cid: cid.ok_or(ShapeError("Hash"))?,
        name,
        size,
    })
}
