//! One session between two devices, about one repository.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use ues_data::Cid;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::log::{Admitted, Incoming, Refused, Replica, ReplicaError, Rows};
use crate::operation::Operation;

use super::fork_search::ForkSearch;
use super::frame::{
    Body, Frame, FrameError, Heads, Hello, MAX_OPERATIONS, OperationFrame, Operations, ProofFrame,
    Proofs, Refusal, Same, TakenFrame, VERSION,
};
use super::marks::{forks, limits, marks, read_head, split, write_heads};

/// Frames with operations that may be on their way before the first is answered.
pub(super) const WINDOW: usize = 4;
/// Bytes of operations and records from which on a frame is sent.
const FULL: usize = 1 << 20;

/// This device's copy, as it is durable now.
pub trait Copy {
    /// The log; `None` if this device has none yet.
    fn replica(&self) -> Option<&Replica>;
    /// Its rows.
    fn rows(&self) -> &dyn Rows;
    /// The root of the record tree.
    fn records(&self) -> Option<Cid>;
    /// A record's block.
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, ReplicaError>;
}

/// What has to be done.
#[derive(Debug)]
pub enum Action {
    /// Send this frame.
    Send(Bytes),
    /// Take these in, make them durable, and say so with [`Session::taken`].
    Admit(Vec<Incoming>),
    /// Take these proofs in, make them durable, and say so with [`Session::taken`].
    AdmitProofs(Vec<[Bytes; 2]>),
    /// The other has no log: make a snapshot for it and give it to [`Session::send_snapshot`].
    MakeSnapshot,
    /// Begin the log with this archive, and say so with [`Session::restored`].
    Restore(Bytes),
    /// Take in this archive, which has what the other no longer has one by one, make it durable, and say so with
    /// [`Session::rebased`].
    Rebase(Bytes),
    /// Both have the same.
    Synced,
}

/// What became of a frame of operations or proofs.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// For each, in order.
    pub results: Vec<Result<Admitted, Refused>>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The other sent what no frame is.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// This device's copy failed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The other broke the rules.
    #[error("the other device broke the protocol: {0}")]
    Protocol(&'static str),
    /// The other ended the session.
    #[error("the other device ended the session: {0}")]
    Refused(String),
    /// Equal logs have given different records: one of the two is damaged, or has a fault.
    #[error("both devices have the same log and different records: run `ues check` on both")]
    Different,
    /// The root contradicted itself, and both know.
    #[error(
        "the root key signed two operations with one number: this log has ended, begin a new one"
    )]
    Ended,
    /// The other lacks what is no longer in the log here.
    #[error("what the other device lacks is no longer in the log here; another device may have it")]
    Gone,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Hello was not sent or not received yet.
    Greeting,
    /// Operations go both ways.
    Open,
    /// A snapshot comes in.
    Receiving,
    /// It is being made durable.
    Restoring,
    /// The other gets a snapshot.
    Giving,
}

/// The state of a session.
#[derive(Debug)]
pub struct Session {
    opener: bool,
    pub(super) stage: Stage,
    /// What the other has, as far as is known.
    theirs: VectorClock,
    /// Forks that the other knows.
    forks: BTreeMap<WriterId, u64>,
    /// Whether the other has said what it has.
    pub(super) heard: bool,
    /// What was said of this copy's writers, besides how far they have come: forks and limits.
    pub(super) said: Option<Vec<(WriterId, u64)>>,
    /// The mark of this log when something was refused: once it is another one, the other should try again.
    refused_at: Option<Bytes>,
    pub(super) unanswered: usize,
    /// Batches that are being made durable here.
    pub(super) admitting: usize,
    pub(super) searches: BTreeMap<WriterId, ForkSearch>,
    pub(super) snapshot: BytesMut,
    /// Whether the other is being given the snapshot where the log here begins.
    pub(super) catching_up: bool,
    /// How often it was.
    pub(super) archives: usize,
    pub(super) synced: bool,
    pub(super) actions: VecDeque<Action>,
}

impl Session {
    /// Opens a session. [`step`](Self::step) makes the first frame.
    pub fn open() -> Self {
        Self::new(true)
    }

    /// Waits for the first frame of the other.
    pub fn accept() -> Self {
        Self::new(false)
    }

