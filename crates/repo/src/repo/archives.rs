//! Archives that many read at once, each at its own speed.
//!
//! Whoever reads a repository from the store holds one of the store's states meanwhile, and with it everything in memory
//! that is written after it. A slow reader must not do that. So what is more than a small archive is made as fast as the
//! store gives it, in a file without a name, and all who ask for the same state of the repository read that file. It is
//! kept for a while after the last of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use ues_data::Cid;
use ues_storage::Store;

use crate::syntax::Tid;

use super::{Export, RepoError};

/// An archive up to this size is given out as it was made, without a file.
const SMALL: usize = 1 << 20;
/// Most bytes of one piece that a reader gets from a file.
const PIECE: u64 = 256 << 10;
/// Archives that are made at once. The others wait.
const MAKERS: usize = 8;
/// How long an archive is kept that nobody reads.
const KEEP: Duration = Duration::from_secs(60);
/// How long readers of an archive have at least, when others need the room.
const GRACE: Duration = Duration::from_secs(30);

/// Which archive: two that are equal in this are equal in every byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveId {
    /// The commit that is its root.
    pub root: Cid,
    /// Only what was written after this revision.
    pub since: Option<Tid>,
    /// The paths of records that are left out, in order.
    pub without: Vec<String>,
}

/// The archives of a node. Cheap to clone.
#[derive(Clone)]
pub struct Archives(Arc<Inner>);

struct Inner {
    store: Store,
    /// From so many bytes of all files together on, another needs one of them to go.
    limit: u64,
    /// Bytes that they have.
    used: Arc<AtomicU64>,
    kept: Mutex<HashMap<ArchiveId, Arc<Archive>>>,
    makers: Arc<Semaphore>,
}

/// An archive in a file.
struct Archive {
    file: Mutex<File>,
    progress: watch::Sender<Progress>,
    /// What is left to be made, when the file takes no more: the first reader who comes there goes on with it.
    rest: Mutex<Option<(Bytes, Export)>>,
    used: Arc<AtomicU64>,
    begun: Instant,
    last_use: Mutex<Instant>,
}

/// How far an archive is made.
#[derive(Clone, Debug, Default)]
struct Progress {
    len: u64,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    /// It is whole.
    Whole,
    /// The file takes no more, or nobody wants it.
    NoRoom(String),
    /// It had to make room for others.
    Closed,
    /// The repository cannot be read.
    Damaged(Arc<RepoError>),
}

/// An archive on its way to one reader.
pub struct ArchiveReader {
    length: Option<u64>,
    place: Place,
}

enum Place {
    Memory(std::vec::IntoIter<Bytes>),
    File { archive: Arc<Archive>, at: u64 },
    Store(Box<Export>),
    Over,
}

/// Why an archive, or the rest of one, cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(Arc<RepoError>),
    /// The file cannot be written or read.
    #[error("the archive cannot be kept while it is read: {0}")]
    File(String),
    /// Others are being read that take all the room there is.
    #[error("too many archives are being read at this moment: try again later")]
    Busy,
}

impl Archives {
    /// None as yet. Their files lie beside the store's. While they take more than so many bytes together, another can be
    /// had only in the place of one that nobody reads, or else of the one that has been there for longest.
    pub fn new(store: Store, limit: u64) -> Self {
        Self(Arc::new(Inner {
            store,
            limit,
            used: Arc::default(),
            kept: Mutex::default(),
            makers: Arc::new(Semaphore::new(MAKERS)),
        }))
    }

    /// Gives an archive out: one that is there, or else what `export` begins. That is called on a thread that may block.
    ///
    /// # Errors
    /// Those of `export`, and [`ArchiveError::Busy`].
    pub async fn read(
        &self,
        id: ArchiveId,
        export: impl FnOnce() -> Result<Export, RepoError> + Send + 'static,
    ) -> Result<ArchiveReader, ArchiveError> {
        if let Some(archive) = self.known(&id) {
            return Ok(ArchiveReader::of(archive));
        }
        let makers = Arc::clone(&self.0.makers);
        let permit = makers.acquire_owned().await;
        // Perhaps somebody who waited before was about to make the same.
        if let Some(archive) = self.known(&id) {
            return Ok(ArchiveReader::of(archive));
        }
        let (this, runtime) = (self.clone(), tokio::runtime::Handle::current());
        blocking(move || {
            let mut export = export()?;
            let (mut first, mut size) = (Vec::new(), 0);
            while size <= SMALL {
                let Some(piece) = export.next().transpose()? else {
                    return Ok(ArchiveReader::small(first));
                };
                size += piece.len();
                first.push(piece);
            }
            // The commit that was asked for may be another by now.
            let id = ArchiveId {
                root: export.root(),
                ..id
            };
            let archive = this.begin(id.clone())?;
            let reader = ArchiveReader::of(Arc::clone(&archive));
            runtime.spawn(async move {
                let made = Arc::clone(&archive);
                let making = blocking(move || {
                    make(&made, first, export);
                    Ok(())
                });
                if let Err(e) = making.await {
                    archive.end(End::NoRoom(e.to_string()));
                }
                drop(permit);
                this.keep(&id, archive).await;
            });
            Ok(reader)
        })
        .await
    }

