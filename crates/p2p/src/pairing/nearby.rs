//! The devices of the local network, as mDNS finds them, and asking them one question.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::PeerId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Devices that are asked at once.
const AT_ONCE: usize = 8;
/// How long a device may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// How long one that answers is looked for. mDNS asks as soon as the network starts, and answers come within seconds.
pub(super) const LOOK_FOR: Duration = Duration::from_secs(30);

/// Who was found. Cheap to clone.
#[derive(Clone)]
pub(super) struct Nearby(watch::Receiver<BTreeSet<PeerId>>);

impl Nearby {
    /// Of those that a network finds. They may have been found before anybody looks: mDNS tells of each once in minutes.
    pub fn new(found: watch::Receiver<BTreeSet<PeerId>>) -> Self {
        Self(found)
    }

    /// Asks all that are there, and those that come within `look_for`, until one has an answer.
    pub async fn find<T, F, A>(&self, look_for: Duration, mut ask: F) -> Option<(PeerId, T)>
    where
        F: FnMut(PeerId) -> A,
        A: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + look_for;
        let mut nearby = self.0.clone();
        let mut asked = BTreeSet::new();
        let mut waiting = FuturesUnordered::new();
        let mut ended = false;
        loop {
            let found: Vec<PeerId> = nearby.borrow_and_update().iter().copied().collect();
            for peer in found {
                if waiting.len() < AT_ONCE && asked.insert(peer) {
                    let answer = ask(peer);
                    waiting.push(async move { (peer, timeout(ANSWER_WITHIN, answer).await) });
                }
            }
            if ended && waiting.is_empty() {
                return None;
            }
            let next = async {
                tokio::select! {
                    Some((peer, answer)) = waiting.next() => answer.ok().flatten().map(|found| (peer, found)),
                    changed = nearby.changed(), if !ended => {
                        ended = changed.is_err();
                        None
                    }
                }
            };
            match timeout_at(deadline, next).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn peers(count: usize) -> Vec<PeerId> {
        (0..count).map(|_| PeerId::random()).collect()
    }

    #[tokio::test]
    async fn the_one_that_answers_is_found_among_silent_and_refusing_ones_that_were_there_or_come()
    {
        let all = peers(40);
        let right = all[39];
        let (found, receiver) = watch::channel(all[..20].iter().copied().collect());
        let nearby = Nearby::new(receiver);
        let later = all.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            found.send_modify(|found: &mut BTreeSet<PeerId>| found.extend(&later[20..]));
            std::future::pending::<()>().await;
        });
        let silent: BTreeSet<PeerId> = all.iter().copied().step_by(7).collect();
        let ask = |peer| {
            let silent = silent.contains(&peer);
            async move {
                match silent {
                    true => std::future::pending().await,
                    false => (peer == right).then_some("yes"),
                }
            }
        };
        assert_eq!(nearby.find(LOOK_FOR, ask).await, Some((right, "yes")));
    }

    #[tokio::test]
    async fn nobody_is_asked_twice_and_the_search_ends() {
        let all = peers(5);
        let (found, receiver) = watch::channel(all.iter().copied().collect());
        let nearby = Nearby::new(receiver);
        found.send_modify(|found: &mut BTreeSet<PeerId>| found.extend(&all));
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = |peer| {
            asked.borrow_mut().push(peer);
            async { None::<()> }
        };
        let look_for = Duration::from_millis(100);
        assert_eq!(nearby.find(look_for, ask).await, None);
        assert_eq!(asked.borrow().len(), all.len());
    }
}
