//! Between messages and what the service works with.

use std::collections::BTreeMap;

use prost_types::{Duration, Timestamp};
use tonic::Status;
use ues_data::Cid;

use super::status::invalid;
use super::{MAX_CIDS, v1};
use crate::fleet::Fleet;
use crate::model::{GoTime, Multiaddr, PeerId, PinMode, PinOptions};
use crate::pinning_service::delegates;
use crate::placement::{Placement, PlacementState};
use crate::service::{Overall, PinView, Wish};

/// A point in time; years up to 9999, as the type has it.
pub(super) fn timestamp(millis: u64) -> Timestamp {
    let time = GoTime::from_millis(millis);
    Timestamp {
        seconds: time.unix_seconds(),
        nanos: i32::try_from(millis % 1000).unwrap_or(0) * 1_000_000,
    }
}

fn timestamp_of_secs(seconds: u64) -> Timestamp {
    timestamp(seconds.saturating_mul(1000))
}

/// Milliseconds since the Unix epoch; 0 for what is earlier.
pub(super) fn millis(field: &str, time: &Timestamp) -> Result<u64, Status> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(invalid(format!(
            "{field}: 0 to 999999999 nanoseconds expected, found {}",
            time.nanos
        )));
    }
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    let nanos = u64::try_from(time.nanos).unwrap_or(0);
    Ok(seconds
        .saturating_mul(1000)
        .saturating_add(nanos / 1_000_000))
}

fn seconds(field: &str, time: &Duration) -> Result<u64, Status> {
    let wrong = || {
        invalid(format!(
            "{field}: a length of time expected that is not below zero"
        ))
    };
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(wrong());
    }
    u64::try_from(time.seconds).map_err(|_| wrong())
}

pub(super) fn read_cid(text: &str) -> Result<Cid, Status> {
    ues_data::parse_cid(text).map_err(|e| {
        let shown: String = text.chars().take(200).collect();
        invalid(format!("cid {shown:?}: {e}"))
    })
}

pub(super) fn read_cids(texts: &[String]) -> Result<Vec<Cid>, Status> {
    if texts.len() > MAX_CIDS {
        return Err(invalid(format!(
            "cids: at most {MAX_CIDS}, found {}",
            texts.len()
        )));
    }
    texts.iter().map(|text| read_cid(text)).collect()
}

/// The enum value of a field, or a sentence about it.
pub(super) fn read_enum<T: TryFrom<i32>>(field: &str, number: i32) -> Result<T, Status> {
    T::try_from(number).map_err(|_| invalid(format!("{field}: {number} is not known here")))
}

/// What a specification asks for.
pub(super) fn read_spec(
    spec: Option<v1::PinSpec>,
    op_id: String,
    now_s: u64,
) -> Result<(Cid, Wish), Status> {
    let spec = spec.ok_or_else(|| invalid("spec: what is to be pinned is missing"))?;
    let cid = read_cid(&spec.cid)?;
    Ok((cid, read_wish(spec, op_id, now_s)?))
}

/// What a specification asks for, whatever its CID.
pub(super) fn read_wish(spec: v1::PinSpec, op_id: String, now_s: u64) -> Result<Wish, Status> {
    let mode = match read_enum("mode", spec.mode)? {
        v1::PinMode::Direct => PinMode::Direct,
        v1::PinMode::Recursive | v1::PinMode::Unspecified => PinMode::Recursive,
    };
    let expire_at = match &spec.end {
        None => None,
        Some(v1::pin_spec::End::ExpireAt(time)) => Some(millis("expire_at", time)? / 1000),
        Some(v1::pin_spec::End::Ttl(time)) => Some(now_s.saturating_add(seconds("ttl", time)?)),
    };
    let replication = spec.replication.unwrap_or_default();
    let options = PinOptions {
        replication_min: replication.min,
        replication_max: replication.max,
        name: spec.name,
        mode,
        expire_at,
        metadata: spec.meta.into_iter().collect(),
        origins: spec
            .origins
            .iter()
            .map(|text| read_address(text))
            .collect::<Result<_, _>>()?,
        ..PinOptions::default()
    };
    let mut tags = spec.tags;
    tags.sort_unstable();
    tags.dedup();
    let op_id = (!op_id.is_empty()).then_some(op_id);
    Ok(Wish {
        options,
        tags,
        op_id,
    })
}

fn read_address(text: &str) -> Result<Multiaddr, Status> {
    text.parse().map_err(|e| {
        let shown: String = text.chars().take(200).collect();
        invalid(format!("origin {shown:?} is not a multiaddr: {e}"))
    })
}

pub(super) fn read_status(status: v1::PinStatus) -> Result<Overall, Status> {
    match status {
        v1::PinStatus::Queued => Ok(Overall::Queued),
        v1::PinStatus::Pinning => Ok(Overall::Pinning),
        v1::PinStatus::Pinned => Ok(Overall::Pinned),
        v1::PinStatus::Failed => Ok(Overall::Failed),
        v1::PinStatus::Unspecified => Err(invalid("statuses: a status expected, found 0")),
    }
}

fn status(overall: Overall) -> v1::PinStatus {
    match overall {
        Overall::Queued => v1::PinStatus::Queued,
        Overall::Pinning => v1::PinStatus::Pinning,
        Overall::Pinned => v1::PinStatus::Pinned,
        Overall::Failed => v1::PinStatus::Failed,
    }
}

