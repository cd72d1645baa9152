//! Files and directories: the CIDs that Kubo gives, and the way back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use proptest::prelude::*;
use ues_data::unixfs::{
    DirectoryBuilder, Entry, ExportError, FileReader, ImportError, ImportOptions, import_path,
    import_reader, list, open, symlink,
};
use ues_data::{BlockSource, Cid, raw_cid};

type Blocks = HashMap<Cid, Bytes>;

fn add(bytes: &[u8], options: ImportOptions) -> (Cid, u64, Blocks) {
    let mut blocks = Blocks::new();
    let made = import_reader(bytes, options, &mut blocks).unwrap();
    (made.cid, made.total_size, blocks)
}

fn cat(blocks: &Blocks, cid: Cid) -> Vec<u8> {
    let mut out = Vec::new();
    FileReader::new(blocks, cid).read_to_end(&mut out).unwrap();
    out
}

/// Bytes that do not repeat within a file, made by a simple generator that any language can copy.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

#[test]
fn well_known_cids() {
    let cid = |bytes: &[u8], options| add(bytes, options).0.to_string();
    let (v0, v1) = (ImportOptions::cid_v0(), ImportOptions::cid_v1());
    assert_eq!(
        cid(b"", v0),
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
    );
    assert_eq!(
        cid(b"hello world", v0),
        "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
    );
    assert_eq!(
        cid(b"hello world\n", v0),
        "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
    );
    assert_eq!(
        cid(b"", v1),
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    );
    assert_eq!(
        cid(b"hello world", v1),
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    );
    let empty = |options| {
        let mut blocks = Blocks::new();
        DirectoryBuilder::new(options)
            .finish(&mut blocks)
            .unwrap()
            .cid
            .to_string()
    };
    assert_eq!(empty(v0), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    assert_eq!(
        empty(v1),
        "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    );
}

/// Length of the file, then CID and size of all blocks with the old defaults and with `--cid-version=1`.
///
/// Made by the npm package ipfs-unixfs-importer with the settings of `ipfs add`.
const LARGE: [(usize, &str, u64, &str, u64); 7] = [
    (
        1,
        "QmckNAcWX3uq4Mx8rSCsHvYyBuEwjPWkSBJ9NkJq1GEhma",
        9,
        "bafkreig2xu5p65u7a7vsszkad2yctf2oxorua6x5akzg3w2wj2s7r35ooi",
        1,
    ),
    (
        262_144,
        "QmYH5u9QHv3vJAuYtVEVjdoKTqwxDse32uG6QZHjrUBTxH",
        262_158,
        "bafkreidd6k2rtu2k6woh25xxx2nxk2d2ifjrn54h6wjqfbqijyvdl2nrmq",
        262_144,
    ),
    (
        262_145,
        "QmXk293KuVQQYgGpKe91CzW2hykJGFjmhjV4ZUDrXiRTFc",
        262_267,
        "bafybeidmf7miq54symki3qff7ohjgfhn23ysap4nt7fcolcjetgkyvqoaa",
        262_249,
    ),
    (
        1_000_000,
        "QmXTzZQF1rPHGKK5u94EpvZwMZHo4disLMUFfZygat8jQ4",
        1_000_256,
        "bafybeicfqavgjm2zjrnv4glvw26k4jcucpmugsrh26lqagqe3vo7hlbfbi",
        1_000_208,
    ),
    (
        174 << 18,
        "QmUfTtxTCStSw1Gw8ECVdTBBGao5hGnn23FAfubpZwCF2U",
        45_623_854,
        "bafybeid3u6ywprs7daea5cngbzwx3dxtb5ov464joy4p4ctguxa4dtm4ue",
        45_621_766,
    ),
    (
        (174 << 18) + 1,
        "QmWrwe6nrE5JShDNfK29Hfh8yzmsTbZcwMrjFXTpDD92h2",
        45_624_016,
        "bafybeiak6ul52u63lryr7aaih6sa7n6wbxwdhwgwngisfkspjlt2orzvk4",
        45_621_926,
    ),
    (
        (175 << 18) + 5,
        "QmPMUT3xEdiG9HiUsVW3ZtQSyvkbDaVhHnXxbDZwrLSPei",
        45_886_232,
        "bafybeidocqxzl6v4g5mz2fvv3ld3jyssovnqcc6r2qes7i7zwfektlodue",
        45_884_130,
    ),
];

#[test]
fn large_files_have_the_cids_that_ipfs_gives() {
    for (len, cid_v0, size_v0, cid_v1, size_v1) in LARGE {
        let bytes = pattern(len);
        let (cid, size, _) = add(&bytes, ImportOptions::cid_v0());
        assert_eq!(
            (cid.to_string().as_str(), size),
            (cid_v0, size_v0),
            "{len} bytes"
        );
        let (cid, size, blocks) = add(&bytes, ImportOptions::cid_v1());
        assert_eq!(
            (cid.to_string().as_str(), size),
            (cid_v1, size_v1),
            "{len} bytes"
        );
        assert!(cat(&blocks, cid) == bytes, "{len} bytes come back");
    }
}

#[test]
fn folders_have_the_cids_that_ipfs_gives() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("a.txt"), pattern(300_000)).unwrap();
    std::fs::write(folder.path().join("b/c"), pattern(10)).unwrap();
    std::fs::write(folder.path().join("é"), "").unwrap();
    for (options, cid, size) in [
        (
            ImportOptions::cid_v0(),
            "QmVzBW9GKNnWc3Mu5vGzh2WPhEXbtenQmC1nMHzrpEWmA5",
            300_343,
        ),
        (
            ImportOptions::cid_v1(),
            "bafybeieddoy2wb6rgth67qjnsm7256wghsm47axivypq2relw5demolbxq",
            300_313,
        ),
    ] {
        let made = import_path(folder.path(), options, &mut Blocks::new()).unwrap();
        assert_eq!(
            (made.cid.to_string().as_str(), made.total_size),
            (cid, size)
        );
    }
}

