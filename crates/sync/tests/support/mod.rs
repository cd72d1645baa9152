//! Devices in memory, and the sessions between them.

pub mod sheet;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ues_data::{Cid, Ipld};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;
use ues_sync::clock::WriterId;
use ues_sync::log::{Change, Hold, Incoming, LocalChange, MemoryRows, Replica, ReplicaError, Rows};
use ues_sync::merge::FieldRule;
use ues_sync::operation::{Operation, OperationId};
use ues_sync::protocol::file::{FileError, FileReader, Import, ImportAction, Report};
use ues_sync::protocol::{Action, Copy, Failure, Session, SnapshotArchive, Taken};

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

pub fn repo() -> Did {
    Did::parse("did:plc:yk4dd2qkboz2yv6tpubpc6co").unwrap()
}

pub fn path(n: usize) -> RecordPath {
    RecordPath::parse(&format!("app.bsky.feed.post/{n}")).unwrap()
}

/// A record's block.
pub fn content(text: &str) -> (Cid, Bytes) {
    let map = BTreeMap::from([("text".to_owned(), ues_data::Ipld::String(text.to_owned()))]);
    let bytes = Bytes::from(ues_data::dag_cbor::encode(&ues_data::Ipld::Map(map)).unwrap());
    (ues_data::dag_cbor_cid(&bytes), bytes)
}

thread_local! {
    /// All operations that any device of the world ever had in its log, and their records.
    static EVER: RefCell<HashMap<OperationId, (Operation, Option<Bytes>)>> = RefCell::default();
}

/// How many operations were dropped because a snapshot has them, in all runs.
pub static DROPPED: AtomicU64 = AtomicU64::new(0);
/// How often a device caught up with a snapshot, in all runs.
pub static CAUGHT_UP: AtomicU64 = AtomicU64::new(0);

/// How many records were merged of several versions, in all runs.
pub static MERGED: AtomicU64 = AtomicU64::new(0);

/// An operation that some device had in its log once, and its record.
pub fn ever(id: OperationId) -> Option<(Operation, Option<Bytes>)> {
    EVER.with_borrow(|ever| ever.get(&id).cloned())
}

/// A device: its key, and all that it has on its disk.
#[derive(Clone)]
pub struct Device {
    pub key: SigningKey,
    pub rows: MemoryRows,
    pub replica: Option<Replica>,
    pub blocks: BTreeMap<Cid, Bytes>,
    pub holds: BTreeSet<(Hold, Cid)>,
    /// Milliseconds that its clock goes wrong.
    pub skew: i64,
    /// The merge rules of [`sheet::COLLECTION`] that its lexicon declares.
    pub rules: Vec<FieldRule>,
}

