//! One shard: the only place that writes its placements.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use ues_bus::{Delivery, Message, QueueSpec, WorkQueue};
use ues_data::Cid;

use super::throttle::Throttle;
use super::totals::{self, Tally};
use super::{ReconcileError, Shared, pause};
use crate::event::PinEvent;
use crate::message::{self, Assign, Assigned, Changed, MAX_ITEMS, Status};
use crate::metrics::{Confirmed, EventType, FailureKind, Group, Progress};
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement};
use crate::planner::{Report, Task, Word, apply_report, plan};
use crate::shard::{Shard, assign_subject};
use crate::store::{PlacementChange, StateError};
use crate::trace::{self, Causes, TraceParent};

/// Messages taken at a time.
const TAKE: usize = 64;
/// Records of a walk that are planned at a time.
const SLICE: usize = 500;
/// The least pause between two slices of a walk.
const SLICE_PAUSE: Duration = Duration::from_millis(10);
/// How long a queue is waited for.
const WAIT: Duration = Duration::from_secs(20);
/// How often those that had to wait get their turn.
const TURN: Duration = Duration::from_millis(100);
/// Age from which the note of a count is written anew although it says the same.
const NOTE_AGE_MS: u64 = 600_000;
/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Runs a shard until it is stopped.
pub(super) async fn run(shared: Arc<Shared>, shard: Shard, stop: CancellationToken) {
    let desk = Desk {
        shared: &shared,
        shard,
        progress: parking_lot::Mutex::default(),
        throttle: parking_lot::Mutex::new(Throttle::new(shared.parts.policy.prefix_rate)),
    };
    while !stop.is_cancelled() {
        match desk.work(&stop).await {
            Ok(()) => break,
            Err(error) => {
                shared.count(&error);
                tracing::warn!(%error, shard = shard.0, "planning is interrupted");
                pause(&stop, AFTER_FAILURE).await;
            }
        }
    }
    shared.totals.lock().remove(shard);
}

/// A walk over all records of the shard.
struct Walk {
    records: BoxStream<'static, Result<PinRecord, StateError>>,
    tally: Tally,
}

struct Desk<'a> {
    shared: &'a Shared,
    shard: Shard,
    /// What is measured of placements under way.
    progress: parking_lot::Mutex<Progress>,
    throttle: parking_lot::Mutex<Throttle>,
}

