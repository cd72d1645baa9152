//! Which workers a CID goes to.

use std::collections::HashSet;

use super::Policy;
use crate::fleet::{Fleet, Worker};
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement, PlacementState};
use crate::request::Wanted;

/// Workers that are asked at most in place of those that fail. Content that nobody can find must not be looked for by all.
const SUBSTITUTES: usize = 2;

/// How many copies a pin wants, and which workers it goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    /// The workers that should have it.
    pub workers: Vec<PeerId>,
    /// Fewest copies.
    pub min: usize,
    /// Copies that nobody can take.
    pub missing: usize,
}

/// Decides on workers. Those that have the CID stay, as long as they are not lost or to be emptied; new ones are
/// chosen only when there are too few, and then up to the maximum, as IPFS-Cluster does it.
pub(super) fn allocate(
    record: &PinRecord,
    wanted: &Wanted,
    fleet: &Fleet,
    policy: &Policy,
    now_ms: u64,
) -> Allocation {
    let options = &wanted.pin.options;
    let or_default = |n: i32, default: i32| if n == 0 { default } else { n };
    let min = or_default(options.replication_min, policy.replication_min);
    let max = or_default(options.replication_max, policy.replication_max);
    let heard = |w: &Worker, within: u64| now_ms.saturating_sub(w.seen_ms) <= within;
    let usable = |w: &Worker| heard(w, policy.away_ms) && !w.draining && w.failing.is_none();
    if min < 0 || max < 0 {
        let everywhere = |w: &&Worker| !w.draining && heard(w, policy.lost_ms);
        let workers: Vec<_> = fleet.workers().iter().filter(everywhere).collect();
        return Allocation {
            min: workers.len(),
            missing: usize::from(workers.is_empty()),
            workers: workers.into_iter().map(|w| w.id.clone()).collect(),
        };
    }
    let min = usize::try_from(min).unwrap_or(1).max(1);
    let max = usize::try_from(max).unwrap_or(1).max(min);
    let mut chosen: Vec<&Worker> = current(record, fleet)
        .filter(|(w, pinned)| !w.draining && (heard(w, policy.lost_ms) || *pinned && usable(w)))
        .map(|(w, _)| w)
        .collect();
    let wish = |w: &Worker| options.user_allocations.contains(&w.id);
    let stuck = chosen
        .iter()
        .filter(|w| is_stuck(record, w, policy))
        .count();
    let pinned = chosen.iter().filter(|w| has(record, w)).count();
    // Where a worker cannot do it, another one is asked too; whoever has it stays in the end.
    let most = if pinned >= max {
        max
    } else {
        max + stuck.min(SUBSTITUTES)
    };
    if chosen.len() > most {
        shrink(record, &mut chosen, most, policy, &wish);
    } else if chosen.len() < min + stuck || wanted_elsewhere(&chosen, fleet, &wish, &usable, most) {
        let room = |w: &Worker| usable(w) && w.free >= policy.reserve;
        grow(record, &mut chosen, fleet, most, policy, &room, &wish);
    }
    Allocation {
        missing: min.saturating_sub(chosen.len()),
        workers: chosen.into_iter().map(|w| w.id.clone()).collect(),
        min,
    }
}

/// Workers that are meant to have it, and whether they do.
fn current<'a>(
    record: &'a PinRecord,
    fleet: &'a Fleet,
) -> impl Iterator<Item = (&'a Worker, bool)> {
    let desired = record.placements.iter().filter(|(_, p)| p.desired);
    desired.filter_map(|(id, p)| Some((fleet.get(id)?, p.is_pinned())))
}

/// Whether the user names a worker that could take it and there is room for one more copy.
fn wanted_elsewhere(
    chosen: &[&Worker],
    fleet: &Fleet,
    wish: &dyn Fn(&Worker) -> bool,
    usable: &dyn Fn(&Worker) -> bool,
    max: usize,
) -> bool {
    let open = |w: &Worker| wish(w) && usable(w) && !chosen.iter().any(|c| c.id == w.id);
    chosen.len() < max && fleet.workers().iter().any(open)
}

/// Adds workers up to `max`: those that the user named, then those of domains without a copy, then by score.
fn grow<'a>(
    record: &PinRecord,
    chosen: &mut Vec<&'a Worker>,
    fleet: &'a Fleet,
    max: usize,
    policy: &Policy,
    room: &dyn Fn(&Worker) -> bool,
    wish: &dyn Fn(&Worker) -> bool,
) {
    let mut candidates: Vec<(f64, &Worker)> = fleet
        .workers()
        .iter()
        .filter(|w| room(w) && !chosen.iter().any(|c| c.id == w.id))
        .map(|w| (score(record, w), w))
        .collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    let mut domains: HashSet<&str> = chosen.iter().filter_map(|w| domain(w, policy)).collect();
    while chosen.len() < max && !candidates.is_empty() {
        let fresh = |w: &Worker| domain(w, policy).is_some_and(|d| !domains.contains(d));
        let best = candidates
            .iter()
            .position(|(_, w)| wish(w))
            .or_else(|| candidates.iter().position(|(_, w)| fresh(w)))
            .unwrap_or(0);
        let (_, worker) = candidates.remove(best);
        domains.extend(domain(worker, policy));
        chosen.push(worker);
    }
}

/// Takes workers away down to `max`: those without the content first, then doubled domains, then by score. Those
/// that the user named stay longest.
fn shrink(
    record: &PinRecord,
    chosen: &mut Vec<&Worker>,
    max: usize,
    policy: &Policy,
    wish: &dyn Fn(&Worker) -> bool,
) {
    while chosen.len() > max {
        let crowded = |w: &Worker| {
            let domain = domain(w, policy);
            domain.is_some()
                && chosen
                    .iter()
                    .filter(|c| self::domain(c, policy) == domain)
                    .count()
                    > 1
        };
        let worth = |w: &Worker| {
            let works = !is_stuck(record, w, policy);
            (has(record, w), works && wish(w), works, !crowded(w))
        };
        let least = chosen.iter().enumerate().min_by(|(_, a), (_, b)| {
            let scores = score(record, a).total_cmp(&score(record, b));
            worth(a).cmp(&worth(b)).then(scores)
        });
        let Some((at, _)) = least else { return };
        chosen.remove(at);
    }
}

fn has(record: &PinRecord, worker: &Worker) -> bool {
    record
        .placement(&worker.id)
        .is_some_and(Placement::is_pinned)
}

/// Whether a worker has tried for long, or says that trying does not help.
fn is_stuck(record: &PinRecord, worker: &Worker, policy: &Policy) -> bool {
    let failed = |p: &Placement| p.desired && p.state == PlacementState::Error;
    let placement = record.placement(&worker.id);
    placement.is_some_and(|p| failed(p) && (p.terminal || p.attempt >= policy.patience))
}

fn domain<'a>(worker: &'a Worker, policy: &Policy) -> Option<&'a str> {
    worker.tags.get(&policy.domain_tag).map(String::as_str)
}

/// Rendezvous hashing weighted by free space: each worker gets its share, the same for everybody who asks, and a
/// worker that comes or goes moves only its own share (Schindelhauer and Schomaker, 2005).
fn score(record: &PinRecord, worker: &Worker) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(record.cid.hash().digest());
    hasher.update(worker.id.as_bytes());
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk::<8>();
    let bits = first.map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> 11;
    // In (0, 1): the fraction has 53 bits, as many as the number type.
    let fraction = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    let weight = (worker.free >> 20).max(1) as f64;
    -weight / fraction.ln()
}
