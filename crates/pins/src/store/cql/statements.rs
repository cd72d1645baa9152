//! Every statement of the store, prepared once.

use scylla::client::session::Session;
use scylla::frame::types::{Consistency, SerialConsistency};
use scylla::statement::prepared::PreparedStatement;

use super::schema::named;
use super::settings::CqlSettings;
use super::{CqlError, SCAN_PAGE};

/// What a statement does, as far as its consistency depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    /// A read of what transactions write.
    SerialRead,
    Write,
    Transaction,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $kind:ident $text:expr;)*) => {
        /// The statements, prepared.
        pub(super) struct Statements {
            $($(#[$doc])* pub $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares all of them.
            pub(super) async fn prepare(session: &Session, settings: &CqlSettings) -> Result<Self, CqlError> {
                Ok(Self { $($name: prepare(session, settings, Kind::$kind, $text).await?,)* })
            }
        }
    };
}

statements! {
    clock: Read "SELECT toTimestamp(now()) FROM system.local";
    request: Read "SELECT request, WRITETIME(request) FROM {ks}.pins_by_cid WHERE mh = ? AND cid = ? AND owner = ?";
    requests_of: Read "SELECT owner, request FROM {ks}.pins_by_cid WHERE mh = ? AND cid = ?";
    put_request: Write "INSERT INTO {ks}.pins_by_cid (mh, cid, owner, request, pin_type, rf, tags, ttl, metadata, \
        created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    mark_request: Write "INSERT INTO {ks}.pins_by_cid (mh, cid, owner, request, pin_type, rf, tags, ttl, metadata, \
        created_at, updated_at) VALUES (?, ?, ?, 0x, null, null, null, null, null, null, null) \
        USING TIMESTAMP ? AND TTL ?";
    scan_requests: Read "SELECT token(mh), cid, owner, request FROM {ks}.pins_by_cid \
        WHERE token(mh) >= ? AND token(mh) <= ?";

    placements_of: Read "SELECT peer, placement, WRITETIME(placement) FROM {ks}.placements_by_cid \
        WHERE mh = ? AND cid = ?";
    put_placement: Write "INSERT INTO {ks}.placements_by_cid (mh, cid, peer, placement, desired, state, is_healthy, \
        last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    mark_placement: Write "INSERT INTO {ks}.placements_by_cid (mh, cid, peer, placement, desired, state, is_healthy, \
        last_seen) VALUES (?, ?, ?, 0x, null, null, null, null) USING TIMESTAMP ? AND TTL ?";
    scan_placements: Read "SELECT token(mh), cid, peer, placement, WRITETIME(placement) FROM {ks}.placements_by_cid \
        WHERE token(mh) >= ? AND token(mh) <= ?";

    put_owned: Write "INSERT INTO {ks}.owner_pins (owner, tag, minute, created_ms, cid, stamp) \
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_owned: Write "DELETE FROM {ks}.owner_pins USING TIMESTAMP ? \
        WHERE owner = ? AND tag = ? AND minute = ? AND created_ms = ? AND cid = ?";
    owned: Read "SELECT created_ms, cid, stamp FROM {ks}.owner_pins \
        WHERE owner = ? AND tag = ? AND minute = ? AND created_ms <= ? AND created_ms >= ? LIMIT ?";
    owned_beside: Read "SELECT created_ms, cid, stamp FROM {ks}.owner_pins \
        WHERE owner = ? AND tag = ? AND minute = ? AND created_ms = ? AND cid > ? LIMIT ?";
    put_minute: Write "INSERT INTO {ks}.owner_minutes (owner, tag, minute, stamp) VALUES (?, ?, ?, ?) \
        USING TIMESTAMP ?";
    delete_minute: Write "DELETE FROM {ks}.owner_minutes USING TIMESTAMP ? WHERE owner = ? AND tag = ? AND minute = ?";
    minutes: Read "SELECT minute, stamp FROM {ks}.owner_minutes \
        WHERE owner = ? AND tag = ? AND minute <= ? AND minute >= ? LIMIT ?";

    put_end: Write "INSERT INTO {ks}.pin_ttl_queue (hour, shard, due, cid, owner, stamp) VALUES (?, ?, ?, ?, ?, ?) \
        USING TIMESTAMP ? AND TTL ?";
    ends: Read "SELECT due, cid, owner, stamp FROM {ks}.pin_ttl_queue \
        WHERE hour = ? AND shard = ? AND (due, cid, owner) > (?, ?, ?) AND (due) <= (?) LIMIT ?";
    positions: Read "SELECT shard, due, WRITETIME(due) FROM {ks}.ttl_positions";
    first_position: Transaction "INSERT INTO {ks}.ttl_positions (shard, due) VALUES (?, ?) IF NOT EXISTS";
    put_position: Write "INSERT INTO {ks}.ttl_positions (shard, due) VALUES (?, ?) USING TIMESTAMP ?";

    operation: Read "SELECT fingerprint, answer FROM {ks}.op_dedup WHERE owner = ? AND op_id = ?";
    put_operation: Write "INSERT INTO {ks}.op_dedup (owner, op_id, fingerprint, answer) VALUES (?, ?, ?, ?) \
        USING TIMESTAMP ? AND TTL ?";

    lease: SerialRead "SELECT holder, until_ms FROM {ks}.leases WHERE name = ?";
    take_lease: Transaction "INSERT INTO {ks}.leases (name, holder, until_ms) VALUES (?, ?, ?) IF NOT EXISTS";
    change_lease: Transaction "UPDATE {ks}.leases SET holder = ?, until_ms = ? WHERE name = ? \
        IF holder = ? AND until_ms = ?";

    fleet: Read "SELECT id, value, WRITETIME(value) FROM {ks}.fleet WHERE kind = ?";
    fleet_version: Read "SELECT WRITETIME(value) FROM {ks}.fleet WHERE kind = ? AND id = ?";
    put_fleet: Write "INSERT INTO {ks}.fleet (kind, id, value) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    access: Read "SELECT value, WRITETIME(value) FROM {ks}.access WHERE part = ? AND name = ?";
    access_of: Read "SELECT name, value FROM {ks}.access WHERE part = ?";
    put_access: Write "INSERT INTO {ks}.access (part, name, value) VALUES (?, ?, ?) USING TIMESTAMP ?";

    note: Read "SELECT value, WRITETIME(value) FROM {ks}.notes WHERE name = ?";
    put_note: Write "INSERT INTO {ks}.notes (name, value) VALUES (?, ?) USING TIMESTAMP ?";
}

async fn prepare(
    session: &Session,
    settings: &CqlSettings,
    kind: Kind,
    text: &str,
) -> Result<PreparedStatement, CqlError> {
    let mut prepared = session.prepare(named(text, &settings.keyspace)).await?;
    match kind {
        Kind::Read => prepared.set_consistency(settings.read_consistency()),
        Kind::SerialRead => prepared.set_consistency(serial_reads(settings)),
        Kind::Write | Kind::Transaction => prepared.set_consistency(settings.consistency),
    }
    prepared.set_is_idempotent(kind != Kind::Transaction);
    prepared.set_tracing(settings.tracing_enabled);
    prepared.set_page_size(SCAN_PAGE);
    Ok(prepared)
}

/// The consistency that shows what transactions wrote.
pub(super) fn serial_reads(settings: &CqlSettings) -> Consistency {
    match settings.serial_consistency {
        SerialConsistency::Serial => Consistency::Serial,
        SerialConsistency::LocalSerial => Consistency::LocalSerial,
    }
}
