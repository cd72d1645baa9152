//! The pin service as every interface of it uses it: add, remove, look up, list, watch.

mod bulk;
mod error;
mod limits;
mod list;
mod migrate;
mod operations;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use ues_bus::Bus;
use ues_data::Cid;

use crate::Owner;
use crate::announce::{self, Announcer};
use crate::clock::Clock;
use crate::event::{PinEvent, Watch};
use crate::fleet::Fleet;
use crate::metrics::{FailureKind, Metrics};
use crate::model::{Pin, PinOptions};
use crate::news;
use crate::placement::PinRecord;
use crate::planner::Policy;
use crate::reconcile::{self, Parts, Reconciler, Totals};
use crate::request::PinRequest;
use crate::request_id::RequestId;
use crate::shard::{Shard, Shards};
use crate::store::{RemoveIf, RequestChange, StateStore};
use crate::tasks::Tasks;
use crate::trace::TraceParent;

pub use bulk::{Change, ChangeAnswer};
pub use error::PinsError;
pub use limits::Limits;
pub use list::{ListQuery, Listed, NameMatch};
pub use migrate::{DigestPage, Refused, TakenOver};
pub use view::{Overall, PinView, overall};

/// Changes that a watcher may lag behind before it misses some.
const EVENTS: usize = 16_384;
/// How long the lengths of queues are waited for.
const STATS_WAIT: Duration = Duration::from_secs(5);

/// What the service is made of.
pub struct Options {
    /// How the planner decides.
    pub policy: Policy,
    /// What users may ask for.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// A name of this process that no other one has.
    pub holder: String,
    /// The pause between two walks over all records.
    pub sweep_pause: Duration,
    /// Whether this process plans.
    pub plans: bool,
    /// Whether other processes work on the same state, so that they tell each other what changes.
    pub shared: bool,
    /// Into how many shards all pins are divided, the same for all processes.
    pub shards: Shards,
    /// Where measurements go.
    pub metrics: Metrics,
}

impl Options {
    /// For a process of this name, with everything else as usual.
    pub fn new(holder: String) -> Self {
        Self {
            policy: Policy::default(),
            limits: Limits::default(),
            clock: Clock::default(),
            holder,
            sweep_pause: Duration::from_secs(30),
            plans: true,
            shared: false,
            shards: Shards::default(),
            metrics: Metrics::default(),
        }
    }
}

/// The pin service. Cheap to clone.
#[derive(Clone)]
pub struct Pins(Arc<Shared>);

struct Shared {
    store: Arc<dyn StateStore>,
    bus: Arc<dyn Bus>,
    announcer: Announcer,
    reconciler: Option<Reconciler>,
    events: broadcast::Sender<Arc<PinEvent>>,
    /// Ends what watchers hear.
    watching: CancellationToken,
    limits: Limits,
    policy: Policy,
    shards: Shards,
    clock: Clock,
    metrics: Metrics,
    started: Instant,
    tasks: Tasks,
}

/// A wish of an owner, before it is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What the pin should be like.
    pub options: PinOptions,
    /// Words by which the owner finds it again.
    pub tags: Vec<String>,
    /// The client's id of the operation: asked for again, it gets the first answer.
    pub op_id: Option<String>,
}

