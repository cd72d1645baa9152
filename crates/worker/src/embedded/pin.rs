//! Pinning.
//!
//! The references of a pin are written first, under an intent that says whose they are; then it is looked whether the
//! collector has taken a leaf away in the meantime; then the pin's row takes the intent's place. After a crash in
//! between, the sweep releases what the intent names.

use std::collections::HashMap;

use ues_pins::PinMode;
use ues_storage::{Batch, CommitError};

use super::core::{Core, is_enough};
use super::layout::{Entry, Part, PinRow, encode_intent, pin_ref};
use super::walk::{Found, Walk, missing, store_failed};
use crate::backend::{JobError, Pinned};

/// Jobs that are worked on together.
const CHUNK: usize = 4096;

type Answer = Result<Pinned, JobError>;
/// Hears the number of blocks and answers whether to go on.
pub(super) type Progress<'a> = &'a dyn Fn(u64) -> bool;

/// What is to be pinned, as far as its walk has come.
struct Plan {
    /// Its place among the answers.
    place: usize,
    entry: Entry,
    /// The pin that it takes the place of.
    replaces: Option<PinRow>,
    found: Vec<Found>,
    /// Size of the blocks with links among them.
    node_bytes: usize,
    /// Size of all blocks of the walk.
    bytes: u64,
}

impl Core {
    /// Pins all of these; one answer for each, in order. `progress` hears how many blocks are there, and tells whether
    /// anybody still waits for the answers. Blocks the thread.
    pub(super) fn pin_all(&self, wants: &[Entry], progress: Progress<'_>) -> Vec<Answer> {
        // One thing asked for twice is done once, in the mode that satisfies both.
        let mut places = HashMap::with_capacity(wants.len());
        let mut unique: Vec<Entry> = Vec::with_capacity(wants.len());
        let mut which = Vec::with_capacity(wants.len());
        for want in wants {
            let place = *places.entry(want.cid).or_insert(unique.len());
            which.push(place);
            match unique.get_mut(place) {
                Some(entry) if want.mode == PinMode::Recursive => entry.mode = want.mode,
                Some(_) => {}
                None => unique.push(*want),
            }
        }
        let mut answers: Vec<Answer> = Vec::with_capacity(unique.len());
        for chunk in unique.chunks(CHUNK) {
            if !progress(0) {
                break;
            }
            answers.extend(self.pin_chunk(chunk, progress));
        }
        let lost = || Err(JobError::Retry("the job was not worked on".to_owned()));
        let answer = |place: usize| answers.get(place).cloned().unwrap_or_else(lost);
        which.into_iter().map(answer).collect()
    }

