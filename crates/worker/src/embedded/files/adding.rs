//! Files, folders and links, as `ipfs add` adds them.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc::Sender;
use ues_data::unixfs::{
    DirectoryBuilder, FileBuilder, ImportError, ImportOptions, Imported, symlink,
};
use ues_pins::intake::{AddParams, Added, IntakeError, Part};

use super::choices::import_options;
use super::tree::{Folder, Tree, names};
use super::{invalid, release};
use crate::embedded::EmbeddedBackend;
use crate::embedded::intake::{Collect, Made};
use crate::embedded::upload::{IntakeError as UploadError, Upload};

/// Bytes that the entries of all open folders take in memory, roughly; half a million of them.
const MAX_TREE: usize = 128 << 20;
/// The longest target of a link, in bytes: what file systems allow.
const MAX_LINK: usize = 4096;
/// How much of a file is made into blocks at least before they are written.
const PIECE: usize = 4 << 10;
/// How many bytes lie between two news of a file, as in Kubo.
const NEWS: u64 = 256 << 10;
/// A folder of more entries is put together on a thread of its own.
const LARGE: usize = 2000;

type Parts = BoxStream<'static, Result<Part, IntakeError>>;

/// Where answers go.
pub(super) type Tell = Sender<Result<Added, IntakeError>>;

/// Adds everything that comes, and tells what became of it.
pub(super) async fn add(
    backend: &EmbeddedBackend,
    parts: Parts,
    params: &AddParams,
    tell: &Tell,
) -> Result<(), IntakeError> {
    let mut adding = Adding {
        options: import_options(params)?,
        wrap: params.wrap,
        progress: params.progress,
        upload: backend.upload().await?,
        tree: Tree::new(MAX_TREE),
        file: None,
        last: None,
        tell,
    };
    match adding.all(parts).await {
        Ok(()) => {
            adding.upload.leave().await?;
            match adding.last {
                Some(root) => send(tell, root).await,
                None => Ok(()),
            }
        }
        Err(error) => {
            release(adding.upload).await;
            Err(error)
        }
    }
}

struct Adding<'a> {
    options: ImportOptions,
    wrap: bool,
    progress: bool,
    upload: Upload,
    tree: Tree,
    /// The file whose content comes.
    file: Option<File>,
    /// What was stored last: the root, if nothing follows. It is told when everything is on the disk.
    last: Option<Added>,
    tell: &'a Tell,
}

struct File {
    path: String,
    builder: FileBuilder,
    bytes: u64,
    /// How many of them were told.
    told: u64,
}