impl Device {
    pub fn new(seed: u64) -> Self {
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            key: SigningKey::from_bytes(KeyKind::Ed25519, &secret).unwrap(),
            rows: MemoryRows::default(),
            replica: None,
            blocks: BTreeMap::new(),
            holds: BTreeSet::new(),
            skew: 0,
            rules: sheet::rules(),
        }
    }

    pub fn now(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew)
    }

    pub fn did_key(&self) -> String {
        self.key.did_key()
    }

    /// Makes a change durable, records included.
    pub fn commit(&mut self, change: Change) {
        let replica = self.replica.as_ref().unwrap();
        let known = |cid: &Cid| Ok(self.blocks.get(cid).cloned());
        let outcome = replica.outcome(&self.rows, &change, &known).unwrap();
        for (hold, cid, bytes) in change.held {
            if let Some(bytes) = bytes {
                assert_eq!(ues_data::dag_cbor_cid(&bytes), cid);
                self.blocks.insert(cid, bytes);
            }
            assert!(
                self.blocks.contains_key(&cid),
                "a block to hold is not there"
            );
            self.holds.insert((hold, cid));
        }
        for (hold, cid) in change.released {
            self.holds.remove(&(hold, cid));
        }
        for (key, value) in change.rows {
            if let (Some(b'o'), Some(block)) = (key.first(), &value) {
                let operation = Operation::decode(block.clone()).unwrap();
                let record = operation.payload.action.value();
                let record = record.and_then(|cid| self.blocks.get(cid).cloned());
                EVER.with_borrow_mut(|ever| {
                    let known = ever.entry(operation.id()).or_insert((operation, None));
                    known.1 = known.1.take().or(record);
                });
            }
            match value {
                Some(value) => self.rows.rows.insert(key, value),
                None => self.rows.rows.remove(&key),
            };
        }
        for (path, value) in outcome {
            match value {
                Some((cid, bytes)) => {
                    if let Some(bytes) = bytes {
                        assert_eq!(ues_data::dag_cbor_cid(&bytes), cid);
                        self.blocks.insert(cid, bytes);
                    }
                    assert!(self.blocks.contains_key(&cid), "a record is not there");
                    self.rows.records.insert(path.to_string(), cid);
                }
                None => {
                    self.rows.records.remove(path.as_str());
                }
            }
        }
        // What nothing holds is gone.
        let held: BTreeSet<Cid> = self.holds.iter().map(|(_, cid)| *cid).collect();
        let wanted: BTreeSet<Cid> = self.rows.records.values().copied().collect();
        self.blocks
            .retain(|cid, _| held.contains(cid) || wanted.contains(cid));
    }

    /// Makes an operation that is never durable: the device crashes before.
    pub fn crash_writing(&mut self, path: RecordPath, now_ms: u64) {
        let local = self.local(path, Some(content("never durable")));
        let now = self.now(now_ms);
        let blocks = self.blocks.clone();
        if let Some(replica) = self.replica.as_mut() {
            let mut change = Change::default();
            let known = |cid: &Cid| Ok(blocks.get(cid).cloned());
            let _ = replica.record(&self.rows, vec![local], &known, now, &self.key, &mut change);
        }
        self.restart();
    }

    /// Forgets what is in memory, as a crash does.
    pub fn restart(&mut self) {
        self.replica = Replica::open(&self.rows).unwrap();
    }

    /// A change of a record, as the lexicons of this device have it.
    fn local(&self, path: RecordPath, after: Option<(Cid, Bytes)>) -> LocalChange {
        LocalChange {
            before: self.rows.records.get(path.as_str()).copied(),
            rules: match path.collection() {
                sheet::COLLECTION => self.rules.clone(),
                _ => Vec::new(),
            },
            path,
            after,
        }
    }

    /// Writes or deletes a record; `false` if this device may not, or nothing is to be done.
    pub fn write(&mut self, path: RecordPath, text: Option<&str>, now_ms: u64) -> bool {
        self.put(path, text.map(content), now_ms)
    }

    /// As [`write`](Self::write), with any record.
    pub fn put(&mut self, path: RecordPath, after: Option<(Cid, Bytes)>, now_ms: u64) -> bool {
        let wanted = after.as_ref().map(|(cid, _)| *cid);
        let local = self.local(path.clone(), after);
        // What is so already is no write.
        if local.before == wanted {
            return false;
        }
        let now = self.now(now_ms);
        let mut change = Change::default();
        let Some(replica) = self.replica.as_mut() else {
            return false;
        };
        let known = |cid: &Cid| Ok(self.blocks.get(cid).cloned());
        match replica.record(&self.rows, vec![local], &known, now, &self.key, &mut change) {
            Ok(()) => self.commit(change),
            Err(ReplicaError::NotAWriter(_)) => return false,
            Err(e) => panic!("{e}"),
        }
        let found = self.rows.records.get(path.as_str()).copied();
        assert_eq!(found, wanted, "a client finds what it wrote");
        true
    }

    /// The record at a path.
    pub fn record(&self, path: &RecordPath) -> Option<Ipld> {
        let cid = self.rows.records.get(path.as_str())?;
        Some(ues_data::dag_cbor::decode(&self.blocks[cid]).unwrap())
    }

    pub fn records(&self) -> &BTreeMap<String, Cid> {
        &self.rows.records
    }
}

impl Copy for Device {
    fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    fn rows(&self) -> &dyn Rows {
        &self.rows
    }

    fn records(&self) -> Option<Cid> {
        let mut bytes = Vec::new();
        for (path, cid) in &self.rows.records {
            bytes.extend_from_slice(path.as_bytes());
            bytes.extend_from_slice(cid.hash().digest());
        }
        Some(ues_data::raw_cid(&bytes))
    }

    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, ReplicaError> {
        Ok(self.blocks.get(cid).cloned())
    }
}

