//! Adding, removing, replacing, and who may.

use tonic::Code;
use ues_pins::grpc::v1;

use crate::desk::{Desk, by, cid, pin_request, spec};

fn unpin(id: &str, op_id: &str) -> v1::UnpinRequest {
    v1::UnpinRequest {
        id: id.to_owned(),
        op_id: op_id.to_owned(),
    }
}

fn get(id: &str) -> v1::GetPinRequest {
    v1::GetPinRequest {
        id: id.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_pin_is_the_same_over_both_interfaces() {
    let desk = Desk::new().await;
    let asked = v1::PinSpec {
        name: "photos".to_owned(),
        origins: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        meta: [("app".to_owned(), "test".to_owned())].into(),
        tags: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
        replication: Some(v1::Replication { min: 1, max: 2 }),
        mode: v1::PinMode::Direct.into(),
        end: Some(v1::pin_spec::End::Ttl(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        })),
        ..spec(cid(1))
    };
    let request = v1::PinRequest {
        spec: Some(asked.clone()),
        ..Default::default()
    };
    let pin = desk.client().pin(by("alice", request)).await.unwrap();
    let pin = pin.into_inner().pin.unwrap();
    let shown = pin.spec.clone().unwrap();
    assert_eq!(pin.owner, "alice");
    assert_eq!(pin.status(), v1::PinStatus::Queued);
    assert_eq!(shown.tags, ["a", "b"]);
    let end = prost_types::Timestamp {
        seconds: 1_700_000_060,
        nanos: 0,
    };
    assert_eq!(shown.end, Some(v1::pin_spec::End::ExpireAt(end)));

    let rest = desk
        .rest("alice", "GET", &format!("/pins/{}", pin.request_id))
        .await;
    assert_eq!(rest["requestid"], pin.request_id.as_str());
    assert_eq!(rest["created"], "2023-11-14T22:13:20.5Z");
    let object = &rest["pin"];
    assert_eq!(object["cid"], shown.cid.as_str());
    assert_eq!(object["name"], "photos");
    assert_eq!(object["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(object["meta"], serde_json::json!({"app": "test"}));
    assert_eq!(
        object["replication"],
        serde_json::json!({"min": 1, "max": 2})
    );
    assert_eq!(object["mode"], "direct");
    assert_eq!(object["until"], "2023-11-14T22:14:20Z");
    assert_eq!(object["origins"], serde_json::json!(asked.origins));
    assert_eq!(rest["delegates"], serde_json::json!(pin.delegates));

    for id in [pin.request_id.as_str(), &shown.cid] {
        let again = desk.client().get_pin(by("alice", get(id))).await.unwrap();
        let again = again.into_inner().pin.unwrap();
        assert_eq!(again.request_id, pin.request_id);
        assert_eq!(again.spec, pin.spec);
    }
}

#[tokio::test]
async fn an_operation_is_done_once() {
    let desk = Desk::new().await;
    let mut client = desk.client();
    let request = |number, op_id: &str| v1::PinRequest {
        op_id: op_id.to_owned(),
        ..pin_request(cid(number))
    };
    let made = client.pin(by("alice", request(1, "op-1"))).await.unwrap();
    let made = made.into_inner().pin.unwrap();
    let mut again = by("alice", pin_request(cid(1)));
    let key = "op-1".parse().unwrap();
    again.metadata_mut().insert("idempotency-key", key);
    let again = client.pin(again).await.unwrap().into_inner().pin.unwrap();
    assert_eq!(again.request_id, made.request_id);
    let other = client.pin(by("alice", request(2, "op-1"))).await;
    assert_eq!(other.unwrap_err().code(), Code::AlreadyExists);
    // Ids are an owner's own.
    client.pin(by("bob", request(2, "op-1"))).await.unwrap();

    let gone = client.unpin(by("alice", unpin(&made.request_id, "op-2")));
    assert_eq!(gone.await.unwrap().get_ref().request_id, made.request_id);
    let again = client.unpin(by("alice", unpin(&made.request_id, "op-2")));
    assert_eq!(again.await.unwrap().get_ref().request_id, made.request_id);
    let fresh = client.unpin(by("alice", unpin(&made.request_id, "op-3")));
    assert_eq!(fresh.await.unwrap_err().code(), Code::NotFound);
    let mixed = client.unpin(by("alice", unpin(&made.request_id, "op-1")));
    assert_eq!(mixed.await.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_pin_is_replaced_and_removed() {
    let desk = Desk::new().await;
    let mut client = desk.client();
    let made = client.pin(by("alice", pin_request(cid(1)))).await.unwrap();
    let made = made.into_inner().pin.unwrap();
    let replace = v1::ReplacePinRequest {
        id: made.request_id.clone(),
        spec: Some(spec(cid(2))),
    };
    let new = client.replace_pin(by("alice", replace)).await.unwrap();
    let new = new.into_inner().pin.unwrap();
    assert_eq!(new.spec.unwrap().cid, cid(2).to_string());
    let old = client.get_pin(by("alice", get(&made.request_id))).await;
    assert_eq!(old.unwrap_err().code(), Code::NotFound);
    let gone = client.unpin(by("alice", unpin(&cid(2).to_string(), "")));
    assert_eq!(gone.await.unwrap().get_ref().request_id, new.request_id);
    let listed = desk
        .rest("alice", "GET", "/pins?status=queued,pinning")
        .await;
    assert_eq!(listed["count"], 0);
}

#[tokio::test]
async fn who_may_not_is_refused() {
    let desk = Desk::new().await;
    let mut client = desk.client();
    let nobody = client.pin(pin_request(cid(1))).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
    let reader = client.pin(by("alice-reader", pin_request(cid(1)))).await;
    assert_eq!(reader.unwrap_err().code(), Code::PermissionDenied);
    client.pin(by("alice", pin_request(cid(1)))).await.unwrap();

    let of_alice = v1::GetPinRequest {
        owner: "alice".to_owned(),
        ..get(&cid(1).to_string())
    };
    let bob = client.get_pin(by("bob", of_alice.clone())).await;
    assert_eq!(bob.unwrap_err().code(), Code::PermissionDenied);
    let operator = client.get_pin(by("operator", of_alice)).await.unwrap();
    assert_eq!(operator.into_inner().pin.unwrap().owner, "alice");
    let reader = client.get_pin(by("alice-reader", get(&cid(1).to_string())));
    reader.await.unwrap();

    let recover = |number| v1::RecoverRequest {
        cids: vec![cid(number).to_string()],
    };
    client.recover(by("alice", recover(1))).await.unwrap();
    let others = client.recover(by("bob", recover(1))).await;
    assert_eq!(others.unwrap_err().code(), Code::NotFound);
    client.recover(by("operator", recover(1))).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let desk = Desk::new().await;
    let good = spec(cid(1));
    let wrong: Vec<(Option<v1::PinSpec>, &str)> = vec![
        (None, "spec"),
        (Some(v1::PinSpec::default()), "cid"),
        (
            Some(v1::PinSpec {
                mode: 9,
                ..good.clone()
            }),
            "mode",
        ),
        (
            Some(v1::PinSpec {
                name: "x".repeat(256),
                ..good.clone()
            }),
            "a name may have at most 255 bytes",
        ),
        (
            Some(v1::PinSpec {
                origins: vec!["nowhere".to_owned()],
                ..good.clone()
            }),
            "multiaddr",
        ),
        (
            Some(v1::PinSpec {
                end: Some(v1::pin_spec::End::Ttl(prost_types::Duration {
                    seconds: -1,
                    nanos: 0,
                })),
                ..good.clone()
            }),
            "ttl",
        ),
        (
            Some(v1::PinSpec {
                end: Some(v1::pin_spec::End::ExpireAt(
                    prost_types::Timestamp::default(),
                )),
                ..good.clone()
            }),
            "is over",
        ),
    ];
    for (spec, sentence) in wrong {
        let request = v1::PinRequest {
            spec: spec.clone(),
            ..Default::default()
        };
        let refused = desk.client().pin(by("alice", request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{spec:?}");
        assert!(refused.message().contains(sentence), "{refused:?}");
    }
}
