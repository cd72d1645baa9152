//! The vectors for other implementations.

use serde_json::Value as Json;
use ues_data::dag_json;
use ues_sync::crdt::*;

const VECTORS: &str = include_str!("../vectors/crdt.json");

fn bytes(json: &Json) -> Vec<u8> {
    let digits = json.as_str().unwrap().as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn origin(json: &Json) -> Origin {
    let number = |at: usize| json["dot"][at].as_u64().unwrap();
    Origin {
        dot: Dot::new(number(0) as u32, number(1), number(2) as u32),
        time: json["time"].as_u64().unwrap(),
        author: json["author"].as_str().unwrap().into(),
    }
}

fn check<R: Rule>(case: &Json) {
    let edits = case["edits"].as_array().unwrap();
    // The edits after the first are concurrent: any order will do.
    let mut orders = vec![(0..edits.len()).collect::<Vec<_>>()];
    if case["concurrent"].as_bool().unwrap() {
        orders.push(std::iter::once(0).chain((1..edits.len()).rev()).collect());
    }
    for order in orders {
        let mut state = R::default();
        for at in order {
            let encoded = bytes(&edits[at]["edit"]);
            let edit = R::Edit::decode(&encoded).unwrap();
            assert_eq!(edit.encode().unwrap(), encoded);
            state.apply(&origin(&edits[at]), &edit).unwrap();
        }
        let expected = bytes(&case["state"]);
        assert_eq!(state.encode(), expected, "{}", case["name"]);
        let read = R::decode(&expected).unwrap();
        let value = dag_json::decode(case["value"].to_string().as_bytes()).unwrap();
        assert_eq!(read.value(), value, "{}", case["name"]);
    }
}

/// The same through the type that stands for every rule.
fn check_document(case: &Json) {
    let kind: RuleKind = case["rule"].as_str().unwrap().parse().unwrap();
    let mut document = Document::new(kind);
    for edit in case["edits"].as_array().unwrap() {
        let (origin, encoded) = (origin(edit), bytes(&edit["edit"]));
        let (width, references) = inspect(kind, &encoded).unwrap();
        assert!(width >= 1);
        assert!(references.iter().all(|dot| *dot != origin.dot));
        document.apply(&origin, &encoded).unwrap();
        let again = document.apply(&origin, &encoded);
        assert!(
            matches!(again, Err(ApplyError::Rule(CrdtError::Applied(dot))) if dot == origin.dot)
        );
    }
    let state = bytes(&case["state"]);
    assert_eq!(document.encode(), state);
    let read = Document::decode(kind, &state).unwrap();
    assert_eq!((read.kind(), read.value()), (kind, document.value()));
}

#[test]
fn the_vectors_hold() {
    let cases: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 8);
    assert!("register".parse::<RuleKind>().is_err());
    for case in cases {
        check_document(case);
        match case["rule"].as_str().unwrap() {
            "counter" => check::<Counter>(case),
            "set" => check::<Set>(case),
            "fields" => check::<Fields>(case),
            "list" => check::<List>(case),
            "text" => check::<Text>(case),
            other => panic!("no such rule: {other}"),
        }
    }
}
