//! Content-addressed data: identifiers, codecs, trees and archives.
//!
//! Everything that UES stores or sends is made of *blocks*: byte strings named by a [`Cid`], the hash of
//! their content. This crate knows how such bytes are read and written, and nothing about where they lie:
//! whatever needs a block asks a [`BlockSource`].
//!
//! | module | what it does |
//! |---|---|
//! | [`content_id`] | parse, print, compute and check CIDs |
//! | [`dag_cbor`] | the strict, canonical binary codec, as values or piece by piece |
//! | [`dag_json`] | the same values as JSON text |
//! | [`atproto_json`] | the JSON form that AT Protocol gives to the same values |
//! | [`car`] | archives of blocks, in and out, with bounded memory |
//! | [`block`], [`path`] | blocks of any codec as values, paths through them and across links |
//! | [`dag_pb`], [`unixfs`] | files and directories as IPFS stores them |
//! | [`schema`] | what values must look like |
//! | [`ipld_store`] | values in a store: put, get, resolve |
//! | [`mst`] | the Merkle Search Tree under every repository |
//!
//! All decoders take hostile input: they are bounded in length, depth and count, allocate no more than the
//! bytes they were given justify, and answer with a typed error, never with a panic.

#![allow(
    clippy::result_large_err,
    reason = "errors name the block they are about, and a CID alone takes 96 bytes"
)]

pub mod atproto_json;
pub mod block;
pub mod car;
pub mod content_id;
pub mod dag_cbor;
pub mod dag_json;
pub mod dag_pb;
pub mod ipld_store;
pub mod mst;
pub mod path;
pub mod schema;
pub mod source;
mod stored;
pub mod unixfs;
pub mod varint;

pub use cid::{Cid, Version};
pub use ipld_core::ipld::Ipld;

pub use content_id::{
    HashAlgorithm, HashMismatch, cid_of, dag_cbor_cid, parse_cid, raw_cid, sha256_multihash, verify,
};
pub use dag_cbor::Limits;
pub use source::{BlockSink, BlockSinkError, BlockSource, BlockSourceError};

/// The multihash type inside [`Cid`]: a hash code and a digest of at most 64 bytes.
pub type Multihash = multihash::Multihash<64>;