/// How far a placement is; `None` when it is gone.
pub(super) fn placement_state(desired: bool, state: Option<PlacementState>) -> v1::PlacementState {
    match (desired, state) {
        (_, None | Some(PlacementState::Unpinned)) => v1::PlacementState::Unpinned,
        (true, Some(PlacementState::Queued)) => v1::PlacementState::Queued,
        (true, Some(PlacementState::Pinning)) => v1::PlacementState::Pinning,
        (true, Some(PlacementState::Pinned)) => v1::PlacementState::Pinned,
        (true, Some(PlacementState::Error)) => v1::PlacementState::Failed,
        (false, Some(_)) => v1::PlacementState::Unpinning,
    }
}

/// A copy.
pub(super) fn placement(worker: &PeerId, placed: &Placement, fleet: &Fleet) -> v1::Placement {
    let known = fleet.get(worker);
    v1::Placement {
        worker: worker.to_string(),
        worker_name: known.map(|known| known.name.clone()).unwrap_or_default(),
        state: placement_state(placed.desired, Some(placed.state)).into(),
        changed_at: Some(timestamp(placed.changed_ms)),
        attempt: placed.attempt,
        bytes: placed.bytes,
        error: placed.error.clone(),
        terminal: placed.terminal,
    }
}

/// A request, with how far it is.
pub(super) fn pin(view: PinView, fleet: &Fleet) -> v1::Pin {
    let count = |is: fn(&Placement) -> bool| {
        let copies = view.placements.iter().filter(|(_, placed)| is(placed));
        u32::try_from(copies.count()).unwrap_or(u32::MAX)
    };
    let placements = view.placements.iter();
    let bytes = placements.clone().map(|(_, placed)| placed.bytes).max();
    v1::Pin {
        request_id: view.id().to_string(),
        owner: view.request.owner.as_str().to_owned(),
        status: status(view.overall).into(),
        created_at: Some(timestamp(view.request.created_ms)),
        placements: placements
            .map(|(worker, placed)| placement(worker, placed, fleet))
            .collect(),
        error: view.error().unwrap_or_default().to_owned(),
        bytes: bytes.unwrap_or_default(),
        copies: count(Placement::is_pinned),
        copies_desired: count(|placed| placed.desired),
        delegates: delegates(fleet),
        spec: Some(spec(
            *view.request.cid(),
            view.request.pin.options,
            view.request.tags,
        )),
    }
}

fn spec(cid: Cid, options: PinOptions, tags: Vec<String>) -> v1::PinSpec {
    let copies = (options.replication_min, options.replication_max);
    let mode = match options.mode {
        PinMode::Recursive => v1::PinMode::Recursive,
        PinMode::Direct => v1::PinMode::Direct,
    };
    let end = options.expire_at.map(timestamp_of_secs);
    v1::PinSpec {
        cid: cid.to_string(),
        name: options.name,
        origins: options.origins.iter().map(ToString::to_string).collect(),
        meta: options.metadata.into_iter().collect::<BTreeMap<_, _>>(),
        tags,
        replication: (copies != (0, 0)).then_some(v1::Replication {
            min: copies.0,
            max: copies.1,
        }),
        mode: mode.into(),
        end: end.map(v1::pin_spec::End::ExpireAt),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_come_back(ms in 0u64..253_402_300_799_000) {
            prop_assert_eq!(millis("x", &timestamp(ms)).ok(), Some(ms));
        }

        #[test]
        fn any_specification_is_read_or_refused(
            cid in "\\PC{0,20}", mode in any::<i32>(), seconds in any::<i64>(), nanos in any::<i32>(), ttl: bool,
            origins in proptest::collection::vec("(/ip4/127.0.0.1|\\PC{0,5})", 0..3),
        ) {
            let end = if ttl {
                v1::pin_spec::End::Ttl(Duration { seconds, nanos })
            } else {
                v1::pin_spec::End::ExpireAt(Timestamp { seconds, nanos })
            };
            let spec = v1::PinSpec { cid, mode, origins: origins.clone(), end: Some(end), ..Default::default() };
            let fine = (0..1_000_000_000).contains(&nanos) && (!ttl || seconds >= 0) && (0..=2).contains(&mode)
                && origins.iter().all(|origin| origin.parse::<Multiaddr>().is_ok());
            prop_assert_eq!(read_wish(spec, String::new(), 7).is_ok(), fine);
        }

        #[test]
        fn what_is_asked_for_is_shown(
            name in "\\PC{0,20}", tags in proptest::collection::btree_set("[a-z]{1,5}", 0..4), min in -1..9i32,
            max in -1..9i32, direct: bool, seconds in proptest::option::of(0i64..253_402_300_799),
            meta in proptest::collection::btree_map("[a-z]{1,5}", "\\PC{0,5}", 0..3),
        ) {
            let cid = ues_data::raw_cid(name.as_bytes());
            let mode = if direct { v1::PinMode::Direct } else { v1::PinMode::Recursive };
            let asked = v1::PinSpec {
                cid: cid.to_string(),
                name,
                origins: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
                meta,
                tags: tags.into_iter().collect(),
                replication: ((min, max) != (0, 0)).then_some(v1::Replication { min, max }),
                mode: mode.into(),
                end: seconds.map(|seconds| v1::pin_spec::End::ExpireAt(Timestamp { seconds, nanos: 0 })),
            };
            let (read, wish) = read_spec(Some(asked.clone()), String::new(), 0).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(spec(read, wish.options, wish.tags), asked);
        }
    }
}
