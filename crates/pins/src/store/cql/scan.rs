//! All records in order of their tokens.
//!
//! The range is cut into pieces of about one page of rows each, and some pieces are read ahead. How wide a piece is
//! follows from what was found in those before, so memory is bounded whatever the tables hold. A piece that holds more
//! than was thought is read on page by page when its turn has come.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use scylla::response::PagingState;
use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner};
use scylla::statement::prepared::PreparedStatement;
use ues_data::Cid;
use ues_data::content_id::cid_from_bytes;

use super::placements::join;
use super::retry::What;
use super::session::damaged;
use super::{CqlStore, SCAN_PAGE};
use crate::placement::PinRecord;
use crate::store::rows;
use crate::store::{StateError, TokenRange};

/// Pieces that are read ahead.
const AHEAD: usize = 3;
/// Records that a piece should hold.
const TARGET: usize = SCAN_PAGE as usize;
/// Records of a piece that are read before its turn has come.
const EARLY: usize = 2 * TARGET;
/// Into how many pieces a range is cut before anything is known.
const FIRST_PIECES: u64 = 16;

/// Where the database puts a multihash; moved so that it is not negative and the order stays.
pub(super) fn token(cid: &Cid) -> u64 {
    from_signed(Murmur3Partitioner.hash_one(&cid.hash().to_bytes()).value())
}

fn from_signed(token: i64) -> u64 {
    token.cast_unsigned() ^ (1 << 63)
}

fn to_signed(token: u64) -> i64 {
    (token ^ (1 << 63)).cast_signed()
}

/// The order of records: by token, and where two multihashes share one, by their bytes.
type Place = (u64, Vec<u8>, Vec<u8>);

fn place(cid: &Cid) -> Place {
    (token(cid), cid.hash().to_bytes(), cid.to_bytes())
}

impl CqlStore {
    pub(super) fn read_all(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        let after = after.map(|cid| place(&cid));
        let from = after.as_ref().map_or(range.from, |after| after.0);
        if from > range.to {
            return futures::stream::empty().boxed();
        }
        let pace = Arc::new(Mutex::new(Pace::new(from, range.to)));
        let store = self.clone();
        let ranges = futures::stream::unfold(Some(from), {
            let pace = Arc::clone(&pace);
            move |from| {
                let next = from.map(|from| pace.lock().cut(from, range.to));
                async move { next }
            }
        });
        let pieces = ranges.map(move |range| read_piece(store.clone(), range, Arc::clone(&pace)));
        let records = pieces.buffered(AHEAD).flat_map(in_order);
        let new = move |record: &PinRecord| {
            after
                .as_ref()
                .is_none_or(|after| place(&record.cid) > *after)
        };
        let records = records.filter(move |record| {
            let wanted = record.as_ref().map_or(true, &new);
            async move { wanted }
        });
        until_failure(records).boxed()
    }
}

/// Ends a stream behind its first error.
fn until_failure<T>(
    items: impl Stream<Item = Result<T, StateError>>,
) -> impl Stream<Item = Result<T, StateError>> {
    items.scan(false, |failed, item| {
        let item = (!*failed).then_some(item);
        *failed |= item.as_ref().is_some_and(Result::is_err);
        async move { item }
    })
}

/// How wide pieces are.
#[derive(Debug)]
struct Pace {
    width: u64,
}

impl Pace {
    fn new(from: u64, to: u64) -> Self {
        Self {
            width: ((to - from) / FIRST_PIECES).max(1),
        }
    }

    /// The piece that begins at a token, and where the next one begins.
    fn cut(&self, from: u64, to: u64) -> (TokenRange, Option<u64>) {
        let end = from.saturating_add(self.width - 1).min(to);
        let next = (end < to).then(|| end + 1);
        (TokenRange { from, to: end }, next)
    }

    /// A piece of some width had so many records.
    fn found(&mut self, range: TokenRange, records: usize) {
        let width = u128::from(range.to - range.from) + 1;
        let right = width * TARGET as u128 / (records as u128).max(1);
        let right = right.clamp(width / 8, width * 8);
        self.width = u64::try_from(right).unwrap_or(u64::MAX).max(1);
    }
}

