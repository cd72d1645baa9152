//! Heads of mirrored repositories that peers tell of: each is judged before it travels on, and a good one that is new is a
//! reason to look.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::sleep;
use ues_access::Reader;
use ues_p2p::config::peer_of;
use ues_p2p::{KnownPeer, Multiaddr, Verdict};
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::commit::CommitError;
use ues_repo::repo::mirror::{Judged, Refused, judge};
use ues_repo::syntax::Did;

use super::fetch::now_ms;
use super::{Mirroring, blocking};
use crate::node::network::Running;
use crate::node::network::heads::{tell, topic};

/// How often it is looked whether the network runs.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a signature that does not hold, the key is asked for again at most so often.
const KEY_AGAIN: Duration = Duration::from_secs(60);

/// What came of the heads that peers told of.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Heads {
    /// Good and new: passed on.
    pub accepted: u64,
    /// Known, or old: not passed on.
    pub ignored: u64,
    /// Bad: not passed on, and held against the peer.
    pub rejected: u64,
}

impl Mirroring {
    /// Listens for heads of a repository for ever.
    pub(super) async fn listen(self, did: Did) {
        let Some(topic) = topic(&did) else { return };
        let mut key_asked: Option<Instant> = None;
        loop {
            if let Some(running) = self.network_for(&did).await
                && self.is_public(&did)
                && let Ok(mut heads) = running.network.subscribe(&topic).await
            {
                while let Some(message) = heads.next().await {
                    let judged = blocking(|| self.judge_head(&did, &message.data));
                    let again = key_asked.is_none_or(|at| at.elapsed() > KEY_AGAIN);
                    let bad_key = matches!(judged, Err(ref why) if is_bad_signature(why));
                    if bad_key && again {
                        key_asked = Some(Instant::now());
                    }
                    let verdict = verdict(&judged);
                    if verdict == Verdict::Accept || (bad_key && again) {
                        self.hint(&did);
                    }
                    self.count(&did, verdict);
                    message.judge(verdict);
                    if !self.is_public(&did) {
                        break;
                    }
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The network, started for the first mirror; peers that a mirror names stay connected.
    async fn network_for(&self, did: &Did) -> Option<Running> {
        let row = self.mirrors().get(did).ok().flatten()?;
        let running = self.0.network.running().await.ok()?;
        let addresses = row.peers.iter().filter_map(|a| a.parse::<Multiaddr>().ok());
        for address in addresses {
            if let Some(peer) = peer_of(&address) {
                let addresses = vec![address];
                let known = KnownPeer { peer, addresses };
                running.network.add_known_peer(known).await;
            }
        }
        Some(running)
    }

    /// Tells peers what was just taken in.
    pub(super) async fn tell_head(&self, did: &Did) {
        if let Some(running) = self.0.network.if_running().await {
            tell(&running.network, &running.readers, did).await;
        }
    }

    fn is_public(&self, did: &Did) -> bool {
        let rules = &self.0.ctx.read_rules;
        rules.may_read(did.as_str(), Reader::Stranger)
    }

    /// As [`judge`], by the key that the DID document named last; what cannot be judged is old.
    fn judge_head(&self, did: &Did, block: &Bytes) -> Result<Option<Judged>, Refused> {
        let row = self.mirrors().get(did).ok().flatten();
        let key = row.and_then(|row| VerifyingKey::from_did_key(&row.key?).ok());
        let (Some(key), Ok(head)) = (key, self.mirrors().repos().head(did)) else {
            return Ok(None);
        };
        judge(
            did,
            &key,
            head.as_ref(),
            block,
            now_ms().saturating_mul(1000),
        )
        .map(Some)
    }

    fn count(&self, did: &Did, verdict: Verdict) {
        let now = self.now(did);
        let mut heads = now.heads.lock();
        match verdict {
            Verdict::Accept => heads.accepted += 1,
            Verdict::Ignore => heads.ignored += 1,
            Verdict::Reject => heads.rejected += 1,
        }
    }
}

fn is_bad_signature(why: &Refused) -> bool {
    matches!(why, Refused::Commit(CommitError::BadSignature { .. }))
}

fn verdict(judged: &Result<Option<Judged>, Refused>) -> Verdict {
    match judged {
        Ok(Some(Judged::Newer(_))) => Verdict::Accept,
        Ok(_) => Verdict::Ignore,
        // Whoever passes on a fork has not lied, and the copy that it belongs to is not to spread.
        Err(Refused::Fork { .. } | Refused::Early(_)) => Verdict::Ignore,
        Err(_) => Verdict::Reject,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use ues_data::dag_cbor_cid;
    use ues_repo::crypto::{KeyKind, SigningKey};
    use ues_repo::repo::commit::Commit;
    use ues_repo::syntax::Tid;

    use super::*;

    #[test]
    fn only_a_good_head_travels_on() {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let other = Did::parse("did:web:mallory.example").unwrap();
        let key = SigningKey::generate(KeyKind::K256).unwrap();
        let forger = SigningKey::generate(KeyKind::K256).unwrap();
        let now = 1_700_000_000_000_000;
        let head = |of: &Did, micros, key: &SigningKey| {
            Commit::sign(of, dag_cbor_cid(b"tree"), &Tid::new(micros, 0), key).encode()
        };
        let on = |block: &Bytes| {
            let judged = judge(&did, key.verifying_key(), None, block, now);
            verdict(&judged.map(Some))
        };
        assert_eq!(on(&head(&did, now, &key).1), Verdict::Accept);
        assert_eq!(on(&head(&did, now * 2, &key).1), Verdict::Ignore);
        assert_eq!(on(&head(&did, now, &forger).1), Verdict::Reject);
        assert_eq!(on(&head(&other, now, &key).1), Verdict::Reject);
        assert_eq!(on(&Bytes::from_static(b"no commit")), Verdict::Reject);
        assert_eq!(verdict(&Ok(None)), Verdict::Ignore);
    }
}