impl Pins {
    /// Starts the service on a state store and a bus.
    pub fn start(store: Arc<dyn StateStore>, bus: Arc<dyn Bus>, options: Options) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        let store = options.metrics.measuring(store);
        let tasks = Tasks::default();
        let made = if options.shared {
            share_events(&bus, &options, &events, &tasks)
        } else {
            events.clone()
        };
        let reconciler = options.plans.then(|| {
            Reconciler::start(Parts {
                store: Arc::clone(&store),
                bus: Arc::clone(&bus),
                policy: options.policy.clone(),
                clock: options.clock.clone(),
                holder: options.holder,
                sweep_pause: options.sweep_pause,
                shared: options.shared,
                shards: options.shards,
                events: made,
                metrics: options.metrics.clone(),
            })
        });
        let announcer = Announcer::start(
            Arc::clone(&store),
            Arc::clone(&bus),
            options.shards,
            options.metrics.clone(),
        );
        Self(Arc::new(Shared {
            store,
            bus,
            announcer,
            reconciler,
            events,
            watching: CancellationToken::new(),
            limits: options.limits,
            policy: options.policy,
            shards: options.shards,
            clock: options.clock,
            metrics: options.metrics,
            started: Instant::now(),
            tasks,
        }))
    }

    /// Ends planning, and waits until it has ended. What is stored stays as it is.
    pub async fn stop(&self) {
        self.end_watching();
        if let Some(reconciler) = &self.0.reconciler {
            reconciler.stop().await;
        }
        self.0.tasks.kill();
    }

    /// Accepts a wish. It is durable when this returns; the planner is told in the background.
    ///
    /// # Errors
    /// [`PinsError::Invalid`] for a wish beyond the limits, [`PinsError::Conflict`] for an operation id that was
    /// used for another wish, [`PinsError::State`].
    pub async fn add(&self, owner: &Owner, cid: Cid, wish: Wish) -> Result<PinView, PinsError> {
        self.0.limits.check(&cid, &wish, self.now_s())?;
        let fingerprint = operations::of_wish(&cid, &wish);
        if let Some(answer) = self
            .answered(owner, wish.op_id.as_deref(), fingerprint)
            .await?
        {
            return Ok(answer);
        }
        let op_id = wish.op_id.clone();
        let request = self.accept(owner, cid, wish);
        let answer = RequestId::of(&request);
        let operation = op_id.map(|id| operations::operation(owner, &id, fingerprint, &answer));
        let put = RequestChange::Put(Box::new(request.clone()));
        let operations = operation.into_iter().collect();
        self.0.store.change_requests(vec![put], operations).await?;
        self.0.announcer.changed(cid);
        Ok(PinView::accepted(request))
    }

    /// The request that a wish becomes.
    fn accept(&self, owner: &Owner, cid: Cid, wish: Wish) -> PinRequest {
        let now_ms = self.now_ms();
        PinRequest {
            owner: owner.clone(),
            pin: Pin::new(cid, wish.options, now_ms / 1000),
            tags: wish.tags,
            created_ms: now_ms,
        }
    }

    /// The first answer to an operation that was made before.
    async fn answered(
        &self,
        owner: &Owner,
        op_id: Option<&str>,
        fingerprint: u64,
    ) -> Result<Option<PinView>, PinsError> {
        let Some(id) = op_id else { return Ok(None) };
        let Some(operation) = self.0.store.operation(owner, id).await? else {
            return Ok(None);
        };
        let answered = operations::answer_of(&operation, fingerprint)?;
        match self.request(owner, &answered.to_string()).await {
            Ok(request) => self.view(request).await.map(Some),
            // The pin is gone since; the answer is what it was.
            Err(PinsError::NotFound(_)) => Err(PinsError::NotFound(format!(
                "operation {id} made the request {answered}, which was removed since"
            ))),
            Err(error) => Err(error),
        }
    }

    /// An owner's request by its id or its CID.
    ///
    /// # Errors
    /// [`PinsError::NotFound`], [`PinsError::Invalid`] for what is neither, [`PinsError::State`].
    pub async fn request(&self, owner: &Owner, id: &str) -> Result<PinRequest, PinsError> {
        let missing = || PinsError::NotFound(format!("there is no pin request {id}"));
        let (cid, created_ms) = read_id(owner, id)?;
        let request = self.0.store.request(owner, &cid).await?;
        request
            .filter(|request| created_ms.is_none_or(|time| time == request.created_ms))
            .ok_or_else(missing)
    }

    /// A request with how far it is.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn view(&self, request: PinRequest) -> Result<PinView, PinsError> {
        let record = self.record(request.cid()).await?;
        Ok(PinView::new(request, &record, &self.0.policy))
    }

    /// Everything about a CID, whoever asked for it.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn record(&self, cid: &Cid) -> Result<PinRecord, PinsError> {
        let records = self.0.store.records(std::slice::from_ref(cid)).await?;
        let record = records.into_iter().next();
        Ok(record.unwrap_or_else(|| PinRecord {
            cid: *cid,
            wanted: None,
            placements: Vec::new(),
        }))
    }

    /// Removes an owner's request by its id or its CID. Requests of others for the same CID stay.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn remove(&self, owner: &Owner, id: &str) -> Result<PinRequest, PinsError> {
        let (cid, created_ms) = read_id(owner, id)?;
        let only = created_ms.map_or(RemoveIf::Always, RemoveIf::CreatedAt);
        let owner = owner.clone();
        let change = RequestChange::Remove { owner, cid, only };
        let before = self
            .0
            .store
            .change_requests(vec![change], Vec::new())
            .await?;
        let removed = before
            .into_iter()
            .flatten()
            .find(|request| created_ms.is_none_or(|time| time == request.created_ms))
            .ok_or_else(|| PinsError::NotFound(format!("there is no pin request {id}")))?;
        self.0.announcer.changed(cid);
        Ok(removed)
    }

    /// Puts a wish in the place of a request: the old one goes only when the new one is durable.
    ///
    /// # Errors
    /// As [`request`](Self::request) and [`add`](Self::add).
    pub async fn replace(
        &self,
        owner: &Owner,
        id: &str,
        cid: Cid,
        wish: Wish,
    ) -> Result<PinView, PinsError> {
        let old = self.request(owner, id).await?;
        self.0.limits.check(&cid, &wish, self.now_s())?;
        let mut request = self.accept(owner, cid, wish);
        // Another id even within the same millisecond.
        request.created_ms = request.created_ms.max(old.created_ms + 1);
        let mut changes = vec![RequestChange::Put(Box::new(request.clone()))];
        if *old.cid() != cid {
            changes.push(RequestChange::Remove {
                owner: owner.clone(),
                cid: *old.cid(),
                only: RemoveIf::CreatedAt(old.created_ms),
            });
        }
        self.0.store.change_requests(changes, Vec::new()).await?;
        self.0.announcer.changed(cid);
        self.0.announcer.changed(*old.cid());
        Ok(PinView::accepted(request))
    }

    /// Tries again at once what failed or waits for these CIDs.
    ///
    /// # Errors
    /// [`PinsError::Bus`].
    pub async fn recover(&self, cids: &[Cid]) -> Result<(), PinsError> {
        let trace = TraceParent::current();
        let announced: Vec<_> = cids.iter().map(|cid| (*cid, trace)).collect();
        let (store, bus) = (&*self.0.store, &*self.0.bus);
        let published = announce::publish(store, bus, self.0.shards, &announced, true).await;
        published.inspect_err(|_| self.0.metrics.failure(FailureKind::Nats))?;
        Ok(())
    }

    /// Changes of placements from now on. A watcher that does not keep up misses the oldest.
    pub fn watch(&self) -> Watch {
        Watch {
            events: self.0.events.subscribe(),
            end: self.0.watching.clone(),
        }
    }

    /// Lets go of all watchers, who would otherwise stay for ever: the service is about to stop.
    pub fn end_watching(&self) {
        self.0.watching.cancel();
    }

    /// The workers as they are known now.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn fleet(&self) -> Result<Fleet, PinsError> {
        if let Some(reconciler) = self.reconciler() {
            return Ok(Fleet::clone(&reconciler.fleet()));
        }
        Ok(Fleet::new(self.0.store.workers().await?))
    }

    /// The state store.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.0.store
    }

    /// The bus.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.bus
    }

    /// The reconciler, if this process plans.
    pub fn reconciler(&self) -> Option<&Reconciler> {
        self.0.reconciler.as_ref()
    }

    /// What the last walks over all records counted, in whichever process.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn totals(&self) -> Result<Totals, PinsError> {
        let own = self.reconciler().map(Reconciler::counted);
        let own: BTreeMap<Shard, Totals> = own.unwrap_or_default().into_iter().collect();
        let mut all = Vec::new();
        for shard in self.0.shards.all() {
            all.push(match own.get(&shard) {
                Some(totals) => *totals,
                None => reconcile::read_note(&*self.0.store, shard).await?,
            });
        }
        Ok(all.into_iter().sum())
    }

    /// Everything that is measured, in the text format of Prometheus.
    pub async fn metrics_text(&self) -> String {
        let stats = tokio::time::timeout(STATS_WAIT, self.0.bus.stats()).await;
        let queues = match stats {
            Ok(Ok(queues)) => queues,
            // The other measurements are still of use.
            _ => {
                self.0.metrics.failure(FailureKind::Nats);
                Vec::new()
            }
        };
        let tenants = self.reconciler().map(Reconciler::tenants);
        self.0.metrics.text(&tenants.unwrap_or_default(), &queues)
    }

    /// How the planner decides.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// How long the service runs.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    fn now_s(&self) -> u64 {
        self.now_ms() / 1000
    }
}

