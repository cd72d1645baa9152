//! The store itself: opening, writing, reading blocks, closing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Multihash;
use crate::batch::Batch;
use crate::block;
use crate::check::{self, CheckProgress, CheckReport};
use crate::collect::{Collected, collect};
use crate::committer::{Committer, Moving, Queue};
use crate::engine::{Engine, FjallEngine, KeyspaceId, Shape};
use crate::error::{CommitError, OpenError, StorageError};
use crate::event_log::EventLog;
use crate::expiry::sweep;
use crate::format::{FORMAT_VERSION, META_FORMAT, MhKey, SYSTEM_KEYSPACES, ks};
use crate::housekeeping::{self, Stop};
use crate::keyspace::Keyspace;
use crate::lock::FolderLock;
use crate::nursery::{Nursery, NurseryWriter, View};
use crate::objects::{Objects, release_unfinished};
use crate::options::StoreOptions;
use crate::projection::{Projection, ProjectionHandle};
use crate::snapshot::Snapshot;
use crate::stats::{self, StoreStats};
use crate::ticket::{Committed, Ticket};

/// The file that says which format version a folder has.
const FORMAT_FILE: &str = "FORMAT";
/// The folder of the engine's own files.
const ENGINE_DIR: &str = "engine";

/// A durable store of blocks, keys and events. Cheap to clone; it closes when the last clone is dropped.
#[derive(Clone)]
pub struct Store(Arc<Running>);

/// What every handle of the store shares. Lives until the last store, keyspace and snapshot are gone.
pub(crate) struct Shared {
    // Order matters: the engine must be closed before the folder is unlocked.
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: Arc<EventLog>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) nursery: Arc<Nursery>,
    pub(crate) options: StoreOptions,
    /// Where the collector goes on in its queue; held by whoever collects.
    pub(crate) collecting: Mutex<Option<Bytes>>,
    folder: Option<PathBuf>,
    _lock: Option<FolderLock>,
}

impl Shared {
    /// The state of everything now, blocks of the nursery included.
    pub(crate) fn view(&self) -> Arc<View> {
        self.nursery.view(&*self.engine)
    }

    /// Gives every block of the nursery rows of its own, so that a scan of the engine sees them.
    pub(crate) fn move_nursery(&self) -> Result<(), CommitError> {
        let moved = self
            .queue
            .submit_task(Moving::Now, Box::new(|_| Batch::new()))?;
        moved.wait().map(|_| ())
    }
}

/// The threads of an open store.
struct Running {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: Arc<Stop>,
}

