//! The outbox: letters that wait, and those that went, for a week.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use ues_repo::syntax::Datetime;
use ues_storage::{Batch, Keyspace, StorageError, Store};

use super::letter::Letter;
use crate::accounts::{Damaged, Seal, SealError, json_row, to_json};

/// How long a letter is kept, in milliseconds.
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
/// How often sending one is tried.
const MAX_ATTEMPTS: u32 = 20;
/// Times between two attempts, in milliseconds: doubled from the first up to the last.
const FIRST_PAUSE_MS: u64 = 15_000;
const LAST_PAUSE_MS: u64 = 3_600_000;

/// A letter in the outbox, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// Its number.
    pub id: u64,
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// When it was written, RFC 3339.
    pub created_at: String,
    /// When it was sent, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    /// How often sending it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it is not tried any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

/// What becomes of a letter that is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is tried at once.
    Waits {
        /// Its address.
        to: String,
    },
    /// It was sent already.
    Sent,
    /// There is none.
    Missing,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    mail: Mail,
    /// When it is tried next, in milliseconds since 1970; `None`: not any more.
    next_ms: Option<u64>,
    /// When it is forgotten, in milliseconds since 1970.
    until_ms: u64,
    /// The text, sealed: it may hold a token.
    text: Option<Vec<u8>>,
}

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The text cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The outbox.
pub struct Outbox {
    rows: Keyspace,
    next: AtomicU64,
    /// Told when a letter was written.
    pub(super) written: Notify,
}

impl Outbox {
    /// Opens the outbox of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        let rows = store.keyspace("mail_outbox")?;
        let last = rows.prefix([]).next_back().transpose()?;
        let last = last.and_then(|(key, _)| key.as_ref().try_into().ok().map(u64::from_be_bytes));
        Ok(Self {
            rows,
            next: AtomicU64::new(last.unwrap_or_default() + 1),
            written: Notify::new(),
        })
    }

    /// Puts a letter into a batch.
    ///
    /// # Errors
    /// When its text cannot be sealed.
    pub fn put(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        letter: &Letter,
        now_ms: u64,
    ) -> Result<u64, SealError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let row = Row {
            mail: Mail {
                id,
                to: letter.to.clone(),
                subject: letter.subject.clone(),
                created_at: Datetime::from_unix_millis(now_ms.cast_signed()).to_string(),
                sent_at: None,
                attempts: 0,
                error: None,
                given_up: false,
            },
            next_ms: Some(now_ms),
            until_ms: now_ms.saturating_add(KEPT_MS),
            text: Some(seal.seal(&name(id), letter.text.as_bytes())?),
        };
        self.write(batch, &row);
        Ok(id)
    }

    /// To be called when a batch with [`Outbox::put`] was committed.
    pub fn committed(&self) {
        self.written.notify_one();
    }

    fn write(&self, batch: &mut Batch, row: &Row) {
        let key = row.mail.id.to_be_bytes();
        batch.put_with_ttl(&self.rows, key, to_json(row), row.until_ms);
    }

    /// The newest letters, at most `limit`.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn list(&self, limit: usize) -> Result<Vec<Mail>, MailError> {
        let mut all = Vec::new();
        for row in self.rows.prefix([]).rev().take(limit) {
            let (key, value) = row?;
            all.push(json_row::<Row>(&key, &value)?.mail);
        }
        Ok(all)
    }

    /// A letter with its text, which is gone once it was sent.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn get(&self, seal: &Seal, id: u64) -> Result<Option<(Mail, Option<String>)>, MailError> {
        let key = id.to_be_bytes();
        let Some(value) = self.rows.get(key)? else {
            return Ok(None);
        };
        let row: Row = json_row(&key, &value)?;
        let text = row.text.and_then(|sealed| seal.open(&name(id), &sealed));
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Some((row.mail, text)))
    }

    /// How many letters were not sent yet; reads all.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn waiting(&self) -> Result<u64, MailError> {
        let mut waiting = 0;
        for row in self.rows.prefix([]) {
            let (key, value) = row?;
            waiting += u64::from(json_row::<Row>(&key, &value)?.mail.sent_at.is_none());
        }
        Ok(waiting)
    }

    /// Has a letter sent again, as if it was new; goes into `batch`.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn again(&self, batch: &mut Batch, id: u64, now_ms: u64) -> Result<Again, MailError> {
        let key = id.to_be_bytes();
        let Some(value) = self.rows.get(key)? else {
            return Ok(Again::Missing);
        };
        let mut row: Row = json_row(&key, &value)?;
        if row.text.is_none() {
            return Ok(Again::Sent);
        }
        row.mail.attempts = 0;
        row.mail.given_up = false;
        row.next_ms = Some(now_ms);
        self.write(batch, &row);
        Ok(Again::Waits { to: row.mail.to })
    }

    /// Letters that are to be sent now, the oldest first, at most `limit`.
    pub(super) fn due(
        &self,
        seal: &Seal,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Letter)>, MailError> {
        let mut due = Vec::new();
        for row in self.rows.prefix([]) {
            let (key, value) = row?;
            let row: Row = json_row(&key, &value)?;
            let id = row.mail.id;
            if row.next_ms.is_none_or(|next| next > now_ms) {
                continue;
            }
            let Some(text) = row.text.and_then(|sealed| seal.open(&name(id), &sealed)) else {
                continue;
            };
            let letter = Letter {
                to: row.mail.to,
                subject: row.mail.subject,
                text: String::from_utf8_lossy(&text).into_owned(),
            };
            due.push((id, letter));
            if due.len() == limit {
                break;
            }
        }
        Ok(due)
    }

    /// Notes how sending a letter went; goes into `batch`.
    pub(super) fn tried(
        &self,
        batch: &mut Batch,
        id: u64,
        outcome: Result<(), String>,
        now_ms: u64,
    ) -> Result<(), MailError> {
        let key = id.to_be_bytes();
        let Some(value) = self.rows.get(key)? else {
            return Ok(());
        };
        let mut row: Row = json_row(&key, &value)?;
        row.mail.attempts += 1;
        match outcome {
            Ok(()) => {
                row.mail.sent_at =
                    Some(Datetime::from_unix_millis(now_ms.cast_signed()).to_string());
                row.mail.error = None;
                row.next_ms = None;
                row.text = None;
            }
            Err(cause) => {
                let pause = FIRST_PAUSE_MS << row.mail.attempts.min(16);
                row.mail.error = Some(cause.chars().take(500).collect());
                row.mail.given_up = row.mail.attempts >= MAX_ATTEMPTS;
                row.next_ms =
                    (!row.mail.given_up).then(|| now_ms.saturating_add(pause.min(LAST_PAUSE_MS)));
            }
        }
        self.write(batch, &row);
        Ok(())
    }
}

fn name(id: u64) -> String {
    format!("mail {id}")
}
