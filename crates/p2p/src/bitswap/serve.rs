//! Makes and sends the answer to some wants of a peer.

use std::sync::Arc;

use libp2p::PeerId;

use super::message::{MAX_BLOCK, Message, Presence, Want, WantKind};
use super::server::{Outcome, Work};
use super::wire::Outlet;
use super::{BitswapLimits, BlockSource};
use crate::network::Network;

/// What came of it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) peer: PeerId,
    pub(super) wants: Vec<Want>,
    pub(super) outcome: Outcome,
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// The stream for the next answer; none if the peer could not be reached.
    pub(super) outlet: Option<Outlet>,
}

pub(super) async fn serve(
    network: Network,
    source: Arc<dyn BlockSource>,
    limits: BitswapLimits,
    work: Work,
    mut outlet: Outlet,
) -> Served {
    let Work { peer, wants } = work;
    let (message, outcome) = answer(&*source, peer, &wants, limits.message_bytes).await;
    let blocks = message.blocks.len() as u64;
    let bytes = message.blocks.iter().map(|(_, data)| data.len() as u64);
    let bytes = bytes.sum();
    let sent = if message.is_empty() {
        Ok(())
    } else {
        let longest = limits.message_time;
        outlet.send(&network, peer, &message, longest).await
    };
    let outlet = match sent {
        Ok(()) => Some(outlet),
        Err(error) => {
            tracing::debug!(%peer, %error, "an answer was not sent");
            None
        }
    };
    let reached = outlet.is_some();
    Served {
        peer,
        wants,
        outcome,
        blocks: if reached { blocks } else { 0 },
        bytes: if reached { bytes } else { 0 },
        outlet,
    }
}

async fn answer(
    source: &dyn BlockSource,
    peer: PeerId,
    wants: &[Want],
    enough: usize,
) -> (Message, Outcome) {
    let mut message = Message::default();
    let mut outcome = Outcome::default();
    let mut bytes = 0;
    for want in wants {
        if bytes >= enough {
            outcome.left.push(want.clone());
            continue;
        }
        let cid = want.cid;
        let allowed = source.may_read(peer, &cid).await;
        let found = match want.kind {
            WantKind::Have if allowed && source.has(&cid).await => {
                message.presences.push(Presence { cid, have: true });
                true
            }
            WantKind::Block if allowed => match source.get(&cid).await {
                Some(data) if data.len() <= MAX_BLOCK => {
                    bytes += data.len();
                    message.blocks.push((cid, data));
                    true
                }
                _ => false,
            },
            _ => false,
        };
        if !found {
            if want.send_dont_have {
                message.presences.push(Presence { cid, have: false });
            }
            outcome.missing.push(want.clone());
        }
    }
    (message, outcome)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use ues_data::{Cid, raw_cid};

    use super::*;

    /// Has every block of one byte below 100; peers may read the even ones.
    struct Bytes100;

    fn block(n: u8) -> Bytes {
        Bytes::copy_from_slice(&[n])
    }

    #[async_trait]
    impl BlockSource for Bytes100 {
        async fn get(&self, cid: &Cid) -> Option<Bytes> {
            (0..100).map(block).find(|data| raw_cid(data) == *cid)
        }

        async fn may_read(&self, _: PeerId, cid: &Cid) -> bool {
            self.get(cid).await.is_none_or(|data| data[0] % 2 == 0)
        }
    }

    fn want(n: u8, kind: WantKind, send_dont_have: bool) -> Want {
        Want {
            send_dont_have,
            ..Want::new(raw_cid(&block(n)), kind, 0)
        }
    }

    #[tokio::test]
    async fn what_may_not_be_read_is_not_there() {
        let wants = [
            want(2, WantKind::Block, true),
            want(3, WantKind::Block, true),
            want(4, WantKind::Have, true),
            want(5, WantKind::Have, true),
            want(200, WantKind::Have, true),
            want(7, WantKind::Block, false),
        ];
        let (message, outcome) = answer(&Bytes100, PeerId::random(), &wants, 1000).await;
        assert_eq!(message.blocks, [(wants[0].cid, block(2))]);
        let presences: Vec<_> = message.presences.iter().map(|p| (p.cid, p.have)).collect();
        let expected = [(1, false), (2, true), (3, false), (4, false)];
        assert_eq!(presences, expected.map(|(i, have)| (wants[i].cid, have)));
        let missing = [1, 3, 4, 5].map(|i: usize| wants[i].clone());
        assert_eq!(outcome.missing, missing);
        assert_eq!(outcome.left, []);
    }

    #[tokio::test]
    async fn a_message_has_an_end() {
        let wants: Vec<_> = (0..5).map(|n| want(2 * n, WantKind::Block, true)).collect();
        let (message, outcome) = answer(&Bytes100, PeerId::random(), &wants, 3).await;
        assert_eq!(message.blocks.len(), 3);
        assert_eq!(outcome.left, wants[3..]);
    }
}
