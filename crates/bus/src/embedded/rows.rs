//! The bus in the store: its keyspaces and the form of their rows, which `docs/format.md` specifies.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ues_storage::{Keyspace, StorageError, Store};

use crate::message::Subject;

/// First byte of every row but those of JSON.
const VERSION: u8 = 1;

/// The keyspaces of the bus.
pub(super) struct Spaces {
    /// Name of a queue: its [`Definition`].
    pub queues: Keyspace,
    /// Number of a queue: its [`Marks`].
    pub marks: Keyspace,
    /// Queue and sequence number: a [`StoredMessage`].
    pub messages: Keyspace,
    /// Queue and sequence number: [`Attempts`], for messages that were delivered more than once or wait for a retry.
    pub attempts: Keyspace,
    /// Queue and id of a message: empty, until the window of deduplication ends.
    pub ids: Keyspace,
    /// Id of a dead letter: a [`StoredDead`].
    pub dead: Keyspace,
}

impl Spaces {
    pub(super) fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            queues: store.keyspace("bus_queues")?,
            marks: store.keyspace("bus_marks")?,
            messages: store.keyspace("bus_messages")?,
            attempts: store.keyspace("bus_attempts")?,
            ids: store.keyspace("bus_ids")?,
            dead: store.keyspace("bus_dead")?,
        })
    }
}

/// The key of a message and of its attempts.
pub(super) fn key(queue: u32, seq: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&queue.to_be_bytes());
    key[4..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The sequence number in a key.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    key.get(4..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The key of a message's id.
pub(super) fn id_key(queue: u32, id: &str) -> Vec<u8> {
    [&queue.to_be_bytes(), id.as_bytes()].concat()
}

/// A queue as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    /// The number that its rows carry.
    pub number: u32,
    pub subject: String,
    pub ack_wait_ms: u64,
    pub max_attempts: u32,
    pub max_in_flight: u64,
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Sequence number of the next message that is published.
    pub next: u64,
    /// From here on no message was ever delivered.
    pub cursor: u64,
    /// Before this there is no message.
    pub head: u64,
    /// Messages in the queue, delivered or not.
    pub count: u64,
    /// Bytes of their rows.
    pub bytes: u64,
}

impl Marks {
    /// An empty queue.
    pub(super) const NEW: Self = Self {
        next: 1,
        cursor: 1,
        head: 1,
        count: 0,
        bytes: 0,
    };

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        for number in [self.next, self.cursor, self.head, self.count, self.bytes] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(row)?;
        let marks = Self {
            next: fields.u64()?,
            cursor: fields.u64()?,
            head: fields.u64()?,
            count: fields.u64()?,
            bytes: fields.u64()?,
        };
        fields.rest().is_empty().then_some(marks)
    }
}

/// How often a message was delivered, and when it may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempts {
    pub made: u32,
    /// Milliseconds since the Unix epoch; 0: at once.
    pub due_ms: u64,
}

impl Attempts {
    pub(super) fn encode(&self) -> [u8; 13] {
        let mut row = [VERSION; 13];
        row[1..5].copy_from_slice(&self.made.to_be_bytes());
        row[5..].copy_from_slice(&self.due_ms.to_be_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(row)?;
        Some(Self {
            made: fields.u32()?,
            due_ms: fields.u64()?,
        })
    }
}

/// A message in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMessage {
    pub published_at_ms: u64,
    pub subject: Subject,
    pub trace: Option<String>,
    pub payload: Bytes,
}

impl StoredMessage {
    /// Appends the row of a message; `trace` must have passed [`crate::limits::trace`].
    pub(super) fn write(
        row: &mut Vec<u8>,
        published_at_ms: u64,
        subject: &Subject,
        trace: Option<&str>,
        payload: &[u8],
    ) {
        row.push(VERSION);
        row.extend_from_slice(&published_at_ms.to_be_bytes());
        push_short(row, subject.as_str());
        push_short(row, trace.unwrap_or_default());
        row.extend_from_slice(payload);
    }

