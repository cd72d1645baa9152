//! The part of a session that finds where two chains of one writer part.

use bytes::Bytes;

use crate::clock::WriterId;
use crate::operation::OperationId;

use super::fork_search::ForkSearch;
use super::frame::{Body, OperationFrame, Operations, Probe, Probed, Want};
use super::session::{Copy, Failure, Session};

impl Session {
    pub(super) fn search(&mut self, writer: WriterId, differ: u64) {
        if differ == 0 || self.searches.contains_key(&writer) {
            return;
        }
        let search = ForkSearch::new(differ);
        self.probe(writer, &search);
        if search.found().is_none() {
            self.searches.insert(writer, search);
        }
    }

    fn probe(&mut self, writer: WriterId, search: &ForkSearch) {
        match search.found() {
            Some(seq) => self.send(Body::Want(Want { writer, seq })),
            None => {
                let seqs = search.probes();
                self.send(Body::Probe(Probe { writer, seqs }));
            }
        }
    }

    pub(super) fn tell_names(&mut self, copy: &dyn Copy, probe: &Probe) -> Result<(), Failure> {
        let mut probed = Probed {
            writer: probe.writer,
            ..Probed::default()
        };
        if let Some(replica) = copy.replica() {
            for seq in &probe.seqs {
                if let Some(op) = replica.operation(copy.rows(), probe.writer, *seq)? {
                    probed.seqs.push(*seq);
                    probed.ids.push(Bytes::copy_from_slice(&op.id().0));
                }
            }
        }
        self.send(Body::Probed(probed));
        Ok(())
    }

    pub(super) fn compare_names(
        &mut self,
        copy: &dyn Copy,
        probed: &Probed,
    ) -> Result<(), Failure> {
        let Some(mut search) = self.searches.remove(&probed.writer) else {
            return Ok(());
        };
        let Some(replica) = copy.replica() else {
            return Ok(());
        };
        let theirs = probed
            .seqs
            .iter()
            .zip(&probed.ids)
            .filter_map(|(seq, id)| Some((*seq, OperationId(id[..].try_into().ok()?))));
        let before = search.probes();
        search.learn(theirs, |seq| {
            let mine = replica.operation(copy.rows(), probed.writer, seq);
            mine.ok().flatten().map(|op| op.id())
        });
        if search.found().is_none() && search.probes() != before {
            self.probe(probed.writer, &search);
            self.searches.insert(probed.writer, search);
        } else {
            // Where one of the two no longer has its log, a later difference has to do.
            let (writer, seq) = (probed.writer, search.differ());
            self.send(Body::Want(Want { writer, seq }));
        }
        Ok(())
    }

    pub(super) fn give_one(&mut self, copy: &dyn Copy, want: &Want) -> Result<(), Failure> {
        let Some(replica) = copy.replica() else {
            return Ok(());
        };
        let Some(operation) = replica.operation(copy.rows(), want.writer, want.seq)? else {
            return Ok(());
        };
        let value = match operation.payload.action.value() {
            Some(cid) => copy.block(cid)?.unwrap_or_default(),
            None => Bytes::new(),
        };
        self.unanswered += 1;
        self.send(Body::Operations(Operations {
            operations: vec![OperationFrame {
                block: operation.block().clone(),
                value,
            }],
        }));
        Ok(())
    }
}
