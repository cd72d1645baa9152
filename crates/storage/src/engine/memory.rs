//! The engine in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Engine, EngineError, KeyspaceId, Op, Reads, Rows, Shape, is_range};

/// All rows of all keyspaces. Maps are shared with snapshots until they change.
#[derive(Debug, Default, Clone)]
struct State {
    names: Vec<String>,
    maps: Vec<Arc<BTreeMap<Bytes, Bytes>>>,
}

/// An engine that keeps everything in memory.
#[derive(Debug, Default, Clone)]
pub struct MemoryEngine {
    state: Arc<RwLock<State>>,
}

impl MemoryEngine {
    /// An empty engine. Clones share their content.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn map(&self, ks: KeyspaceId) -> Result<&Arc<BTreeMap<Bytes, Bytes>>, EngineError> {
        self.maps
            .get(usize::from(ks.0))
            .ok_or_else(|| EngineError::Keyspace(format!("number {}", ks.0)))
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
        self.state.read().get(ks, key)
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        self.state.read().contains(ks, key)
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        self.state.read().scan(ks, from, to)
    }
}

impl Engine for MemoryEngine {
    fn keyspace(&self, name: &str, _shape: Shape) -> Result<KeyspaceId, EngineError> {
        let mut state = self.state.write();
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
        Arc::new(self.state.read().clone())
    }

    fn apply(&self, ops: &mut dyn Iterator<Item = Op<'_>>) -> Result<(), EngineError> {
        let mut state = self.state.write();
        for op in ops {
            let map = state
                .maps
                .get_mut(usize::from(op.ks.0))
                .ok_or_else(|| EngineError::Keyspace(format!("number {}", op.ks.0)))?;
            let map = Arc::make_mut(map);
            match op.value {
                Some(value) => map.insert(
                    Bytes::copy_from_slice(op.key),
                    Bytes::copy_from_slice(value),
                ),
                None => map.remove(op.key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, EngineError> {
        Ok(0)
    }

    fn keyspace_bytes(&self, ks: KeyspaceId) -> Result<u64, EngineError> {
        let state = self.state.read();
        Ok(state
            .map(ks)?
            .iter()
            .map(|(k, v)| (k.len() + v.len()) as u64)
            .sum())
    }
}
