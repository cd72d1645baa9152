//! Archives in a file, read in any order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cid::Cid;

use super::{CarError, CarLimits, CarReader};
use crate::source::{BlockSource, BlockSourceError};

/// An archive in a file, as a source of blocks.
///
/// Opening reads it once to its end, checks each block against its CID, and remembers where it lies: memory is taken
/// for the number of blocks, not for their content.
#[derive(Debug)]
pub struct CarFile {
    file: Mutex<File>,
    roots: Vec<Cid>,
    blocks: HashMap<Cid, (u64, usize)>,
    bytes: u64,
}

impl CarFile {
    /// Reads the archive through.
    ///
    /// # Errors
    /// For the first thing that is wrong with it.
    pub fn open(mut file: File, limits: CarLimits) -> Result<Self, CarError> {
        let mut reader = CarReader::new(&mut file, limits)?;
        let roots = reader.roots().to_vec();
        let mut blocks = HashMap::new();
        let mut bytes = reader.position();
        while let Some(block) = reader.next() {
            let (cid, data) = block?;
            bytes = reader.position();
            blocks.insert(cid, (bytes - data.len() as u64, data.len()));
        }
        Ok(Self {
            file: Mutex::new(file),
            roots,
            blocks,
            bytes,
        })
    }

    /// The roots that the header names.
    #[must_use]
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// How many different blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many bytes the archive has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a block is there.
    #[must_use]
    pub fn contains(&self, cid: &Cid) -> bool {
        self.blocks.contains_key(cid)
    }
}

impl BlockSource for CarFile {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        let Some(&(at, len)) = self.blocks.get(cid) else {
            return Ok(None);
        };
        let mut data = vec![0; len];
        // What another thread left behind is only a position, and that is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut data))
            .map_err(|e| BlockSourceError::read(cid, e))?;
        Ok(Some(data.into()))
    }
}
