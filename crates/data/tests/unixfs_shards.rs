//! Directories divided over several blocks: the CIDs that Kubo gives, the way back, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod mutator;

use std::cell::Cell;
use std::collections::HashMap;

use bytes::Bytes;
use mutator::{BINARY, Random};
use ues_data::dag_pb::{self, Link, Node};
use ues_data::source::FromFn;
use ues_data::unixfs::{
    DirectoryBuilder, Entry, ExportError, ImportOptions, Imported, ShardError, import_reader, list,
    open,
};
use ues_data::{BlockSource, Cid, HashAlgorithm, cid_of};

type Blocks = HashMap<Cid, Bytes>;

fn name(n: usize) -> String {
    format!("entry-{n}")
}

/// A directory of `count` small files.
fn directory(count: usize, options: ImportOptions) -> (Imported, Blocks) {
    let mut blocks = Blocks::new();
    let mut directory = DirectoryBuilder::new(options);
    for n in 0..count {
        let file = import_reader(n.to_string().as_bytes(), options, &mut blocks).unwrap();
        directory.add(&name(n), file).unwrap();
    }
    let made = directory.finish(&mut blocks).unwrap();
    (made, blocks)
}

#[test]
fn large_directories_have_the_cids_that_kubo_gives() {
    for (options, cid) in [
        (
            ImportOptions::cid_v0(),
            "QmSVtyBQZH4HsKn4JTeJrGpt7iTq3XWP3rX5H8DREdPDR4",
        ),
        (
            ImportOptions::cid_v1(),
            "bafybeig77wit4kgvq7k4rf2dd3upomzybcby5x5wavsi4ezhmah5z74xuy",
        ),
    ] {
        let (made, blocks) = directory(6000, options);
        assert_eq!(made.cid.to_string(), cid);
        let names: Vec<String> = list(&blocks, &made.cid)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let mut expected: Vec<String> = (0..6000).map(name).collect();
        expected.sort();
        assert_eq!(names, expected);
        assert!(matches!(
            open(&blocks, &made.cid, "").unwrap(),
            Entry::Directory { .. }
        ));
    }
}

#[test]
fn directories_are_divided_above_256_kib_of_names_and_cids() {
    let options = ImportOptions::cid_v1();
    let mut blocks = Blocks::new();
    let file = import_reader(&b"x"[..], options, &mut blocks).unwrap();
    // 4096 entries of 28 and 36 bytes are just 256 KiB.
    let mut at_limit = DirectoryBuilder::new(options);
    for n in 0..4096 {
        at_limit.add(&format!("{n:028}"), file).unwrap();
    }
    let mut above = DirectoryBuilder::new(options);
    for n in 0..4095 {
        above.add(&format!("{n:028}"), file).unwrap();
    }
    above.add(&format!("{:029}", 4095), file).unwrap();
    let links =
        |made: Imported, blocks: &Blocks| dag_pb::decode(&blocks[&made.cid]).unwrap().links.len();
    let made = at_limit.finish(&mut blocks).unwrap();
    assert_eq!(links(made, &blocks), 4096);
    let made = above.finish(&mut blocks).unwrap();
    assert_eq!(links(made, &blocks), 256);
}

#[test]
fn a_name_is_found_by_one_node_a_level() {
    let (made, blocks) = directory(6000, ImportOptions::cid_v1());
    let loads = Cell::new(0);
    let counting = FromFn(|cid: &Cid| {
        loads.set(loads.get() + 1);
        blocks.block(cid)
    });
    for n in (0..6000).step_by(37) {
        loads.set(0);
        let found = open(&counting, &made.cid, &name(n)).unwrap();
        assert!(matches!(found, Entry::File { size, .. } if size == n.to_string().len() as u64));
        assert!(loads.get() <= 5, "{} blocks for one name", loads.get());
    }
    for absent in ["entry-6000", "x", "00", "entry-"] {
        assert!(matches!(
            open(&blocks, &made.cid, absent),
            Err(ExportError::NotFound { .. })
        ));
    }
}

/// The root of a divided directory, taken apart.
fn root_node(made: &Imported, blocks: &Blocks) -> Node {
    dag_pb::decode(&blocks[&made.cid]).unwrap()
}

/// Puts a changed root in place and tells why it is refused, when listed and when searched for what it names.
fn refusal(node: &Node, blocks: &Blocks) -> ShardError {
    let bytes = Bytes::from(dag_pb::encode(node));
    let cid = cid_of(0x70, HashAlgorithm::Sha2_256, &bytes);
    let mut blocks = blocks.clone();
    blocks.insert(cid, bytes);
    match list(&blocks, &cid) {
        Err(ExportError::Shard { reason, .. }) => reason,
        other => panic!("a malformed part is expected, found {other:?}"),
    }
}

