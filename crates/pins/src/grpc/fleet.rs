//! `FleetService`.

use tonic::{Request, Response, Status};
use ues_bus::{DeadLetter, QueueStats};

use super::desk::Desk;
use super::v1::fleet_service_server::FleetService;
use super::wire::{placement, read_cid, timestamp};
use super::{status, v1};
use crate::fleet::{Condition, Fleet, Worker};
use crate::model::PeerId;

/// Dead letters in one answer.
const LETTERS: usize = 100;
/// Bytes of a dead letter that are shown.
const SHOWN: usize = 4096;

type Answer<T> = Result<Response<T>, Status>;

impl Desk {
    /// Every worker as the store has it, those included that the planner does not know yet.
    async fn workers(&self) -> Result<Vec<Worker>, Status> {
        let workers = self.pins.store().workers().await;
        workers.map_err(|error| status::state(&error))
    }

    /// A worker by its id or its name.
    async fn worker(&self, named: &str) -> Result<PeerId, Status> {
        let workers = self.workers().await?;
        let mut fitting = workers
            .iter()
            .filter(|worker| worker.name == named || worker.id.to_string() == named);
        match (fitting.next(), fitting.next()) {
            (Some(worker), None) => Ok(worker.id.clone()),
            (None, _) => Err(Status::not_found(format!("there is no worker {named}"))),
            _ => Err(status::invalid(format!(
                "several workers are named {named}: use the id"
            ))),
        }
    }
}

#[tonic::async_trait]
impl FleetService for Desk {
    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Answer<v1::ListWorkersResponse> {
        self.operator(request.metadata()).await?;
        let (now_ms, away_ms) = (self.pins.now_ms(), self.pins.policy().away_ms);
        let fleet = Fleet::new(self.workers().await?);
        let workers = fleet.workers().iter();
        let workers = workers
            .map(|worker| describe(worker, worker.condition(now_ms, away_ms)))
            .collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Answer<v1::DrainWorkerResponse> {
        self.operating_writer(request.metadata()).await?;
        let asked = request.get_ref();
        let id = self.worker(&asked.worker).await?;
        let set = self.pins.store().set_draining(&id, asked.draining).await;
        set.map_err(|error| status::state(&error))?;
        let id = id.to_string();
        Ok(Response::new(v1::DrainWorkerResponse { id }))
    }

    async fn remove_worker(
        &self,
        request: Request<v1::RemoveWorkerRequest>,
    ) -> Answer<v1::RemoveWorkerResponse> {
        self.operating_writer(request.metadata()).await?;
        let id = self.worker(&request.get_ref().worker).await?;
        let removed = self.pins.store().remove_worker(&id).await;
        removed.map_err(|error| status::state(&error))?;
        let id = id.to_string();
        Ok(Response::new(v1::RemoveWorkerResponse { id }))
    }

    async fn get_record(
        &self,
        request: Request<v1::GetRecordRequest>,
    ) -> Answer<v1::GetRecordResponse> {
        self.operator(request.metadata()).await?;
        let cid = read_cid(&request.get_ref().cid)?;
        let record = self.pins.record(&cid).await?;
        let fleet = Fleet::new(self.workers().await?);
        let placements = record.placements.iter();
        Ok(Response::new(v1::GetRecordResponse {
            requests: record.wanted.as_ref().map_or(0, |wanted| wanted.requests),
            placements: placements
                .map(|(worker, placed)| placement(worker, placed, &fleet))
                .collect(),
        }))
    }

    async fn get_totals(
        &self,
        request: Request<v1::GetTotalsRequest>,
    ) -> Answer<v1::GetTotalsResponse> {
        self.operator(request.metadata()).await?;
        let totals = self.pins.totals().await?;
        Ok(Response::new(v1::GetTotalsResponse {
            pins: totals.wanted,
            requests: totals.requests,
            copies_desired: totals.desired,
            copies_pinned: totals.pinned,
            copies_underway: totals.underway,
            copies_failed: totals.failed,
            copies_surplus: totals.surplus,
            bytes: totals.bytes,
            drift: totals.drift(),
            counted_at: Some(timestamp(totals.counted_ms)),
        }))
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Answer<v1::ListQueuesResponse> {
        self.operator(request.metadata()).await?;
        let queues = self.pins.bus().stats().await;
        let queues = queues.map_err(|error| status::bus(&error))?;
        let queues = queues.into_iter().map(queue).collect();
        Ok(Response::new(v1::ListQueuesResponse { queues }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answer<v1::ListDeadLettersResponse> {
        self.operator(request.metadata()).await?;
        let after = request.get_ref().after;
        let letters = self.pins.bus().dead_letters(after, LETTERS).await;
        let letters = letters.map_err(|error| status::bus(&error))?;
        let letters = letters.into_iter().map(letter).collect();
        Ok(Response::new(v1::ListDeadLettersResponse { letters }))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<v1::ReplayDeadLetterRequest>,
    ) -> Answer<v1::ReplayDeadLetterResponse> {
        self.operating_writer(request.metadata()).await?;
        let id = request.get_ref().id;
        found(id, self.pins.bus().replay(id).await)?;
        Ok(Response::new(v1::ReplayDeadLetterResponse {}))
    }

    async fn discard_dead_letter(
        &self,
        request: Request<v1::DiscardDeadLetterRequest>,
    ) -> Answer<v1::DiscardDeadLetterResponse> {
        self.operating_writer(request.metadata()).await?;
        let id = request.get_ref().id;
        found(id, self.pins.bus().discard(id).await)?;
        Ok(Response::new(v1::DiscardDeadLetterResponse {}))
    }
}

fn describe(worker: &Worker, condition: Condition) -> v1::Worker {
    let state = match condition {
        Condition::Ready => v1::WorkerState::Ready,
        Condition::Draining => v1::WorkerState::Draining,
        Condition::Failing => v1::WorkerState::Failing,
        Condition::Away => v1::WorkerState::Away,
    };
    v1::Worker {
        id: worker.id.to_string(),
        name: worker.name.clone(),
        state: state.into(),
        reason: worker.failing.clone().unwrap_or_default(),
        seen_at: Some(timestamp(worker.seen_ms)),
        free_bytes: worker.free,
        used_bytes: worker.used,
        pins: worker.pins,
        tags: worker.tags.clone(),
        agent: worker.agent.clone(),
        ipfs_id: worker.ipfs_id.clone(),
    }
}

fn queue(queue: QueueStats) -> v1::Queue {
    let nanos = i32::try_from(queue.oldest_ms % 1000).unwrap_or(0) * 1_000_000;
    v1::Queue {
        name: queue.name,
        waiting: queue.waiting,
        in_flight: queue.in_flight,
        oldest: Some(prost_types::Duration {
            seconds: i64::try_from(queue.oldest_ms / 1000).unwrap_or(i64::MAX),
            nanos,
        }),
    }
}

fn letter(letter: DeadLetter) -> v1::DeadLetter {
    let shown = letter.payload.get(..SHOWN).unwrap_or(&letter.payload);
    v1::DeadLetter {
        id: letter.id,
        subject: letter.subject.as_str().to_owned(),
        content: shown.to_vec(),
        queue: letter.queue,
        reason: letter.reason,
        dead_at: Some(timestamp(letter.at_ms)),
    }
}

fn found(id: u64, done: Result<bool, ues_bus::BusError>) -> Result<(), Status> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(Status::not_found(format!("there is no dead letter {id}"))),
        Err(error) => Err(status::bus(&error)),
    }
}
