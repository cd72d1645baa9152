//! The world: what happens in it by chance, and what must hold in the end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use ues_data::Cid;
use ues_pins::planner::Policy;
use ues_pins::service::{Limits, Options, Wish};
use ues_pins::store::{MemoryStore, StateStore, TokenRange};
use ues_pins::{Clock, Owner, PeerId, PinOptions, PinRecord, Pins, PinsError, PlacementState};
use ues_worker::{Agent, AgentOptions};

use crate::backend::{Held, SimBackend, is_broken};
use crate::bus::{Faults, SimBus};
use crate::chance::Chance;
use crate::store::SimStore;

/// When the world begins, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// Different contents.
const CIDS: u64 = 24;
/// Most messages that all queues together may hold at any time.
const MAX_QUEUED: usize = 20_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The true time; processes may see another one.
pub fn now_ms() -> u64 {
    let began = BEGAN.get().unwrap_or_else(Instant::now);
    EPOCH_MS + u64::try_from(began.elapsed().as_millis()).unwrap()
}

struct World {
    chance: Chance,
    bus: SimBus,
    memory: Arc<MemoryStore>,
    fail: Arc<Mutex<u64>>,
    planners: Vec<Option<Pins>>,
    workers: Vec<Machine>,
    /// For each owner and content, the ends that an existing request may have, or none for no request.
    allowed: BTreeMap<(Owner, Cid), Vec<Option<Option<u64>>>>,
}

/// A worker's machine: what outlives its process.
struct Machine {
    id: PeerId,
    held: Arc<Mutex<Held>>,
    agent: Option<Agent>,
    skew_ms: i64,
}

/// Runs a seed.
pub fn run(seed: u64, steps: u32) -> Result<(), String> {
    in_world(seed, steps).0
}

/// All that is stored in the end.
pub fn trace(seed: u64, steps: u32) -> String {
    in_world(seed, steps).1
}

fn in_world(seed: u64, steps: u32) -> (Result<(), String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        BEGAN.set(Some(Instant::now()));
        let mut world = World::new(Chance::new(seed));
        for _ in 0..steps {
            world.step().await;
        }
        world.heal().await;
        let result = world.judge().await;
        let trace = format!("{:#?}", world.records().await);
        world.end();
        (result, trace)
    })
}

fn policy() -> Policy {
    Policy {
        replication_min: 1,
        replication_max: 2,
        away_ms: 10_000,
        lost_ms: 60_000,
        resend_ms: 2_000,
        resend_max_ms: 60_000,
        verify_ms: 120_000,
        reserve: 0,
        prefix_rate: 1,
        ..Policy::default()
    }
}

fn skewed(skew_ms: i64) -> Clock {
    Clock::new(move || now_ms().saturating_add_signed(skew_ms))
}

fn content(number: u64) -> Cid {
    ues_data::raw_cid(&number.to_be_bytes())
}

impl World {
    fn new(chance: Chance) -> Self {
        let bus = SimBus::new(chance.clone());
        let mut world = Self {
            memory: Arc::default(),
            fail: Arc::default(),
            planners: (0..1 + chance.below(3)).map(|_| None).collect(),
            workers: Vec::new(),
            allowed: BTreeMap::new(),
            bus,
            chance,
        };
        for i in 0..1 + world.chance.below(4) {
            let mut key = [0; 32];
            key[0] = u8::try_from(i).unwrap();
            world.workers.push(Machine {
                id: PeerId::from_ed25519(&key),
                held: Arc::default(),
                agent: None,
                skew_ms: i64::try_from(world.chance.below(4000)).unwrap() - 2000,
            });
        }
        for i in 0..world.planners.len() {
            world.start_planner(i);
        }
        for i in 0..world.workers.len() {
            world.start_worker(i);
        }
        world
    }

    fn store(&self) -> Arc<SimStore> {
        Arc::new(SimStore {
            inner: Arc::clone(&self.memory),
            chance: self.chance.clone(),
            fail: Arc::clone(&self.fail),
        })
    }

    fn start_planner(&mut self, i: usize) {
        let skew_ms = i64::try_from(self.chance.below(4000)).unwrap() - 2000;
        let options = Options {
            policy: policy(),
            limits: Limits::default(),
            clock: skewed(skew_ms),
            shared: true,
            sweep_pause: Duration::from_secs(10),
            ..Options::new(format!("planner {i} {}", self.chance.next()))
        };
        let pins = Pins::start(self.store(), Arc::new(self.bus.clone()), options);
        self.planners[i] = Some(pins);
    }

