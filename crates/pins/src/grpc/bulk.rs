//! `BulkPin` and `BulkUnpin`: items are taken as they come, made durable together, and answered in order.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use prost::Message;
use tonic::Status;
use tracing::Instrument;

use super::desk::Desk;
use super::pins::{item_error, item_error_of};
use super::status::invalid;
use super::v1;
use super::v1::bulk_pin_response::Outcome;
use super::wire::{read_cid, read_spec};
use crate::Owner;
use crate::request_id::RequestId;
use crate::service::{Change, ChangeAnswer};

/// Items that are made durable together.
const GROUP: usize = 500;
/// Longest item, in bytes.
const MAX_ITEM: usize = 64 << 10;

/// An item that was read: the CID as it was sent, and what is to be done.
struct Item {
    cid: String,
    change: Result<Change, v1::ItemError>,
}

/// What came of an item: the request that was made, if one was.
struct Answer {
    index: u64,
    cid: String,
    outcome: Result<Option<RequestId>, v1::ItemError>,
}

/// Accepts pins.
pub(super) fn pin(
    desk: Desk,
    owner: Owner,
    requests: impl Stream<Item = Result<v1::BulkPinRequest, Status>> + Send + 'static,
) -> BoxStream<'static, Result<v1::BulkPinResponse, Status>> {
    let pins = desk.pins.clone();
    let read = move |request| read_pin(request, pins.now_ms() / 1000);
    let answer = |answer: Answer| v1::BulkPinResponse {
        index: answer.index,
        cid: answer.cid,
        outcome: Some(match answer.outcome {
            Ok(id) => Outcome::RequestId(id.map(|id| id.to_string()).unwrap_or_default()),
            Err(error) => Outcome::Error(error),
        }),
    };
    answers(desk, owner, requests, read)
        .map(move |result| result.map(answer))
        .boxed()
}

/// Removes requests.
pub(super) fn unpin(
    desk: Desk,
    owner: Owner,
    requests: impl Stream<Item = Result<v1::BulkUnpinRequest, Status>> + Send + 'static,
) -> BoxStream<'static, Result<v1::BulkUnpinResponse, Status>> {
    let answer = |answer: Answer| v1::BulkUnpinResponse {
        index: answer.index,
        cid: answer.cid,
        error: answer.outcome.err(),
    };
    answers(desk, owner, requests, read_unpin)
        .map(move |result| result.map(answer))
        .boxed()
}

fn read_pin(request: v1::BulkPinRequest, now_s: u64) -> Item {
    let bytes = request.encoded_len();
    let v1::BulkPinRequest { spec, op_id } = request;
    let cid = spec.as_ref().map(|spec| spec.cid.clone());
    let change = within(bytes).and_then(|()| read_spec(spec, op_id, now_s));
    item(
        cid.unwrap_or_default(),
        change.map(|(cid, wish)| Change::Add(cid, Box::new(wish))),
    )
}

fn read_unpin(request: v1::BulkUnpinRequest) -> Item {
    let read = within(request.encoded_len()).and_then(|()| read_cid(&request.cid));
    let op_id = (!request.op_id.is_empty()).then_some(request.op_id);
    item(request.cid, read.map(|cid| Change::Remove(cid, op_id)))
}

fn item(mut cid: String, change: Result<Change, Status>) -> Item {
    if change.is_err() {
        // It may be anything.
        cid = cid.chars().take(200).collect();
    }
    let change = change.map_err(item_error);
    Item { cid, change }
}

fn within(bytes: usize) -> Result<(), Status> {
    if bytes > MAX_ITEM {
        return Err(invalid(format!(
            "an item may have at most {MAX_ITEM} bytes, found {bytes}"
        )));
    }
    Ok(())
}

fn answers<Q: Send + 'static>(
    desk: Desk,
    owner: Owner,
    requests: impl Stream<Item = Result<Q, Status>> + Send + 'static,
    read: impl Fn(Q) -> Item + Send + 'static,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static {
    let items = futures::stream::iter(0u64..).zip(requests.map(move |request| request.map(&read)));
    // It is read after the handler has ended.
    let span = tracing::Span::current();
    // What has come by now, so that a caller who sends slowly gets answers all the same.
    items
        .ready_chunks(GROUP)
        .then(move |group| answer(desk.clone(), owner.clone(), group).instrument(span.clone()))
        .flat_map(futures::stream::iter)
}

async fn answer(
    desk: Desk,
    owner: Owner,
    group: Vec<(u64, Result<Item, Status>)>,
) -> Vec<Result<Answer, Status>> {
    let mut refused = Vec::with_capacity(group.len());
    let mut changes = Vec::with_capacity(group.len());
    let mut end = None;
    for (index, item) in group {
        match item {
            Ok(Item { cid, change }) => match change {
                Ok(change) => {
                    changes.push(change);
                    refused.push((index, cid, None));
                }
                Err(error) => refused.push((index, cid, Some(error))),
            },
            Err(status) => end = Some(Err(status)),
        }
    }
    let made = desk.pins.change(&owner, changes).await;
    let mut made = made.map(Vec::into_iter);
    let outcome = |error| match (error, &mut made) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(item_error_of(error)),
        (None, Ok(answers)) => match answers.next() {
            Some(ChangeAnswer::Added(id)) => Ok(Some(id)),
            Some(ChangeAnswer::Removed) => Ok(None),
            Some(ChangeAnswer::Refused(error)) => Err(item_error_of(&error)),
            None => Err(item_error(Status::internal("there is no answer"))),
        },
    };
    let mut outcome = outcome;
    let answers = refused.into_iter().map(|(index, cid, error)| {
        let outcome = outcome(error);
        Ok(Answer {
            index,
            cid,
            outcome,
        })
    });
    answers.collect::<Vec<_>>().into_iter().chain(end).collect()
}
