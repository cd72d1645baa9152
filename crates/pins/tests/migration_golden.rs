//! What this program reads in exports that IPFS-Clusters of several versions wrote. The files are written by the code
//! of those versions: `cd tests/peers/ipfs-cluster-0.14 && go run . ../../../crates/pins/tests/golden`, the same with
//! 0.10; the pins of 1.1.6 are those of `model_golden`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use ues_pins::migration::{LeftOut, Values, read_pin, take};
use ues_pins::model::{Pin, PinMode};

fn file(name: &str) -> String {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn read(export: &str) -> Vec<Pin> {
    let mut values = Values::default();
    values.push(export.as_bytes()).unwrap();
    let mut pins = Vec::new();
    while let Some(object) = values.next_object().unwrap() {
        pins.push(read_pin(&object).unwrap_or_else(|e| panic!("{object:?}: {e}")));
    }
    values.finish().unwrap();
    pins
}

#[test]
fn exports_of_old_versions() {
    for version in ["0.10", "0.14"] {
        let pins = read(&file(&format!("export-{version}.json")));
        let protos = file(&format!("export-{version}.proto"));
        let expected: Vec<Pin> = protos
            .lines()
            .map(|line| data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap())
            .map(|proto| Pin::from_proto(&proto).unwrap())
            .collect();
        assert_eq!(pins, expected, "{version}");
        assert_eq!(pins.len(), 7);
        let taken: Vec<_> = pins
            .into_iter()
            .map(|pin| take(pin, 1_700_000_000))
            .collect();
        let modes: Vec<_> = taken.iter().flatten().map(|pin| pin.options.mode).collect();
        let (all, one) = (PinMode::Recursive, PinMode::Direct);
        assert_eq!(modes, [all, all, one, all], "{version}");
        let left: Vec<_> = taken.iter().filter_map(|pin| pin.clone().err()).collect();
        assert_eq!(left, [LeftOut::ClusterDag, LeftOut::Shard, LeftOut::Shard]);
    }
}

#[test]
fn exports_of_this_version() {
    let mut count = 0;
    for line in file("pins.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line.get("json").is_none() || line.get("error").is_some() {
            continue;
        }
        let expected: Pin = serde_json::from_value(line["json"].clone()).unwrap();
        let found = read_pin(line["json"].to_string().as_bytes()).unwrap();
        assert_eq!(found.to_proto(), expected.to_proto(), "{}", line["name"]);
        assert_eq!(
            found.options.user_allocations,
            expected.options.user_allocations
        );
        count += 1;
    }
    assert!(count > 20, "{count} pins");
}