#[test]
fn malformed_parts_are_refused() {
    let (made, blocks) = directory(6000, ImportOptions::cid_v1());
    let node = root_node(&made, &blocks);
    let data = node.data.clone().unwrap();
    // Type 5, 32 bytes of bitfield, hash type 0x22, fanout 256.
    assert_eq!(data[..4], [0x08, 5, 0x12, 32]);
    assert_eq!(data[36..], [0x28, 0x22, 0x30, 0x80, 0x02]);
    let with_data = |data: Vec<u8>| Node {
        data: Some(data.into()),
        ..node.clone()
    };

    let mut bits = data.to_vec();
    bits[4] &= 0x7f;
    assert_eq!(
        refusal(&with_data(bits), &blocks),
        ShardError::Bitfield {
            slots: 255,
            links: 256
        }
    );
    let mut long = data.to_vec();
    long[3] = 33;
    long.insert(4, 0);
    assert!(matches!(
        refusal(&with_data(long), &blocks),
        ShardError::Bitfield { .. }
    ));
    let mut hash = data.to_vec();
    hash[37] = 0x12;
    assert_eq!(
        refusal(&with_data(hash), &blocks),
        ShardError::Hash(Some(0x12))
    );
    assert_eq!(
        refusal(&with_data(data[..36].to_vec()), &blocks),
        ShardError::Hash(None)
    );
    for fanout in [&[0x03][..], &[0x04], &[0x80, 0x10], &[0x81, 0x02]] {
        let changed = [&data[..39], fanout].concat();
        assert!(matches!(
            refusal(&with_data(changed), &blocks),
            ShardError::Fanout(Some(_))
        ));
    }

    let with_link = |at: usize, change: &dyn Fn(&mut Link)| {
        let mut node = node.clone();
        change(&mut node.links[at]);
        node
    };
    let lower = with_link(0xab, &|link| {
        link.name = link.name.as_ref().map(|name| name.to_lowercase());
    });
    // Lower case sorts after all others.
    assert!(matches!(refusal(&lower, &blocks), ShardError::Slot(_)));
    let unnamed = with_link(0, &|link| link.name = Some("0".into()));
    assert_eq!(refusal(&unnamed, &blocks), ShardError::Slot(0));
    // Slot 0 links to what belongs into slot 1.
    let second = node.links[1].cid;
    let moved = with_link(0, &|link| link.cid = second);
    assert!(matches!(refusal(&moved, &blocks), ShardError::Misplaced(_)));
    let foreign = with_link(7, &|link| link.name = Some("07some other name".into()));
    assert_eq!(refusal(&foreign, &blocks), ShardError::Misplaced(7));
    // Slot 0 leads back to a node without links, or to one with other slots.
    let hollow = dag_pb::encode(&Node {
        links: Vec::new(),
        data: Some(Bytes::from_static(&[0x08, 5, 0x28, 0x22, 0x30, 0x80, 0x02])),
    });
    let hollow_cid = cid_of(0x70, HashAlgorithm::Sha2_256, &hollow);
    let mut with_hollow = blocks.clone();
    with_hollow.insert(hollow_cid, hollow.into());
    let empty = with_link(0, &|link| link.cid = hollow_cid);
    assert_eq!(refusal(&empty, &with_hollow), ShardError::Empty);
}

#[test]
fn nodes_that_link_each_other_end() {
    // Hashes forbid cycles, unless a source lies, which is noticed; the same node below itself cannot be made. A chain of
    // nodes with one slot each is as deep as a hash has bytes.
    let mut blocks = Blocks::new();
    let mut next = cid_of(0x55, HashAlgorithm::Sha2_256, b"");
    for _ in 0..20 {
        let node = dag_pb::encode(&Node {
            links: vec![Link {
                cid: next,
                name: Some("00".into()),
                size: Some(0),
            }],
            data: Some(Bytes::from_static(&[
                0x08, 5, 0x12, 1, 1, 0x28, 0x22, 0x30, 0x80, 0x02,
            ])),
        });
        next = cid_of(0x70, HashAlgorithm::Sha2_256, &node);
        blocks.insert(next, node.into());
    }
    assert!(matches!(list(&blocks, &next), Err(ExportError::TooDeep(8))));
}

#[test]
fn changed_parts_are_refused_or_read_to_an_end() {
    let (made, blocks) = directory(6000, ImportOptions::cid_v0());
    let root = root_node(&made, &blocks);
    let below = &blocks[&root.links[3].cid];
    let seeds = [blocks[&made.cid].to_vec(), below.to_vec()];
    let mut random = Random::new(0x5eed_0201);
    let mut refused = 0;
    for _ in 0..60_000 {
        random.begin();
        let input = Bytes::from(random.mutate(&seeds, BINARY));
        let cid = cid_of(0x70, HashAlgorithm::Sha2_256, &input);
        let loads = Cell::new(0);
        let source = FromFn(|wanted: &Cid| {
            loads.set(loads.get() + 1);
            if *wanted == cid {
                return Ok(Some(input.clone()));
            }
            blocks.block(wanted)
        });
        let _ = open(&source, &cid, &name(random.below(6000)));
        assert!(loads.get() <= 10, "{} blocks for one name", loads.get());
        // A whole listing is slow, and refused in the same places.
        if random.below(40) == 0 && list(&source, &cid).is_err() {
            refused += 1;
        }
        assert!(
            loads.get() <= 600,
            "{} blocks for one directory",
            loads.get()
        );
    }
    assert!(refused > 500, "only {refused} were refused");
}
