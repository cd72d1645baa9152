//! The tables, and how they are made and changed.
//!
//! Everything that the database keeps is in versions; a version that was applied is never changed. The table
//! `schema_versions` says which were. Programs that start at the same time take turns: a row in `schema_lock` is held by
//! a lightweight transaction, and the database lets go of it when its holder dies.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::unprepared::Statement;

use super::CqlError;
use super::settings::{CqlReplication, CqlSettings};
use crate::Clock;

/// How long a holder of the lock may be silent, in seconds.
const LOCK_SECONDS: u32 = 60;
/// The pause between two looks at a lock that another has.
const LOCK_LOOK: Duration = Duration::from_millis(200);
/// How long a look at the tables may take, whatever the settings say of other statements.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// What has to be there before anything else: two tables that say what is there.
const FOUNDATION: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS {ks}.schema_lock (name text PRIMARY KEY, holder text)",
    "CREATE TABLE IF NOT EXISTS {ks}.schema_versions (part text, version int, applied_at timestamp, checksum text, \
     PRIMARY KEY ((part), version))",
];

/// All versions, from 1 on. Every text may be applied twice.
const VERSIONS: [&[&str]; 2] = [
    &[
        // A request. `request` is what counts; the columns behind it are copies of parts of it for people and other programs.
        // An empty `request` is the marker of one that was removed.
        "CREATE TABLE IF NOT EXISTS {ks}.pins_by_cid (mh blob, cid blob, owner text, request blob, pin_type int, rf int, \
     tags frozen<list<text>>, ttl timestamp, metadata frozen<map<text, text>>, created_at timestamp, \
     updated_at timestamp, PRIMARY KEY ((mh), cid, owner)) WITH compaction = {'class': 'LeveledCompactionStrategy'}",
        // A placement; likewise.
        "CREATE TABLE IF NOT EXISTS {ks}.placements_by_cid (mh blob, cid blob, peer blob, placement blob, desired boolean, \
     state int, is_healthy boolean, last_seen timestamp, PRIMARY KEY ((mh), cid, peer)) \
     WITH compaction = {'class': 'LeveledCompactionStrategy'}",
        // The listing of an owner, tag '' for all of it, in partitions of a minute.
        "CREATE TABLE IF NOT EXISTS {ks}.owner_pins (owner text, tag text, minute bigint, created_ms bigint, cid blob, \
     stamp bigint, PRIMARY KEY ((owner, tag, minute), created_ms, cid)) \
     WITH CLUSTERING ORDER BY (created_ms DESC, cid ASC)",
        // The minutes in which there is something.
        "CREATE TABLE IF NOT EXISTS {ks}.owner_minutes (owner text, tag text, minute bigint, stamp bigint, \
     PRIMARY KEY ((owner, tag), minute)) WITH CLUSTERING ORDER BY (minute DESC)",
        "CREATE TABLE IF NOT EXISTS {ks}.pin_ttl_queue (hour bigint, shard int, due bigint, cid blob, owner text, \
     stamp bigint, PRIMARY KEY ((hour, shard), due, cid, owner)) WITH compaction = \
     {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', 'compaction_window_size': '1'}",
        // From which second on entries of the queue are not settled.
        "CREATE TABLE IF NOT EXISTS {ks}.ttl_positions (shard int PRIMARY KEY, due bigint)",
        "CREATE TABLE IF NOT EXISTS {ks}.op_dedup (owner text, op_id text, fingerprint bigint, answer blob, \
     PRIMARY KEY ((owner, op_id)))",
        "CREATE TABLE IF NOT EXISTS {ks}.leases (name text PRIMARY KEY, holder text, until_ms bigint)",
        // Workers (kind 'worker'), whether they are to be emptied ('draining'); an empty value is the marker of one that
        // was removed.
        "CREATE TABLE IF NOT EXISTS {ks}.fleet (kind text, id blob, value blob, PRIMARY KEY ((kind), id))",
        "CREATE TABLE IF NOT EXISTS {ks}.notes (name text PRIMARY KEY, value blob)",
    ],
    &[
        // Owners and their keys.
        "CREATE TABLE IF NOT EXISTS {ks}.access (part text, name text, value blob, PRIMARY KEY ((part), name))",
    ],
];

/// The version that this program knows.
pub(super) const NEWEST: i32 = VERSIONS.len() as i32;

/// Brings a keyspace to the newest version.
pub(super) async fn migrate(
    session: &Session,
    settings: &CqlSettings,
    clock: &Clock,
) -> Result<(), CqlError> {
    make_keyspace(session, settings).await?;
    let migration = Migration {
        session,
        settings,
        clock,
        holder: holder(),
    };
    if migration.is_current().await? {
        return Ok(());
    }
    for text in FOUNDATION {
        migration.change(text).await?;
    }
    migration.lock().await?;
    let done = migration.apply().await;
    // Another finds the lock free at once; a failure to free it costs it a minute.
    let freed = migration.unlock().await;
    done.and(freed)
}

