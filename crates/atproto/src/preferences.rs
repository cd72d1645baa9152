//! What apps keep for their users: one list of objects an account, each with its `$type`.

use serde_json::{Value, json};
use tokio::sync::Mutex;
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{Batch, CommitError, Keyspace, StorageError, Store};

/// The only namespace there is so far.
pub const NAMESPACE: &str = "app.bsky";
const PERSONAL_DETAILS: &str = "app.bsky.actor.defs#personalDetailsPref";
const DECLARED_AGE: &str = "app.bsky.actor.defs#declaredAgePref";

/// Why preferences are not read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreferenceError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store did not take the write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The row is not what was written.
    #[error("the preferences of {0} are damaged")]
    Damaged(Did),
    /// One has no `$type`.
    #[error("Preference is missing a $type")]
    NoType,
    /// One belongs to another namespace.
    #[error("Some preferences are not in the {NAMESPACE} namespace")]
    Namespace,
    /// Some only the account's own password may set.
    #[error("Do not have authorization to set preferences: {0}")]
    Forbidden(String),
}

/// The accounts' preferences: DID -> JSON array.
pub struct Preferences {
    store: Store,
    rows: Keyspace,
    /// A change reads what it keeps; changes are rare enough for one after the other.
    turn: Mutex<()>,
}

impl Preferences {
    /// Opens the preferences of a store.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_preferences")?,
            store: store.clone(),
            turn: Mutex::default(),
        })
    }

    /// The preferences of an account; `full` shows also what only its own password may see.
    pub fn get(&self, did: &Did, full: bool) -> Result<Vec<Value>, PreferenceError> {
        let mut all = self.all(did)?;
        let born = all.iter().find_map(|p| match type_of(p) {
            Some(PERSONAL_DETAILS) => p.get("birthDate")?.as_str(),
            _ => None,
        });
        if let Some(age) = born.and_then(|born| age_at(born, Datetime::now().as_str())) {
            all.push(json!({
                "$type": DECLARED_AGE,
                "isOverAge13": age >= 13,
                "isOverAge16": age >= 16,
                "isOverAge18": age >= 18,
            }));
        }
        all.retain(|p| is_allowed(p, full));
        Ok(all)
    }

    /// Puts `new` in the place of all preferences that the caller may change.
    pub async fn put(&self, did: &Did, new: Vec<Value>, full: bool) -> Result<(), PreferenceError> {
        let in_namespace = |name: &str| {
            name.strip_prefix(NAMESPACE)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for preference in &new {
            let name = type_of(preference).ok_or(PreferenceError::NoType)?;
            if !in_namespace(name) {
                return Err(PreferenceError::Namespace);
            }
        }
        let forbidden: Vec<&str> = new
            .iter()
            .filter(|p| !is_allowed(p, full))
            .filter_map(type_of)
            .collect();
        if !forbidden.is_empty() {
            return Err(PreferenceError::Forbidden(forbidden.join(", ")));
        }
        let _turn = self.turn.lock().await;
        let mut all = self.all(did)?;
        all.retain(|p| !is_allowed(p, full));
        // The age follows from the date of birth and is not kept.
        all.extend(new.into_iter().filter(|p| type_of(p) != Some(DECLARED_AGE)));
        let mut batch = self.store.batch();
        batch.put(&self.rows, did.as_str(), Value::Array(all).to_string());
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Removes an account's preferences; goes into `batch`.
    pub fn delete(&self, batch: &mut Batch, did: &Did) {
        batch.delete(&self.rows, did.as_str());
    }

    fn all(&self, did: &Did) -> Result<Vec<Value>, PreferenceError> {
        match self.rows.get(did.as_str())? {
            None => Ok(Vec::new()),
            Some(row) => {
                serde_json::from_slice(&row).map_err(|_| PreferenceError::Damaged(did.clone()))
            }
        }
    }
}

fn type_of(preference: &Value) -> Option<&str> {
    preference.get("$type")?.as_str()
}

/// Personal details are for the account's own password only.
fn is_allowed(preference: &Value, full: bool) -> bool {
    full || type_of(preference) != Some(PERSONAL_DETAILS)
}

/// Whole years from a day to another, both beginning `YYYY-MM-DD`.
fn age_at(born: &str, now: &str) -> Option<i32> {
    let (born, now) = (date(born)?, date(now)?);
    let before_birthday = (now.1, now.2) < (born.1, born.2);
    Some(now.0 - born.0 - i32::from(before_birthday))
}

fn date(text: &str) -> Option<(i32, u8, u8)> {
    let mut parts = text.get(..10)?.split('-');
    let date = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    Some(date)
}

#[cfg(test)]
mod tests {
    use super::age_at;

    #[test]
    fn birthdays() {
        let now = "2026-03-15T12:00:00.000Z";
        assert_eq!(age_at("2008-03-15T00:00:00Z", now), Some(18));
        assert_eq!(age_at("2008-03-16T00:00:00Z", now), Some(17));
        assert_eq!(age_at("2008-02-29T00:00:00Z", now), Some(18));
        assert_eq!(age_at("soon", now), None);
    }
}
