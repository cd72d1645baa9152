//! Archives written to the file system: what belongs there comes back, and nothing is written anywhere else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use ues_data::car::{CarError, CarFile, CarLimits, CarWriter};
use ues_data::dag_pb::{self, Link, Node};
use ues_data::unixfs::{
    ExportError, ExtractError, ExtractLimits, Extracted, ImportOptions, extract, import_path,
    import_reader, symlink,
};
use ues_data::{BlockSource, Cid, HashAlgorithm, cid_of, raw_cid};

type Blocks = HashMap<Cid, Bytes>;

const OPTIONS: ImportOptions = ImportOptions::cid_v1();

/// A directory that may hold anything, also what no honest writer makes.
fn directory(entries: &[(&str, Cid)], blocks: &mut Blocks) -> Cid {
    let links = entries.iter().map(|(name, cid)| Link {
        cid: *cid,
        name: Some((*name).to_owned()),
        size: Some(1),
    });
    let bytes = Bytes::from(dag_pb::encode(&Node {
        links: links.collect(),
        data: Some(Bytes::from_static(&[0x08, 1])),
    }));
    let cid = cid_of(0x70, HashAlgorithm::Sha2_256, &bytes);
    blocks.insert(cid, bytes);
    cid
}

fn file(text: &str, blocks: &mut Blocks) -> Cid {
    import_reader(text.as_bytes(), OPTIONS, blocks).unwrap().cid
}

fn link(target: &str, blocks: &mut Blocks) -> Cid {
    symlink(target, OPTIONS, blocks).unwrap().cid
}

/// Everything in a folder, to tell whether anything changed.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn folders_come_back_through_an_archive() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::create_dir(from.join("empty")).unwrap();
    fs::write(from.join("a/b/file"), vec![7; 600_000]).unwrap();
    fs::write(from.join("nothing"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("b/file", from.join("a/link")).unwrap();

    let mut blocks = Blocks::new();
    let made = import_path(&from, OPTIONS, &mut blocks).unwrap();
    let mut archive = CarWriter::new(tempfile::tempfile().unwrap(), &[made.cid]).unwrap();
    for (cid, bytes) in &blocks {
        archive.block(cid, bytes).unwrap();
    }
    let mut written = archive.finish().unwrap();
    let length = written.metadata().unwrap().len();
    std::io::Seek::rewind(&mut written).unwrap();
    let archive = CarFile::open(written, CarLimits::default()).unwrap();
    assert_eq!(archive.roots(), [made.cid]);
    assert_eq!((archive.len(), archive.bytes()), (blocks.len(), length));
    for (cid, bytes) in &blocks {
        assert_eq!(archive.block(cid).unwrap().as_ref(), Some(bytes));
    }
    assert!(archive.block(&raw_cid(b"another")).unwrap().is_none());

    let done = extract(&archive, &made.cid, &to, ExtractLimits::default()).unwrap();
    assert_eq!(done.bytes, 600_000);
    let again = import_path(&to, OPTIONS, &mut Blocks::new()).unwrap();
    assert_eq!(again, made);
    let error = extract(&archive, &made.cid, &to, ExtractLimits::default()).unwrap_err();
    assert!(matches!(error, ExtractError::Exists(path) if path == to));
    assert_eq!(names(&to), names(&from), "what was there stays");
}

#[test]
fn damaged_archives_are_not_opened() {
    let mut file = tempfile::tempfile().unwrap();
    let cid = raw_cid(b"block");
    let mut archive = CarWriter::new(&mut file, &[cid]).unwrap();
    archive.block(&cid, b"other").unwrap();
    archive.finish().unwrap();
    file.flush().unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let error = CarFile::open(file, CarLimits::default()).unwrap_err();
    assert!(matches!(error, CarError::Hash { .. }), "{error}");
}

#[test]
fn nothing_is_written_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let out = place.path().join("out");
    let mut blocks = Blocks::new();
    let text = file("text", &mut blocks);
    let inner = directory(&[("stolen", text)], &mut blocks);

    let refused = |root: Cid, blocks: &Blocks| {
        let error = extract(blocks, &root, &out, ExtractLimits::default()).unwrap_err();
        assert_eq!(names(place.path()), ["outside"], "{error}");
        assert_eq!(names(&outside), [""; 0], "{error}");
        error
    };
    for name in ["..", ".", "", "a/b", "../outside/x", "/etc/x", "a\0b"] {
        let root = directory(&[("a", text), (name, inner)], &mut blocks);
        let error = refused(root, &blocks);
        assert!(matches!(error, ExtractError::Name { .. }), "{error}");
    }
    for target in ["/etc", "..", "../outside", "x/../../outside", ""] {
        let there = link(target, &mut blocks);
        let root = directory(&[("a", text), ("link", there)], &mut blocks);
        let error = refused(root, &blocks);
        assert!(matches!(error, ExtractError::Escapes { .. }), "{error}");
    }
    let alone = link("outside", &mut blocks);
    let error = refused(alone, &blocks);
    assert!(matches!(error, ExtractError::Escapes { .. }), "{error}");

    // The same name twice: a link, and a folder to be written through it.
    let sideways = link("b", &mut blocks);
    for entries in [
        [("a", sideways), ("a", inner), ("b", inner)],
        [("a", inner), ("a", sideways), ("b", inner)],
        [("a", sideways), ("a", text), ("b", inner)],
    ] {
        let root = directory(&entries, &mut blocks);
        let error = refused(root, &blocks);
        assert!(matches!(error, ExtractError::Exists(_)), "{error}");
    }
}

#[test]
fn few_blocks_cannot_make_many_files() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let mut blocks = Blocks::new();
    let mut below = file("0123456789", &mut blocks);
    for _ in 0..40 {
        below = directory(&[("a", below), ("b", below)], &mut blocks);
    }
    for limits in [
        ExtractLimits {
            entries: 500,
            bytes: u64::MAX,
        },
        ExtractLimits {
            entries: u64::MAX,
            bytes: 500,
        },
    ] {
        let error = extract(&blocks, &below, &out, limits).unwrap_err();
        assert!(matches!(error, ExtractError::TooMuch(_)), "{error}");
        assert_eq!(names(place.path()), [""; 0]);
    }
    let enough = ExtractLimits {
        entries: 3,
        bytes: 20,
    };
    let file = file("0123456789", &mut blocks);
    let two = directory(&[("a", file), ("b", file)], &mut blocks);
    let done = extract(&blocks, &two, &out, enough).unwrap();
    assert_eq!(
        done,
        Extracted {
            entries: 3,
            bytes: 20
        }
    );
}

#[test]
fn folders_too_deep_and_blocks_that_are_missing() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("o");
    let mut blocks = Blocks::new();
    let mut below = file("x", &mut blocks);
    for _ in 0..300 {
        below = directory(&[("d", below)], &mut blocks);
    }
    let error = extract(&blocks, &below, &out, ExtractLimits::default()).unwrap_err();
    assert!(matches!(error, ExtractError::TooDeep(256)), "{error}");
    let absent = raw_cid(b"absent");
    let root = directory(&[("a", absent)], &mut blocks);
    let error = extract(&blocks, &root, &out, ExtractLimits::default()).unwrap_err();
    assert!(
        matches!(error, ExtractError::Export(ExportError::Missing(cid)) if cid == absent),
        "{error}"
    );
    assert_eq!(names(place.path()), [""; 0]);
}