    pub(super) fn decode(row: &Bytes) -> Option<Self> {
        let mut fields = Fields::new(row)?;
        let published_at_ms = fields.u64()?;
        let subject = Subject::new(fields.short()?).ok()?;
        let trace = Some(fields.short()?)
            .filter(|t| !t.is_empty())
            .map(ToOwned::to_owned);
        Some(Self {
            published_at_ms,
            subject,
            trace,
            payload: row.slice_ref(fields.rest()),
        })
    }
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredDead {
    pub at_ms: u64,
    /// Name of the queue.
    pub queue: String,
    pub reason: String,
    /// Its row in the queue.
    pub message: Bytes,
}

impl StoredDead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend_from_slice(&self.at_ms.to_be_bytes());
        push_short(&mut row, &self.queue);
        let len = u16::try_from(self.reason.len()).unwrap_or(0);
        row.extend_from_slice(&len.to_be_bytes());
        row.extend_from_slice(self.reason.as_bytes().get(..len.into()).unwrap_or_default());
        row.extend_from_slice(&self.message);
        row
    }

    pub(super) fn decode(row: &Bytes) -> Option<Self> {
        let mut fields = Fields::new(row)?;
        Some(Self {
            at_ms: fields.u64()?,
            queue: fields.short()?.to_owned(),
            reason: {
                let len = fields.u16()?;
                fields.text(len.into())?.to_owned()
            },
            message: row.slice_ref(fields.rest()),
        })
    }
}

/// Appends a text of at most 255 bytes with its length; a longer one as none, which callers exclude.
fn push_short(row: &mut Vec<u8>, text: &str) {
    let (len, text) = u8::try_from(text.len()).map_or((0, ""), |len| (len, text));
    row.push(len);
    row.extend_from_slice(text.as_bytes());
}

/// Reads a row from front to back.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// After the version, if it is one that is known.
    fn new(row: &'a [u8]) -> Option<Self> {
        let (version, rest) = row.split_first()?;
        (*version == VERSION).then_some(Self(rest))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }

    fn short(&mut self) -> Option<&'a str> {
        let [len] = self.take()?;
        self.text(len.into())
    }

    fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let marks = Marks {
            next: 9,
            cursor: 7,
            head: 3,
            count: 5,
            bytes: 1 << 40,
        };
        assert_eq!(Marks::decode(&marks.encode()), Some(marks));
        let attempts = Attempts {
            made: 3,
            due_ms: 1 << 41,
        };
        assert_eq!(Attempts::decode(&attempts.encode()), Some(attempts));
        let subject = Subject::new("pin.assign.w1").unwrap();
        for trace in [None, Some("00-abc-def-01")] {
            let mut row = Vec::new();
            StoredMessage::write(&mut row, 77, &subject, trace, b"content");
            let message = StoredMessage::decode(&row.clone().into()).unwrap();
            assert_eq!(
                (message.published_at_ms, message.trace.as_deref()),
                (77, trace)
            );
            assert_eq!(
                (&message.subject, &message.payload[..]),
                (&subject, &b"content"[..])
            );
            let dead = StoredDead {
                at_ms: 5,
                queue: "workers".into(),
                reason: "größer".into(),
                message: row.into(),
            };
            assert_eq!(StoredDead::decode(&dead.encode().into()), Some(dead));
        }
    }

    #[test]
    fn cut_rows_are_refused() {
        let subject = Subject::new("pin.assign").unwrap();
        let mut row = Vec::new();
        StoredMessage::write(&mut row, 77, &subject, Some("00-t"), b"");
        for len in 0..row.len() {
            assert_eq!(
                StoredMessage::decode(&Bytes::copy_from_slice(&row[..len])),
                None
            );
        }
        assert_eq!(Marks::decode(&[2; 41]), None);
    }
}