    fn start_worker(&mut self, i: usize) {
        let machine = &mut self.workers[i];
        let backend = SimBackend {
            held: Arc::clone(&machine.held),
            chance: self.chance.clone(),
        };
        let options = AgentOptions {
            heartbeat: Duration::from_secs(2),
            exclusive: true,
            audit: Duration::from_secs(60),
            group: 5,
            concurrency: 3,
            clock: skewed(machine.skew_ms),
            ..AgentOptions::new(machine.id.clone())
        };
        let bus = Arc::new(self.bus.clone());
        machine.agent = Some(Agent::start(Arc::new(backend), bus, options));
    }

    /// Something happens.
    async fn step(&mut self) {
        let chance = self.chance.clone();
        match chance.below(100) {
            0..60 => self.ask().await,
            60..66 => self.flip_planner(),
            66..74 => self.flip_worker(),
            74..77 => self.lose_content(),
            77..79 => self.bus.wipe(),
            79..83 => {
                let machine = chance.below(self.workers.len() as u64);
                let id = self.workers[usize::try_from(machine).unwrap()].id.clone();
                self.memory
                    .set_draining(&id, chance.permille(500))
                    .await
                    .unwrap();
            }
            83..90 => self.worsen(),
            _ => tokio::time::sleep(Duration::from_secs(chance.below(40))).await,
        }
        tokio::time::sleep(Duration::from_millis(chance.below(3000))).await;
    }

    fn flip_planner(&mut self) {
        let i = usize::try_from(self.chance.below(self.planners.len() as u64)).unwrap();
        match self.planners[i].take() {
            Some(pins) => pins.reconciler().unwrap().kill(),
            None => self.start_planner(i),
        }
    }

    fn flip_worker(&mut self) {
        let i = usize::try_from(self.chance.below(self.workers.len() as u64)).unwrap();
        match self.workers[i].agent.take() {
            Some(agent) => agent.kill(),
            None => self.start_worker(i),
        }
    }

    fn lose_content(&mut self) {
        let i = usize::try_from(self.chance.below(self.workers.len() as u64)).unwrap();
        let mut held = self.workers[i].held.lock();
        if self.chance.permille(500) {
            held.pins.clear();
            held.lives += 1;
        } else {
            // Something is gone, and nobody notices.
            held.pins.pop_first();
        }
    }

    fn worsen(&mut self) {
        let chance = &self.chance;
        let faults = Faults {
            lose: chance.below(200),
            double: chance.below(200),
            fail: chance.below(100),
            delay_ms: chance.below(3) * chance.below(5000),
        };
        self.bus.set_faults(faults);
        *self.fail.lock() = chance.below(100);
        for machine in &self.workers {
            let mut held = machine.held.lock();
            held.fail = chance.below(200);
            held.lie = chance.below(50);
        }
    }