/// Names one start of one program.
fn holder() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return format!("process {}", std::process::id());
    }
    data_encoding::HEXLOWER.encode(&bytes)
}

struct Migration<'a> {
    session: &'a Session,
    settings: &'a CqlSettings,
    clock: &'a Clock,
    holder: String,
}

impl Migration<'_> {
    /// Whether there is nothing to do.
    async fn is_current(&self) -> Result<bool, CqlError> {
        let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
        let values = (&self.settings.keyspace, "schema_versions");
        let found = self.session.query_unpaged(patient(text), values).await?;
        if found.into_rows_result()?.rows_num() == 0 {
            return Ok(false);
        }
        match self.applied().await {
            // The node lists a table that is just being made before it can read it.
            Err(CqlError::Schema(why)) => {
                tracing::debug!(why, "the tables are not there yet");
                Ok(false)
            }
            applied => Ok(applied? == NEWEST),
        }
    }

    /// The newest version that was applied, after a look whether all are what this program thinks they are.
    async fn applied(&self) -> Result<i32, CqlError> {
        let text = self.named("SELECT version, checksum FROM {ks}.schema_versions WHERE part = ?");
        let rows = self.session.query_unpaged(patient(text), ("pins",)).await?;
        let rows = rows.into_rows_result()?;
        let mut newest = 0;
        for row in rows.rows::<(i32, Option<String>)>()? {
            let (version, found) = row?;
            if version > NEWEST {
                return Err(CqlError::Newer {
                    keyspace: self.settings.keyspace.clone(),
                    found: version,
                    known: NEWEST,
                });
            }
            let texts = usize::try_from(version - 1)
                .ok()
                .and_then(|i| VERSIONS.get(i));
            let expected = texts.map(|texts| checksum(texts));
            if found != expected {
                return Err(CqlError::Changed {
                    keyspace: self.settings.keyspace.clone(),
                    version,
                });
            }
            newest = newest.max(version);
        }
        Ok(newest)
    }

    async fn apply(&self) -> Result<(), CqlError> {
        let applied = self.applied().await?;
        for (version, texts) in (1..).zip(VERSIONS) {
            if version <= applied {
                continue;
            }
            for text in texts {
                self.change(text).await?;
                self.hold_on().await?;
            }
            let text = "INSERT INTO {ks}.schema_versions (part, version, applied_at, checksum) VALUES (?, ?, ?, ?)";
            let now = super::timestamp(self.clock.now_ms());
            let values = ("pins", version, now, checksum(texts));
            self.session
                .query_unpaged(patient(self.named(text)), values)
                .await?;
            tracing::info!(
                version,
                keyspace = self.settings.keyspace,
                "tables were made"
            );
        }
        Ok(())
    }

    /// Makes a change of the schema, and waits until all nodes have it.
    async fn change(&self, text: &str) -> Result<(), CqlError> {
        let mut statement = Statement::new(self.named(text));
        // A schema change may take longer than any other statement.
        statement.set_request_timeout(Some(LOCK_WAIT));
        self.session.query_unpaged(statement, ()).await?;
        self.session.await_schema_agreement().await?;
        Ok(())
    }

    async fn lock(&self) -> Result<(), CqlError> {
        let begun = tokio::time::Instant::now();
        loop {
            let text = format!(
                "INSERT INTO {{ks}}.schema_lock (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL {LOCK_SECONDS}"
            );
            // After a failure it is not known whether it was taken: then the lock names us.
            let tried = self.transact(&text, ("pins", &self.holder)).await;
            if matches!(tried, Ok(true)) || self.lock_holder().await?.as_ref() == Some(&self.holder)
            {
                return Ok(());
            }
            if begun.elapsed() > LOCK_WAIT {
                return Err(CqlError::Locked {
                    keyspace: self.settings.keyspace.clone(),
                });
            }
            tokio::time::sleep(LOCK_LOOK).await;
        }
    }

    async fn lock_holder(&self) -> Result<Option<String>, CqlError> {
        let text = self.named("SELECT holder FROM {ks}.schema_lock WHERE name = ?");
        let mut statement = patient(text);
        statement.set_consistency(super::statements::serial_reads(self.settings));
        let found = self.session.query_unpaged(statement, ("pins",)).await?;
        let found = found.into_rows_result()?;
        Ok(found
            .maybe_first_row::<(Option<String>,)>()?
            .and_then(|row| row.0))
    }

    async fn hold_on(&self) -> Result<(), CqlError> {
        let text = format!(
            "UPDATE {{ks}}.schema_lock USING TTL {LOCK_SECONDS} SET holder = ? WHERE name = ? IF holder = ?"
        );
        let held = self
            .transact(&text, (&self.holder, "pins", &self.holder))
            .await?;
        if held {
            Ok(())
        } else {
            Err(CqlError::Locked {
                keyspace: self.settings.keyspace.clone(),
            })
        }
    }

    async fn unlock(&self) -> Result<(), CqlError> {
        let text = "DELETE FROM {ks}.schema_lock WHERE name = ? IF holder = ?";
        self.transact(text, ("pins", &self.holder)).await?;
        Ok(())
    }

    /// Runs a lightweight transaction; says whether it was applied.
    async fn transact(
        &self,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> Result<bool, CqlError> {
        let statement = patient(self.named(text));
        let done = self.session.query_unpaged(statement, values).await?;
        super::was_applied(done).map_err(CqlError::State)
    }

    fn named(&self, text: &str) -> String {
        named(text, &self.settings.keyspace)
    }
}

