//! The pins of this service as `ipfs-cluster-service state import` reads them.

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::Owner;
use crate::model::Pin;
use crate::placement::PinRecord;
use crate::planner::Policy;
use crate::request::{PinRequest, Wanted};
use crate::service::Pins;
use crate::store::{OwnerQuery, StateError, TokenRange};

/// Pins that are handed over together.
const GROUP: usize = 500;

/// All pins, or those of one owner, as lines of JSON. What somebody else also wants counts for the owner as the owner
/// wants it.
///
/// Where a pin is allocated is written as it came, for one that came from an IPFS-Cluster; for all others these are the
/// workers that keep it. Pins whose end has passed are left out. A stream that ends without an error is whole.
pub fn export(pins: &Pins, owner: Option<Owner>) -> BoxStream<'static, Result<Bytes, StateError>> {
    let policy = pins.policy().clone();
    let now_s = pins.now_ms() / 1000;
    let records = match owner {
        None => pins.store().scan(TokenRange::ALL, None),
        Some(owner) => owned(pins.clone(), owner),
    };
    records
        .try_ready_chunks(GROUP)
        .map(move |group| match group {
            Ok(records) => write(&records, &policy, now_s),
            Err(error) => Err(error.1),
        })
        .boxed()
}

/// The records of an owner's requests.
fn owned(pins: Pins, owner: Owner) -> BoxStream<'static, Result<PinRecord, StateError>> {
    let pages = stream::try_unfold(Some(None), move |state| {
        let (pins, owner) = (pins.clone(), owner.clone());
        async move {
            let Some(cursor) = state else {
                return Ok::<_, StateError>(None);
            };
            let query = OwnerQuery {
                cursor,
                limit: GROUP,
                ..OwnerQuery::default()
            };
            let page = pins.store().owner_requests(&owner, query).await?;
            let records = with_placements(&pins, page.requests).await?;
            let records = stream::iter(records).map(Ok);
            Ok(Some((records, page.cursor.map(Some))))
        }
    });
    pages.try_flatten().boxed()
}

async fn with_placements(
    pins: &Pins,
    requests: Vec<PinRequest>,
) -> Result<Vec<PinRecord>, StateError> {
    let cids: Vec<_> = requests.iter().map(|request| *request.cid()).collect();
    let records = pins.store().records(&cids).await?;
    let owned = |(record, request): (PinRecord, PinRequest)| PinRecord {
        wanted: Some(Wanted::of(request)),
        ..record
    };
    Ok(records.into_iter().zip(requests).map(owned).collect())
}

fn write(records: &[PinRecord], policy: &Policy, now_s: u64) -> Result<Bytes, StateError> {
    let mut out = Vec::with_capacity(records.len() * 512);
    for record in records {
        let Some(pin) = exported(record, policy, now_s) else {
            continue;
        };
        serde_json::to_writer(&mut out, &pin)
            .map_err(|why| StateError::Damaged(format!("{}: {why}", pin.cid)))?;
        out.push(b'\n');
    }
    Ok(out.into())
}

/// A pin as the state of an IPFS-Cluster has it.
fn exported(record: &PinRecord, policy: &Policy, now_s: u64) -> Option<Pin> {
    let mut pin = record.wanted.as_ref()?.pin.clone();
    let options = &mut pin.options;
    if options.expire_at.is_some_and(|end| end <= now_s) {
        return None;
    }
    let or = |asked: i32, default: i32| if asked == 0 { default } else { asked };
    options.replication_min = or(options.replication_min, policy.replication_min);
    options.replication_max = or(options.replication_max, policy.replication_max);
    let everywhere = options.replication_min < 0 || options.replication_max < 0;
    // The state does not have them: they have become allocations.
    options.user_allocations.clear();
    if pin.allocations.is_empty() && !everywhere {
        let desired = record.placements.iter().filter(|(_, p)| p.desired);
        pin.allocations = desired.map(|(id, _)| id.clone()).collect();
    }
    Some(pin)
}
