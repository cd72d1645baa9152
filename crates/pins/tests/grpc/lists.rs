//! Lists: all of them, and by everything that they can be asked by.

use futures::TryStreamExt;
use tonic::Code;
use ues_pins::grpc::v1;

use crate::desk::{Desk, by, cid, spec};

/// CIDs that are listed.
async fn listed(desk: &Desk, who: &str, asked: v1::ListPinsRequest) -> Vec<String> {
    let stream = desk.client().list_pins(by(who, asked)).await.unwrap();
    let pins: Vec<_> = stream.into_inner().try_collect().await.unwrap();
    let cid = |pin: v1::ListPinsResponse| pin.pin.unwrap().spec.unwrap().cid;
    pins.into_iter().map(cid).collect()
}

async fn fill(desk: &Desk, count: u64) {
    let requests = (0..count).map(|number| v1::BulkPinRequest {
        spec: Some(v1::PinSpec {
            name: format!("Pin {}", number % 3),
            tags: vec![format!("tag-{}", number % 2)],
            meta: [("n".to_owned(), number.to_string())].into(),
            ..spec(cid(number))
        }),
        ..Default::default()
    });
    let requests = futures::stream::iter(requests.collect::<Vec<_>>());
    let answers = desk.client().bulk_pin(by("alice", requests)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().try_collect().await.unwrap();
    assert_eq!(answers.len() as u64, count);
}

#[tokio::test]
async fn all_are_listed_however_many() {
    let desk = Desk::new().await;
    fill(&desk, 1700).await;
    let mut all = listed(&desk, "alice", v1::ListPinsRequest::default()).await;
    assert_eq!(all.len(), 1700);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1700, "each once");
    let rest = desk
        .rest("alice", "GET", "/pins?limit=1000&status=queued,pinning")
        .await;
    assert_eq!(rest["count"], 1700);
    assert!(
        listed(&desk, "bob", v1::ListPinsRequest::default())
            .await
            .is_empty()
    );
    let of_alice = v1::ListPinsRequest {
        owner: "alice".to_owned(),
        limit: 3,
        ..Default::default()
    };
    assert_eq!(listed(&desk, "operator", of_alice.clone()).await.len(), 3);
    let refused = desk.client().list_pins(by("bob", of_alice)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_list_goes_on_after_its_cursor() {
    let desk = Desk::new().await;
    fill(&desk, 120).await;
    let whole = listed(&desk, "alice", v1::ListPinsRequest::default()).await;
    let mut pieces = Vec::new();
    let mut cursor = String::new();
    loop {
        let asked = v1::ListPinsRequest {
            cursor: cursor.clone(),
            limit: 7,
            ..Default::default()
        };
        let stream = desk.client().list_pins(by("alice", asked)).await.unwrap();
        let piece: Vec<_> = stream.into_inner().try_collect().await.unwrap();
        let Some(last) = piece.last() else { break };
        cursor = last.pin.as_ref().unwrap().request_id.clone();
        pieces.extend(piece.into_iter().map(|p| p.pin.unwrap().spec.unwrap().cid));
    }
    assert_eq!(pieces, whole);
}

#[tokio::test]
async fn filters_are_those_of_rest() {
    let desk = Desk::new().await;
    fill(&desk, 30).await;
    let all = v1::ListPinsRequest::default;
    let queued = [
        v1::PinStatus::Queued.into(),
        v1::PinStatus::Pinning.into(),
        v1::PinStatus::Failed.into(),
    ];
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let cases: Vec<(v1::ListPinsRequest, &str, usize)> = vec![
        (
            v1::ListPinsRequest {
                tag: "tag-1".to_owned(),
                ..all()
            },
            "tag=tag-1",
            15,
        ),
        (
            v1::ListPinsRequest {
                name: "Pin 1".to_owned(),
                ..all()
            },
            "name=Pin%201",
            10,
        ),
        (
            v1::ListPinsRequest {
                name: "pin".to_owned(),
                name_match: v1::NameMatch::Partial.into(),
                ..all()
            },
            "name=pin&match=partial",
            0,
        ),
        (
            v1::ListPinsRequest {
                name: "pin 2".to_owned(),
                name_match: v1::NameMatch::Iexact.into(),
                ..all()
            },
            "name=pin%202&match=iexact",
            10,
        ),
        (
            v1::ListPinsRequest {
                name: "N 0".to_owned(),
                name_match: v1::NameMatch::Ipartial.into(),
                ..all()
            },
            "name=N%200&match=ipartial",
            10,
        ),
        (
            v1::ListPinsRequest {
                meta: [("n".to_owned(), "7".to_owned())].into(),
                ..all()
            },
            "meta=%7B%22n%22:%227%22%7D",
            1,
        ),
        (
            v1::ListPinsRequest {
                cids: vec![cid(3).to_string(), cid(99).to_string()],
                ..all()
            },
            &format!("cid={},{}", cid(3), cid(99)),
            1,
        ),
        (
            v1::ListPinsRequest {
                before: time(1_700_000_000),
                ..all()
            },
            "before=2023-11-14T22:13:20Z",
            0,
        ),
        (
            v1::ListPinsRequest {
                after: time(1_700_000_000),
                ..all()
            },
            "after=2023-11-14T22:13:20Z",
            30,
        ),
    ]
    .into_iter()
    .map(|(asked, query, count)| (asked, query.to_owned().leak() as &str, count))
    .collect();
    for (asked, query, count) in cases {
        let asked = v1::ListPinsRequest {
            statuses: queued.to_vec(),
            ..asked
        };
        let mut ours = listed(&desk, "alice", asked).await;
        let path = format!("/pins?limit=1000&status=queued,pinning,failed&{query}");
        let rest = desk.rest("alice", "GET", &path).await;
        let results = rest["results"].as_array().unwrap().iter();
        let mut theirs: Vec<_> = results
            .map(|pin| pin["pin"]["cid"].as_str().unwrap().to_owned())
            .collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "{query}");
        assert_eq!(ours.len(), count, "{query}");
    }
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let desk = Desk::new().await;
    let all = v1::ListPinsRequest::default;
    for asked in [
        v1::ListPinsRequest {
            statuses: vec![0],
            ..all()
        },
        v1::ListPinsRequest {
            statuses: vec![77],
            ..all()
        },
        v1::ListPinsRequest {
            name_match: 77,
            ..all()
        },
        v1::ListPinsRequest {
            cursor: "x".to_owned(),
            ..all()
        },
        v1::ListPinsRequest {
            cids: vec!["x".to_owned()],
            ..all()
        },
        v1::ListPinsRequest {
            cids: vec![cid(1).to_string(); 1001],
            ..all()
        },
        v1::ListPinsRequest {
            name: "x".repeat(256),
            ..all()
        },
    ] {
        let refused = desk.client().list_pins(by("alice", asked.clone())).await;
        assert_eq!(
            refused.unwrap_err().code(),
            Code::InvalidArgument,
            "{asked:?}"
        );
    }
}
