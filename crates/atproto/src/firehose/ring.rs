//! The newest messages, shared by all subscribers.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

/// What a message costs in the ring besides its bytes.
const OVERHEAD: usize = size_of::<Bytes>() + 32;

/// A window over the end of the stream. Each message is there once, however many subscribers there
/// are: a subscriber is only a position.
pub struct Ring {
    inner: RwLock<Inner>,
    last: watch::Sender<u64>,
    max_bytes: usize,
}

struct Inner {
    /// Sequence number of the first message; the next one's while it is empty.
    first: u64,
    messages: VecDeque<Bytes>,
    bytes: usize,
}

/// What there is for a subscriber.
pub enum Next {
    /// Messages, and the sequence number of the last of them.
    Messages(VecDeque<Bytes>, u64),
    /// Nothing new.
    UpToDate,
    /// The ring does not reach back that far.
    Behind,
}

impl Ring {
    /// An empty ring that goes on after `last`.
    pub fn new(last: u64, max_bytes: usize) -> Self {
        Self {
            inner: RwLock::new(Inner {
                first: last + 1,
                messages: VecDeque::new(),
                bytes: 0,
            }),
            last: watch::Sender::new(last),
            max_bytes,
        }
    }

    /// Sequence number of the newest message.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Wakes whenever there is something new.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Adds the messages from `first` on. The oldest make room. A gap empties the ring: who needs
    /// what is missing reads it from the log.
    pub fn push(&self, first: u64, messages: impl IntoIterator<Item = Bytes>) {
        let last = {
            let mut inner = self.inner.write();
            if first != inner.first + inner.messages.len() as u64 {
                inner.messages.clear();
                inner.bytes = 0;
                inner.first = first;
            }
            for message in messages {
                inner.bytes += message.len() + OVERHEAD;
                inner.messages.push_back(message);
            }
            while inner.bytes > self.max_bytes
                && let Some(old) = inner.messages.pop_front()
            {
                inner.bytes -= old.len() + OVERHEAD;
                inner.first += 1;
            }
            inner.first + inner.messages.len() as u64 - 1
        };
        self.last.send_replace(last);
    }

    /// Forgets all messages: whoever is behind reads the log.
    pub fn forget(&self) {
        let mut inner = self.inner.write();
        inner.first += inner.messages.len() as u64;
        inner.messages.clear();
        inner.bytes = 0;
    }

    /// Forgets all messages up to `last`, when nobody is there to read them.
    pub fn skip_to(&self, last: u64) {
        {
            let mut inner = self.inner.write();
            inner.messages.clear();
            inner.bytes = 0;
            inner.first = last + 1;
        }
        self.last.send_replace(last);
    }

    /// The messages after a position, about `max_bytes` of them.
    pub fn read(&self, after: u64, max_bytes: usize) -> Next {
        let inner = self.inner.read();
        let last = inner.first + inner.messages.len() as u64 - 1;
        if after >= last {
            return Next::UpToDate;
        }
        let Some(skip) = (after + 1).checked_sub(inner.first) else {
            return Next::Behind;
        };
        let mut out = VecDeque::new();
        let mut room = max_bytes;
        let mut seq = after;
        for message in inner.messages.iter().skip(skip as usize) {
            if message.len() > room && !out.is_empty() {
                break;
            }
            room = room.saturating_sub(message.len());
            out.push_back(message.clone());
            seq += 1;
        }
        Next::Messages(out, seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64) -> Bytes {
        Bytes::from(n.to_string())
    }

    fn read(ring: &Ring, after: u64, max: usize) -> Option<(Vec<String>, u64)> {
        match ring.read(after, max) {
            Next::Messages(list, last) => Some((
                list.iter()
                    .map(|b| String::from_utf8(b.to_vec()).unwrap())
                    .collect(),
                last,
            )),
            _ => None,
        }
    }

    #[test]
    fn positions_before_within_and_after() {
        let ring = Ring::new(4, 3 * (OVERHEAD + 1));
        assert!(matches!(ring.read(4, 100), Next::UpToDate));
        ring.push(5, (5..9).map(message));
        assert_eq!(ring.last(), 8);
        assert!(matches!(ring.read(4, 100), Next::Behind));
        assert_eq!(
            read(&ring, 5, 100),
            Some((vec!["6".into(), "7".into(), "8".into()], 8))
        );
        assert_eq!(read(&ring, 5, 2), Some((vec!["6".into(), "7".into()], 7)));
        assert!(matches!(ring.read(8, 100), Next::UpToDate));
        assert!(matches!(ring.read(80, 100), Next::UpToDate));
    }

    #[test]
    fn a_gap_empties_it() {
        let ring = Ring::new(0, 10_000);
        ring.push(1, (1..4).map(message));
        ring.push(9, [message(9)]);
        assert!(matches!(ring.read(2, 100), Next::Behind));
        assert_eq!(read(&ring, 8, 100), Some((vec!["9".into()], 9)));
        ring.skip_to(20);
        assert!(matches!(ring.read(8, 100), Next::Behind));
        assert!(matches!(ring.read(20, 100), Next::UpToDate));
    }

    #[test]
    fn one_message_larger_than_the_ring_is_not_kept() {
        let ring = Ring::new(0, 10);
        ring.push(1, [message(1)]);
        assert_eq!(ring.last(), 1);
        assert!(matches!(ring.read(0, 100), Next::Behind));
    }
}