/// The root's key and device 0, which has it.
pub struct World {
    pub root: SigningKey,
    pub devices: Vec<Device>,
    pub now_ms: u64,
}

impl World {
    /// A repository with some records from before the log.
    pub fn new(seed: u64) -> Self {
        EVER.with_borrow_mut(HashMap::clear);
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        let root = SigningKey::from_bytes(KeyKind::K256, &secret).unwrap();
        let mut device = Device::new(seed.wrapping_mul(1000));
        for n in 0..3 {
            let (cid, bytes) = content(&format!("old {n}"));
            device.blocks.insert(cid, bytes);
            device.rows.records.insert(path(n).to_string(), cid);
        }
        let mut rng = Rng::new(seed);
        let mut record = sheet::change(&mut rng, None);
        for _ in 0..6 {
            record = sheet::change(&mut rng, Some(Ipld::Map(record)));
        }
        let (cid, bytes) = sheet::encode(&record);
        device.blocks.insert(cid, bytes);
        device.rows.records.insert(sheet::path(0).to_string(), cid);
        let (replica, change) =
            Replica::begin(repo(), root.verifying_key(), device.key.verifying_key());
        device.replica = Some(replica);
        device.commit(change);
        let mut world = Self {
            root,
            devices: vec![device],
            now_ms: 1_700_000_000_000,
        };
        let key = world.devices[0].key.verifying_key().clone();
        world.grant(&key, "first");
        world
    }

    pub fn grant(&mut self, key: &ues_repo::crypto::VerifyingKey, name: &str) -> WriterId {
        let now = self.devices[0].now(self.now_ms);
        let device = &mut self.devices[0];
        let mut change = Change::default();
        let replica = device.replica.as_mut().unwrap();
        let number = replica
            .grant(&device.rows, key, name, now, &self.root, &mut change)
            .unwrap();
        device.commit(change);
        number
    }

    pub fn revoke(&mut self, writer: WriterId) {
        let now = self.devices[0].now(self.now_ms);
        let device = &mut self.devices[0];
        let mut change = Change::default();
        let replica = device.replica.as_mut().unwrap();
        replica
            .revoke_writer(&device.rows, writer, now, &self.root, &mut change)
            .unwrap();
        device.commit(change);
    }

    /// Adds a device that has been granted and has no log yet.
    pub fn add(&mut self, seed: u64) -> usize {
        let device = Device::new(seed);
        let key = device.key.verifying_key().clone();
        self.devices.push(device);
        let index = self.devices.len() - 1;
        self.grant(&key, &format!("device {index}"));
        index
    }
}

/// A session between two devices: two machines and two queues.
pub struct Link {
    pub ends: [usize; 2],
    sessions: [Session; 2],
    queues: [VecDeque<Bytes>; 2],
    /// Frames, and bytes, that went through.
    pub frames: usize,
    pub bytes: usize,
    pub failed: Option<Failure>,
    /// Somebody changes what is on its way.
    pub tampered: bool,
    /// A device crashed while it made something durable.
    pub crashed: bool,
}

impl Link {
    pub fn new(opener: usize, other: usize) -> Self {
        Self {
            ends: [opener, other],
            sessions: [Session::open(), Session::accept()],
            queues: Default::default(),
            frames: 0,
            bytes: 0,
            failed: None,
            tampered: false,
            crashed: false,
        }
    }

    /// Changes what is on its way to a side: bits, order, number of frames, or something made up.
    pub fn tamper(&mut self, rng: &mut Rng, world: &World, side: usize) {
        self.tampered = true;
        let forged = match rng.below(6) {
            0..=3 => None,
            _ => Some(forge(rng, world)),
        };
        let queue = &mut self.queues[side];
        let len = queue.len();
        if let Some(frame) = forged {
            return queue.push_back(frame);
        }
        if len == 0 {
            return;
        }
        let at = rng.below(len);
        match rng.below(4) {
            0 => queue.swap(at, rng.below(len)),
            1 => queue.push_back(queue[at].clone()),
            2 => drop(queue.remove(at)),
            _ => {
                let mut bytes = queue[at].to_vec();
                if !bytes.is_empty() {
                    let byte = rng.below(bytes.len());
                    bytes[byte] ^= 1 << rng.below(8);
                }
                queue[at] = bytes.into();
            }
        }
    }

