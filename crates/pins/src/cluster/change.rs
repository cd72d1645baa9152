//! Pinning and unpinning: `POST` and `DELETE` of `/pins/{cid}` and `/pins/{ipfs|ipld|ipns}/{path}`.

use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use http::StatusCode;
use ues_data::Cid;

use super::lists::{json, read_cid};
use super::query::Query;
use super::{Desk, Failure, Writer};
use crate::auth::Caller;
use crate::model::{Pin, PinMode, PinOptions, PinType};
use crate::placement::PinRecord;
use crate::service::{PinsError, Wish};

impl Desk {
    /// Accepts a pin for the caller, as `POST /pins/{cid}` and `POST /add` do.
    pub(crate) async fn pin(
        &self,
        caller: &Caller,
        cid: Cid,
        options: PinOptions,
    ) -> Result<Pin, Failure> {
        let options = match options.pin_update {
            Some(from) if from != cid => self.updated(caller, from, options).await?,
            _ => options,
        };
        if options.mode == PinMode::Direct {
            self.refuse_narrowing(caller, &cid).await?;
        }
        let wish = Wish {
            options,
            ..Wish::default()
        };
        let view = self.pins.add(&caller.owner, cid, wish).await?;
        Ok(view.request.pin)
    }

    /// The options of the pin that is replaced, with the name and the end of the new one if it has them.
    async fn updated(
        &self,
        caller: &Caller,
        from: Cid,
        asked: PinOptions,
    ) -> Result<PinOptions, Failure> {
        let Some(wanted) = self.record(caller, &from).await?.wanted else {
            return Err(Failure::not_pinned());
        };
        if wanted.pin.kind != PinType::Data {
            return Err(Failure::internal("this pin type cannot be updated"));
        }
        let mut options = wanted.pin.options;
        options.pin_update = Some(from);
        if !asked.name.is_empty() {
            options.name = asked.name;
        }
        if asked
            .expire_at
            .is_some_and(|end| end > self.pins.now_ms() / 1000)
        {
            options.expire_at = asked.expire_at;
        }
        Ok(options)
    }

    /// What is kept with all of its links is not turned into a block alone: that could lose the rest.
    async fn refuse_narrowing(&self, caller: &Caller, cid: &Cid) -> Result<(), Failure> {
        let request = self.pins.store().request(&caller.owner, cid).await?;
        let mode = request.map(|request| request.pin.options.mode);
        if mode == Some(PinMode::Recursive) {
            return Err(Failure::internal(
                "cannot repin a CID which is already pinned in recursive mode (new pin is pinned as direct). \
                 Unpin it first.",
            ));
        }
        Ok(())
    }

    async fn unpin(&self, caller: &Caller, cid: Cid) -> Result<Response, Failure> {
        let record = self.pins.record(&cid).await?;
        let removed = self.remove(caller, &record).await?;
        self.show(&removed, &record).await
    }

    /// Removes the caller's request for the CID of a record.
    pub(crate) async fn remove(&self, caller: &Caller, record: &PinRecord) -> Result<Pin, Failure> {
        let cid = record.cid;
        let removed = match self.pins.remove(&caller.owner, &cid.to_string()).await {
            Ok(removed) => removed,
            Err(PinsError::NotFound(_)) if caller.operates && record.wanted.is_some() => {
                return Err(Failure::new(
                    StatusCode::NOT_FOUND,
                    format!(
                        "{} of {}: others want it, whose requests are theirs to remove",
                        super::failure::NOT_PINNED,
                        caller.owner
                    ),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(removed.pin)
    }

    /// A pin as an answer.
    async fn show(&self, pin: &Pin, record: &PinRecord) -> Result<Response, Failure> {
        let mut out = Vec::with_capacity(1024);
        self.pin_writer().await?.pin(&mut out, pin, record);
        out.push(b'\n');
        Ok(json(out))
    }

    /// The CID that a path names.
    fn resolve(path: &str) -> Result<Cid, Failure> {
        let rest = path.strip_prefix("/pins/").unwrap_or(path);
        let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let unresolved = |why: &str| {
            let sentence = format!("/{kind}/{rest} cannot be resolved here: {why}");
            Failure::new(StatusCode::NOT_IMPLEMENTED, sentence)
        };
        if kind == "ipns" {
            return Err(unresolved("give the CID that the name stands for"));
        }
        let (cid, below) = rest.split_once('/').unwrap_or((rest, ""));
        let cid = ues_data::parse_cid(cid).map_err(|why| {
            Failure::bad_request(format!(
                "error parsing path: invalid path /{kind}/{rest}: {why}"
            ))
        })?;
        if below.is_empty() {
            Ok(cid)
        } else {
            Err(unresolved("give the CID that the path leads to"))
        }
    }

    fn options(&self, query: &Query) -> Result<PinOptions, Failure> {
        PinOptions::from_query(&query.0, self.pins.now_ms() / 1000)
            .map_err(|why| Failure::bad_request(why.to_string()))
    }

    async fn pin_and_show(
        &self,
        caller: &Caller,
        cid: Cid,
        query: &Query,
    ) -> Result<Response, Failure> {
        let options = self.options(query)?;
        let pin = self.pin(caller, cid, options).await?;
        let record = self.pins.record(&cid).await?;
        self.show(&pin, &record).await
    }
}

/// `POST /pins/{cid}`
pub(super) async fn pin(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    Path(cid): Path<String>,
    query: Query,
) -> Result<Response, Failure> {
    desk.pin_and_show(&caller, read_cid(&cid)?, &query).await
}

/// `DELETE /pins/{cid}`
pub(super) async fn unpin(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    Path(cid): Path<String>,
) -> Result<Response, Failure> {
    desk.unpin(&caller, read_cid(&cid)?).await
}

/// `POST /pins/{ipfs|ipld|ipns}/{path}`
pub(super) async fn pin_path(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    OriginalUri(uri): OriginalUri,
    query: Query,
) -> Result<Response, Failure> {
    let cid = Desk::resolve(uri.path())?;
    desk.pin_and_show(&caller, cid, &query).await
}

/// `DELETE /pins/{ipfs|ipld|ipns}/{path}`
pub(super) async fn unpin_path(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    desk.unpin(&caller, Desk::resolve(uri.path())?).await
}
