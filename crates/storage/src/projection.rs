//! Projections: anything that is computed from the event log, can be dropped, and is rebuilt by replay.
//!
//! Each projection runs on its own thread with its own cursor, so that a slow or failing one holds nobody else up.
//! The projection stores its state and its cursor together; the runner only asks for the cursor.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::background::stand_back;
use crate::error::StorageError;
use crate::event_log::{Event, EventLog};

/// Events that one call of [`Projection::apply`] gets at most.
const BATCH_EVENTS: usize = 2048;
/// Payload bytes that one call gets at most, unless a single event is larger.
const BATCH_BYTES: usize = 2 << 20;
/// Pause after a first failure; it doubles up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often an idle runner looks around without being woken.
const IDLE: Duration = Duration::from_secs(60);

/// Why a projection could not go on. The runner tries again, after a pause that grows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The projection's own state could not be read or written.
    #[error("{0}")]
    State(Box<dyn std::error::Error + Send + Sync>),
    /// An event was not what the projection expects.
    #[error("event {seq}: {what}")]
    Event {
        /// Its sequence number.
        seq: u64,
        /// What was expected and what was found.
        what: String,
    },
}

impl ProjectionError {
    /// A failure of the projection's own state.
    pub fn state(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::State(e.into())
    }
}

/// Something that is computed from the events, in order, each exactly once.
pub trait Projection: Send {
    /// A name for people.
    fn name(&self) -> &str;

    /// The sequence number of the last event that the stored state contains; 0 for an empty state.
    fn cursor(&mut self) -> Result<u64, ProjectionError>;

    /// Adds events to the state. State and cursor must become durable together or not at all: after an error the
    /// runner asks for the [`cursor`](Self::cursor) anew and goes on from there.
    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError>;

    /// Empties the state and puts the cursor at 0.
    fn reset(&mut self) -> Result<(), ProjectionError>;
}

/// How a projection fares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectionStatus {
    /// It has not read its cursor yet.
    Starting,
    /// It follows the log.
    Running,
    /// Its last attempt failed; it tries again.
    Failing {
        /// What went wrong.
        reason: String,
        /// How many attempts in a row have failed.
        attempts: u32,
    },
    /// It was stopped, or the store closed.
    Stopped,
}

/// Why waiting for a projection ended without success.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time was over.
    #[error("the projection stands at {cursor} and did not reach {wanted} in time")]
    Timeout {
        /// Where it stands.
        cursor: u64,
        /// Where it was wanted.
        wanted: u64,
    },
    /// The projection stopped first.
    #[error("the projection has stopped at {cursor}")]
    Stopped {
        /// Where it stands.
        cursor: u64,
    },
}

/// A running projection. Dropping the last handle stops it.
#[derive(Clone)]
pub struct ProjectionHandle(Arc<Handle>);

