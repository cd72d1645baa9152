//! Assignments: taken, done in groups, reported, acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tracing::Instrument;
use ues_bus::{BusError, Delivery, Message, QueueSpec, WorkQueue};
use ues_data::Cid;
use ues_pins::PinMode;
use ues_pins::message::{self, Assign, Assigned, Op, Reported, Status};
use ues_pins::planner::{Report, Word};
use ues_pins::shard::{Shard, assign_subject};
use ues_pins::tasks::Tasks;
use ues_pins::trace::{self, Causes, TraceParent};

use super::Shared;
use crate::backend::{JobError, PinJob, Pinned};

/// Assignments that are open at one time.
const OPEN: usize = 64;
/// Without a sign of life for so long, an assignment is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// What takes longer is reported as being under way.
const SOON: Duration = Duration::from_secs(2);
/// How often it is said that what takes long is still under way.
const STILL: Duration = Duration::from_secs(20);
/// The pause after a failure of the bus.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, tasks: Tasks) {
    let mut queue = None;
    while !shared.stop.is_cancelled() {
        // A backend that does not answer gets no work; the planner sees why.
        let mut content = shared.content.subscribe();
        let answering = async { content.wait_for(Option::is_some).await.is_ok() };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            _ = answering => {}
        }
        if let Err(error) = take(&shared, &tasks, &mut queue).await {
            tracing::warn!(%error, "assignments cannot be taken");
            queue = None;
            shared.pause(AFTER_FAILURE).await;
        }
    }
}

async fn take(
    shared: &Arc<Shared>,
    tasks: &Tasks,
    queue: &mut Option<Arc<dyn WorkQueue>>,
) -> Result<(), BusError> {
    let queue = match queue {
        Some(queue) => queue,
        None => {
            let id = &shared.options.id;
            let spec = QueueSpec {
                name: format!("pin-assign-{id}"),
                subject: assign_subject(id).map_err(|e| BusError::Refused(e.to_string()))?,
                ack_wait: ACK_WAIT,
                max_attempts: 10,
                max_in_flight: OPEN,
            };
            queue.insert(shared.bus.queue(spec).await?)
        }
    };
    let taken = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return Ok(()),
        taken = queue.next(8, STILL) => taken?,
    };
    for delivery in taken {
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            let stop = shared.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                done = traced(&shared, delivery) => {
                    if let Err(error) = done {
                        tracing::warn!(%error, "an outcome is not reported; the work is assigned again");
                    }
                }
            }
        });
    }
    Ok(())
}

/// Does everything in an assignment, in a span of the trace that led to it.
async fn traced(shared: &Shared, delivery: Delivery) -> Result<(), BusError> {
    let cause = delivery.trace.as_deref().and_then(TraceParent::read);
    let causes: Causes = cause.into_iter().collect();
    let span = causes.span(|| {
        tracing::info_span!(target: trace::TARGET, "assignment", otel.kind = "consumer",
            worker = %shared.options.name, attempt = i64::from(delivery.attempt))
    });
    carry_out(shared, delivery).instrument(span).await
}

/// Does everything in an assignment; acknowledges it when all outcomes are published.
async fn carry_out(shared: &Shared, delivery: Delivery) -> Result<(), BusError> {
    let assign: Assign = match message::read(&delivery.payload) {
        Ok(assign) => assign,
        Err(error) => return delivery.receipt.give_up(&error.to_string()).await,
    };
    let shard = Shard(assign.shard);
    let work = futures::stream::iter(groups(assign.tasks, shared.options.group))
        .map(|group| one_group(shared, shard, group))
        .buffer_unordered(
            usize::try_from(shared.options.concurrency)
                .unwrap_or(1)
                .max(1),
        )
        .collect::<Vec<_>>();
    tokio::pin!(work);
    let outcomes = loop {
        tokio::select! {
            biased;
            outcomes = &mut work => break outcomes,
            () = tokio::time::sleep(ACK_WAIT / 3) => delivery.receipt.in_progress().await?,
        }
    };
    outcomes.into_iter().collect::<Result<(), _>>()?;
    delivery.receipt.ack().await
}

/// Tasks in groups of one kind, of at most so many. What is assigned again goes alone: it may be what held up its
/// group the last time, and must not do so for ever.
fn groups(tasks: Vec<Assigned>, size: usize) -> Vec<Vec<Assigned>> {
    let (again, fresh): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.attempt > 1);
    let (pins, unpins): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|task| task.op == Op::Pin);
    let size = size.max(1);
    let together = unpins.chunks(size).chain(pins.chunks(size));
    together.chain(again.chunks(1)).map(<[_]>::to_vec).collect()
}

