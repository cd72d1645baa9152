//! A schema as data means the same as in the schema language.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ipld_core::ipld;
use ues_data::Ipld;
use ues_data::dag_json;
use ues_data::schema::Schema;

#[test]
fn both_forms_of_a_schema_are_the_same() {
    let language = Schema::parse(
        "type S struct { a Int (rename \"x\") b optional nullable [String] c &S }
         type P struct { x Int y Int } representation tuple
         type E enum { | Yes (\"1\") | No (\"0\") } representation int
         type U union { | P \"p\" | S \"s\" } representation inline { discriminantKey \"t\" }
         type K union { | Int int | M map } representation kinded
         type M {String:nullable Int}
         type C = M",
    )
    .unwrap();
    let data = dag_json::decode(
        br#"{"types": {
          "S": {"struct": {"fields": {
              "a": {"type": "Int"},
              "b": {"type": {"list": {"valueType": "String"}}, "optional": true, "nullable": true},
              "c": {"type": {"link": {"expectedType": "S"}}}},
            "representation": {"map": {"fields": {"a": {"rename": "x"}}}}}},
          "P": {"struct": {"fields": {"x": {"type": "Int"}, "y": {"type": "Int"}},
            "representation": {"tuple": {"fieldOrder": ["x", "y"]}}}},
          "E": {"enum": {"members": ["Yes", "No"], "representation": {"int": {"Yes": 1, "No": 0}}}},
          "U": {"union": {"members": ["P", "S"], "representation":
            {"inline": {"discriminantKey": "t", "discriminantTable": {"p": "P", "s": "S"}}}}},
          "K": {"union": {"members": ["Int", "M"], "representation": {"kinded": {"int": "Int", "map": "M"}}}},
          "M": {"map": {"keyType": "String", "valueType": "Int", "valueNullable": true}},
          "C": {"copy": {"fromType": "M"}}
        }}"#,
    )
    .unwrap();
    assert_eq!(Schema::from_dmt(&data).unwrap(), language);
}

#[test]
fn bad_data_is_refused() {
    for value in [
        Ipld::Null,
        ipld!({}),
        ipld!({ "types": 1 }),
        ipld!({ "types": { "T": {} } }),
        ipld!({ "types": { "T": { "nothing": {} } } }),
        ipld!({ "types": { "T": { "copy": { "fromType": "Missing" } } } }),
        ipld!({ "types": { "T": { "list": {} } } }),
        ipld!({ "types": { "T": { "enum": { "members": [1] } } } }),
        ipld!({ "types": { "T": { "union": { "members": [] } } } }),
        ipld!({ "types": { "T": { "struct": { "fields": { "a": { "type": "Int" }, "b": { "type": "Int" } }, "representation": { "tuple": {} } } } } }),
    ] {
        assert!(Schema::from_dmt(&value).is_err(), "{value:?} was accepted");
    }
}
