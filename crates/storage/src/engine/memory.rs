//! The engine in memory: for tests and simulation. It fails on command, and after a crash it shows only what a disk
//! would show.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Engine, EngineError, KeyspaceId, Op, Reads, Rows, Shape, is_range};

/// What goes wrong at an injected write or sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Only a part of a batch reaches the medium; it is discarded after a crash. A sync fails.
    TornWrite,
    /// A sync fails, and what was written since the last one is lost in a crash. A batch is not affected; the call after
    /// it is met instead.
    FailedSync,
    /// There is no room; nothing is written.
    DiskFull,
    /// One bit of the first value with content in the batch turns over, unnoticed. A sync is not affected.
    BitFlip,
}

/// All rows of all keyspaces. Maps are shared between states until they change.
#[derive(Debug, Default, Clone)]
struct State {
    names: Vec<String>,
    maps: Vec<Arc<BTreeMap<Bytes, Bytes>>>,
}

/// A row and its new value, if it keeps one.
type Change = (KeyspaceId, Bytes, Option<Bytes>);

/// The engine's present state, and what a crash leaves of it.
#[derive(Debug, Default)]
struct Medium {
    live: State,
    synced: State,
    /// The batches since the last sync.
    since_sync: Vec<Vec<Change>>,
    calls: u64,
    faults: Vec<(u64, Fault)>,
    broken: bool,
}

/// An engine that keeps everything in memory. Clones share their content, so that a store can be opened again in
/// what another has left.
#[derive(Debug, Default, Clone)]
pub struct MemoryEngine {
    medium: Arc<RwLock<Medium>>,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `nth` write or sync from now on fail, counted from 1.
    pub fn inject(&self, nth: u64, fault: Fault) {
        let mut medium = self.medium.write();
        let call = medium.calls + nth;
        medium.faults.push((call, fault));
    }

    /// Writes and syncs so far.
    pub fn calls(&self) -> u64 {
        self.medium.read().calls
    }

    /// Batches that no sync has covered yet.
    pub fn unsynced(&self) -> usize {
        self.medium.read().since_sync.len()
    }

    /// What is left when the machine loses power: everything that was synced and the first `survivors` of the
    /// batches after it, which happened to reach the medium. The result is a new engine without faults.
    pub fn crash(&self, survivors: usize) -> Self {
        let medium = self.medium.read();
        let mut state = medium.synced.clone();
        // Keyspaces are created durably at once.
        state.names.clone_from(&medium.live.names);
        state.maps.resize_with(state.names.len(), Arc::default);
        for change in medium.since_sync.iter().take(survivors).flatten() {
            state.change(change);
        }
        let left = Medium {
            synced: state.clone(),
            live: state,
            ..Medium::default()
        };
        Self {
            medium: Arc::new(RwLock::new(left)),
        }
    }

    /// Turns over one bit of a stored value, as a decaying disk would; tells whether there was one.
    pub fn flip_bit(&self, keyspace: &str, key: &[u8]) -> bool {
        let mut medium = self.medium.write();
        let Some(number) = medium.live.names.iter().position(|n| n == keyspace) else {
            return false;
        };
        let value = medium
            .live
            .maps
            .get_mut(number)
            .and_then(|map| Arc::make_mut(map).get_mut(key));
        value.is_some_and(|value| {
            *value = flipped(value);
            !value.is_empty()
        })
    }
}

impl Medium {
    /// Counts a call and tells what is to go wrong with it.
    fn call(&mut self) -> Result<Option<Fault>, EngineError> {
        if self.broken {
            return Err(EngineError::Poisoned);
        }
        self.calls += 1;
        let at = self.faults.iter().position(|(call, _)| *call == self.calls);
        Ok(at.map(|at| self.faults.swap_remove(at).1))
    }

    fn fail(&mut self, kind: io::ErrorKind, what: &'static str) -> EngineError {
        self.broken = true;
        io::Error::new(kind, what).into()
    }
}

fn flipped(value: &Bytes) -> Bytes {
    let mut bytes = value.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}

impl State {
    fn map(&self, ks: KeyspaceId) -> Result<&Arc<BTreeMap<Bytes, Bytes>>, EngineError> {
        self.maps
            .get(usize::from(ks.0))
            .ok_or_else(|| EngineError::Keyspace(format!("number {}", ks.0)))
    }
}

impl State {
    fn change(&mut self, (ks, key, value): &Change) {
        if let Some(map) = self.maps.get_mut(usize::from(ks.0)) {
            let map = Arc::make_mut(map);
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
    }
}

impl Reads for State {
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.map(ks)?.get(key).cloned())
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.map(ks)?.contains_key(key))
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        match self.map(ks) {
            Ok(map) => Box::new(Walk::new(Arc::clone(map), from, to)),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }
}