/// Changes of this process go to the watchers of all, and those of others to the watchers of this one. Returns where
/// the planner of this process tells them.
fn share_events(
    bus: &Arc<dyn Bus>,
    options: &Options,
    all: &broadcast::Sender<Arc<PinEvent>>,
    tasks: &Tasks,
) -> broadcast::Sender<Arc<PinEvent>> {
    let (made, own) = broadcast::channel(EVENTS);
    let (bus, holder, all) = (Arc::clone(bus), options.holder.clone(), all.clone());
    tasks.spawn(async move {
        let told = news::tell(Arc::clone(&bus), holder.clone(), own, all.clone());
        let heard = news::hear(bus, holder, all);
        if let Err(error) = futures::future::try_join(told, heard).await {
            tracing::error!(%error, "changes are not told to other processes");
        }
    });
    made
}

/// What an id in a call names: a CID, and when the request was accepted if it says so.
fn read_id(owner: &Owner, id: &str) -> Result<(Cid, Option<u64>), PinsError> {
    if let Ok(named) = id.parse::<RequestId>() {
        return if named.is_of(owner) {
            Ok((*named.cid(), Some(named.created_ms())))
        } else {
            Err(PinsError::NotFound(format!("there is no pin request {id}")))
        };
    }
    let cid = ues_data::parse_cid(id)
        .map_err(|_| PinsError::NotFound(format!("{id:?} is neither a request id nor a CID")))?;
    Ok((cid, None))
}