    /// Takes in what this side was given, but crashes before it is durable.
    pub fn crash(&mut self, world: &mut World, side: usize) {
        let index = self.ends[side];
        let device = &world.devices[index];
        if let Ok(Some(Action::Admit(batch))) = self.sessions[side].step(device, repo().as_str()) {
            let now = device.now(world.now_ms);
            let device = &mut world.devices[index];
            let replica = device.replica.as_mut().unwrap();
            let mut change = Change::default();
            for incoming in batch {
                let _ = replica.admit(&device.rows, incoming, now, &mut change);
            }
        }
        world.devices[index].restart();
        self.crashed = true;
    }

    pub fn is_synced(&self) -> bool {
        self.sessions.iter().all(Session::is_synced) && self.queues.iter().all(VecDeque::is_empty)
    }

    /// Lets one side do what it has to do; `true` if it did something.
    pub fn act(&mut self, world: &mut World, side: usize) -> bool {
        let mut did = false;
        loop {
            let device = &world.devices[self.ends[side]];
            let action = match self.sessions[side].step(device, repo().as_str()) {
                Ok(Some(action)) => action,
                Ok(None) => return did,
                Err(failure) => {
                    self.failed = Some(failure);
                    return did;
                }
            };
            did = true;
            self.perform(world, side, action);
        }
    }

    /// Delivers the oldest frame to a side.
    pub fn deliver(&mut self, world: &mut World, side: usize) -> bool {
        let Some(frame) = self.queues[side].pop_front() else {
            return false;
        };
        let device = &world.devices[self.ends[side]];
        if std::env::var_os("UES_TRACE").is_some() {
            let text = format!("{:?}", ues_sync::protocol::Frame::read(frame.clone()));
            println!(
                "{} <- {}",
                self.ends[side],
                text.chars().take(400).collect::<String>()
            );
        }
        if let Err(failure) = self.sessions[side].receive(device, frame) {
            self.failed = Some(failure);
        }
        true
    }

    fn perform(&mut self, world: &mut World, side: usize, action: Action) {
        let index = self.ends[side];
        let now = world.devices[index].now(world.now_ms);
        match action {
            Action::Send(frame) => {
                self.frames += 1;
                self.bytes += frame.len();
                self.queues[1 - side].push_back(frame);
            }
            Action::Admit(batch) => {
                let device = &mut world.devices[index];
                let mut change = Change::default();
                let mut taken = Taken::default();
                let replica = device.replica.as_mut().unwrap();
                for incoming in batch {
                    let result = replica.admit(&device.rows, incoming, now, &mut change);
                    taken.results.push(result.unwrap());
                }
                device.commit(change);
                self.sessions[side].taken(&world.devices[index], &taken);
            }
            Action::AdmitProofs(proofs) => {
                let device = &mut world.devices[index];
                let mut change = Change::default();
                let replica = device.replica.as_mut().unwrap();
                for proof in proofs {
                    let result = replica.admit_proof(&device.rows, proof, &mut change);
                    let result = result.unwrap();
                    assert!(self.tampered || result.is_ok(), "{result:?}");
                }
                device.commit(change);
                self.sessions[side].taken(&world.devices[index], &Taken::default());
            }
            Action::MakeSnapshot => {
                if index != 0 {
                    let reason = Session::refusal("this device does not hold the root key");
                    self.queues[1 - side].push_back(reason);
                    return;
                }
                let archive = snapshot(world);
                self.sessions[side].send_snapshot(&archive);
            }
            Action::Restore(archive) => {
                if restore(world, index, archive).is_some() {
                    self.sessions[side].restored();
                } else {
                    assert!(self.tampered, "a snapshot was refused");
                    self.failed = Some(Failure::Protocol("a bad snapshot"));
                }
            }
            Action::Rebase(archive) => {
                if rebase(&mut world.devices[index], archive).is_some() {
                    self.sessions[side].rebased(&world.devices[index]);
                } else {
                    assert!(self.tampered, "a snapshot was refused");
                    self.failed = Some(Failure::Protocol("a bad snapshot"));
                }
            }
            Action::Synced => {}
        }
    }
}