#[test]
fn files_come_back_at_every_shape_of_tree() {
    let small = ImportOptions {
        chunk_size: 10,
        max_links: 3,
        ..ImportOptions::cid_v1()
    };
    for options in [
        small,
        ImportOptions {
            raw_leaves: false,
            ..small
        },
    ] {
        for len in [0, 1, 9, 10, 11, 30, 31, 90, 91, 270, 271, 1000] {
            let bytes = pattern(len);
            let (cid, _, blocks) = add(&bytes, options);
            assert_eq!(cat(&blocks, cid), bytes, "{len} bytes");
            let Entry::File { size, .. } = open(&blocks, &cid, "").unwrap() else {
                panic!("a file is expected");
            };
            assert_eq!(size, len as u64);
        }
    }
}

#[test]
fn reading_from_an_offset_loads_only_what_is_needed() {
    let options = ImportOptions {
        chunk_size: 10,
        max_links: 3,
        ..ImportOptions::cid_v1()
    };
    let bytes = pattern(1000);
    let (cid, _, blocks) = add(&bytes, options);
    for offset in [0, 1, 10, 333, 999, 1000, 2000] {
        let loads = std::cell::Cell::new(0);
        let counting = ues_data::source::FromFn(|cid: &Cid| {
            loads.set(loads.get() + 1);
            blocks.block(cid)
        });
        let mut out = Vec::new();
        let mut reader = FileReader::from_offset(counting, cid, offset);
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(out, bytes.get(offset as usize..).unwrap_or_default());
        if offset == 999 {
            assert!(loads.get() <= 7, "{} blocks for one byte", loads.get());
        }
    }
}