    fn pin_chunk(&self, wants: &[Entry], progress: Progress<'_>) -> Vec<Answer> {
        let _alone = self
            .cids
            .enter(wants.iter().map(|want| want.cid.to_bytes()).collect());
        let mut answers: Vec<Option<Answer>> = vec![None; wants.len()];
        let mut group = Vec::new();
        let (mut blocks, mut bytes) = (0, 0);
        for (place, want) in wants.iter().enumerate() {
            let mut plan = match self.plan(place, *want) {
                Ok(plan) => plan,
                Err(answer) => {
                    answers[place] = Some(answer);
                    continue;
                }
            };
            let whole = Walk::new(&self.store, &self.options, &want.cid, want.mode)
                .and_then(|mut walk| Ok((self.gather(&mut plan, &mut walk)?, walk)));
            match whole {
                Ok((true, _)) => {
                    blocks += plan.found.len();
                    bytes += plan.node_bytes;
                    group.push(plan);
                }
                Ok((false, walk)) => {
                    answers[place] = Some(self.pin_large(plan, walk, progress));
                }
                Err(error) => answers[place] = Some(Err(error)),
            }
            if blocks >= self.options.batch_blocks || bytes >= self.options.batch_bytes {
                self.pin_group(std::mem::take(&mut group), &mut answers, progress);
                (blocks, bytes) = (0, 0);
            }
        }
        self.pin_group(group, &mut answers, progress);
        let lost = || Err(JobError::Retry("the job was not worked on".to_owned()));
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(lost))
            .collect()
    }

    /// A plan without blocks yet, or the answer when there is nothing to do.
    fn plan(&self, place: usize, entry: Entry) -> Result<Plan, Answer> {
        let replaces = self.row(&entry.cid).map_err(|e| Err(store_failed(e)))?;
        if let Some(row) = replaces.filter(|row| is_enough(row, entry.mode)) {
            return Err(Ok(Pinned {
                bytes: Some(row.bytes),
            }));
        }
        Ok(Plan {
            place,
            entry,
            replaces,
            found: Vec::new(),
            node_bytes: 0,
            bytes: 0,
        })
    }

    /// Adds blocks to a plan until they fill one write; tells whether the walk is at its end.
    fn gather(&self, plan: &mut Plan, walk: &mut Walk<'_>) -> Result<bool, JobError> {
        while plan.found.len() < self.options.batch_blocks
            && plan.node_bytes < self.options.batch_bytes
        {
            let Some(found) = walk.next()? else {
                return Ok(true);
            };
            let len = match &found {
                Found::Node(_, bytes) => {
                    plan.node_bytes += bytes.len();
                    bytes.len()
                }
                Found::Leaf(_, len) => *len,
            };
            plan.bytes = plan.bytes.saturating_add(len as u64);
            plan.found.push(found);
        }
        Ok(false)
    }

    /// Pins what fits into one write, with two commits for all.
    fn pin_group(&self, group: Vec<Plan>, answers: &mut [Option<Answer>], progress: Progress<'_>) {
        if group.is_empty() {
            return;
        }
        let results = self.try_pin_group(&group).unwrap_or_else(|error| {
            let error = store_failed(error);
            group.iter().map(|_| Err(error.clone())).collect()
        });
        for (plan, result) in group.iter().zip(results) {
            if let Some(answer) = answers.get_mut(plan.place) {
                *answer = Some(result);
            }
        }
        progress(group.iter().map(|plan| plan.found.len() as u64).sum());
    }

    fn try_pin_group(&self, group: &[Plan]) -> Result<Vec<Answer>, CommitError> {
        let first = self
            .numbers
            .take(&self.store, &self.ks, group.len() as u64)?;
        let _live = self.live.enter(vec![first]);
        let mut batch = self.store.batch();
        let entries = group.iter().map(|plan| plan.entry);
        batch.put(
            &self.ks.intents,
            first.to_be_bytes(),
            encode_intent(entries),
        );
        for (plan, number) in group.iter().zip(first..) {
            refer(&mut batch, number, &plan.found);
        }
        self.commit(batch, 0)?;

        let mut batch = self.store.batch();
        let mut change = 0;
        let mut answers = Vec::with_capacity(group.len());
        for (plan, number) in group.iter().zip(first..) {
            let answer = self.verify(&plan.found);
            if answer.is_ok() {
                change += self.take_over(&mut batch, plan, number);
            } else {
                for found in &plan.found {
                    let cid = found.cid();
                    batch.release_block(cid.hash(), pin_ref(number, cid, found.part()));
                }
            }
            answers.push(answer.map(|()| Pinned {
                bytes: Some(plan.bytes),
            }));
        }
        batch.delete(&self.ks.intents, first.to_be_bytes());
        self.commit(batch, change)?;
        Ok(answers)
    }

    /// Pins what needs several writes.
    fn pin_large(&self, mut plan: Plan, mut walk: Walk<'_>, progress: Progress<'_>) -> Answer {
        let number = self
            .numbers
            .take(&self.store, &self.ks, 1)
            .map_err(store_failed)?;
        let _live = self.live.enter(vec![number]);
        if let Err(error) = self.refer_large(&mut plan, &mut walk, number, progress) {
            drop(walk);
            if let Err(left) = self.release_intent(number, &[plan.entry]) {
                tracing::warn!(cid = %plan.entry.cid, error = %left, "what was pinned in part is released later");
            }
            return Err(error);
        }
        let mut batch = self.store.batch();
        let change = self.take_over(&mut batch, &plan, number);
        batch.delete(&self.ks.intents, number.to_be_bytes());
        self.commit(batch, change).map_err(store_failed)?;
        Ok(Pinned {
            bytes: Some(plan.bytes),
        })
    }

    fn refer_large(
        &self,
        plan: &mut Plan,
        walk: &mut Walk<'_>,
        number: u64,
        progress: Progress<'_>,
    ) -> Result<(), JobError> {
        let mut blocks = 0;
        let mut end = false;
        let mut batch = self.store.batch();
        batch.put(
            &self.ks.intents,
            number.to_be_bytes(),
            encode_intent([plan.entry]),
        );
        loop {
            refer(&mut batch, number, &plan.found);
            self.commit(std::mem::take(&mut batch), 0)
                .map_err(store_failed)?;
            self.verify(&plan.found)?;
            blocks += plan.found.len() as u64;
            let wanted = progress(blocks);
            if end {
                return Ok(());
            }
            if !wanted {
                return Err(JobError::Retry(
                    "nobody waits for the pin any more".to_owned(),
                ));
            }
            walk.written(number);
            plan.found.clear();
            plan.node_bytes = 0;
            end = self.gather(plan, walk)?;
        }
    }

    /// Looks whether all leaves are there, now that nobody can take them away any more. Blocks with links were written
    /// with their references.
    fn verify(&self, found: &[Found]) -> Result<(), JobError> {
        for found in found {
            if let Found::Leaf(cid, _) = found
                && !self.store.has_block(cid.hash()).map_err(store_failed)?
            {
                return Err(missing(cid));
            }
        }
        Ok(())
    }

    /// Writes the row of a pin whose references are there; returns by how many the pins become more.
    fn take_over(&self, batch: &mut Batch, plan: &Plan, number: u64) -> i64 {
        let Entry { cid, mode } = plan.entry;
        let row = PinRow {
            mode,
            number,
            bytes: plan.bytes,
        };
        batch.put(&self.ks.pins, cid.to_bytes(), row.encode());
        match &plan.replaces {
            // A pin that is replaced is a direct one, of one block.
            Some(old) => {
                batch.release_block(cid.hash(), pin_ref(old.number, &cid, Part::Leaf));
                0
            }
            None => 1,
        }
    }
}

fn refer(batch: &mut Batch, number: u64, found: &[Found]) {
    for found in found {
        let cid = found.cid();
        let r = pin_ref(number, cid, found.part());
        match found {
            Found::Node(_, bytes) => batch.put_block(cid.hash(), bytes, r),
            Found::Leaf(..) => batch.add_ref(cid.hash(), r),
        }
    }
}
