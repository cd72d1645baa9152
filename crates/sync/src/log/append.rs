//! What an operation changes once it is checked.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::clock::WriterId;
use crate::operation::{Action, Operation};

use super::change::{Change, Hold, Over};
use super::replica::{Replica, ReplicaError};
use super::roster::{Revocation, Tip, Writer};
use super::rows::{Rows, operation_key, state_key};
use super::state::TargetState;

impl Replica {
    /// Puts a checked operation at the end of its writer's chain.
    pub(super) fn append(
        &mut self,
        rows: &dyn Rows,
        operation: Operation,
        value: Option<Bytes>,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let payload = &operation.payload;
        let number = payload.writer;
        change.put(
            operation_key(number, payload.seq),
            operation.block().clone(),
        );
        if let Some(writer) = self.roster.get_mut(number) {
            writer.tip = Some(Tip {
                seq: payload.seq,
                id: operation.id(),
                time: payload.time,
                deps: payload.deps.clone(),
            });
        }
        self.time = self.time.max(payload.time);
        self.keep_writer(number, change);
        match &payload.action {
            Action::Put { path, .. } | Action::Delete { path, .. } => {
                let over = Over { rows, change };
                let mut state = match self.state(&over, path)? {
                    Some(state) => state,
                    None => TargetState {
                        base: self.before_log(rows, change, path)?,
                        ..TargetState::default()
                    },
                };
                let first = state.candidates.is_empty();
                if let Some(base) = state.base.filter(|_| first) {
                    change.hold(Hold::base(path), base, None);
                }
                if let Some(cid) = payload.action.value() {
                    let hold = Hold::operation(number, payload.seq);
                    change.hold(hold, *cid, value);
                }
                // It counted for nothing when somebody who had seen it was taken in.
                let late =
                    payload.action.merge().is_some() && state.seen.covers(number, payload.seq);
                state.insert(&operation, self.roster.author(number));
                let key = state_key(path.as_str());
                change.put(key, state.encode());
                change.touched.insert(path.clone());
                if late {
                    self.rebuild(rows, &BTreeSet::from([path.clone()]), change)?;
                }
            }
            Action::Grant { key, name } => {
                let number = WriterId::try_from(payload.seq).unwrap_or(WriterId::MAX);
                if let Some(verifying) = Self::device_key(key) {
                    let writer = Writer {
                        did_key: key.clone(),
                        key: verifying,
                        name: name.clone(),
                        tip: None,
                        revoked: None,
                        fork: None,
                        pinned: 0,
                    };
                    self.set_writer(number, writer, change);
                }
            }
            Action::Revoke { writer, cut } => {
                let revocation = Revocation {
                    seq: payload.seq,
                    cut: *cut,
                    reach: *cut,
                };
                self.revoke(rows, *writer, revocation, change)?;
            }
            Action::Snapshot(sums) => {
                for tip in &sums.tips {
                    self.pin(tip.writer, tip.seq);
                    self.keep_writer(tip.writer, change);
                }
                let behind = self.put_behind(&Over { rows, change }, sums)?;
                if !behind.is_empty() {
                    self.rebuild(rows, &behind, change)?;
                }
            }
        }
        Ok(())
    }
}
