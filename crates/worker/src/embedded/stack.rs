//! The places of a walk that are still ahead, in little memory.

use ues_data::Cid;
use ues_data::content_id::{cid_from_bytes, write_cid};

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The block is reached.
    Enter,
    /// Everything below the block has been visited.
    Exit,
}

/// CIDs one behind the other; each takes its bytes and two more, a third of what it takes in memory elsewhere.
#[derive(Debug)]
pub(super) struct Stack {
    bytes: Vec<u8>,
    max: usize,
}

/// The stack would become larger than it may.
#[derive(Debug)]
pub(super) struct Full;

impl Stack {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
        }
    }

    pub(super) fn push(&mut self, cid: &Cid, turn: Turn) -> Result<(), Full> {
        let from = self.bytes.len();
        if from >= self.max {
            return Err(Full);
        }
        write_cid(cid, &mut self.bytes);
        let len = self.bytes.len() - from;
        self.bytes.push(u8::from(turn == Turn::Exit));
        // A CID has at most 94 bytes.
        self.bytes.push(u8::try_from(len).unwrap_or(u8::MAX));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<(Cid, Turn)> {
        let len = usize::from(self.bytes.pop()?);
        let turn = match self.bytes.pop()? {
            0 => Turn::Enter,
            _ => Turn::Exit,
        };
        let from = self.bytes.len().checked_sub(len)?;
        let cid = cid_from_bytes(self.bytes.get(from..)?).ok()?;
        self.bytes.truncate(from);
        Some((cid, turn))
    }
}

#[cfg(test)]
mod tests {
    use ues_data::content_id::identity_cid;
    use ues_data::raw_cid;

    use super::*;

    #[test]
    fn last_in_first_out_and_bounded() {
        let (a, b) = (raw_cid(b"a"), identity_cid(0x55, &[7; 64]).unwrap());
        let mut stack = Stack::new(100);
        stack.push(&a, Turn::Enter).unwrap();
        stack.push(&b, Turn::Exit).unwrap();
        assert!(stack.push(&a, Turn::Enter).is_err());
        assert_eq!(stack.pop(), Some((b, Turn::Exit)));
        assert_eq!(stack.pop(), Some((a, Turn::Enter)));
        assert_eq!(stack.pop(), None);
    }
}