pub fn snapshot(world: &mut World) -> Bytes {
    let device = &mut world.devices[0];
    let now = world.now_ms.saturating_add_signed(device.skew);
    let mut change = Change::default();
    let records = Copy::records(device).unwrap();
    let replica = device.replica.as_mut().unwrap();
    let snapshot = replica
        .sign_snapshot(&device.rows, records, now, &world.root, &mut change)
        .unwrap();
    device.commit(change);
    let named = snapshot.values().into_iter();
    let blocks = named.map(|(_, cid)| (cid, device.blocks[&cid].clone()));
    // The simulation's stand-in for a CAR: paths and blocks.
    let mut car = Vec::new();
    for (path, cid) in &device.rows.records {
        for part in [path.as_bytes(), &device.blocks[cid]] {
            car.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            car.extend_from_slice(part);
        }
    }
    SnapshotArchive {
        blocks: blocks.collect(),
        snapshot,
        car: car.into(),
    }
    .write()
}

pub fn restore(world: &mut World, index: usize, archive: Bytes) -> Option<()> {
    let archive = SnapshotArchive::read(archive).ok()?;
    let mut device = world.devices[index].clone();
    let mut rest = &archive.car[..];
    let mut part = || {
        let (len, tail) = rest.split_at_checked(4)?;
        let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
        let (part, tail) = tail.split_at_checked(len)?;
        rest = tail;
        Some(Bytes::copy_from_slice(part))
    };
    while let (Some(path), Some(block)) = (part(), part()) {
        let cid = ues_data::dag_cbor_cid(&block);
        device.blocks.insert(cid, block);
        let path = String::from_utf8(path.to_vec()).ok()?;
        device.rows.records.insert(path, cid);
    }
    if Copy::records(&device) != Some(archive.snapshot.records) {
        return None;
    }
    let (replica, change) = Replica::restore(
        repo(),
        world.root.verifying_key(),
        device.key.verifying_key(),
        &archive.snapshot,
        &archive.blocks,
        &device.rows,
    )
    .unwrap()
    .ok()?;
    device.replica = Some(replica);
    device.commit(change);
    world.devices[index] = device;
    Some(())
}

/// Catches up with a snapshot; `None` if it is refused.
pub fn rebase(device: &mut Device, archive: Bytes) -> Option<bool> {
    let archive = SnapshotArchive::read(archive).ok()?;
    let blocks = device.blocks.clone();
    let mut change = Change::default();
    let replica = device.replica.as_mut().unwrap();
    let block = |cid: &Cid| Ok(blocks.get(cid).cloned());
    let rebased = replica
        .rebase(
            &device.rows,
            &archive.snapshot,
            &archive.blocks,
            &block,
            &mut change,
        )
        .unwrap();
    let rebased = rebased.ok()?;
    CAUGHT_UP.fetch_add(rebased.into(), Ordering::Relaxed);
    device.commit(change);
    Some(rebased)
}

/// Makes a snapshot that is in the log its beginning, and drops what is before it.
pub fn prune(device: &mut Device, root_seq: u64, slice: usize) {
    let mut change = Change::default();
    let replica = device.replica.as_mut().unwrap();
    let pruned = replica.prune(&device.rows, root_seq, &mut change).unwrap();
    pruned.unwrap();
    device.commit(change);
    sweep(device, slice);
}

/// Drops some of what is before the beginning.
pub fn sweep(device: &mut Device, slice: usize) {
    let mut change = Change::default();
    let replica = device.replica.as_ref().unwrap();
    let dropped = replica.sweep(&device.rows, slice, &mut change).unwrap();
    DROPPED.fetch_add(dropped as u64, Ordering::Relaxed);
    device.commit(change);
}

