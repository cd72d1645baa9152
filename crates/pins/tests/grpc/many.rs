//! Many at once: one answer for each item, in order, and operations that are done once.

use futures::{StreamExt, TryStreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use ues_pins::grpc::v1;
use ues_pins::grpc::v1::bulk_pin_response::Outcome;

use crate::desk::{Desk, by, cid, spec};

fn item(number: u64, op_id: &str) -> v1::BulkPinRequest {
    v1::BulkPinRequest {
        spec: Some(spec(cid(number))),
        op_id: op_id.to_owned(),
    }
}

async fn pin_all(desk: &Desk, items: Vec<v1::BulkPinRequest>) -> Vec<v1::BulkPinResponse> {
    let items = futures::stream::iter(items);
    let answers = desk.client().bulk_pin(by("alice", items)).await.unwrap();
    answers.into_inner().try_collect().await.unwrap()
}

async fn unpin_all(desk: &Desk, items: Vec<v1::BulkUnpinRequest>) -> Vec<v1::BulkUnpinResponse> {
    let items = futures::stream::iter(items);
    let answers = desk.client().bulk_unpin(by("alice", items)).await.unwrap();
    answers.into_inner().try_collect().await.unwrap()
}

fn removal(number: u64, op_id: &str) -> v1::BulkUnpinRequest {
    v1::BulkUnpinRequest {
        cid: cid(number).to_string(),
        op_id: op_id.to_owned(),
    }
}

fn code(outcome: &Option<Outcome>) -> Option<Code> {
    match outcome {
        Some(Outcome::Error(error)) => Some(Code::from_i32(error.code)),
        _ => None,
    }
}

#[tokio::test]
async fn each_item_is_answered_in_order() {
    let desk = Desk::new().await;
    let mut items: Vec<_> = (0..2500).map(|number| item(number, "")).collect();
    items[3].spec.as_mut().unwrap().cid = "nonsense".to_owned();
    items[4].spec = None;
    items[5].spec.as_mut().unwrap().name = "x".repeat(300);
    items[6].spec.as_mut().unwrap().name = "x".repeat(70_000);
    let answers = pin_all(&desk, items).await;
    for (index, answer) in (0..).zip(&answers) {
        assert_eq!(answer.index, index);
        let wrong = (3..=6).contains(&index);
        let expected = wrong.then_some(Code::InvalidArgument);
        assert_eq!(code(&answer.outcome), expected, "{answer:?}");
        if !wrong {
            assert_eq!(answer.cid, cid(index).to_string());
        }
    }
    assert_eq!(answers.len(), 2500);
    let rest = desk
        .rest("alice", "GET", "/pins?limit=1&status=queued,pinning")
        .await;
    assert_eq!(rest["count"], 2496);

    let removals = (0..2500).map(|number| removal(number, "")).collect();
    let answers = unpin_all(&desk, removals).await;
    for answer in &answers {
        let missing = (3..=6).contains(&answer.index);
        let code = answer
            .error
            .as_ref()
            .map(|error| Code::from_i32(error.code));
        assert_eq!(code, missing.then_some(Code::NotFound), "{answer:?}");
    }
    assert_eq!(answers.len(), 2500);
}

#[tokio::test]
async fn operations_are_done_once_within_and_between_streams() {
    let desk = Desk::new().await;
    let items = || {
        vec![
            item(1, "a"),
            item(1, "a"),
            item(2, "a"),
            item(2, "b"),
            item(3, "\u{7f}"),
        ]
    };
    let first = pin_all(&desk, items()).await;
    let second = pin_all(&desk, items()).await;
    assert_eq!(first, second);
    assert_eq!(first[0].outcome, first[1].outcome);
    let codes: Vec<_> = first.iter().map(|answer| code(&answer.outcome)).collect();
    assert_eq!(
        codes,
        [
            None,
            None,
            Some(Code::AlreadyExists),
            None,
            Some(Code::InvalidArgument)
        ]
    );

    let removals = || {
        vec![
            removal(1, "c"),
            removal(1, "c"),
            removal(9, "d"),
            removal(2, "a"),
        ]
    };
    let answered = |answers: Vec<v1::BulkUnpinResponse>| -> Vec<_> {
        let code = |answer: v1::BulkUnpinResponse| answer.error.map(|e| Code::from_i32(e.code));
        answers.into_iter().map(code).collect()
    };
    let expected = [None, None, Some(Code::NotFound), Some(Code::AlreadyExists)];
    assert_eq!(answered(unpin_all(&desk, removals()).await), expected);
    assert_eq!(answered(unpin_all(&desk, removals()).await), expected);
}

#[tokio::test]
async fn an_answer_comes_before_the_next_item() {
    let desk = Desk::new().await;
    let (send, items) = tokio::sync::mpsc::channel(1);
    let mut client = desk.client();
    send.send(item(0, "")).await.unwrap();
    let answers = client.bulk_pin(by("alice", ReceiverStream::new(items)));
    let mut answers = answers.await.unwrap().into_inner();
    for index in 0..5 {
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!(answer.index, index);
        send.send(item(index + 1, "")).await.unwrap();
    }
    drop(send);
    assert_eq!(answers.next().await.unwrap().unwrap().index, 5);
    assert!(answers.next().await.is_none());
}