/// A walk over a map that owns it, remembering the bounds that are left.
struct Walk {
    map: Arc<BTreeMap<Bytes, Bytes>>,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    done: bool,
}

impl Walk {
    fn new(map: Arc<BTreeMap<Bytes, Bytes>>, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Self {
        let (from, to) = (
            from.map(Bytes::copy_from_slice),
            to.map(Bytes::copy_from_slice),
        );
        Self {
            map,
            from,
            to,
            done: false,
        }
    }

    fn step(&mut self, back: bool) -> Option<(Bytes, Bytes)> {
        if self.done
            || !is_range(
                self.from.as_ref().map(|b| &b[..]),
                self.to.as_ref().map(|b| &b[..]),
            )
        {
            return None;
        }
        let mut range = self
            .map
            .range::<Bytes, _>((self.from.as_ref(), self.to.as_ref()));
        let row = if back {
            range.next_back()
        } else {
            range.next()
        };
        let Some((key, value)) = row.map(|(k, v)| (k.clone(), v.clone())) else {
            self.done = true;
            return None;
        };
        *(if back { &mut self.to } else { &mut self.from }) = Bound::Excluded(key.clone());
        Some((key, value))
    }
}

impl Iterator for Walk {
    type Item = super::Row;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false).map(Ok)
    }
}

impl DoubleEndedIterator for Walk {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true).map(Ok)
    }
}

impl Reads for MemoryEngine {
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.medium.read().live.get(ks, key)
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        self.medium.read().live.contains(ks, key)
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        self.medium.read().live.scan(ks, from, to)
    }
}

impl Engine for MemoryEngine {
    fn keyspace(&self, name: &str, _shape: Shape) -> Result<KeyspaceId, EngineError> {
        let state = &mut self.medium.write().live;
        let number = state
            .names
            .iter()
            .position(|n| n == name)
            .unwrap_or_else(|| {
                state.names.push(name.to_owned());
                state.maps.push(Arc::default());
                state.names.len() - 1
            });
        u16::try_from(number)
            .map(KeyspaceId)
            .map_err(|_| EngineError::Keyspace(name.to_owned()))
    }

    fn snapshot(&self) -> Arc<dyn Reads> {
        Arc::new(self.medium.read().live.clone())
    }

    fn apply(&self, ops: &mut dyn Iterator<Item = Op<'_>>) -> Result<(), EngineError> {
        let mut medium = self.medium.write();
        let mut flip = false;
        match medium.call()? {
            Some(Fault::TornWrite) => {
                return Err(medium.fail(io::ErrorKind::Other, "the write was torn"));
            }
            Some(Fault::DiskFull) => {
                return Err(medium.fail(io::ErrorKind::StorageFull, "the disk is full"));
            }
            Some(Fault::BitFlip) => flip = true,
            Some(Fault::FailedSync) => {
                let next = medium.calls + 1;
                medium.faults.push((next, Fault::FailedSync));
            }
            None => {}
        }
        let mut changes = Vec::new();
        for op in ops {
            medium.live.map(op.ks)?;
            let value = op.value.map(Bytes::copy_from_slice);
            let turn = value.as_ref().is_some_and(|v| !v.is_empty()) && std::mem::take(&mut flip);
            let value = if turn {
                value.as_ref().map(flipped)
            } else {
                value
            };
            changes.push((op.ks, Bytes::copy_from_slice(op.key), value));
        }
        for change in &changes {
            medium.live.change(change);
        }
        medium.since_sync.push(changes);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut medium = self.medium.write();
        match medium.call()? {
            Some(Fault::TornWrite | Fault::FailedSync) => {
                return Err(medium.fail(io::ErrorKind::Other, "the sync failed"));
            }
            Some(Fault::DiskFull) => {
                return Err(medium.fail(io::ErrorKind::StorageFull, "the disk is full"));
            }
            Some(Fault::BitFlip) | None => {}
        }
        let medium = &mut *medium;
        medium.synced.names.clone_from(&medium.live.names);
        medium
            .synced
            .maps
            .resize_with(medium.live.names.len(), Arc::default);
        for change in medium.since_sync.drain(..).flatten() {
            medium.synced.change(&change);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, EngineError> {
        let medium = self.medium.read();
        let maps = medium.live.maps.iter();
        Ok(maps
            .flat_map(|map| map.iter())
            .map(|(k, v)| (k.len() + v.len()) as u64)
            .sum())
    }

    fn keyspace_bytes(&self, ks: KeyspaceId) -> Result<u64, EngineError> {
        let medium = self.medium.read();
        Ok(medium
            .live
            .map(ks)?
            .iter()
            .map(|(k, v)| (k.len() + v.len()) as u64)
            .sum())
    }
}
