//! The embedded did:plc directory.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use serde_json::{Value, json};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::identity::plc::directory::{Directory, DirectoryError, DirectoryOptions};
use ues_repo::identity::plc::{self, AccountIdentity, Genesis, Operation, validate_log};
use ues_repo::syntax::{Did, Handle};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

fn store() -> Store {
    Store::with_engine(Arc::new(MemoryEngine::default()), StoreOptions::default()).unwrap()
}

fn directory() -> Directory {
    Directory::open(&store(), DirectoryOptions::default()).unwrap()
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(KeyKind::K256, &[number; 32]).unwrap()
}

fn genesis(handle: &str) -> Genesis {
    let identity = AccountIdentity {
        signing_key: key(9).verifying_key().clone(),
        rotation_keys: vec![
            key(1).verifying_key().clone(),
            key(2).verifying_key().clone(),
        ],
        handle: Handle::parse(handle).unwrap(),
        pds: "http://localhost:2583".to_owned(),
    };
    plc::create(&identity, &key(2)).unwrap()
}

fn rename(last: &Operation, by: u8, handle: &str) -> Operation {
    let handle = Handle::parse(handle).unwrap();
    plc::update(last, &key(by), |op| op.set_handle(&handle)).unwrap()
}

fn json_of(operation: &Operation) -> Value {
    serde_json::to_value(operation).unwrap()
}

#[tokio::test]
async fn what_is_submitted_is_served() {
    let directory = directory();
    let made = genesis("alice.test");
    let did = made.did.as_str();
    assert_eq!(directory.document(did).unwrap_err().status(), 404);
    assert_eq!(
        directory.document(did).unwrap_err().body(),
        json!({ "message": format!("DID not registered: {did}") })
    );

    directory
        .submit_json(did, &json_of(&made.operation))
        .await
        .unwrap();
    let second = rename(&made.operation, 2, "bob.test");
    directory.submit_json(did, &json_of(&second)).await.unwrap();
    assert_eq!(
        directory.document(did).unwrap().handle().unwrap(),
        "bob.test"
    );
    assert_eq!(directory.last(did).unwrap(), second);
    assert_eq!(
        directory.log(did).unwrap(),
        [made.operation.clone(), second.clone()]
    );

    let end = plc::tombstone(&second, &key(2)).unwrap();
    directory.submit(&made.did, end).await.unwrap();
    let error = directory.data(did).unwrap_err();
    assert_eq!(
        (error.status(), error.to_string()),
        (404, format!("DID not available: {did}"))
    );

    let fork = rename(&made.operation, 1, "rescued.test");
    directory.submit(&made.did, fork.clone()).await.unwrap();
    assert_eq!(directory.log(did).unwrap(), [made.operation, fork]);
    let audit = directory.audit_log(did).unwrap();
    let marks: Vec<bool> = audit.iter().map(|entry| entry.nullified).collect();
    assert_eq!(marks, [false, true, true, false]);
    validate_log(&made.did, &audit).unwrap();
    directory.health().unwrap();
}

#[tokio::test]
async fn refusals_have_the_public_texts() {
    let directory = directory();
    let made = genesis("alice.test");
    let other = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
    let refused = async |did: &Did, json: &Value| {
        let error = directory.submit_json(did.as_str(), json).await.unwrap_err();
        assert_eq!(error.status(), 400, "{error}");
        error.to_string()
    };
    let good = json_of(&made.operation);
    assert_eq!(
        refused(&other, &good).await,
        format!(
            "Hash of genesis operation does not match DID identifier: {}",
            made.did
        )
    );
    let mut bad = good.clone();
    bad["sig"] = json!("AAAA");
    assert!(
        refused(&made.did, &bad)
            .await
            .starts_with("Invalid signature on op: ")
    );
    assert!(
        refused(&made.did, &json!({}))
            .await
            .starts_with("Not a valid operation: ")
    );
    directory
        .submit_json(made.did.as_str(), &good)
        .await
        .unwrap();
    assert_eq!(
        refused(&made.did, &good).await,
        "Operations not correctly ordered"
    );
    assert_eq!(directory.log(made.did.as_str()).unwrap().len(), 1);
}

#[tokio::test]
async fn one_did_is_limited_and_a_recovery_is_not() {
    let directory = directory();
    let made = genesis("alice.test");
    let did = &made.did;
    let mut last = made.operation.clone();
    directory.submit_at(did, last.clone(), 1_000).await.unwrap();
    for number in 1..10 {
        last = rename(&last, 2, &format!("a{number}.test"));
        directory
            .submit_at(did, last.clone(), 1_000 + number)
            .await
            .unwrap();
    }
    let next = rename(&last, 2, "over.test");
    let error = directory
        .submit_at(did, next.clone(), 2_000)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "To many operations within last hour (max 10)"
    );
    let rescue = rename(&made.operation, 1, "rescued.test");
    directory.submit_at(did, rescue, 3_000).await.unwrap();
    assert_eq!(directory.log(did.as_str()).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_follows() {
    let directory = directory();
    let made = genesis("alice.test");
    directory
        .submit(&made.did, made.operation.clone())
        .await
        .unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let directory = directory.clone();
            let did = made.did.clone();
            let next = rename(&made.operation, 2, &format!("a{number}.test"));
            tokio::spawn(async move { directory.submit(&did, next).await })
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => taken += 1,
            Err(error) => assert!(matches!(error, DirectoryError::Refused(_)), "{error}"),
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(directory.audit_log(made.did.as_str()).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_read_in_pages_misses_nothing() {
    let store = store();
    let directory = Directory::open(&store, DirectoryOptions::default()).unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let directory = directory.clone();
            let made = genesis(&format!("a{number}.test"));
            // all at the same moment
            tokio::spawn(async move { directory.submit_at(&made.did, made.operation, 5_000).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    // and after opening it again
    let directory = Directory::open(&store, DirectoryOptions::default()).unwrap();
    let late = genesis("late.test");
    directory
        .submit_at(&late.did, late.operation, 0)
        .await
        .unwrap();

    let mut after = None;
    let mut by_time = Vec::new();
    loop {
        let page = directory.export(Some("7"), after.as_deref()).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last["createdAt"].as_str().unwrap().to_owned());
        by_time.extend(
            page.iter()
                .map(|line| line["cid"].as_str().unwrap().to_owned()),
        );
    }
    let mut after = "0".to_owned();
    let mut by_number = Vec::new();
    loop {
        let page = directory.export(Some("7"), Some(&after)).unwrap();
        let Some(last) = page.last() else { break };
        assert_eq!(last["type"], "sequenced_op");
        after = last["seq"].to_string();
        by_number.extend(
            page.iter()
                .map(|line| line["cid"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(by_time.len(), 41);
    assert_eq!(by_time, by_number);
    assert_eq!(directory.export(None, None).unwrap().len(), 41);
    for (count, after) in [
        (Some("0"), None),
        (Some("x"), None),
        (None, Some("yesterday")),
    ] {
        assert_eq!(directory.export(count, after).unwrap_err().status(), 400);
    }
}
