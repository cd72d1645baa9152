//! When each CID was last assigned, so that an old assignment that comes late is not done after a newer one.

use std::collections::HashMap;

use ues_data::Cid;

/// CIDs that are remembered at least; twice as many at most.
const ROOM: usize = 50_000;

/// The newest assignments, bounded.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashMap<Cid, u64>,
    old: HashMap<Cid, u64>,
}

impl Recent {
    /// Notes an assignment of this time, unless a newer one is known; says whether it is to be done.
    pub(super) fn note(&mut self, cid: Cid, at: u64) -> bool {
        let known = self.young.get(&cid).or_else(|| self.old.get(&cid));
        if known.is_some_and(|known| *known > at) {
            return false;
        }
        if self.young.len() >= ROOM {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(cid, at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_assignment_is_not_done_after_a_newer_one() {
        let mut recent = Recent::default();
        let cid = ues_data::raw_cid(b"x");
        assert!(recent.note(cid, 5));
        assert!(recent.note(cid, 5), "the same one again");
        assert!(!recent.note(cid, 4));
        assert!(recent.note(cid, 6));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for i in 0..3 * ROOM as u64 {
            recent.note(ues_data::raw_cid(&i.to_be_bytes()), i);
        }
        assert!(recent.young.len() + recent.old.len() <= 2 * ROOM);
    }
}