#[test]
fn folders_import_and_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/file.txt"), "text").unwrap();
    std::fs::write(root.join("z"), "").unwrap();
    std::fs::write(root.join(".hidden"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("a/b/file.txt", root.join("link")).unwrap();
    for options in [ImportOptions::cid_v0(), ImportOptions::cid_v1()] {
        let mut blocks = Blocks::new();
        let made = import_path(root, options, &mut blocks).unwrap();
        let names: Vec<_> = list(&blocks, &made.cid)
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        assert_eq!(names, ["a", "link", "z"]);
        let Entry::File { cid, size: 4 } = open(&blocks, &made.cid, "/a/b/file.txt").unwrap()
        else {
            panic!("a file of 4 bytes is expected");
        };
        assert_eq!(cat(&blocks, cid), b"text");
        assert!(matches!(
            open(&blocks, &made.cid, "link").unwrap(),
            Entry::Symlink { target, .. } if target == "a/b/file.txt"
        ));
        assert!(matches!(
            open(&blocks, &made.cid, "a/b").unwrap(),
            Entry::Directory { .. }
        ));
        assert!(matches!(
            open(&blocks, &made.cid, "a/c"),
            Err(ExportError::NotFound { .. })
        ));
        assert!(matches!(
            open(&blocks, &made.cid, "z/x"),
            Err(ExportError::Kind { .. })
        ));
        assert!(matches!(list(&blocks, &cid), Err(ExportError::Kind { .. })));
        let visible = blocks.len();
        let all = ImportOptions {
            hidden: true,
            ..options
        };
        let with_hidden = import_path(root, all, &mut blocks).unwrap();
        assert_ne!(with_hidden.cid, made.cid);
        assert!(blocks.len() > visible);
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let mut blocks = Blocks::new();
    let options = ImportOptions::cid_v1();
    let entry = symlink("x", options, &mut blocks).unwrap();
    let mut directory = DirectoryBuilder::new(options);
    directory.add("a", entry).unwrap();
    assert!(matches!(
        directory.add("a", entry),
        Err(ImportError::Duplicate(_))
    ));
    for name in ["", "a/b", "..", "."] {
        assert!(matches!(
            directory.add(name, entry),
            Err(ImportError::Name(_))
        ));
    }
    let none = ImportOptions {
        chunk_size: 0,
        ..options
    };
    assert!(matches!(
        import_reader(&b""[..], none, &mut blocks),
        Err(ImportError::ChunkSize(0))
    ));
}

#[test]
fn damage_is_named() {
    let options = ImportOptions {
        chunk_size: 10,
        ..ImportOptions::cid_v1()
    };
    let bytes = pattern(100);
    let (cid, _, blocks) = add(&bytes, options);
    let leaf = raw_cid(&bytes[50..60]);
    let mut missing = blocks.clone();
    missing.remove(&leaf);
    let mut wrong = blocks.clone();
    wrong.insert(leaf, Bytes::from_static(b"something else"));
    let read = |blocks: &Blocks| {
        let mut reader = FileReader::new(blocks, cid);
        loop {
            match reader.next_chunk() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => return Some(e),
            }
        }
    };
    assert!(read(&blocks).is_none());
    assert!(matches!(read(&missing), Some(ExportError::Missing(m)) if m == leaf));
    assert!(matches!(read(&wrong), Some(ExportError::Hash(_))));
}

proptest! {
    #[test]
    fn any_file_round_trips(len in 0usize..3000, chunk_size in 1usize..200, max_links in 2usize..6, raw_leaves: bool) {
        let options = ImportOptions { chunk_size, max_links, raw_leaves, ..ImportOptions::cid_v1() };
        let bytes = pattern(len);
        let (cid, total, blocks) = add(&bytes, options);
        prop_assert_eq!(cat(&blocks, cid), bytes);
        // Equal chunks are stored once and counted each time.
        let stored: usize = blocks.values().map(Bytes::len).sum();
        prop_assert!(total >= stored as u64);
    }
}
