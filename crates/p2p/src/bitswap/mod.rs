//! Bitswap 1.2: blocks asked of peers and served to them.
//!
//! The logic is in two machines without IO, [`client::Client`] and [`server::Server`]; one task moves messages between
//! them and the streams. Blocks are named by what they hash to, so a block with another content than it was asked for
//! is a block that nobody asked for.

pub mod client;
mod handle;
pub mod message;
mod serve;
pub mod server;
mod task;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use libp2p::{PeerId, StreamProtocol};
use ues_data::Cid;

pub use client::{ClientLimits, FetchError};
pub use handle::{Bitswap, Session};

/// Bitswap with presences.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
/// Bitswap without presences.
pub const PROTOCOL_1_1: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.1.0");

/// Our own blocks, and who may have them.
#[async_trait]
pub trait BlockSource: Send + Sync + 'static {
    /// The bytes of a block, or none if it is not here or cannot be read.
    async fn get(&self, cid: &Cid) -> Option<Bytes>;

    /// Whether the block is here.
    async fn has(&self, cid: &Cid) -> bool {
        self.get(cid).await.is_some()
    }

    /// Whether the peer may have the block, and know that it is here. For one who may not, it is not here.
    async fn may_read(&self, peer: PeerId, cid: &Cid) -> bool;
}

/// How much Bitswap takes and gives.
#[derive(Debug, Clone, Copy)]
pub struct BitswapLimits {
    /// What is asked of others.
    pub client: ClientLimits,
    /// Wants that are remembered of one peer; for more it is told that we have not got the block.
    pub wants_per_peer: usize,
    /// Messages with blocks that are being made or sent at a time. Each holds [`BitswapLimits::message_bytes`] and one
    /// block at most.
    pub serving: usize,
    /// A message takes no further block once it has so many bytes.
    pub message_bytes: usize,
    /// Streams that one peer may have open to us.
    pub streams_per_peer: usize,
    /// Bytes of messages that are being read at a time, of all peers and of one.
    pub reading_bytes: [usize; 2],
    /// How long a message may take on its way.
    pub message_time: Duration,
    /// How long a stream stays open without a message.
    pub idle: Duration,
}

impl Default for BitswapLimits {
    fn default() -> Self {
        Self {
            client: ClientLimits::default(),
            wants_per_peer: 1024,
            serving: 8,
            message_bytes: 512 * 1024,
            streams_per_peer: 64,
            reading_bytes: [64 << 20, 16 << 20],
            message_time: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// What Bitswap did since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BitswapStats {
    /// Blocks that were wanted and came.
    pub blocks_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Blocks that came after they had come already or were wanted no more.
    pub late: u64,
    /// Blocks that nobody wanted.
    pub unwanted: u64,
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Wants for which there was no room.
    pub refused_wants: u64,
    /// Messages that were none.
    pub bad_messages: u64,
    /// Blocks that are wanted now.
    pub wanted: u64,
}
