//! Lists of an owner's pins.

use ues_data::Cid;

use super::{Overall, PinView, Pins, PinsError};
use crate::Owner;
use crate::request::PinRequest;
use crate::request_id::RequestId;
use crate::store::OwnerQuery;

/// Requests that are looked at for one answer: a filter that hits nothing cannot read without end.
const MAX_LOOKS: usize = 20_000;
/// Requests that are read at a time.
const PIECE: usize = 1000;

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// The same.
    #[default]
    Exact,
    /// The same but for upper and lower case.
    IExact,
    /// Contained.
    Partial,
    /// Contained, but for upper and lower case.
    IPartial,
}

/// Which pins of an owner are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only these CIDs; none: all.
    pub cids: Vec<Cid>,
    /// Only this name.
    pub name: Option<(String, NameMatch)>,
    /// Only so far; none: all.
    pub status: Vec<Overall>,
    /// Only with these notes.
    pub meta: Vec<(String, String)>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only those accepted before this time, in milliseconds.
    pub before_ms: Option<u64>,
    /// Only those accepted after this time, in milliseconds.
    pub after_ms: Option<u64>,
    /// Go on after this request of an earlier answer.
    pub cursor: Option<RequestId>,
    /// At most so many.
    pub limit: usize,
}

/// Pins of an owner, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The pins.
    pub pins: Vec<PinView>,
    /// How many fit the question in all; of very many, at least so many.
    pub count: u64,
}

impl ListQuery {
    fn fits(&self, request: &PinRequest) -> bool {
        let options = &request.pin.options;
        let named = self.name.as_ref().is_none_or(|(name, how)| {
            let (have, want) = (&options.name, name);
            match how {
                NameMatch::Exact => have == want,
                NameMatch::IExact => have.to_lowercase() == want.to_lowercase(),
                NameMatch::Partial => have.contains(want),
                NameMatch::IPartial => have.to_lowercase().contains(&want.to_lowercase()),
            }
        });
        let noted = self.meta.iter().all(|note| options.metadata.contains(note));
        let cid = self.cids.is_empty() || self.cids.contains(request.cid());
        let after = self.after_ms.is_none_or(|time| request.created_ms > time);
        let before = self.before_ms.is_none_or(|time| request.created_ms < time);
        let tagged = self
            .tag
            .as_ref()
            .is_none_or(|tag| request.tags.contains(tag));
        named && noted && cid && after && before && tagged
    }
}

impl Pins {
    /// An owner's pins, newest first.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn list(&self, owner: &Owner, query: &ListQuery) -> Result<Listed, PinsError> {
        if !query.cids.is_empty() {
            return self.list_named(owner, query).await;
        }
        let mut listed = Listed::default();
        let mut cursor = query.cursor.map(|id| (id.created_ms(), *id.cid()));
        let mut looks = 0;
        loop {
            let page = OwnerQuery {
                tag: query.tag.clone(),
                before_ms: query.before_ms,
                after_ms: query.after_ms,
                cursor,
                limit: PIECE,
            };
            let page = self.0.store.owner_requests(owner, page).await?;
            looks += page.requests.len();
            let fitting = page.requests.into_iter().filter(|r| query.fits(r));
            self.take(fitting.collect(), query, &mut listed).await?;
            cursor = page.cursor;
            if cursor.is_none() || looks >= MAX_LOOKS {
                return Ok(listed);
            }
        }
    }

    /// The next of an owner's pins that fit, newest first, and where to go on; `None` at the end. It looks at up to
    /// `looks` requests, of which none may fit. CIDs, cursor and limit of the question are not regarded.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn list_piece(
        &self,
        owner: &Owner,
        query: &ListQuery,
        cursor: Option<(u64, Cid)>,
        looks: usize,
    ) -> Result<(Vec<PinView>, Option<(u64, Cid)>), PinsError> {
        let page = OwnerQuery {
            tag: query.tag.clone(),
            before_ms: query.before_ms,
            after_ms: query.after_ms,
            cursor,
            limit: looks.clamp(1, PIECE),
        };
        let page = self.0.store.owner_requests(owner, page).await?;
        let fitting = page.requests.into_iter().filter(|r| query.fits(r));
        let unbounded = ListQuery {
            status: query.status.clone(),
            limit: usize::MAX,
            ..ListQuery::default()
        };
        let mut listed = Listed::default();
        self.take(fitting.collect(), &unbounded, &mut listed)
            .await?;
        Ok((listed.pins, page.cursor))
    }

    /// The pins of named CIDs.
    async fn list_named(&self, owner: &Owner, query: &ListQuery) -> Result<Listed, PinsError> {
        let mut requests = Vec::new();
        for cid in &query.cids {
            let request = self.0.store.request(owner, cid).await?;
            requests.extend(request.filter(|r| query.fits(r)));
        }
        requests.sort_by_key(|request| std::cmp::Reverse(request.created_ms));
        let mut listed = Listed::default();
        self.take(requests, query, &mut listed).await?;
        Ok(listed)
    }

    /// Adds those that are as far as asked for.
    async fn take(
        &self,
        requests: Vec<PinRequest>,
        query: &ListQuery,
        listed: &mut Listed,
    ) -> Result<(), PinsError> {
        let full = listed.pins.len() >= query.limit;
        if full && query.status.is_empty() {
            listed.count += requests.len() as u64;
            return Ok(());
        }
        let cids: Vec<Cid> = requests.iter().map(|request| *request.cid()).collect();
        let records = self.0.store.records(&cids).await?;
        for (request, record) in requests.into_iter().zip(&records) {
            let view = PinView::new(request, record, &self.0.policy);
            if query.status.is_empty() || query.status.contains(&view.overall) {
                listed.count += 1;
                if listed.pins.len() < query.limit {
                    listed.pins.push(view);
                }
            }
        }
        Ok(())
    }
}