/// A statement that may take its time.
fn patient(text: impl Into<String>) -> Statement {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(LOOK_TIMEOUT));
    statement
}

/// A text for a keyspace.
pub(super) fn named(text: &str, keyspace: &str) -> String {
    text.replace("{ks}", &format!("\"{keyspace}\""))
}

fn checksum(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().chars().take(32).collect()
}

/// Makes the keyspace where it is missing; one that is there is used as it is.
async fn make_keyspace(session: &Session, settings: &CqlSettings) -> Result<(), CqlError> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = session
        .query_unpaged(patient(text), (&settings.keyspace,))
        .await?;
    if found.into_rows_result()?.rows_num() > 0 {
        return Ok(());
    }
    let text = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = {}",
        settings.keyspace,
        replication(session, settings)
    );
    session.query_unpaged(patient(text), ()).await?;
    session.await_schema_agreement().await?;
    Ok(())
}

/// How the keyspace is replicated when nobody says it: once on a single node, else three times in each datacentre that
/// has so many nodes.
fn replication(session: &Session, settings: &CqlSettings) -> String {
    let state = session.get_cluster_state();
    let mut nodes = std::collections::BTreeMap::<String, u32>::new();
    for node in state.get_nodes_info() {
        *nodes
            .entry(node.datacenter.clone().unwrap_or_default())
            .or_default() += 1;
    }
    replication_text(settings.replication.as_ref(), nodes)
}

fn replication_text(
    wanted: Option<&CqlReplication>,
    nodes: std::collections::BTreeMap<String, u32>,
) -> String {
    let datacentres = match wanted {
        Some(CqlReplication::Copies(copies)) => {
            return format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}");
        }
        Some(CqlReplication::Datacentres(copies)) => copies.clone(),
        None if nodes.values().sum::<u32>() <= 1 || nodes.contains_key("") => {
            return "{'class': 'SimpleStrategy', 'replication_factor': 1}".to_owned();
        }
        None => nodes.into_iter().map(|(dc, n)| (dc, n.min(3))).collect(),
    };
    let mut text = "{'class': 'NetworkTopologyStrategy'".to_owned();
    for (name, copies) in datacentres {
        text.push_str(&format!(", '{}': {copies}", name.replace('\'', "''")));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keyspaces_are_replicated_as_the_cluster_allows() {
        let nodes = |nodes: &[(&str, u32)]| -> BTreeMap<String, u32> {
            nodes.iter().map(|(dc, n)| ((*dc).to_owned(), *n)).collect()
        };
        let simple = |n| format!("{{'class': 'SimpleStrategy', 'replication_factor': {n}}}");
        assert_eq!(replication_text(None, nodes(&[("dc1", 1)])), simple(1));
        assert_eq!(
            replication_text(None, nodes(&[("dc1", 5), ("dc2", 2)])),
            "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2}"
        );
        let wanted = CqlReplication::Copies(2);
        assert_eq!(
            replication_text(Some(&wanted), nodes(&[("dc1", 5)])),
            simple(2)
        );
        let wanted = CqlReplication::Datacentres(nodes(&[("dc9", 4)]));
        assert_eq!(
            replication_text(Some(&wanted), nodes(&[("dc1", 5)])),
            "{'class': 'NetworkTopologyStrategy', 'dc9': 4}"
        );
    }

    #[test]
    fn versions_that_were_applied_are_never_changed() {
        let checksums: Vec<_> = VERSIONS.iter().map(|texts| checksum(texts)).collect();
        assert_eq!(
            checksums,
            [
                "7d74ba268f2e051e79e3ec1bb31b63d4",
                "6c09fed5b7cb6101077033201a4a6419"
            ]
        );
    }

    #[test]
    fn all_texts_name_the_keyspace_and_may_be_repeated() {
        for text in FOUNDATION.iter().chain(VERSIONS.concat().iter()) {
            assert!(
                text.contains("{ks}.") && text.contains("IF NOT EXISTS"),
                "{text}"
            );
        }
    }
}