    /// An owner asks for something.
    async fn ask(&mut self) {
        let chance = self.chance.clone();
        let Some(pins) = self.planners.iter().flatten().next().cloned() else {
            return;
        };
        let owner: Owner = format!("owner{}", chance.below(3)).parse().unwrap();
        let cid = content(chance.below(CIDS));
        let key = (owner.clone(), cid);
        let allowed = self.allowed.entry(key).or_insert_with(|| vec![None]);
        if chance.permille(350) {
            match pins.remove(&owner, &cid.to_string()).await {
                Ok(_) | Err(PinsError::NotFound(_)) => *allowed = vec![None],
                Err(_) => allowed.push(None),
            }
            return;
        }
        let end = chance
            .permille(300)
            .then(|| pins.now_ms() / 1000 + 5 + chance.below(300));
        let copies = i32::try_from(chance.below(4)).unwrap();
        let options = PinOptions {
            replication_min: copies.min(1),
            replication_max: copies,
            expire_at: end,
            ..PinOptions::default()
        };
        let wish = Wish {
            options,
            ..Wish::default()
        };
        match pins.add(&owner, cid, wish).await {
            Ok(_) => *allowed = vec![Some(end)],
            Err(PinsError::State(_)) => allowed.push(Some(end)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Faults stop, everybody is up, and there is time.
    async fn heal(&mut self) {
        self.bus.set_faults(Faults::default());
        *self.fail.lock() = 0;
        for i in 0..self.workers.len() {
            {
                let mut held = self.workers[i].held.lock();
                held.fail = 0;
                held.lie = 0;
            }
            let id = self.workers[i].id.clone();
            self.memory.set_draining(&id, false).await.unwrap();
            if self.workers[i].agent.is_none() {
                self.start_worker(i);
            }
        }
        for i in 0..self.planners.len() {
            if self.planners[i].is_none() {
                self.start_planner(i);
            }
        }
        tokio::time::sleep(Duration::from_secs(900)).await;
    }

    async fn records(&self) -> Vec<PinRecord> {
        let records: Vec<_> = self.memory.scan(TokenRange::ALL, None).collect().await;
        records.into_iter().map(Result::unwrap).collect()
    }

    /// What must hold once faults have stopped.
    async fn judge(&self) -> Result<(), String> {
        self.judge_requests().await?;
        for record in self.records().await {
            self.judge_record(&record)?;
        }
        for machine in &self.workers {
            let held: Vec<Cid> = machine.held.lock().pins.keys().copied().collect();
            for record in self.memory.records(&held).await.unwrap() {
                let kept = record.placement(&machine.id).is_some_and(|p| p.desired);
                if !kept {
                    return Err(format!(
                        "{} holds {}, which it should not",
                        machine.id, record.cid
                    ));
                }
            }
        }
        if self.bus.longest() > MAX_QUEUED {
            return Err(format!("the queues held {} messages", self.bus.longest()));
        }
        Ok(())
    }

    /// No acknowledged request is lost, none that was removed is back.
    async fn judge_requests(&self) -> Result<(), String> {
        let now_s = now_ms() / 1000;
        for ((owner, cid), allowed) in &self.allowed {
            let request = self.memory.request(owner, cid).await.unwrap();
            let found = request.map(|request| request.pin.options.expire_at);
            let over =
                |end: &Option<Option<u64>>| matches!(end, Some(Some(end)) if *end + 5 < now_s);
            let fits = allowed.iter().any(|end| {
                let end = if over(end) { &None } else { end };
                *end == found
            });
            if !fits {
                return Err(format!(
                    "{owner} {cid}: {allowed:?} allowed, found {found:?}"
                ));
            }
        }
        Ok(())
    }

    /// What is wanted is there, as often as it should be, and the store says so.
    fn judge_record(&self, record: &PinRecord) -> Result<(), String> {
        let fault = |what: &str| Err(format!("{what}: {record:#?}"));
        let holders = self
            .workers
            .iter()
            .filter(|m| m.held.lock().pins.contains_key(&record.cid));
        let holders: Vec<&PeerId> = holders.map(|machine| &machine.id).collect();
        let desired = || record.placements.iter().filter(|(_, p)| p.desired);
        let Some(wanted) = &record.wanted else {
            return match (holders.is_empty(), desired().count()) {
                (true, 0) => Ok(()),
                _ => fault("nobody wants it, and it is not let go of"),
            };
        };
        if is_broken(&record.cid) {
            let told = desired().all(|(_, p)| p.state == PlacementState::Error && p.terminal);
            return if told {
                Ok(())
            } else {
                fault("nobody is told that it cannot be pinned")
            };
        }
        let options = &wanted.pin.options;
        let or = |n: i32, default: i32| usize::try_from(if n == 0 { default } else { n }).unwrap();
        let min = or(options.replication_min, 1).min(self.workers.len());
        let max = or(options.replication_max, 2).max(min);
        if desired().any(|(_, p)| !p.is_pinned()) {
            return fault("a copy is not there");
        }
        if desired().any(|(id, _)| !holders.contains(&id)) {
            return fault("the store says that a copy is there which is not");
        }
        if holders.len() < min || holders.len() > max {
            return fault(&format!(
                "{} copies, {min} to {max} are wanted",
                holders.len()
            ));
        }
        Ok(())
    }

    fn end(&mut self) {
        for pins in self.planners.iter().flatten() {
            pins.reconciler().unwrap().kill();
        }
        for agent in self
            .workers
            .iter()
            .filter_map(|machine| machine.agent.as_ref())
        {
            agent.kill();
        }
    }
}
