//! Devices that never meet become equal by files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "the support is shared")]

mod support;

use bytes::Bytes;
use support::{Device, World, path};
use ues_sync::clock::VectorClock;
use ues_sync::log::Replica;
use ues_sync::protocol::file::{Export, FileError, FileReader, Import, Report};

fn export(device: &Device, since: VectorClock) -> Vec<u8> {
    let mut export = Export::new(since, None);
    let mut file = Vec::new();
    while let Some(piece) = export.next(device).unwrap() {
        file.extend_from_slice(&piece);
    }
    file
}

fn import(world: &mut World, index: usize, file: &[u8]) -> Result<Report, FileError> {
    support::import(world, index, file)
}

fn world(devices: u64) -> World {
    let mut world = World::new(7);
    for n in 1..=devices {
        world.add(7000 + n);
    }
    // Both begin where the first is now.
    for index in 1..world.devices.len() {
        let archive = support::snapshot(&mut world);
        support::restore(&mut world, index, archive).unwrap();
    }
    world
}

fn clock(device: &Device) -> VectorClock {
    device.replica.as_ref().map(Replica::clock).unwrap()
}

#[test]
fn two_devices_become_equal_by_a_file_each_way() {
    let mut world = world(1);
    for n in 0..900 {
        let now = world.now_ms + n;
        let text = format!("text {n}");
        assert!(world.devices[(n % 2) as usize].write(path(n as usize % 50), Some(&text), now));
    }
    let there = export(&world.devices[0], VectorClock::default());
    let report = import(&mut world, 1, &there).unwrap();
    assert_eq!((report.new, report.refused), (450, 0));
    assert!(!report.equal);
    let back = export(&world.devices[1], clock(&world.devices[0]));
    assert!(back.len() < there.len());
    let report = import(&mut world, 0, &back).unwrap();
    assert_eq!((report.new, report.refused, report.equal), (450, 0, true));
    assert_eq!(world.devices[0].records(), world.devices[1].records());
    // Twice is as good as once.
    let again = import(&mut world, 1, &there).unwrap();
    assert_eq!((again.new, again.refused), (0, 0));
    assert_eq!(world.devices[0].records(), world.devices[1].records());
}

#[test]
fn a_file_that_comes_too_early_is_refused_and_counted_and_good_later() {
    let mut world = world(1);
    let now = world.now_ms;
    assert!(world.devices[0].write(path(1), Some("one"), now));
    let first = export(&world.devices[0], clock(&world.devices[1]));
    let between = clock(&world.devices[0]);
    for n in 2..5 {
        assert!(world.devices[0].write(path(n), Some("more"), now + n as u64));
    }
    let second = export(&world.devices[0], between);
    let report = import(&mut world, 1, &second).unwrap();
    assert_eq!((report.new, report.refused, report.equal), (0, 3, false));
    let why = "an operation of the same writer before them is not here";
    assert_eq!(report.reasons, [(why.to_owned(), 3)]);
    assert_eq!(import(&mut world, 1, &first).unwrap().new, 1);
    assert!(import(&mut world, 1, &second).unwrap().equal);
}

#[test]
fn what_is_cut_off_keeps_what_came_and_says_so() {
    let mut world = world(1);
    for n in 0..40 {
        let now = world.now_ms + n;
        assert!(world.devices[0].write(path(n as usize), Some("text"), now));
    }
    let file = export(&world.devices[0], clock(&world.devices[1]));
    for length in 0..file.len() {
        let mut other = World {
            root: world.root.clone(),
            devices: world.devices.clone(),
            now_ms: world.now_ms,
        };
        assert!(import(&mut other, 1, &file[..length]).is_err(), "{length}");
    }
    assert!(import(&mut world, 1, &file).unwrap().equal);
}

#[test]
fn a_writer_that_went_back_is_found_out_by_a_file() {
    let mut world = world(2);
    let now = world.now_ms;
    assert!(world.devices[1].write(path(1), Some("kept"), now));
    let backup = world.devices[1].clone();
    assert!(world.devices[1].write(path(2), Some("one way"), now + 1));
    let one = export(&world.devices[1], VectorClock::default());
    world.devices[1] = backup;
    assert!(world.devices[1].write(path(2), Some("the other way"), now + 2));
    assert!(world.devices[1].write(path(3), Some("and on"), now + 3));
    let other = export(&world.devices[1], VectorClock::default());
    assert_eq!(import(&mut world, 0, &one).unwrap().forks, 0);
    assert_eq!(import(&mut world, 0, &other).unwrap().forks, 1);
    // The proof goes on with the next file, and whoever went back learns of it.
    let proof = export(&world.devices[0], VectorClock::default());
    for index in [1, 2] {
        import(&mut world, index, &proof).unwrap();
    }
    let fork = |d: &Device| d.replica.as_ref().unwrap().summary();
    assert_eq!(fork(&world.devices[0]), fork(&world.devices[2]));
    assert_eq!(fork(&world.devices[0]), fork(&world.devices[1]));
    assert_eq!(world.devices[0].records(), world.devices[1].records());
}

#[test]
fn whatever_is_changed_in_a_file_makes_no_harm() {
    let mut world = world(1);
    for n in 0..6 {
        let now = world.now_ms + n;
        assert!(world.devices[0].write(path(n as usize), Some("text"), now));
    }
    let file = export(&world.devices[0], clock(&world.devices[1]));
    let expected = world.devices[0].records().clone();
    let before = world.devices[1].records().clone();
    for at in 0..file.len() {
        for bit in [0, 3, 7] {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            let mut other = World {
                root: world.root.clone(),
                devices: world.devices.clone(),
                now_ms: world.now_ms,
            };
            let _ = import(&mut other, 1, &bad);
            let records = other.devices[1].records();
            let of = |(path, cid): (&String, &_)| {
                expected.get(path) == Some(cid) || before.get(path) == Some(cid)
            };
            assert!(records.iter().all(of));
            assert!(import(&mut other, 1, &file).unwrap().equal);
        }
    }
}

#[test]
fn garbage_is_no_file() {
    let mut reader = FileReader::default();
    reader.push(b"PK\x03\x04");
    assert!(matches!(reader.next(), Err(FileError::NotOne)));
    let mut import = Import::default();
    assert!(import.receive(Bytes::from_static(b"\xff\xff")).is_err());
}