/// Does one group, whose tasks are all of one kind, and publishes what came of it.
async fn one_group(shared: &Shared, shard: Shard, group: Vec<Assigned>) -> Result<(), BusError> {
    let Ok(_permit) = shared.groups.acquire().await else {
        return Ok(());
    };
    let named = |task: Assigned| Some((ues_data::parse_cid(&task.cid).ok()?, task));
    let mut tasks: Vec<(Cid, Assigned)> = group.into_iter().filter_map(named).collect();
    let keys = tasks.iter().map(|(cid, _)| cid_key(cid)).collect();
    // One thing at a time for each CID, so that outcomes are counted in the order in which they came true.
    let _guard = shared.locks.lock(keys).await;
    tasks.retain(|(cid, task)| shared.recent.lock().note(*cid, task.at));
    let Some((cid, first)) = tasks.first() else {
        return Ok(());
    };
    let span = trace::within(
        || tracing::info_span!(target: trace::TARGET, "tasks", op = ?first.op, tasks = trace::number(tasks.len()), first = %cid),
    );
    let work = perform(shared, &tasks).instrument(span);
    tokio::pin!(work);
    let mut patience = SOON;
    let words = loop {
        tokio::select! {
            biased;
            words = &mut work => break words,
            () = tokio::time::sleep(patience) => {
                patience = STILL;
                if tasks.iter().any(|(_, task)| task.op == Op::Pin) {
                    let underway = vec![Word::Pinning; tasks.len()];
                    publish(shared, shard, &tasks, underway).await?;
                }
            }
        }
    };
    publish(shared, shard, &tasks, words).await
}

async fn perform(shared: &Shared, tasks: &[(Cid, Assigned)]) -> Vec<Word> {
    if tasks.iter().any(|(_, task)| task.op == Op::Unpin) {
        let cids: Vec<Cid> = tasks.iter().map(|(cid, _)| *cid).collect();
        let outcomes = shared.backend.unpin_many(&cids).await;
        return outcomes.into_iter().map(unpinned).collect();
    }
    let jobs: Vec<PinJob> = tasks.iter().map(job).collect();
    let outcomes = match jobs.as_slice() {
        [job] => vec![shared.backend.pin(job, &|_| ()).await],
        jobs => shared.backend.pin_many(jobs).await,
    };
    let content = shared.content.borrow().unwrap_or_default();
    let word = |outcome| pinned(outcome, content);
    outcomes.into_iter().map(word).collect()
}

fn job((cid, task): &(Cid, Assigned)) -> PinJob {
    PinJob {
        cid: *cid,
        mode: if task.direct {
            PinMode::Direct
        } else {
            PinMode::Recursive
        },
        origins: task.origins.clone(),
    }
}

fn pinned(outcome: Result<Pinned, JobError>, content: u32) -> Word {
    match outcome {
        Ok(pinned) => Word::Pinned {
            bytes: pinned.bytes.unwrap_or_default(),
            content,
        },
        Err(error) => failed(&error),
    }
}

fn unpinned(outcome: Result<(), JobError>) -> Word {
    match outcome {
        Ok(()) => Word::Unpinned,
        Err(error) => failed(&error),
    }
}

fn failed(error: &JobError) -> Word {
    Word::Failed {
        terminal: matches!(error, JobError::Terminal(_)),
        reason: error.to_string(),
    }
}

async fn publish(
    shared: &Shared,
    shard: Shard,
    tasks: &[(Cid, Assigned)],
    words: Vec<Word>,
) -> Result<(), BusError> {
    let report = |((_, task), word): (&(Cid, Assigned), Word)| {
        let count = shared.count();
        Reported::new(task.cid.clone(), Report { count, word })
    };
    let status = Status {
        peer: shared.options.id.clone(),
        reports: tasks.iter().zip(words).map(report).collect(),
    };
    let subject = shard
        .status_subject()
        .map_err(|e| BusError::Refused(e.to_string()))?;
    let message = Message {
        trace: trace::header(&tracing::Span::current()),
        ..Message::new(subject, message::write(&status))
    };
    shared.bus.publish(vec![message]).await
}

fn cid_key(cid: &Cid) -> u64 {
    let hash = blake3::hash(&cid.to_bytes());
    let first = hash.as_bytes().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use ues_pins::planner::Task;

    use super::*;

    #[test]
    fn what_is_assigned_again_goes_alone() {
        let task = |number: u32, task, attempt| {
            let cid = ues_data::raw_cid(&number.to_be_bytes());
            let assigned = Assigned::new(&cid, task, PinMode::Recursive, Vec::new(), 1);
            Assigned {
                attempt,
                ..assigned
            }
        };
        let attempts = [1, 2, 0, 1, 3, 1];
        let pins = attempts.iter().map(|n| (Task::Pin, *n));
        let tasks: Vec<_> = pins
            .chain([(Task::Unpin, 1), (Task::Unpin, 2)])
            .zip(0..)
            .map(|((kind, attempt), number)| task(number, kind, attempt))
            .collect();
        let shape = |size| -> Vec<Vec<(Op, u32)>> {
            let groups = groups(tasks.clone(), size);
            let group = |group: Vec<Assigned>| group.iter().map(|t| (t.op, t.attempt)).collect();
            groups.into_iter().map(group).collect()
        };
        assert_eq!(
            shape(3),
            [
                vec![(Op::Unpin, 1)],
                vec![(Op::Pin, 1), (Op::Pin, 0), (Op::Pin, 1)],
                vec![(Op::Pin, 1)],
                vec![(Op::Pin, 2)],
                vec![(Op::Pin, 3)],
                vec![(Op::Unpin, 2)],
            ]
        );
        assert_eq!(shape(0).len(), tasks.len());
    }
}