impl Desk<'_> {
    async fn work(&self, stop: &CancellationToken) -> Result<(), ReconcileError> {
        let requests = self
            .queue("pin-request", self.shard.request_subject()?)
            .await?;
        let statuses = self
            .queue("pin-status", self.shard.status_subject()?)
            .await?;
        // Taking from a queue must not be broken off half-way: these two run on while other things are done.
        let (to_change, mut changes) = mpsc::channel(1);
        let (to_hear, mut reports) = mpsc::channel(1);
        let mut pumps = pin!(async {
            tokio::try_join!(pump(&*requests, to_change), pump(&*statuses, to_hear))
        });
        let mut walk = None;
        let mut next_slice = tokio::time::Instant::now();
        let mut next_turn = next_slice;
        let mut wake = Box::pin(self.shared.sweep_now.notified());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(taken) = reports.recv() => {
                    let span = span(&taken, || tracing::info_span!(target: trace::TARGET, "report",
                        otel.kind = "consumer", shard = i64::from(self.shard.0), messages = trace::number(taken.len())));
                    self.hear(taken).instrument(span).await?;
                }
                Some(taken) = changes.recv() => {
                    let span = span(&taken, || tracing::info_span!(target: trace::TARGET, "plan",
                        otel.kind = "consumer", shard = i64::from(self.shard.0), messages = trace::number(taken.len())));
                    self.change(taken).instrument(span).await?;
                }
                ended = &mut pumps => ended.map(|_| ())?,
                () = &mut wake => {
                    wake = Box::pin(self.shared.sweep_now.notified());
                    walk = None;
                    next_slice = tokio::time::Instant::now();
                }
                () = tokio::time::sleep_until(next_turn), if self.throttle.lock().holds() => {
                    next_turn = tokio::time::Instant::now() + TURN;
                    self.catch_up().await?;
                }
                () = tokio::time::sleep_until(next_slice) => {
                    let ended = self.walk_on(&mut walk).await?;
                    let pause = if ended { self.shared.parts.sweep_pause } else { SLICE_PAUSE };
                    next_slice = tokio::time::Instant::now() + pause;
                }
            }
        }
    }

    async fn queue(
        &self,
        name: &str,
        subject: ues_bus::Subject,
    ) -> Result<Arc<dyn WorkQueue>, ReconcileError> {
        let spec = QueueSpec {
            name: format!("{name}-{}", self.shard.0),
            subject,
            ack_wait: Duration::from_secs(60),
            max_attempts: 20,
            max_in_flight: 10_000,
        };
        Ok(self.shared.parts.bus.queue(spec).await?)
    }

    /// Whether a CID belongs here. One that somebody sent here who divides otherwise is found by the walk of its own shard.
    fn is_mine(&self, cid: &Cid) -> bool {
        let parts = &self.shared.parts;
        parts.shards.of(&*parts.store, cid) == self.shard
    }

    /// Requests changed: plan their CIDs anew.
    async fn change(&self, deliveries: Vec<Delivery>) -> Result<(), ReconcileError> {
        let mut cids = Vec::new();
        let mut recover = BTreeSet::new();
        let deliveries = self.readable(deliveries, |changed: Changed| {
            let mut named = message::cids(&changed.cids);
            named.retain(|cid| self.is_mine(cid));
            if changed.recover {
                recover.extend(named.iter().copied());
            }
            cids.extend(named);
        });
        let deliveries = deliveries.await?;
        let mut seen = BTreeSet::new();
        cids.retain(|cid| seen.insert(*cid));
        for cids in cids.chunks(MAX_ITEMS) {
            let mut records = self.shared.parts.store.records(cids).await?;
            let now_ms = self.shared.parts.clock.now_ms();
            for record in records.iter_mut().filter(|r| recover.contains(&r.cid)) {
                retry_now(record, now_ms);
            }
            self.settle(records, Vec::new()).await?;
        }
        acknowledge(deliveries).await
    }

    /// Plans CIDs that had to wait because too much was to be done for others that begin alike.
    async fn catch_up(&self) -> Result<(), ReconcileError> {
        let due = self.throttle.lock().due(MAX_ITEMS);
        let records = self.shared.parts.store.records(&due).await?;
        self.settle(records, Vec::new()).await
    }

    /// Workers said something: take it in, and plan what follows.
    async fn hear(&self, deliveries: Vec<Delivery>) -> Result<(), ReconcileError> {
        let mut heard: BTreeMap<Cid, Vec<(PeerId, Report)>> = BTreeMap::new();
        let deliveries = self.readable(deliveries, |status: Status| {
            for reported in status.reports {
                if let Ok(cid) = ues_data::parse_cid(&reported.cid)
                    && self.is_mine(&cid)
                {
                    let report = (status.peer.clone(), reported.into_report());
                    heard.entry(cid).or_default().push(report);
                }
            }
        });
        let deliveries = deliveries.await?;
        let cids: Vec<Cid> = heard.keys().copied().collect();
        for cids in cids.chunks(MAX_ITEMS) {
            let mut records = self.shared.parts.store.records(cids).await?;
            let mut changes = Vec::new();
            let mut confirmed = Vec::new();
            for record in &mut records {
                let mut reports = heard.remove(&record.cid).unwrap_or_default();
                reports.sort_by_key(|(_, report)| report.count);
                for (peer, report) in reports {
                    self.count(&record.cid, &report);
                    confirmed.extend(self.take_in(record, &peer, &report, &mut changes));
                }
            }
            self.settle(records, changes).await?;
            let now_ms = self.shared.parts.clock.now_ms();
            for confirmed in &confirmed {
                self.shared.parts.metrics.confirmed(confirmed, now_ms);
            }
        }
        acknowledge(deliveries).await
    }

    fn take_in(
        &self,
        record: &mut PinRecord,
        peer: &PeerId,
        report: &Report,
        changes: &mut Vec<PlacementChange>,
    ) -> Option<Confirmed> {
        let parts = &self.shared.parts;
        let now_ms = parts.clock.now_ms();
        let placement = apply_report(record, peer, report, &parts.policy, now_ms)?;
        let confirmed = self.progress.lock().change(record, peer, &placement);
        put(record, peer, Some(placement.clone()));
        changes.push(PlacementChange {
            cid: record.cid,
            peer: peer.clone(),
            placement: Some(placement),
        });
        confirmed
    }

    fn count(&self, cid: &Cid, report: &Report) {
        let (metrics, group) = (&self.shared.parts.metrics, Group::of(cid));
        metrics.event(EventType::Status, group);
        if matches!(report.word, Word::Failed { .. }) {
            metrics.event(EventType::Error, group);
            metrics.failure(FailureKind::Ipfs);
        }
    }

    /// Plans records, stores what changes, and only then sends what is to be done.
    async fn settle(
        &self,
        records: Vec<PinRecord>,
        mut changes: Vec<PlacementChange>,
    ) -> Result<(), ReconcileError> {
        let parts = &self.shared.parts;
        let fleet = Arc::clone(&self.shared.fleet.borrow());
        let now_ms = parts.clock.now_ms();
        let mut tasks: BTreeMap<PeerId, Vec<Assigned>> = BTreeMap::new();
        let mut assigned_groups = Vec::new();
        for record in records {
            let plan = plan(&record, &fleet, &parts.policy, now_ms);
            let mut throttle = self.throttle.lock();
            if !throttle.admit(&record.cid, plan.tasks.len(), now_ms) {
                continue;
            }
            drop(throttle);
            for (peer, task) in plan.tasks {
                let mut assigned = assigned(&record, task, now_ms);
                let placed = plan.changes.iter().find(|(id, _)| *id == peer);
                let placement = placed.and_then(|(_, placement)| placement.as_ref());
                assigned.attempt = placement.map_or(0, |placement| placement.attempt);
                assigned_groups.push(Group::of(&record.cid));
                tasks.entry(peer).or_default().push(assigned);
            }
            for (peer, placement) in plan.changes {
                changes.push(PlacementChange {
                    cid: record.cid,
                    peer,
                    placement,
                });
            }
        }
        if !changes.is_empty() {
            let events: Vec<_> = changes.iter().map(|change| event(change, now_ms)).collect();
            parts.store.change_placements(changes).await?;
            for event in events {
                // Nobody has to listen.
                let _ = parts.events.send(Arc::new(event));
            }
        }
        self.send(tasks).await?;
        for group in assigned_groups {
            parts.metrics.event(EventType::Assign, group);
        }
        Ok(())
    }

    async fn send(&self, tasks: BTreeMap<PeerId, Vec<Assigned>>) -> Result<(), ReconcileError> {
        let mut messages = Vec::new();
        let trace = trace::header(&tracing::Span::current());
        for (peer, tasks) in tasks {
            let subject = assign_subject(&peer)?;
            for tasks in tasks.chunks(MAX_ITEMS) {
                let assign = Assign {
                    shard: self.shard.0,
                    tasks: tasks.to_vec(),
                };
                messages.push(Message {
                    trace: trace.clone(),
                    ..Message::new(subject.clone(), message::write(&assign))
                });
            }
        }
        if !messages.is_empty() {
            self.shared.parts.bus.publish(messages).await?;
        }
        Ok(())
    }

    /// Plans the next slice of the walk over all records; says whether it is at the end.
    async fn walk_on(&self, walk: &mut Option<Walk>) -> Result<bool, ReconcileError> {
        let begin = || Walk {
            records: self
                .shared
                .parts
                .store
                .scan(self.shared.parts.shards.range(self.shard), None),
            tally: Tally::default(),
        };
        let Walk { records, tally } = walk.get_or_insert_with(begin);
        let slice: Vec<_> = records.take(SLICE).collect().await;
        let ended = slice.len() < SLICE;
        let slice: Vec<PinRecord> = match slice.into_iter().collect() {
            Ok(slice) => slice,
            Err(error) => {
                *walk = None;
                return Err(error.into());
            }
        };
        let now_ms = self.shared.parts.clock.now_ms();
        for record in &slice {
            tally.add(record, now_ms);
        }
        // The walk sees an older state than what was written since: what needs work is read again.
        let fleet = Arc::clone(&self.shared.fleet.borrow());
        let policy = &self.shared.parts.policy;
        let stale: Vec<Cid> = slice
            .iter()
            .filter(|record| !plan(record, &fleet, policy, now_ms).changes.is_empty())
            .map(|record| record.cid)
            .collect();
        if !stale.is_empty() {
            let fresh = self.shared.parts.store.records(&stale).await?;
            self.settle(fresh, Vec::new()).await?;
        }
        if ended {
            let tally = std::mem::take(tally);
            *walk = None;
            self.counted(tally).await?;
        }
        Ok(ended)
    }

    /// Publishes what a walk counted. The note is for other processes, and for this one after a restart.
    async fn counted(&self, tally: Tally) -> Result<(), ReconcileError> {
        let store = &self.shared.parts.store;
        let noted = totals::read_note(&**store, self.shard).await?;
        let counted = *tally.totals();
        self.shared.totals.lock().put(self.shard, tally);
        let old = counted.counted_ms.saturating_sub(noted.counted_ms) > NOTE_AGE_MS;
        if old || !counted.says_same(&noted) {
            let name = totals::note_name(self.shard);
            store.put_note(&name, counted.to_note()).await?;
        }
        Ok(())
    }

    /// Hands out the content of messages that can be read; the others go to the dead letters.
    async fn readable<T: serde::de::DeserializeOwned>(
        &self,
        deliveries: Vec<Delivery>,
        mut take: impl FnMut(T),
    ) -> Result<Vec<Delivery>, ReconcileError> {
        let mut good = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match message::read(&delivery.payload) {
                Ok(content) => {
                    take(content);
                    good.push(delivery);
                }
                Err(error) => delivery.receipt.give_up(&error.to_string()).await?,
            }
        }
        Ok(good)
    }
}

