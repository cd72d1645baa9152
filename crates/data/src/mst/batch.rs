//! Many changes at once.

use cid::Cid;

use super::error::MstError;
use super::tree::Tree;
use crate::source::BlockSource;

/// One change that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Set the value of a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Cid,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

impl Op {
    fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

impl Tree {
    /// Applies all operations, or none if one fails, and answers for each, in the order given, what value its key had
    /// before it. Operations on one key take effect in the order given.
    pub fn apply<S: BlockSource + ?Sized>(
        &mut self,
        src: &S,
        operations: &[Op],
    ) -> Result<Vec<Option<Cid>>, MstError> {
        // Neighbouring keys share their nodes, so that in order of keys each node is gone to once.
        let mut order: Vec<usize> = (0..operations.len()).collect();
        order.sort_by(|a, b| operations[*a].key().cmp(operations[*b].key()));

        let mut changed = self.clone();
        let mut before = vec![None; operations.len()];
        for index in order {
            before[index] = match &operations[index] {
                Op::Put { key, value } => changed.put(src, key, value)?,
                Op::Delete { key } => changed.delete(src, key)?,
            };
        }
        *self = changed;
        Ok(before)
    }
}