/// Takes a file in, frame by frame.
pub fn import(world: &mut World, index: usize, file: &[u8]) -> Result<Report, FileError> {
    let mut reader = FileReader::default();
    let mut import = Import::default();
    for piece in file.chunks(1000) {
        reader.push(piece);
        while let Some(frame) = reader.next()? {
            let now = world.devices[index].now(world.now_ms);
            let device = &mut world.devices[index];
            let mut change = Change::default();
            let mut taken = Taken::default();
            match import.receive(frame)? {
                ImportAction::Nothing => {}
                ImportAction::Begin(did) => {
                    if did != repo().as_str() {
                        return Err(FileError::Malformed("another repository"));
                    }
                }
                ImportAction::Snapshot(archive) => {
                    let taken = match device.replica {
                        Some(_) => rebase(device, archive).map(drop),
                        None => restore(world, index, archive),
                    };
                    taken.ok_or(FileError::Malformed("a bad snapshot"))?;
                }
                ImportAction::Admit(batch) => {
                    let replica = device.replica.as_mut().unwrap();
                    for incoming in batch {
                        let result = replica.admit(&device.rows, incoming, now, &mut change);
                        taken.results.push(result.unwrap());
                    }
                    device.commit(change);
                }
                ImportAction::AdmitProofs(proofs) => {
                    let replica = device.replica.as_mut().unwrap();
                    for proof in proofs {
                        let result = replica.admit_proof(&device.rows, proof, &mut change);
                        taken.results.extend(result.unwrap().err().map(Err));
                    }
                    device.commit(change);
                }
            }
            import.taken(&taken);
        }
    }
    import.finish(&world.devices[index])
}

/// A frame with something that nobody was allowed to sign, or that is nothing at all.
fn forge(rng: &mut Rng, world: &World) -> Bytes {
    let garbage: Vec<u8> = (0..rng.below(60)).map(|_| rng.next() as u8).collect();
    if rng.chance(20) {
        return garbage.into();
    }
    let replica = world.devices[0].replica.as_ref().unwrap();
    let granted: Vec<WriterId> = replica.roster().iter().map(|(n, _)| n).collect();
    let writer = match rng.chance(70) {
        true => granted[rng.below(granted.len())],
        false => 77,
    };
    let tip = replica.roster().get(writer).and_then(|w| w.tip.clone());
    let seq = match rng.chance(70) {
        true => tip.as_ref().map_or(1, |tip| tip.seq + 1),
        false => 1 + rng.below(9) as u64,
    };
    let mut deps = replica.clock();
    deps.set(writer, 0);
    let (cid, value) = content(&format!("forged {}", rng.next()));
    let action = match writer {
        0 => ues_sync::operation::Action::Revoke { writer: 1, cut: 0 },
        _ => ues_sync::operation::Action::Put {
            path: path(1),
            value: cid,
            update: true,
            merge: None,
        },
    };
    let time = tip.as_ref().map_or(1 << 40, |tip| tip.time.0 + 1);
    let payload = ues_sync::operation::Payload {
        repo: repo(),
        writer,
        seq,
        prev: (seq > 1).then(|| tip.map_or(ues_sync::operation::OperationId([1; 32]), |t| t.id)),
        deps,
        time: ues_sync::hybrid_time::HybridTime(time),
        action,
    };
    // Signed by a key that nobody granted; a device of the world would be believed.
    let stranger = SigningKey::from_bytes(KeyKind::Ed25519, &[3; 32]).unwrap();
    let operation = payload.sign(&stranger);
    let value = match operation.payload.action.value() {
        Some(_) if rng.chance(80) => value,
        _ => Bytes::new(),
    };
    operations_frame(&[(operation.block().clone(), value)])
}

/// A frame of operations, written without the crate.
pub fn operations_frame(operations: &[(Bytes, Bytes)]) -> Bytes {
    #[derive(Clone, PartialEq, prost::Message)]
    struct One {
        #[prost(bytes = "bytes", tag = "1")]
        block: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        value: Bytes,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Many {
        #[prost(message, repeated, tag = "1")]
        operations: Vec<One>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Outer {
        #[prost(message, optional, tag = "4")]
        many: Option<Many>,
    }
    let one = |(block, value): &(Bytes, Bytes)| One {
        block: block.clone(),
        value: value.clone(),
    };
    let operations = operations.iter().map(one).collect();
    let many = Some(Many { operations });
    prost::Message::encode_to_vec(&Outer { many }).into()
}

/// Takes one operation in, as if somebody had brought it.
pub fn admit(
    device: &mut Device,
    incoming: Incoming,
    now_ms: u64,
) -> Result<ues_sync::log::Admitted, ues_sync::log::Refused> {
    let mut change = Change::default();
    let replica = device.replica.as_mut().unwrap();
    let result = replica
        .admit(&device.rows, incoming, now_ms, &mut change)
        .unwrap();
    device.commit(change);
    result
}