    fn new(opener: bool) -> Self {
        Self {
            opener,
            stage: Stage::Greeting,
            theirs: VectorClock::default(),
            forks: BTreeMap::new(),
            heard: false,
            said: None,
            refused_at: None,
            unanswered: 0,
            admitting: 0,
            searches: BTreeMap::new(),
            snapshot: BytesMut::new(),
            catching_up: false,
            archives: 0,
            synced: false,
            actions: VecDeque::new(),
        }
    }

    /// The repository that a first frame asks for.
    pub fn asked_for(first: Bytes) -> Result<String, FrameError> {
        match Frame::read(first)? {
            Body::Hello(hello) => Ok(hello.repo),
            _ => Err(FrameError::Malformed(
                "a session begins with Hello".to_owned(),
            )),
        }
    }

    /// The frame that ends a session.
    pub fn refusal(reason: &str) -> Bytes {
        let reason = reason.chars().take(300).collect();
        Body::Refusal(Refusal { reason }).write()
    }

    /// Whether both had the same when they last compared, and nothing has happened since.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Bytes of a snapshot that have come in.
    pub fn received(&self) -> usize {
        self.snapshot.len()
    }

    /// What has to be done next, if anything. To be called until `None` after every other call, and whenever this
    /// device's copy has changed.
    pub fn step(&mut self, copy: &dyn Copy, repo: &str) -> Result<Option<Action>, Failure> {
        if let Some(action) = self.actions.pop_front() {
            return Ok(Some(action));
        }
        match self.stage {
            Stage::Greeting if self.opener && self.said.is_none() => {
                self.said = Some(Vec::new());
                let (log, records) = marks(copy);
                let hello = Hello {
                    version: VERSION,
                    repo: repo.to_owned(),
                    log,
                    records,
                };
                self.send(Body::Hello(hello));
            }
            Stage::Open => self.offer(copy)?,
            _ => {}
        }
        Ok(self.actions.pop_front())
    }

    /// Takes a frame of the other.
    pub fn receive(&mut self, copy: &dyn Copy, frame: Bytes) -> Result<(), Failure> {
        let body = Frame::read(frame)?;
        match (&self.stage, body) {
            (_, Body::Refusal(refusal)) => {
                let reason = refusal.reason.chars().take(300).collect();
                Err(Failure::Refused(reason))
            }
            (Stage::Greeting, Body::Hello(hello)) if !self.opener => self.greet(copy, &hello),
            (Stage::Greeting, Body::Same(_)) if self.opener => {
                self.open_with(copy.replica().map(Replica::clock).unwrap_or_default());
                self.said = copy.replica().map(limits);
                self.forks = copy.replica().map(forks).unwrap_or_default();
                self.now_synced();
                Ok(())
            }
            (Stage::Greeting, Body::Heads(heads)) if self.opener => {
                self.stage = Stage::Open;
                self.said = None;
                self.hear(copy, &heads)
            }
            (Stage::Greeting | Stage::Receiving, Body::SnapshotPart(part))
                if self.opener && copy.replica().is_none() =>
            {
                self.collect(part)
            }
            (Stage::Open, Body::SnapshotPart(part)) => self.collect(part),
            (Stage::Open, Body::Same(same)) => self.confirmed(copy, &same),
            (Stage::Open, Body::Heads(heads)) => self.hear(copy, &heads),
            (Stage::Open, Body::Operations(operations)) => self.take(copy, operations),
            (Stage::Open, Body::Proofs(proofs)) => self.take_proofs(proofs),
            (Stage::Open, Body::Taken(taken)) => self.answered(copy, &taken),
            (Stage::Open, Body::Probe(probe)) => self.tell_names(copy, &probe),
            (Stage::Open, Body::Probed(probed)) => self.compare_names(copy, &probed),
            (Stage::Open, Body::Want(want)) => self.give_one(copy, &want),
            (Stage::Giving, Body::Taken(_)) => {
                self.stage = Stage::Open;
                self.heard = false;
                Ok(())
            }
            (Stage::Giving, Body::Heads(heads)) => {
                self.stage = Stage::Open;
                self.hear(copy, &heads)
            }
            _ => Err(Failure::Protocol("a frame that does not belong here")),
        }
    }

    pub(super) fn send(&mut self, body: Body) {
        self.actions.push_back(Action::Send(body.write()));
    }

    fn open_with(&mut self, theirs: VectorClock) {
        self.stage = Stage::Open;
        self.theirs = theirs;
        self.heard = true;
    }