/// The beginning of a piece, and what reads the rest.
struct Piece {
    records: Vec<PinRecord>,
    rest: Option<Merge>,
}

async fn read_piece(
    store: CqlStore,
    range: TokenRange,
    pace: Arc<Mutex<Pace>>,
) -> Result<Piece, StateError> {
    let mut merge = Merge::new(store, range);
    let mut records = Vec::new();
    let mut ended = false;
    while records.len() < EARLY {
        match merge.next().await? {
            Some(of_token) => records.extend(of_token),
            None => {
                ended = true;
                break;
            }
        }
    }
    let full = if ended { records.len() } else { 8 * TARGET };
    pace.lock().found(range, full);
    let rest = (!ended).then_some(merge);
    Ok(Piece { records, rest })
}

/// The records of a piece.
fn in_order(
    piece: Result<Piece, StateError>,
) -> impl Stream<Item = Result<PinRecord, StateError>> + Send {
    let (records, rest) = match piece {
        Ok(piece) => (piece.records.into_iter().map(Ok).collect(), piece.rest),
        Err(error) => (vec![Err(error)], None),
    };
    let rest = futures::stream::unfold(rest, |rest| async {
        let mut merge = rest?;
        match merge.next().await {
            Ok(Some(records)) => {
                let records: Vec<_> = records.into_iter().map(Ok).collect();
                Some((records, Some(merge)))
            }
            Ok(None) => None,
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    futures::stream::iter(records).chain(rest.flat_map(futures::stream::iter))
}

/// A row of requests or of placements; `who` is the owner or the peer.
struct ScanRow {
    token: u64,
    cid: Cid,
    who: Vec<u8>,
    value: Vec<u8>,
}

/// Requests and placements of a range, joined while both are read.
struct Merge {
    requests: Rows,
    placements: Rows,
}

impl Merge {
    fn new(store: CqlStore, range: TokenRange) -> Self {
        Self {
            requests: Rows::new(store.clone(), range, Table::Requests),
            placements: Rows::new(store, range, Table::Placements),
        }
    }

    /// All records of the next token that has any. What is held of a CID is the union of its requests, so that
    /// many owners take no memory.
    async fn next(&mut self) -> Result<Option<Vec<PinRecord>>, StateError> {
        loop {
            let heads = futures::try_join!(self.requests.head(), self.placements.head())?;
            let token = match heads {
                (None, None) => return Ok(None),
                (Some(token), None) | (None, Some(token)) => token,
                (Some(a), Some(b)) => a.min(b),
            };
            let records = self.records(token).await?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
    }

    async fn records(&mut self, token: u64) -> Result<Vec<PinRecord>, StateError> {
        let mut records: BTreeMap<Place, PinRecord> = BTreeMap::new();
        while let Some(row) = self.requests.next_of(token).await? {
            let request = rows::read_request(&row.who, &row.value)?;
            join(&mut entry(&mut records, &row.cid).wanted, request);
        }
        while let Some(row) = self.placements.next_of(token).await? {
            let placement = rows::read_placement(&row.who, &row.value)?;
            entry(&mut records, &row.cid).placements.push(placement);
        }
        Ok(records.into_values().collect())
    }
}

fn entry<'a>(records: &'a mut BTreeMap<Place, PinRecord>, cid: &Cid) -> &'a mut PinRecord {
    records.entry(place(cid)).or_insert_with(|| PinRecord {
        cid: *cid,
        wanted: None,
        placements: Vec::new(),
    })
}

#[derive(Clone, Copy)]
enum Table {
    Requests,
    Placements,
}

/// The rows of one table in a range, read a page at a time; markers are left out.
struct Rows {
    store: CqlStore,
    range: TokenRange,
    table: Table,
    page: VecDeque<ScanRow>,
    /// Where the next page begins; `None` at the end.
    next: Option<PagingState>,
}

impl Rows {
    fn new(store: CqlStore, range: TokenRange, table: Table) -> Self {
        Self {
            store,
            range,
            table,
            page: VecDeque::new(),
            next: Some(PagingState::start()),
        }
    }

    /// The token of the next row.
    async fn head(&mut self) -> Result<Option<u64>, StateError> {
        while self.page.is_empty() {
            let Some(from) = self.next.take() else {
                return Ok(None);
            };
            self.read(from).await?;
        }
        Ok(self.page.front().map(|row| row.token))
    }

    /// The next row, if it is of a token.
    async fn next_of(&mut self, token: u64) -> Result<Option<ScanRow>, StateError> {
        if self.head().await? != Some(token) {
            return Ok(None);
        }
        Ok(self.page.pop_front())
    }

    async fn read(&mut self, from: PagingState) -> Result<(), StateError> {
        let store = self.store.clone();
        let statements = &store.db.statements;
        let (statement, what) = match self.table {
            Table::Requests => (&statements.scan_requests, What::new("scan_requests")),
            Table::Placements => (&statements.scan_placements, What::new("scan_placements")),
        };
        self.read_page(&store, statement, what, from).await
    }

    async fn read_page(
        &mut self,
        store: &CqlStore,
        statement: &PreparedStatement,
        what: What<'_>,
        from: PagingState,
    ) -> Result<(), StateError> {
        let values = (to_signed(self.range.from), to_signed(self.range.to));
        let (read, next) = store.db.page(what, statement, values, from).await?;
        match self.table {
            Table::Requests => {
                for row in read
                    .rows::<(i64, &[u8], String, Option<Vec<u8>>)>()
                    .map_err(damaged)?
                {
                    let (token, cid, owner, value) = row.map_err(damaged)?;
                    self.take(token, cid, owner.into_bytes(), value)?;
                }
            }
            Table::Placements => {
                for row in read
                    .rows::<(i64, &[u8], Vec<u8>, Option<Vec<u8>>, Option<i64>)>()
                    .map_err(damaged)?
                {
                    let (token, cid, peer, value, at) = row.map_err(damaged)?;
                    store.stamps.seen(at);
                    self.take(token, cid, peer, value)?;
                }
            }
        }
        self.next = match next.into_paging_control_flow() {
            std::ops::ControlFlow::Break(()) => None,
            std::ops::ControlFlow::Continue(state) => Some(state),
        };
        Ok(())
    }

    fn take(
        &mut self,
        token: i64,
        cid: &[u8],
        who: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<(), StateError> {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.page.push_back(ScanRow {
                token: from_signed(token),
                cid: cid_from_bytes(cid).map_err(damaged)?,
                who,
                value,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_keep_their_order(a: i64, b: i64) {
            prop_assert_eq!(a.cmp(&b), from_signed(a).cmp(&from_signed(b)));
            prop_assert_eq!(to_signed(from_signed(a)), a);
        }

        /// The pieces are the whole range, whatever was found in them.
        #[test]
        fn pieces_cover_the_range(a: u64, b: u64, found in prop::collection::vec(0usize..20_000, 100)) {
            let (from, to) = (a.min(b), a.max(b));
            let mut pace = Pace::new(from, to);
            let mut next = Some(from);
            for found in found {
                let Some(begin) = next else { break };
                let (piece, after) = pace.cut(begin, to);
                prop_assert!(piece.from == begin && piece.to >= begin && piece.to <= to);
                prop_assert_eq!(after, piece.to.checked_add(1).filter(|_| piece.to < to));
                pace.found(piece, found);
                next = after;
            }
        }
    }

    #[test]
    fn pieces_become_as_wide_as_a_page() {
        let mut pace = Pace::new(0, u64::MAX);
        // A record for each 2^40 tokens.
        let mut next = Some(0);
        for _ in 0..40 {
            let (piece, after) = pace.cut(next.unwrap(), u64::MAX);
            let records = usize::try_from((piece.to - piece.from) >> 40).unwrap();
            pace.found(piece, records.min(8 * TARGET));
            next = after;
        }
        assert!((TARGET / 2..TARGET * 2).contains(&usize::try_from(pace.width >> 40).unwrap()));
    }
}
