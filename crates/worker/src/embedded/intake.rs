//! Archives and files into an upload.

use std::path::PathBuf;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use ues_data::Cid;
use ues_data::car::{AsyncCarReader, CarLimits};
use ues_data::unixfs::{DirectoryBuilder, FileBuilder, ImportOptions, Imported, import_path};

use super::upload::{IntakeError, Upload};

/// How much of a file is read at a time.
const CHUNK: usize = 64 << 10;

/// Blocks that a builder has made.
pub(super) type Made = Vec<(Cid, Bytes)>;

impl Upload {
    /// Takes in all blocks of an archive, each checked against its CID, in bounded memory; the roots that its header
    /// names, which need not be among the blocks.
    ///
    /// # Errors
    /// When the archive is not one, exceeds the limits or holds a block of another hash, when the input fails, or the
    /// store cannot write.
    pub async fn car(
        &mut self,
        input: impl AsyncRead + Unpin,
        limits: CarLimits,
    ) -> Result<Vec<Cid>, IntakeError> {
        let mut archive = AsyncCarReader::new(input, limits).await?;
        while let Some((cid, bytes)) = archive.next().await? {
            self.put_verified(&cid, &bytes).await?;
        }
        Ok(archive.roots().to_vec())
    }

    /// Takes in a file of at most `max_bytes`, cut as `ipfs add` would cut it.
    ///
    /// # Errors
    /// When the options are not possible, the file is longer, the input fails, or the store cannot write.
    pub async fn file(
        &mut self,
        mut input: impl AsyncRead + Unpin,
        options: ImportOptions,
        max_bytes: u64,
    ) -> Result<Imported, IntakeError> {
        let mut file = FileBuilder::new(options)?;
        let mut made = Made::new();
        let mut sink = Collect(&mut made);
        let mut buffer = vec![0; CHUNK];
        let mut length = 0u64;
        loop {
            let read = input.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            length += read as u64;
            if length > max_bytes {
                return Err(IntakeError::TooLarge(max_bytes));
            }
            file.write(buffer.get(..read).unwrap_or_default(), &mut sink)?;
            self.put_made(sink.0).await?;
        }
        let imported = file.finish(&mut sink)?;
        self.put_made(&mut made).await?;
        Ok(imported)
    }

    /// Takes in a directory of these entries, as `ipfs add -w` wraps its files.
    ///
    /// # Errors
    /// When a name is not possible or stands there twice, or the store cannot write.
    pub async fn directory(
        &mut self,
        entries: impl IntoIterator<Item = (String, Imported)>,
        options: ImportOptions,
    ) -> Result<Imported, IntakeError> {
        let mut made = Made::new();
        let imported = {
            let mut directory = DirectoryBuilder::new(options);
            for (name, entry) in entries {
                directory.add(&name, entry)?;
            }
            directory.finish(&mut Collect(&mut made))?
        };
        self.put_made(&mut made).await?;
        Ok(imported)
    }

    /// Takes in a file or folder of this machine. Symbolic links are kept and not followed.
    ///
    /// # Errors
    /// When something cannot be read or is neither file, folder nor link, or the store cannot write; the upload is then
    /// left to expire.
    pub async fn path(
        mut self,
        path: PathBuf,
        options: ImportOptions,
    ) -> Result<(Self, Imported), IntakeError> {
        let work = move || {
            let imported = import_path(&path, options, &mut self)?;
            Ok((self, imported))
        };
        tokio::task::spawn_blocking(work).await?
    }

    pub(super) async fn put_made(&mut self, made: &mut Made) -> Result<(), IntakeError> {
        for (cid, bytes) in made.drain(..) {
            self.put_verified(&cid, &bytes).await?;
        }
        Ok(())
    }
}

/// Keeps blocks until they can be written without holding a thread.
pub(super) struct Collect<'a>(pub(super) &'a mut Made);

impl ues_data::BlockSink for Collect<'_> {
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), ues_data::BlockSinkError> {
        self.0.push((*cid, bytes));
        Ok(())
    }
}