    fn now_synced(&mut self) {
        if !self.synced {
            self.synced = true;
            self.actions.push_back(Action::Synced);
        }
    }

    fn greet(&mut self, copy: &dyn Copy, hello: &Hello) -> Result<(), Failure> {
        if hello.version != VERSION {
            return Err(Failure::Protocol("another version of the protocol"));
        }
        let Some(replica) = copy.replica() else {
            return Err(Failure::Protocol("a session with a device that has no log"));
        };
        if hello.log.is_empty() {
            self.stage = Stage::Giving;
            self.actions.push_back(Action::MakeSnapshot);
            return Ok(());
        }
        let (log, records) = marks(copy);
        if hello.log == log {
            if hello.records != records {
                return Err(Failure::Different);
            }
            self.open_with(replica.clock());
            self.said = Some(limits(replica));
            self.forks = forks(replica);
            self.send(Body::Same(Same { log, records }));
            self.now_synced();
        } else {
            self.stage = Stage::Open;
        }
        Ok(())
    }

    /// Says what this copy has and sends what the other lacks, as far as the window allows.
    fn offer(&mut self, copy: &dyn Copy) -> Result<(), Failure> {
        let Some(replica) = copy.replica() else {
            return Ok(());
        };
        let now = limits(replica);
        let again = self.refused_at.as_ref();
        let again = again.is_some_and(|refused_at| *refused_at != marks(copy).0);
        if again || self.said.as_ref() != Some(&now) {
            self.said = Some(now);
            self.refused_at = None;
            let heads = write_heads(replica);
            self.send(Body::Heads(Heads { heads }));
        }
        if !self.heard || self.catching_up {
            return Ok(());
        }
        self.offer_proofs(copy, replica)?;
        if replica.is_ended() {
            return match self.unanswered {
                0 => Err(Failure::Ended),
                _ => Ok(()),
            };
        }
        while self.unanswered < WINDOW {
            let mut frame = Operations::default();
            let (mut bytes, mut gone) = (0, false);
            while bytes < FULL && frame.operations.len() < MAX_OPERATIONS {
                // One at a time past the first: records may be large.
                let room = match bytes {
                    0..=65_536 => 32.min(MAX_OPERATIONS - frame.operations.len()),
                    _ => 1,
                };
                let missing = replica.missing(copy.rows(), &mut self.theirs, room)?;
                gone |= missing.gone;
                let more = missing.more;
                for outgoing in missing.operations {
                    let value = match outgoing.value {
                        Some(cid) => copy.block(&cid)?.ok_or(Failure::Gone)?,
                        None => Bytes::new(),
                    };
                    bytes += outgoing.block.len() + value.len() + 16;
                    frame.operations.push(OperationFrame {
                        block: outgoing.block,
                        value,
                    });
                }
                if !more {
                    break;
                }
            }
            if frame.operations.is_empty() {
                // What is on its way may be what the other lacks.
                return match gone && self.unanswered == 0 {
                    true => self.catch_up(copy),
                    false => Ok(()),
                };
            }
            self.synced = false;
            // Large records can make a frame too large for one: each then goes by itself.
            for frame in split(frame) {
                self.unanswered += 1;
                self.send(Body::Operations(frame));
            }
        }
        Ok(())
    }

    fn offer_proofs(&mut self, copy: &dyn Copy, replica: &Replica) -> Result<(), Failure> {
        let mut proofs = Vec::new();
        for (writer, fork) in forks(replica) {
            if self.forks.get(&writer).is_some_and(|known| *known <= fork) {
                continue;
            }
            // Who does not know the writer yet gets its grant first.
            if self.theirs.get(ROOT) < u64::from(writer) {
                continue;
            }
            self.forks.insert(writer, fork);
            if let Some([one, other]) = replica.proof(copy.rows(), writer)? {
                proofs.push(ProofFrame { one, other });
            }
            let known = self.theirs.get(writer).min(fork.saturating_sub(1));
            self.theirs.set(writer, known);
        }
        if !proofs.is_empty() {
            self.synced = false;
            self.unanswered += 1;
            self.send(Body::Proofs(Proofs { proofs }));
        }
        Ok(())
    }

