//! Values for property tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "not every test file uses all of them")]

use proptest::prelude::*;
use ues_data::{Cid, HashAlgorithm, Ipld, cid_of, sha256_multihash};

/// Any CID that the crate can make.
pub fn any_cid() -> impl Strategy<Value = Cid> {
    prop_oneof![
        any::<u64>().prop_map(|n| cid_of(0x71, HashAlgorithm::Sha2_256, &n.to_le_bytes())),
        any::<u64>().prop_map(|n| cid_of(0x55, HashAlgorithm::Blake3, &n.to_le_bytes())),
        any::<u64>().prop_map(|n| cid_of(0x0129, HashAlgorithm::Sha2_512, &n.to_le_bytes())),
        any::<u64>().prop_map(|n| Cid::new_v0(sha256_multihash(&n.to_le_bytes())).unwrap()),
    ]
}

/// Any value of the IPLD data model, small.
pub fn any_ipld() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        (-(1i128 << 64)..(1i128 << 64)).prop_map(Ipld::Integer),
        (-300i128..300).prop_map(Ipld::Integer),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Ipld::Float),
        ".{0,12}".prop_map(Ipld::String),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
        any_cid().prop_map(Ipld::Link),
    ];
    leaf.prop_recursive(5, 48, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Ipld::List),
            proptest::collection::btree_map("[a-z/é]{0,30}", inner, 0..8).prop_map(Ipld::Map),
        ]
    })
}
