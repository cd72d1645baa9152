//! Archives that are kept whole, read in any order.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cid::Cid;

use super::{CarError, CarLimits, CarReader};
use crate::source::{BlockSource, BlockSourceError};

/// An archive that is larger than this is kept in a file.
const MEMORY: usize = 16 << 20;
/// How much is written to a file at a time.
const PIECE: usize = 256 << 10;

/// An archive as a source of blocks, in a file or, a small one that came as a stream, in memory.
///
/// Making one reads the archive once to its end, checks each block against its CID, and remembers where it lies: 16 bytes
/// of memory for each block, whatever its content.
#[derive(Debug)]
pub struct CarFile {
    bytes: Kept,
    roots: Vec<Cid>,
    /// By hash.
    blocks: Vec<Entry>,
    hasher: RandomState,
    length: u64,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    /// Of CID and content together.
    len: u32,
    /// Of the CID, with a key that nobody knows who makes archives.
    hash: u32,
}

/// The bytes of an archive.
#[derive(Debug)]
enum Kept {
    Memory(Bytes),
    File(Mutex<File>),
}

impl CarFile {
    /// Reads an archive in a file through.
    ///
    /// # Errors
    /// For the first thing that is wrong with it.
    pub fn open(mut file: File, limits: CarLimits) -> Result<Self, CarError> {
        let reader = CarReader::new(&mut file, limits)?;
        let index = Index::of(reader)?;
        index.over(Kept::File(Mutex::new(file)))
    }

    /// Reads an archive from a stream and keeps it: in memory up to 16 MiB, else in the file that `scratch` makes.
    ///
    /// # Errors
    /// For the first thing that is wrong with it, and when it cannot be kept.
    pub fn keep(
        input: impl Read,
        scratch: impl FnOnce() -> io::Result<File>,
        limits: CarLimits,
    ) -> Result<Self, CarError> {
        let mut tee = Tee {
            input,
            scratch: Some(scratch),
            memory: Vec::new(),
            file: None,
        };
        let index = Index::of(CarReader::new(&mut tee, limits)?)?;
        let kept = match tee.file {
            Some(file) => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Kept::File(Mutex::new(file))
            }
            None => Kept::Memory(tee.memory.into()),
        };
        index.over(kept)
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
        self.length
    }

    /// Whether a block is there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contains(&self, cid: &Cid) -> Result<bool, BlockSourceError> {
        Ok(self.block(cid)?.is_some())
    }

    /// Leaves one entry for each block that the archive has several times.
    fn forget_repeated(&mut self) -> io::Result<()> {
        let bytes = &self.bytes;
        let mut alike: Vec<Entry> = Vec::new();
        let mut failed = Ok(());
        self.blocks.retain(|entry| {
            alike.retain(|other| other.hash == entry.hash);
            for other in alike.iter().filter(|other| other.len == entry.len) {
                match bytes
                    .at(other)
                    .and_then(|other| Ok(other == bytes.at(entry)?))
                {
                    Ok(true) => return false,
                    Ok(false) => {}
                    Err(e) => failed = Err(e),
                }
            }
            alike.push(*entry);
            true
        });
        failed
    }
}

impl BlockSource for CarFile {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        let (hash, name) = (self.hasher.hash_one(cid) as u32, cid.to_bytes());
        let from = self.blocks.partition_point(|entry| entry.hash < hash);
        let alike = self.blocks.get(from..).unwrap_or_default().iter();
        for entry in alike.take_while(|entry| entry.hash == hash) {
            let found = self.bytes.at(entry);
            let found = found.map_err(|e| BlockSourceError::read(cid, e))?;
            if found.starts_with(&name) {
                return Ok(Some(found.slice(name.len()..)));
            }
        }
        Ok(None)
    }
}

impl Kept {
    /// The CID and the content of a block.
    fn at(&self, entry: &Entry) -> io::Result<Bytes> {
        let len = entry.len as usize;
        match self {
            Self::Memory(bytes) => usize::try_from(entry.at)
                .ok()
                .and_then(|at| Some(at..at.checked_add(len)?))
                .filter(|place| place.end <= bytes.len())
                .map(|place| bytes.slice(place))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Self::File(file) => {
                let mut data = vec![0; len];
                // What another thread left behind is only a position, and that is set anew.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(entry.at))?;
                file.read_exact(&mut data)?;
                Ok(data.into())
            }
        }
    }
}

/// What reading an archive through tells.
struct Index {
    roots: Vec<Cid>,
    blocks: Vec<Entry>,
    hasher: RandomState,
    length: u64,
}

impl Index {
    fn of(mut reader: CarReader<impl Read>) -> Result<Self, CarError> {
        let hasher = RandomState::new();
        let roots = reader.roots().to_vec();
        let mut blocks = Vec::new();
        let mut length = reader.position();
        while let Some(block) = reader.next() {
            let (cid, data) = block?;
            length = reader.position();
            let len = data.len() + cid.encoded_len();
            let at = length.saturating_sub(len as u64);
            blocks.push(Entry {
                at,
                len: u32::try_from(len).map_err(|_| CarError::BlockTooLong {
                    at,
                    max: u32::MAX as usize,
                    found: len as u64,
                })?,
                hash: hasher.hash_one(cid) as u32,
            });
        }
        blocks.shrink_to_fit();
        blocks.sort_unstable_by_key(|entry: &Entry| (entry.hash, entry.at));
        Ok(Self {
            roots,
            blocks,
            hasher,
            length,
        })
    }

    fn over(self, bytes: Kept) -> Result<CarFile, CarError> {
        let mut archive = CarFile {
            bytes,
            roots: self.roots,
            blocks: self.blocks,
            hasher: self.hasher,
            length: self.length,
        };
        archive.forget_repeated()?;
        Ok(archive)
    }
}

/// Keeps what is read.
struct Tee<R, S> {
    input: R,
    scratch: Option<S>,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl<R: Read, S: FnOnce() -> io::Result<File>> Read for Tee<R, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        let piece = out.get(..count).unwrap_or_default();
        if self.file.is_none()
            && self.memory.len() + count > MEMORY
            && let Some(scratch) = self.scratch.take()
        {
            let mut file = BufWriter::with_capacity(PIECE, scratch()?);
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(piece)?,
            None => self.memory.extend_from_slice(piece),
        }
        Ok(count)
    }
}