    fn hear(&mut self, copy: &dyn Copy, heads: &Heads) -> Result<(), Failure> {
        let Some(replica) = copy.replica() else {
            return Err(Failure::Protocol("heads for a device without a log"));
        };
        self.theirs = heads.heads.iter().map(|h| (h.writer, h.seq)).collect();
        self.heard = true;
        for head in &heads.heads {
            let Some(mine) = replica.roster().get(head.writer) else {
                continue;
            };
            if head.fork > 0 {
                self.forks.insert(head.writer, head.fork);
            }
            let Some(tip) = mine.tip.as_ref().filter(|tip| tip.seq == head.seq) else {
                continue;
            };
            if tip.id.0[..] != head.id[..] {
                self.search(head.writer, head.seq);
            }
        }
        let equal = replica.summary().heads.iter().eq(heads
            .heads
            .iter()
            .filter_map(read_head)
            .collect::<Vec<_>>()
            .iter());
        if equal && self.unanswered == 0 {
            self.now_synced();
        }
        Ok(())
    }

    fn take(&mut self, copy: &dyn Copy, frame: Operations) -> Result<(), Failure> {
        if self.admitting >= WINDOW * 2 {
            return Err(Failure::Protocol("more operations than the window allows"));
        }
        let mut batch = Vec::with_capacity(frame.operations.len());
        for one in frame.operations {
            let Ok(operation) = Operation::decode(one.block) else {
                return Err(Failure::Protocol("something that is no operation"));
            };
            let (writer, seq) = (operation.payload.writer, operation.payload.seq);
            // What names a writer that is not known here is no claim to remember.
            let known = |replica: &Replica| replica.roster().get(writer).is_some();
            if self.theirs.get(writer) < seq && copy.replica().is_some_and(known) {
                self.theirs.set(writer, seq);
            }
            let has_value = operation.payload.action.value().is_some();
            batch.push(Incoming {
                operation,
                value: has_value.then_some(one.value),
            });
        }
        self.synced = false;
        self.admitting += 1;
        self.actions.push_back(Action::Admit(batch));
        Ok(())
    }

    fn take_proofs(&mut self, frame: Proofs) -> Result<(), Failure> {
        if self.admitting >= WINDOW * 2 {
            return Err(Failure::Protocol("more proofs than the window allows"));
        }
        self.synced = false;
        self.admitting += 1;
        let proofs = frame.proofs.into_iter().map(|p| [p.one, p.other]);
        self.actions
            .push_back(Action::AdmitProofs(proofs.collect()));
        Ok(())
    }

    /// What [`Action::Admit`] or [`Action::AdmitProofs`] asked for is durable, in the order of the actions. `copy` is
    /// the copy after it.
    pub fn taken(&mut self, copy: &dyn Copy, taken: &Taken) {
        self.admitting = self.admitting.saturating_sub(1);
        let (log, records) = marks(copy);
        let mut refused = Vec::new();
        let lost =
            |r: &Result<Admitted, Refused>| matches!(r, Err(_) | Ok(Admitted::Diverged { .. }));
        if taken.results.iter().any(lost) {
            self.refused_at = Some(log.clone());
        }
        for result in &taken.results {
            match result {
                Ok(Admitted::Diverged { writer, seq }) => self.search(*writer, *seq),
                Err(reason) if refused.len() < 8 => refused.push(reason.to_string()),
                _ => {}
            }
        }
        self.send(Body::Taken(TakenFrame {
            log,
            records,
            refused,
        }));
    }

    fn answered(&mut self, copy: &dyn Copy, taken: &TakenFrame) -> Result<(), Failure> {
        self.unanswered = self
            .unanswered
            .checked_sub(1)
            .ok_or(Failure::Protocol("an answer to nothing"))?;
        if std::mem::take(&mut self.catching_up) {
            // It says what it has now.
            self.heard = false;
        }
        let (log, records) = marks(copy);
        if taken.log == log {
            if taken.records != records {
                return Err(Failure::Different);
            }
            if self.unanswered == 0 && self.admitting == 0 {
                self.now_synced();
                self.send(Body::Same(Same { log, records }));
            }
        }
        Ok(())
    }

    fn confirmed(&mut self, copy: &dyn Copy, same: &Same) -> Result<(), Failure> {
        let (log, records) = marks(copy);
        if same.log == log {
            if same.records != records {
                return Err(Failure::Different);
            }
            self.now_synced();
        }
        Ok(())
    }
}