impl Adding<'_> {
    async fn all(&mut self, mut parts: Parts) -> Result<(), IntakeError> {
        let mut some = false;
        while let Some(part) = parts.next().await {
            self.part(part?).await?;
            some = true;
        }
        self.end_file().await?;
        self.complete(&[]).await?;
        if self.wrap && some {
            let tree = std::mem::replace(&mut self.tree, Tree::new(0));
            let made = self.directory(tree.into_root()).await?;
            self.tell(String::new(), made).await?;
        }
        Ok(())
    }

    async fn part(&mut self, part: Part) -> Result<(), IntakeError> {
        if let Part::Data(bytes) = part {
            return self.data(bytes).await;
        }
        self.end_file().await?;
        match part {
            Part::Data(_) => {}
            Part::Folder { path } => {
                let names = names(&path)?;
                self.make_room(&names).await?;
                self.tree.open(&names)?;
            }
            Part::File { path } => {
                let names = names(&path)?;
                self.make_room(&names).await?;
                self.tree.reserve(&names)?;
                self.file = Some(File {
                    builder: FileBuilder::new(self.options).map_err(UploadError::from)?,
                    path,
                    bytes: 0,
                    told: 0,
                });
            }
            Part::Link { path, target } => {
                let names = names(&path)?;
                if target.len() > MAX_LINK {
                    let why = "a link has a target of more than";
                    return Err(invalid(format!("{path}: {why} {MAX_LINK} bytes")));
                }
                self.make_room(&names).await?;
                self.tree.reserve(&names)?;
                let mut made = Made::new();
                let link = symlink(&target, self.options, &mut Collect(&mut made));
                let link = link.map_err(UploadError::from)?;
                self.upload.put_made(&mut made).await?;
                self.stored(path, link).await?;
            }
        }
        Ok(())
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), IntakeError> {
        let Some(file) = &mut self.file else {
            return Err(invalid("content that belongs to no file"));
        };
        // However small the blocks are, few wait to be written.
        for piece in bytes.chunks(self.options.chunk_size.max(PIECE)) {
            let mut made = Made::new();
            let written = file.builder.write(piece, &mut Collect(&mut made));
            written.map_err(UploadError::from)?;
            self.upload.put_made(&mut made).await?;
        }
        file.bytes += bytes.len() as u64;
        if file.bytes - file.told >= NEWS {
            self.news().await?;
        }
        Ok(())
    }

    /// Tells how much of a file has arrived, if that is wanted.
    async fn news(&mut self) -> Result<(), IntakeError> {
        let Some(file) = self.file.as_mut().filter(|_| self.progress) else {
            return Ok(());
        };
        file.told = file.bytes;
        let news = Added {
            name: file.path.clone(),
            bytes: file.bytes,
            ..Added::default()
        };
        if let Some(last) = self.last.take() {
            send(self.tell, last).await?;
        }
        send(self.tell, news).await
    }

    async fn end_file(&mut self) -> Result<(), IntakeError> {
        if self.file.is_some() {
            self.news().await?;
        }
        let Some(File { path, builder, .. }) = self.file.take() else {
            return Ok(());
        };
        let mut made = Made::new();
        let file = builder.finish(&mut Collect(&mut made));
        let file = file.map_err(UploadError::from)?;
        self.upload.put_made(&mut made).await?;
        self.stored(path, file).await
    }

    /// Puts what was stored where it belongs. What has no name is named by its CID.
    async fn stored(&mut self, mut path: String, made: Imported) -> Result<(), IntakeError> {
        if path.is_empty() {
            path = made.cid.to_string();
        }
        self.tree.put(&names(&path)?, made)?;
        self.tell(path, made).await
    }

    /// Completes what has to be complete before something comes to this path: other things at the top, unless a folder
    /// is around them, because the last of them is the root; and whatever can be, when memory gets short.
    async fn make_room(&mut self, names: &[&str]) -> Result<(), IntakeError> {
        if !self.wrap && self.tree.is_elsewhere(names.first().copied()) {
            self.complete(&[]).await?;
        }
        if self.tree.is_tight() {
            self.complete(names).await?;
            self.tree.tidied();
        }
        Ok(())
    }

    async fn complete(&mut self, keep: &[&str]) -> Result<(), IntakeError> {
        while let Some((path, folder)) = self.tree.take_complete(keep) {
            let made = self.directory(folder).await?;
            self.stored(path.join("/"), made).await?;
        }
        Ok(())
    }

    async fn directory(&mut self, folder: Folder) -> Result<Imported, IntakeError> {
        let options = self.options;
        let (mut made, directory) = if folder.len() > LARGE {
            let work = tokio::task::spawn_blocking(move || directory(folder, options));
            work.await.map_err(UploadError::from)?
        } else {
            directory(folder, options)
        }
        .map_err(UploadError::from)?;
        self.upload.put_made(&mut made).await?;
        Ok(directory)
    }

    async fn tell(&mut self, name: String, made: Imported) -> Result<(), IntakeError> {
        let added = Added {
            name,
            cid: Some(made.cid),
            bytes: 0,
            size: made.total_size,
        };
        match self.last.replace(added) {
            Some(before) => send(self.tell, before).await,
            None => Ok(()),
        }
    }
}

fn directory(folder: Folder, options: ImportOptions) -> Result<(Made, Imported), ImportError> {
    let mut builder = DirectoryBuilder::new(options);
    for (name, entry) in folder.into_entries() {
        builder.add(&name, entry)?;
    }
    let mut made = Made::new();
    let directory = builder.finish(&mut Collect(&mut made))?;
    Ok((made, directory))
}

async fn send(tell: &Tell, added: Added) -> Result<(), IntakeError> {
    let nobody = |_| IntakeError::Failed("nobody waits for the answer".to_owned());
    tell.send(Ok(added)).await.map_err(nobody)
}