    fn known(&self, id: &ArchiveId) -> Option<Arc<Archive>> {
        let kept = self.0.kept.lock();
        let archive = kept.get(id).filter(|archive| archive.is_good())?;
        *archive.last_use.lock() = Instant::now();
        Some(Arc::clone(archive))
    }

    /// Makes room for another, and a file for it.
    fn begin(&self, id: ArchiveId) -> Result<Arc<Archive>, ArchiveError> {
        let mut kept = self.0.kept.lock();
        let full = || self.0.used.load(Ordering::Relaxed) >= self.0.limit;
        if full() {
            let is_read = |archive: &Arc<Archive>| Arc::strong_count(archive) > 1;
            let mut all: Vec<_> = kept
                .iter()
                .filter(|(_, archive)| !is_read(archive) || archive.begun.elapsed() > GRACE)
                .filter(|(_, archive)| archive.progress.borrow().end.is_some())
                .map(|(id, archive)| (is_read(archive), archive.begun, id.clone()))
                .collect();
            all.sort_unstable_by_key(|(read, begun, _)| (*read, *begun));
            let mut all = all.into_iter();
            while let Some((.., id)) = all.next()
                && full()
            {
                kept.remove(&id).inspect(|archive| archive.close());
            }
        }
        if full() {
            return Err(ArchiveError::Busy);
        }
        let file = self.0.store.scratch_file().map_err(file_error)?;
        let archive = Arc::new(Archive {
            file: Mutex::new(file),
            progress: watch::Sender::default(),
            rest: Mutex::default(),
            used: Arc::clone(&self.0.used),
            begun: Instant::now(),
            last_use: Mutex::new(Instant::now()),
        });
        kept.insert(id, Arc::clone(&archive));
        Ok(archive)
    }

    /// Forgets an archive when nobody has read it for a while, or at once if it is good for nobody else.
    async fn keep(&self, id: &ArchiveId, archive: Arc<Archive>) {
        let weak = Arc::downgrade(&archive);
        let mut idle = archive.is_good();
        drop(archive);
        while idle {
            tokio::time::sleep(KEEP).await;
            idle = weak.upgrade().is_some_and(|archive| {
                // The map's, and this one.
                Arc::strong_count(&archive) > 2 || archive.last_use.lock().elapsed() < KEEP
            });
        }
        let mut kept = self.0.kept.lock();
        if kept
            .get(id)
            .is_some_and(|now| Arc::as_ptr(now) == weak.as_ptr())
        {
            kept.remove(id);
        }
    }

    /// Bytes that the files take at this moment.
    pub fn bytes(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Archive {
    /// Whether it is whole, or on its way to be.
    fn is_good(&self) -> bool {
        matches!(self.progress.borrow().end, None | Some(End::Whole))
    }

    fn end(&self, end: End) {
        self.progress.send_modify(|now| now.end = Some(end));
    }

    /// Gives back what the file takes. Its readers are told when they ask for more.
    fn close(&self) {
        let file = self.file.lock();
        let emptied = file.set_len(0);
        let mut freed = 0;
        self.progress.send_modify(|now| {
            freed = now.len;
            *now = Progress {
                len: 0,
                end: Some(End::Closed),
            };
        });
        drop(file);
        self.used.fetch_sub(freed, Ordering::Relaxed);
        if let Err(cause) = emptied {
            tracing::warn!(%cause, "the file of an archive keeps its size until its last reader is gone");
        }
    }

    fn append(&self, piece: &[u8]) -> io::Result<()> {
        let len = self.progress.borrow().len;
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(len))?;
        file.write_all(piece)?;
        drop(file);
        let written = piece.len() as u64;
        self.used.fetch_add(written, Ordering::Relaxed);
        self.progress.send_modify(|now| now.len += written);
        Ok(())
    }

    fn piece(&self, at: u64, until: u64) -> Result<Bytes, ArchiveError> {
        let wanted = until.saturating_sub(at).min(PIECE);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        let mut file = self.file.lock();
        let read = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&mut *file).take(wanted).read_to_end(&mut bytes));
        drop(file);
        match read.map_err(file_error)? as u64 == wanted {
            true => Ok(bytes.into()),
            false => Err(ArchiveError::File("it is shorter than it was".into())),
        }
    }
}

