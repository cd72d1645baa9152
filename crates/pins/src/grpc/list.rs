//! `ListPins`: pieces of an owner's pins, read as fast as the caller reads.

use std::collections::VecDeque;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tonic::Status;
use ues_data::Cid;

use super::desk::Desk;
use super::status::invalid;
use super::wire::{millis, pin, read_cids, read_enum, read_status};
use super::{MAX_CIDS, v1};
use crate::Owner;
use crate::request_id::RequestId;
use crate::service::{ListQuery, NameMatch, Overall};

/// Requests that are looked at in one go.
const PIECE: usize = 500;
/// Longest name, in characters.
const MAX_NAME: usize = 255;

/// Where a list stands.
struct Position {
    desk: Desk,
    owner: Owner,
    query: ListQuery,
    /// Where to go on; `None` for the beginning.
    cursor: Option<(u64, Cid)>,
    ended: bool,
    /// Pins that may still be handed out.
    left: usize,
}

/// The pins that fit.
pub(super) fn list(
    desk: Desk,
    owner: Owner,
    asked: v1::ListPinsRequest,
) -> Result<BoxStream<'static, Result<v1::ListPinsResponse, Status>>, Status> {
    let query = read(asked)?;
    let position = Position {
        cursor: query.cursor.map(|id| (id.created_ms(), *id.cid())),
        left: query.limit,
        desk,
        owner,
        query,
        ended: false,
    };
    let pieces = futures::stream::try_unfold(position, |mut position| async {
        let piece = position.next().await?;
        Ok::<_, Status>(piece.map(|piece| (piece, position)))
    });
    let pins = pieces.map_ok(|piece| futures::stream::iter(piece.into_iter().map(Ok)));
    let answer = |pin| v1::ListPinsResponse { pin: Some(pin) };
    Ok(pins.try_flatten().map_ok(answer).boxed())
}

impl Position {
    /// The next pins, of which there may be none; `None` at the end.
    async fn next(&mut self) -> Result<Option<VecDeque<v1::Pin>>, Status> {
        if self.ended || self.left == 0 {
            return Ok(None);
        }
        let pins = &self.desk.pins;
        let mut views = if self.query.cids.is_empty() {
            let looks = PIECE.min(self.left.max(50));
            let (views, cursor) = pins
                .list_piece(&self.owner, &self.query, self.cursor, looks)
                .await?;
            self.cursor = cursor;
            self.ended = cursor.is_none();
            views
        } else {
            self.ended = true;
            pins.list(&self.owner, &self.query).await?.pins
        };
        views.truncate(self.left);
        self.left -= views.len();
        let fleet = pins.fleet().await?;
        Ok(Some(
            views.into_iter().map(|view| pin(view, &fleet)).collect(),
        ))
    }
}

fn read(asked: v1::ListPinsRequest) -> Result<ListQuery, Status> {
    let how = match read_enum("name_match", asked.name_match)? {
        v1::NameMatch::Unspecified | v1::NameMatch::Exact => NameMatch::Exact,
        v1::NameMatch::Iexact => NameMatch::IExact,
        v1::NameMatch::Partial => NameMatch::Partial,
        v1::NameMatch::Ipartial => NameMatch::IPartial,
    };
    if asked.name.chars().count() > MAX_NAME {
        return Err(invalid(format!("name: at most {MAX_NAME} characters")));
    }
    let cids = read_cids(&asked.cids)?;
    let cursor = match asked.cursor.as_str() {
        "" => None,
        text => Some(read_cursor(text, &cids)?),
    };
    let statuses = |number: &i32| read_status(read_enum("statuses", *number)?);
    let time = |field: &str, time: Option<_>| time.map(|t| millis(field, &t)).transpose();
    let status: Vec<Overall> = asked
        .statuses
        .iter()
        .map(statuses)
        .collect::<Result<_, _>>()?;
    Ok(ListQuery {
        cids,
        name: (!asked.name.is_empty()).then_some((asked.name, how)),
        status,
        meta: asked.meta.into_iter().collect(),
        tag: (!asked.tag.is_empty()).then_some(asked.tag),
        before_ms: time("before", asked.before)?,
        after_ms: time("after", asked.after)?,
        cursor,
        limit: match asked.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        },
    })
}

fn read_cursor(text: &str, cids: &[Cid]) -> Result<RequestId, Status> {
    if !cids.is_empty() {
        return Err(invalid(format!(
            "cursor: up to {MAX_CIDS} named CIDs are listed at once, without one"
        )));
    }
    text.parse().map_err(|e| invalid(format!("cursor: {e}")))
}