struct Handle {
    run: Arc<Run>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the handles share.
struct Run {
    name: String,
    log: Arc<EventLog>,
    cursor: watch::Sender<u64>,
    status: watch::Sender<ProjectionStatus>,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    stop: bool,
    reset: bool,
}

impl ProjectionHandle {
    pub(crate) fn spawn(
        log: Arc<EventLog>,
        projection: Box<dyn Projection>,
    ) -> Result<Self, StorageError> {
        let run = Arc::new(Run {
            name: projection.name().to_owned(),
            log,
            cursor: watch::Sender::new(0),
            status: watch::Sender::new(ProjectionStatus::Starting),
            orders: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name(format!("ues-{}", run.name))
            .spawn({
                let run = Arc::clone(&run);
                move || {
                    stand_back();
                    run.run(projection);
                }
            });
        let thread = thread.map_err(|e| StorageError::Engine(e.into()))?;
        Ok(Self(Arc::new(Handle {
            run,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// The projection's name.
    pub fn name(&self) -> &str {
        &self.0.run.name
    }

    /// The last event that it has taken in.
    pub fn cursor(&self) -> u64 {
        *self.0.run.cursor.borrow()
    }

    /// Durable events that it has not taken in yet.
    pub fn lag(&self) -> u64 {
        self.0.run.log.last_durable().saturating_sub(self.cursor())
    }

    /// How it fares.
    pub fn status(&self) -> ProjectionStatus {
        self.0.run.status.borrow().clone()
    }

    /// Follows the cursor.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.run.cursor.subscribe()
    }

    /// Resolves when the projection has taken in the event `seq`.
    ///
    /// # Errors
    ///
    /// When the time is over, or the projection stops.
    pub async fn wait_for(&self, seq: u64, timeout: Duration) -> Result<(), WaitError> {
        let mut cursor = self.0.run.cursor.subscribe();
        let mut status = self.0.run.status.subscribe();
        let arrived = async {
            tokio::select! {
                biased;
                // The senders live as long as the handle, so that neither wait can end without its condition.
                _ = cursor.wait_for(|&at| at >= seq) => true,
                _ = status.wait_for(|s| *s == ProjectionStatus::Stopped) => false,
            }
        };
        match tokio::time::timeout(timeout, arrived).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(WaitError::Stopped {
                cursor: self.cursor(),
            }),
            Err(_) => Err(WaitError::Timeout {
                cursor: self.cursor(),
                wanted: seq,
            }),
        }
    }

    /// Lets the projection empty its state and read the log from the beginning. Returns at once; the cursor stands
    /// at 0 from now on and tells how far it is.
    pub fn reset(&self) {
        let mut orders = self.0.run.orders.lock();
        orders.reset = true;
        self.0.run.cursor.send_replace(0);
        drop(orders);
        self.0.run.log.wake();
    }

    /// Stops the projection and waits until its thread has ended. A batch that is being applied is finished.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Handle {
    fn stop(&self) {
        self.run.orders.lock().stop = true;
        self.run.log.wake();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!(projection = self.run.name, "the projection panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Run {
    fn run(&self, mut projection: Box<dyn Projection>) {
        let _stopped = Stopped(self);
        let mut attempts = 0u32;
        while !self.ended() {
            let Err(error) = self.follow(&mut *projection, &mut attempts) else {
                return;
            };
            attempts = attempts.saturating_add(1);
            tracing::warn!(projection = self.name, attempts, %error, "the projection failed; it is tried again");
            self.status.send_replace(ProjectionStatus::Failing {
                reason: error.to_string(),
                attempts,
            });
            self.pause(
                FIRST_PAUSE
                    .saturating_mul(1 << attempts.min(16))
                    .min(LONGEST_PAUSE),
            );
        }
    }

    /// Feeds the projection until it is to end.
    fn follow(
        &self,
        projection: &mut dyn Projection,
        attempts: &mut u32,
    ) -> Result<(), ProjectionError> {
        let mut cursor = projection.cursor()?;
        self.cursor.send_replace(cursor);
        if *attempts == 0 {
            self.status.send_replace(ProjectionStatus::Running);
        }
        while !self.ended() {
            if self.orders.lock().reset {
                projection.reset()?;
                cursor = projection.cursor()?;
                let mut orders = self.orders.lock();
                orders.reset = false;
                self.cursor.send_replace(cursor);
            }
            let events = self
                .log
                .read(cursor, BATCH_EVENTS, BATCH_BYTES)
                .map_err(ProjectionError::state)?;
            let Some(last) = events.last().map(|e| e.seq) else {
                self.recovered(attempts);
                self.log.wait_beyond(cursor, IDLE, || self.has_orders());
                continue;
            };
            projection.apply(&events)?;
            cursor = last;
            let orders = self.orders.lock();
            // Who asked for a reset must not take the old state for the new one.
            if !orders.reset {
                self.cursor.send_replace(cursor);
            }
            drop(orders);
            self.recovered(attempts);
        }
        Ok(())
    }

    fn recovered(&self, attempts: &mut u32) {
        if *attempts > 0 {
            *attempts = 0;
            self.status.send_replace(ProjectionStatus::Running);
        }
    }

    /// Waits after a failure; orders and the store's end cut it short.
    fn pause(&self, time: Duration) {
        let end = std::time::Instant::now() + time;
        while !self.ended() && !self.orders.lock().reset {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            self.log.wait_beyond(u64::MAX, left, || self.has_orders());
        }
    }

    fn has_orders(&self) -> bool {
        let orders = self.orders.lock();
        orders.stop || orders.reset
    }

    fn ended(&self) -> bool {
        self.orders.lock().stop || self.log.is_closed()
    }
}

/// Marks the projection as stopped however its thread ends.
struct Stopped<'a>(&'a Run);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.status.send_replace(ProjectionStatus::Stopped);
    }
}

impl fmt::Debug for ProjectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionHandle")
            .field("name", &self.name())
            .field("cursor", &self.cursor())
            .field("status", &self.status())
            .finish()
    }
}