/// Writes a whole archive into its file, as long as somebody reads it. Blocks on the disk.
fn make(archive: &Arc<Archive>, first: Vec<Bytes>, mut export: Export) {
    let mut first = first.into_iter();
    loop {
        let next = match first.next() {
            Some(piece) => Some(Ok(piece)),
            None => export.next(),
        };
        let piece = match next {
            None => return archive.end(End::Whole),
            Some(Err(e)) => return archive.end(End::Damaged(Arc::new(e))),
            Some(Ok(piece)) => piece,
        };
        // The map, the two of who makes it, and no reader.
        let stopped = match Arc::strong_count(archive) <= 3 {
            true => Err("nobody has read it to its end".to_owned()),
            false => archive.append(&piece).map_err(|e| e.to_string()),
        };
        if let Err(why) = stopped {
            let mut left = piece.to_vec();
            left.extend(first.flatten());
            *archive.rest.lock() = Some((left.into(), export));
            return archive.end(End::NoRoom(why));
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let len = self.progress.borrow().len;
        self.used.fetch_sub(len, Ordering::Relaxed);
    }
}

impl ArchiveReader {
    fn of(archive: Arc<Archive>) -> Self {
        let progress = archive.progress.borrow().clone();
        Self {
            length: matches!(progress.end, Some(End::Whole)).then_some(progress.len),
            place: Place::File { archive, at: 0 },
        }
    }

    fn small(pieces: Vec<Bytes>) -> Self {
        Self {
            length: Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            place: Place::Memory(pieces.into_iter()),
        }
    }

    /// Bytes of the whole archive, if that is known already.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the rest cannot be had. What came before is then to be thrown away.
    pub async fn next(&mut self) -> Option<Result<Bytes, ArchiveError>> {
        let piece = self.step().await.transpose();
        if !matches!(piece, Some(Ok(_))) {
            self.place = Place::Over;
        }
        piece
    }

    async fn step(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        match std::mem::replace(&mut self.place, Place::Over) {
            Place::Over => Ok(None),
            Place::Memory(mut pieces) => {
                let piece = pieces.next();
                self.place = Place::Memory(pieces);
                Ok(piece)
            }
            Place::Store(mut export) => {
                let (piece, export) = blocking(move || Ok((export.next(), export))).await?;
                self.place = Place::Store(export);
                Ok(piece.transpose()?)
            }
            Place::File { archive, at } => {
                let progress = {
                    let mut told = archive.progress.subscribe();
                    let more = told.wait_for(|now| now.len > at || now.end.is_some());
                    more.await.map(|now| now.clone()).unwrap_or_default()
                };
                if progress.len > at {
                    let read = Arc::clone(&archive);
                    let piece = blocking(move || read.piece(at, progress.len)).await?;
                    let at = at + piece.len() as u64;
                    self.place = Place::File { archive, at };
                    return Ok(Some(piece));
                }
                match progress.end {
                    None | Some(End::Whole) => {
                        *archive.last_use.lock() = Instant::now();
                        Ok(None)
                    }
                    Some(End::Closed) => Err(ArchiveError::Busy),
                    Some(End::Damaged(e)) => Err(ArchiveError::Repo(e)),
                    Some(End::NoRoom(why)) => {
                        let rest = archive.rest.lock().take();
                        let (piece, export) = rest.ok_or(ArchiveError::File(why))?;
                        self.place = Place::Store(Box::new(export));
                        Ok(Some(piece))
                    }
                }
            }
        }
    }
}

impl From<RepoError> for ArchiveError {
    fn from(e: RepoError) -> Self {
        Self::Repo(Arc::new(e))
    }
}

fn file_error(e: io::Error) -> ArchiveError {
    ArchiveError::File(e.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ArchiveError::File(e.to_string()))?
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crypto::{KeyKind, SigningKey};
    use crate::repo::{KeySource, KeySourceError, Repositories};
    use crate::syntax::Did;

    struct NoKeys;

    impl KeySource for NoKeys {
        fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn without_room_on_the_disk_one_reader_goes_on_from_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), ues_storage::StoreOptions::default()).unwrap();
        let repos = Repositories::open(store.clone(), Arc::new(NoKeys)).unwrap();
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        repos
            .create(&did, &key, store.batch(), Vec::new())
            .await
            .unwrap();
        let export = || repos.export(&did, None).unwrap();
        let expected: Vec<u8> = export().flat_map(Result::unwrap).collect();

        let full = File::options().write(true).open("/dev/full").unwrap();
        let archive = Arc::new(Archive {
            file: Mutex::new(full),
            progress: watch::Sender::default(),
            rest: Mutex::default(),
            used: Arc::default(),
            begun: Instant::now(),
            last_use: Mutex::new(Instant::now()),
        });
        let [mut one, mut other] = [(); 2].map(|()| ArchiveReader::of(Arc::clone(&archive)));
        // As the map and the maker would.
        let _held = [(); 2].map(|()| Arc::clone(&archive));
        make(&archive, vec![Bytes::from_static(b"before")], export());

        let mut got = Vec::new();
        while let Some(piece) = one.next().await {
            got.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(got, [&b"before"[..], &expected].concat());
        let refused = other.next().await.unwrap();
        assert!(matches!(refused, Err(ArchiveError::File(_))));
        assert!(other.next().await.is_none());
    }
}
