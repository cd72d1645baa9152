//! Bounds of calls, and the services that come with every gRPC server.

use std::time::Duration;

use futures::StreamExt;
use prost::Message;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use ues_pins::grpc::{CallLimits, DESCRIPTOR, v1};

use crate::desk::{Desk, by, cid, pin_request, spec};

#[tokio::test]
async fn more_calls_than_there_is_room_for_are_refused() {
    let limits = CallLimits {
        calls: 2,
        ..CallLimits::default()
    };
    let desk = Desk::with(None, limits).await;
    let watch = || {
        let mut client = desk.client();
        async move {
            let request = by("alice", v1::WatchRequest::default());
            client.watch(request).await.map(tonic::Response::into_inner)
        }
    };
    let first = watch().await.unwrap();
    let second = watch().await.unwrap();
    let refused = desk.client().pin(by("alice", pin_request(cid(1)))).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    drop(first);
    let pinned = desk.client().pin(by("alice", pin_request(cid(1)))).await;
    pinned.unwrap();
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    let desk = Desk::new().await;
    let mut request = by("alice", v1::WatchRequest::default());
    request.set_timeout(Duration::from_millis(300));
    let stream = desk.client().watch(request).await.unwrap();
    let end = stream.into_inner().next().await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);

    // The upload never ends.
    let parts = futures::stream::pending();
    let mut request = by("alice", parts);
    request.set_timeout(Duration::from_millis(300));
    let desk = Desk::with(Some(crate::archives::intake()), CallLimits::default()).await;
    let late = desk.client().import_car(request).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    // Nor does this one, whose caller has no deadline.
    let request = by("alice", futures::stream::pending());
    let silent = desk.client().import_car(request).await;
    assert_eq!(silent.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    let desk = Desk::new().await;
    let request = v1::PinRequest {
        spec: Some(v1::PinSpec {
            name: "x".repeat(300 << 10),
            ..spec(cid(1))
        }),
        ..Default::default()
    };
    let refused = desk.client().pin(by("alice", request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let desk = Desk::new().await;
    let mut client = HealthClient::new(desk.router.clone());
    for service in [
        "",
        "ues.pins.v1.PinService",
        "ues.pins.v1.FleetService",
        "x",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await;
        if service == "x" {
            assert_eq!(answer.unwrap_err().code(), Code::NotFound);
        } else {
            assert_eq!(answer.unwrap().get_ref().status(), ServingStatus::Serving);
        }
    }
}

#[test]
fn everything_is_described() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    let ours = files
        .file
        .iter()
        .find(|f| f.package() == "ues.pins.v1")
        .unwrap();
    let comments = &ours.source_code_info.as_ref().unwrap().location;
    let described = |path: &[i32]| {
        let at = comments.iter().find(|location| location.path == path);
        at.is_some_and(|location| !location.leading_comments().trim().is_empty())
    };
    let number = |n: usize| i32::try_from(n).unwrap();
    for (i, message) in ours.message_type.iter().enumerate() {
        assert!(described(&[4, number(i)]), "{}", message.name());
        for (j, field) in message.field.iter().enumerate() {
            let path = [4, number(i), 2, number(j)];
            assert!(described(&path), "{}.{}", message.name(), field.name());
        }
    }
    for (i, service) in ours.service.iter().enumerate() {
        for (j, method) in service.method.iter().enumerate() {
            let path = [6, number(i), 2, number(j)];
            assert!(described(&path), "{}.{}", service.name(), method.name());
        }
    }
}
