//! Questions to the distributed hash table that are under way.

use std::collections::{BTreeSet, HashMap};

use libp2p::PeerId;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetProvidersOk, QueryId, QueryResult};

use super::Reply;
use crate::error::QueryError;

/// A search ends once it knows so many providers.
const ENOUGH_PROVIDERS: usize = 32;

#[derive(Default)]
pub(super) struct Queries {
    provides: HashMap<QueryId, Reply<(), QueryError>>,
    finds: HashMap<QueryId, Find>,
}

struct Find {
    found: BTreeSet<PeerId>,
    reply: Reply<Vec<PeerId>, QueryError>,
}

type Table = kad::Behaviour<MemoryStore>;

impl Queries {
    pub(super) fn provide(
        &mut self,
        table: Option<&mut Table>,
        key: kad::RecordKey,
        reply: Reply<(), QueryError>,
    ) {
        let answer = match table.map(|table| table.start_providing(key)) {
            Some(Ok(id)) => {
                self.provides.insert(id, reply);
                return;
            }
            Some(Err(error)) => QueryError::Refused(error.to_string()),
            None => QueryError::Off,
        };
        let _ = reply.send(Err(answer));
    }

    pub(super) fn find(
        &mut self,
        table: Option<&mut Table>,
        key: kad::RecordKey,
        reply: Reply<Vec<PeerId>, QueryError>,
    ) {
        let Some(table) = table else {
            let _ = reply.send(Err(QueryError::Off));
            return;
        };
        let id = table.get_providers(key);
        let found = BTreeSet::new();
        self.finds.insert(id, Find { found, reply });
    }

    /// A query came further; true if it has all it wants and should end.
    pub(super) fn progress(&mut self, id: QueryId, result: QueryResult, last: bool) -> bool {
        match result {
            QueryResult::StartProviding(result) => {
                if let Some(reply) = self.provides.remove(&id) {
                    let _ = reply.send(result.map(|_| ()).map_err(|_| QueryError::Timeout));
                }
                false
            }
            QueryResult::GetProviders(result) => self.found(id, result, last),
            _ => false,
        }
    }

    fn found(&mut self, id: QueryId, result: kad::GetProvidersResult, last: bool) -> bool {
        let Some(find) = self.finds.get_mut(&id) else {
            return false;
        };
        let failed = result.is_err();
        if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
            let room = ENOUGH_PROVIDERS.saturating_sub(find.found.len());
            find.found.extend(providers.into_iter().take(room));
        }
        let enough = find.found.len() >= ENOUGH_PROVIDERS;
        if (last || enough)
            && let Some(find) = self.finds.remove(&id)
        {
            let answer = if failed && find.found.is_empty() {
                Err(QueryError::Timeout)
            } else {
                Ok(find.found.into_iter().collect())
            };
            let _ = find.reply.send(answer);
        }
        enough && !last
    }
}
