//! What this program and IPFS-Cluster 1.1.6 make of the same pins, interface values, queries and filters. The files
//! are written by the real program's own code: `cd tests/peers/ipfs-cluster && go run ./golden
//! ../../../crates/pins/tests/golden`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ues_pins::model::json::*;
use ues_pins::model::{Pin, PinOptions, TrackerStatus};

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(lines.len() > 20, "{file} is cut short");
    lines
}

fn hex(line: &Value, field: &str) -> Option<Vec<u8>> {
    let text = line.get(field)?.as_str().unwrap();
    Some(data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap())
}

/// The value without fields that are null or empty: to every reader of this JSON these are the same.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), without_empty(value)))
                .filter(|(_, value)| match value {
                    Value::Null => false,
                    Value::Array(items) => !items.is_empty(),
                    Value::Object(fields) => !fields.is_empty(),
                    _ => true,
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_empty).collect()),
        other => other.clone(),
    }
}

#[test]
fn pins_have_the_same_bytes_and_the_same_json() {
    for line in lines("pins.jsonl") {
        let name = line["name"].as_str().unwrap();
        let bytes = hex(&line, "proto").unwrap();
        if let Some(error) = line.get("error") {
            let got = Pin::from_proto(&bytes);
            assert!(got.is_err(), "{name}: {error} expected, got {got:?}");
            continue;
        }
        let pin = Pin::from_proto(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(serde_json::to_value(&pin).unwrap(), line["json"], "{name}");

        let again = hex(&line, "again").unwrap_or(bytes);
        let unknown = pin.unknown.len() + pin.options.unknown.len();
        let written = pin.to_proto();
        assert_eq!(written[..written.len() - unknown], again, "{name}");

        let from_json: Pin = serde_json::from_value(line["json"].clone()).unwrap();
        let known = Pin {
            unknown: Vec::new(),
            ..pin
        };
        assert_eq!(from_json, known, "{name}");
        assert_eq!(from_json.to_proto(), again, "{name}");
    }
}

fn both_ways<T: Serialize + DeserializeOwned>(json: &Value) {
    let value: T = serde_json::from_value(json.clone()).unwrap_or_else(|e| panic!("{json}: {e}"));
    let written = serde_json::to_value(&value).unwrap();
    assert_eq!(without_empty(&written), without_empty(json));
    // Empty or not, the same fields are there.
    if let (Value::Object(written), Value::Object(json)) = (&written, json) {
        assert!(written.keys().eq(json.keys()), "{written:?} {json:?}");
    }
    let text = written.to_string();
    let again: T = serde_json::from_str(&text).unwrap();
    assert_eq!(
        serde_json::to_string(&again).unwrap(),
        serde_json::to_string(&value).unwrap()
    );
}

#[test]
fn interface_values_have_the_same_json() {
    for line in lines("infos.jsonl") {
        let json = &line["json"];
        match line["type"].as_str().unwrap() {
            "PinInfoShort" => both_ways::<PinInfoShort>(json),
            "PinInfo" => both_ways::<PinInfo>(json),
            "GlobalPinInfo" => both_ways::<GlobalPinInfo>(json),
            "ID" => both_ways::<Id>(json),
            "Version" => both_ways::<Version>(json),
            "Error" => both_ways::<ApiError>(json),
            "AddedOutput" => both_ways::<AddedOutput>(json),
            "Metric" => both_ways::<Metric>(json),
            "Alert" => both_ways::<Alert>(json),
            "IPFSRepoStat" => both_ways::<IpfsRepoStat>(json),
            "GlobalRepoGC" => both_ways::<GlobalRepoGc>(json),
            "ConnectGraph" => both_ways::<ConnectGraph>(json),
            "BandwidthByProtocol" => both_ways::<BTreeMap<String, Bandwidth>>(json),
            other => panic!("no type is called {other}"),
        }
    }
}

fn parse(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

#[test]
fn queries_mean_the_same() {
    for line in lines("queries.jsonl") {
        let query = line["query"].as_str().unwrap();
        let got = PinOptions::from_query(&parse(query), 1_700_000_000);
        match line.get("error") {
            Some(error) => {
                let (error, got) = (error.as_str().unwrap(), got.unwrap_err().to_string());
                // What follows the first colon is the wording of another library.
                let head = error.split(':').next().unwrap();
                assert!(
                    got.starts_with(head),
                    "{query}: {error} expected, got {got}"
                );
            }
            None => {
                let options = got.unwrap_or_else(|e| panic!("{query}: {e}"));
                let json = serde_json::to_value(&options).unwrap();
                assert_eq!(
                    without_empty(&json),
                    without_empty(&line["options"]),
                    "{query}"
                );
                let again = options.to_query();
                assert_eq!(again, parse(line["again"].as_str().unwrap()), "{query}");
                assert_eq!(
                    PinOptions::from_query(&again, 0).unwrap(),
                    options,
                    "{query}"
                );
            }
        }
    }
}

#[test]
fn a_pin_may_end_after_a_while() {
    let query = |text: &str| PinOptions::from_query(&parse(text), 1_000);
    assert_eq!(
        query("expire-in=1h1m1.9s").unwrap().expire_at,
        Some(1_000 + 3_661)
    );
    assert_eq!(
        query("expire-in=1s&expire-at=").unwrap().expire_at,
        Some(1_001)
    );
    assert_eq!(
        query("expire-at=1960-01-01T00:00:00Z").unwrap().expire_at,
        Some(1)
    );
}

#[test]
fn filters_mean_the_same() {
    for line in lines("filters.jsonl") {
        let text = line["filter"].as_str().unwrap();
        let filter = TrackerStatus::from_filter(text);
        assert_eq!(
            u64::from(filter.bits()),
            line["bits"].as_u64().unwrap(),
            "{text}"
        );
        assert_eq!(
            TrackerStatus::from_filter(&filter.to_string()),
            filter,
            "{text}"
        );
        let Some(matches) = line.get("matches") else {
            continue;
        };
        let single = [&[TrackerStatus::UNDEFINED], &TrackerStatus::ALL[..]].concat();
        let got: Vec<_> = single
            .iter()
            .filter(|status| status.matches(filter))
            .map(ToString::to_string)
            .collect();
        assert_eq!(serde_json::to_value(got).unwrap(), *matches, "{text}");
    }
}

/// Lines that a running IPFS-Cluster 1.1.6 answered to `GET /pins` and `GET /peers`: the very text.
#[test]
fn the_order_of_fields_is_the_same_too() {
    let status = r#"{"cid":"QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN","name":"","allocations":[],"origins":[],"created":"2026-11-21T13:04:33Z","metadata":null,"peer_map":{"12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab":{"peername":"vm","ipfs_peer_id":"12D3KooWSqFnYLdSGsygJJvtKxsKzQQPsMp7iNnYBFNpxNZr2N51","status":"pinned","timestamp":"2026-11-21T13:04:33Z","error":"","attempt_count":0,"priority_pin":false}}}"#;
    let read: GlobalPinInfo = serde_json::from_str(status).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), status);

    let peer = r#"{"id":"12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab","addresses":["/ip4/127.0.0.1/tcp/29096/p2p/12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab"],"cluster_peers":["12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab"],"cluster_peers_addresses":[],"version":"1.1.6","commit":"","rpc_protocol_version":"/ipfscluster/1.0/rpc","error":"","ipfs":{"id":"12D3KooWSqFnYLdSGsygJJvtKxsKzQQPsMp7iNnYBFNpxNZr2N51","addresses":["/ip4/127.0.0.1/tcp/24101/p2p/12D3KooWSqFnYLdSGsygJJvtKxsKzQQPsMp7iNnYBFNpxNZr2N51"],"error":""},"peername":"vm"}"#;
    let read: Id = serde_json::from_str(peer).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), peer);

    // A pin of `GET /allocations`.
    let pin = r#"{"replication_factor_min":1,"replication_factor_max":1,"name":"n m","mode":"recursive","shard_size":5,"user_allocations":null,"expire_at":"2026-11-22T13:04:33Z","metadata":{"a":"1"},"pin_update":null,"origins":[],"cid":"bafkreihcldjer7njjrrxknqh67cestxa7s7jf4nhnp62y6k4twcbahvtc4","type":"pin","allocations":["12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab"],"max_depth":-1,"reference":null,"timestamp":"2026-11-21T13:04:33Z"}"#;
    let read: Pin = serde_json::from_str(pin).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), pin);
}