/// The span for what was taken.
fn span(taken: &[Delivery], make: impl FnOnce() -> tracing::Span) -> tracing::Span {
    let traces = taken
        .iter()
        .filter_map(|delivery| delivery.trace.as_deref());
    let causes: Causes = traces.filter_map(TraceParent::read).collect();
    causes.span(make)
}

/// Takes messages ahead of the one who works on them.
async fn pump(
    queue: &dyn WorkQueue,
    to: mpsc::Sender<Vec<Delivery>>,
) -> Result<(), ReconcileError> {
    loop {
        let taken = queue.next(TAKE, WAIT).await?;
        if !taken.is_empty() && to.send(taken).await.is_err() {
            return Ok(());
        }
    }
}

async fn acknowledge(deliveries: Vec<Delivery>) -> Result<(), ReconcileError> {
    let acks = deliveries.iter().map(|delivery| delivery.receipt.ack());
    futures::future::try_join_all(acks).await?;
    Ok(())
}

fn assigned(record: &PinRecord, task: Task, now_ms: u64) -> Assigned {
    let options = record.wanted.as_ref().map(|wanted| &wanted.pin.options);
    let mode = options.map(|o| o.mode).unwrap_or_default();
    let origins = match (task, options) {
        (Task::Pin, Some(options)) => options.origins.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Assigned::new(&record.cid, task, mode, origins, now_ms)
}

fn event(change: &PlacementChange, at_ms: u64) -> PinEvent {
    let placement = change.placement.as_ref();
    PinEvent {
        cid: change.cid,
        peer: change.peer.clone(),
        desired: placement.is_some_and(|p| p.desired),
        state: placement.map(|p| p.state),
        error: placement.map(|p| p.error.clone()).unwrap_or_default(),
        at_ms,
    }
}

/// Writes a placement into a record.
fn put(record: &mut PinRecord, peer: &PeerId, placement: Option<Placement>) {
    record.placements.retain(|(id, _)| id != peer);
    if let Some(placement) = placement {
        let at = record.placements.partition_point(|(id, _)| id < peer);
        record.placements.insert(at, (peer.clone(), placement));
    }
}

/// Makes everything that failed or waits be tried at once.
fn retry_now(record: &mut PinRecord, now_ms: u64) {
    for (_, placement) in &mut record.placements {
        placement.terminal = false;
        placement.attempt = 0;
        placement.next_ms = now_ms;
    }
}