impl Store {
    /// Opens the store in a folder, creating both at first use.
    ///
    /// # Errors
    ///
    /// When another process uses it, when its format is newer than this program, when it is damaged, or when the
    /// operating system refuses.
    pub fn open(dir: &Path, opts: StoreOptions) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(|source| OpenError::Io {
            path: dir.to_path_buf(),
            source,
        })?;
        let lock = FolderLock::acquire(dir)?;
        check_format_file(dir)?;
        let engine = FjallEngine::open(&dir.join(ENGINE_DIR), &opts)?;
        Self::start(Arc::new(engine), opts, Some((dir.to_path_buf(), lock)))
    }

    /// Opens the store in an engine, for tests and simulation.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), without the folder's.
    pub fn with_engine(engine: Arc<dyn Engine>, opts: StoreOptions) -> Result<Self, OpenError> {
        Self::start(engine, opts, None)
    }

    fn start(
        engine: Arc<dyn Engine>,
        options: StoreOptions,
        locked: Option<(PathBuf, FolderLock)>,
    ) -> Result<Self, OpenError> {
        let (folder, lock) = locked.unzip();
        open_system_keyspaces(&*engine)?;
        let queue = Queue::new(options.queue_bytes.max(1));
        let log = Arc::new(EventLog::open(
            Arc::clone(&engine),
            Arc::clone(&queue),
            options.log_tail_bytes,
        )?);
        let nursery = Arc::<Nursery>::default();
        let writer = NurseryWriter::open(Arc::clone(&nursery), &*engine, options.nursery_bytes)?;
        let committer = Committer::new(
            Arc::clone(&queue),
            Arc::clone(&engine),
            Arc::clone(&log),
            writer,
        );
        let pause = options.housekeeping;
        let shared = Arc::new(Shared {
            engine,
            log,
            queue,
            nursery,
            options,
            collecting: Mutex::default(),
            folder,
            _lock: lock,
        });
        let running = Running {
            shared,
            threads: Mutex::default(),
            stop: Arc::default(),
        };
        running.spawn("committer", move || committer.run())?;
        release_unfinished(&running.shared).map_err(|e| OpenError::Damaged(e.to_string()))?;
        if let Some(pause) = pause {
            let (shared, stop) = (Arc::clone(&running.shared), Arc::clone(&running.stop));
            running.spawn("housekeeping", move || {
                housekeeping::run(&shared, &stop, pause)
            })?;
        }
        Ok(Self(Arc::new(running)))
    }

    /// Opens a keyspace, creating it at first use. The same name gives a handle to the same rows.
    ///
    /// # Errors
    ///
    /// When the name is not 1 to 64 of `a-z`, `0-9`, `_` and `-`, or is one of the store's own.
    pub fn keyspace(&self, name: &'static str) -> Result<Keyspace, StorageError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.is_empty()
            || name.len() > 64
            || !name.bytes().all(plain)
            || SYSTEM_KEYSPACES.contains(&name)
        {
            return Err(StorageError::KeyspaceName(name.to_owned()));
        }
        let id = self.shared().engine.keyspace(name, Shape::Small)?;
        Ok(Keyspace::new(Arc::clone(self.shared()), id, name))
    }

    /// The state of the store now, for reads that must agree with each other.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(self.shared()))
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch::new()
    }

    /// Hands a batch to the committer. Batches are applied in the order of these calls, so that the order of two
    /// changes is decided here. Waits only while too many bytes are in line; [`ready`](Self::ready) avoids that.
    ///
    /// # Errors
    ///
    /// When the batch is not acceptable, or the store is poisoned or closed.
    pub fn submit(&self, batch: Batch) -> Result<Ticket, CommitError> {
        self.shared().queue.submit(batch)
    }

    /// Resolves when [`submit`](Self::submit) would not have to wait for room in the line.
    pub async fn ready(&self) {
        self.shared().queue.ready().await;
    }

    /// Writes a batch; resolves once it is durable.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), and when the write itself fails, which poisons the store.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.ready().await;
        self.submit(batch)?.await
    }

    /// Writes a batch and blocks the thread until it is durable. Errors as [`commit`](Self::commit).
    pub fn commit_blocking(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.submit(batch)?.wait()
    }

    /// The bytes of a block. They are not hashed again on each read; [`check`](Self::check) does that.
    pub fn block(&self, mh: &Multihash) -> Result<Option<Bytes>, StorageError> {
        let shared = self.shared();
        shared
            .nursery
            .block(&*shared.engine, MhKey::new(mh).as_ref())?
            .map(block::decode)
            .transpose()
    }

    /// Whether a block is stored. An absent one is mostly answered from memory.
    pub fn has_block(&self, mh: &Multihash) -> Result<bool, StorageError> {
        let (shared, key) = (self.shared(), MhKey::new(mh));
        Ok(shared.nursery.generation().has_block(key.as_ref())
            || shared.engine.contains(ks::BLOCKS, key.as_ref())?)
    }

    /// An empty file without a name beside the store's own: it is gone when it is closed, however the process ends. A
    /// store in memory has it where the system keeps temporary files.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn scratch_file(&self) -> std::io::Result<fs::File> {
        match &self.shared().folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        }
    }

    /// The time by the store's clock, in milliseconds since the Unix epoch: the one that expiry goes by.
    pub fn now_ms(&self) -> u64 {
        self.shared().options.clock.now_ms()
    }

    /// The event log.
    pub fn log(&self) -> &EventLog {
        &self.shared().log
    }

    /// Why the store takes no more writes, when an earlier one failed.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.shared().queue.poisoned()
    }

    /// Gives recent blocks rows of their own, then frees blocks without a reference, looking at about `max_rows`
    /// released blocks at most. Background work does the same on its own. Blocks while it works.
    ///
    /// # Errors
    ///
    /// When the store is poisoned, closed or damaged.
    pub fn collect(&self, max_rows: u64) -> Result<Collected, StorageError> {
        self.shared().move_nursery()?;
        collect(self.shared(), max_rows)
    }

    /// Deletes expired keys and returns how many there were. The background thread does the same on its own.
    /// Errors as [`collect`](Self::collect).
    pub fn sweep_expired(&self) -> Result<u64, StorageError> {
        sweep(self.shared())
    }

    /// Figures about the store.
    ///
    /// # Errors
    ///
    /// When the engine cannot tell.
    pub fn stats(&self) -> Result<StoreStats, StorageError> {
        stats::stats(self.shared())
    }

    /// Large objects.
    pub fn objects(&self) -> Objects {
        Objects::new(Arc::clone(self.shared()))
    }

    /// Reads every row of the store's own keyspaces, hashes every block, and follows every reference. Nothing is
    /// changed. Writes may go on meanwhile; the state at the beginning is checked.
    ///
    /// # Errors
    ///
    /// Only when the store cannot be read at all; damage that it finds is in the report.
    pub fn check(
        &self,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<CheckReport, StorageError> {
        check::check(self.shared(), progress)
    }

    /// Runs a projection on a thread of its own until it is stopped or the store closes.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn project(
        &self,
        projection: impl Projection + 'static,
    ) -> Result<ProjectionHandle, StorageError> {
        ProjectionHandle::spawn(Arc::clone(&self.shared().log), Box::new(projection))
    }

    /// Writes what waits, stops the threads and closes. Other clones then refuse writes; the folder is free for
    /// another process once all handles are gone.
    pub fn close(self) {
        self.0.stop();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl Running {
    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new()
            .name(format!("ues-{name}"))
            .spawn(work)
            .map_err(|source| OpenError::Io {
                path: format!("thread {name}").into(),
                source,
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn stop(&self) {
        self.shared.queue.close();
        self.shared.log.close();
        self.stop.stop();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("log", &self.shared().log)
            .finish_non_exhaustive()
    }
}

/// Opens the store's own keyspaces under their fixed numbers and checks the format version in `meta`.
fn open_system_keyspaces(engine: &dyn Engine) -> Result<(), OpenError> {
    for (name, number) in SYSTEM_KEYSPACES.into_iter().zip(0..) {
        let shape = match KeyspaceId(number) {
            ks::BLOCKS => Shape::Blobs,
            ks::LOG => Shape::Log,
            _ => Shape::Small,
        };
        let got = engine.keyspace(name, shape)?;
        if got != KeyspaceId(number) {
            return Err(OpenError::Damaged(format!(
                "keyspace {name} has number {}, expected {number}",
                got.0
            )));
        }
    }
    if let Some(row) = engine.get(ks::META, META_FORMAT)? {
        let found = <[u8; 4]>::try_from(&*row)
            .map(u32::from_be_bytes)
            .map_err(|_| {
                OpenError::Damaged(format!(
                    "format version of 4 bytes expected, found {}",
                    row.len()
                ))
            })?;
        accept_format(found)?;
        if found == FORMAT_VERSION {
            return Ok(());
        }
    }
    let mut batch = Batch::new();
    batch.put_row(ks::META, META_FORMAT, &FORMAT_VERSION.to_be_bytes());
    engine.apply(&mut batch.iter())?;
    Ok(engine.sync()?)
}

fn accept_format(found: u32) -> Result<(), OpenError> {
    if found > FORMAT_VERSION {
        return Err(OpenError::NewerFormat {
            found,
            supported: FORMAT_VERSION,
        });
    }
    Ok(())
}

/// Reads the version marker before any file of the engine is touched, or writes it in a new folder.
fn check_format_file(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(FORMAT_FILE);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(bytes.get(..64).unwrap_or(&bytes)).into_owned();
            let version = text
                .strip_prefix("ues-store ")
                .and_then(|v| v.trim_end().parse().ok())
                .ok_or(OpenError::NotAStore {
                    path: path.clone(),
                    found: text,
                })?;
            accept_format(version)?;
            if version == FORMAT_VERSION {
                return Ok(());
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (),
        Err(e) => return Err(io(e)),
    }
    // Under another name first, so that a crash leaves no half-written marker. Older programs must refuse the folder
    // before anything is written that they would not understand.
    let fresh = dir.join("FORMAT.new");
    fs::write(&fresh, format!("ues-store {FORMAT_VERSION}\n")).map_err(io)?;
    fs::File::open(&fresh)
        .and_then(|f| f.sync_all())
        .map_err(io)?;
    fs::rename(&fresh, &path).map_err(io)?;
    sync_folder(dir).map_err(io)
}

/// Makes renames in a folder durable; not every platform can open a folder.
fn sync_folder(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        fs::File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}
