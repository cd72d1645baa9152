//! What the log tells of a record: who wrote what, which version counts, and why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "the support is shared")]

mod support;

use support::{Link, World, path};
use ues_sync::log::{Reason, Standing, Version};

fn world() -> World {
    let mut world = World::new(3);
    for n in 1..=2 {
        world.add(3000 + n);
        meet(&mut world, n as usize);
    }
    world
}

fn meet(world: &mut World, index: usize) {
    let mut link = Link::new(index, 0);
    let mut idle = 0;
    while idle < 2 {
        let mut did = false;
        for side in 0..2 {
            did |= link.act(world, side);
            did |= link.deliver(world, side);
        }
        assert!(link.failed.is_none(), "{:?}", link.failed);
        idle = if did { 0 } else { idle + 1 };
    }
}

fn history(world: &World, n: usize) -> Vec<Version> {
    let device = &world.devices[0];
    let replica = device.replica.as_ref().unwrap();
    replica.history(&device.rows, &path(n)).unwrap()
}

#[test]
fn each_version_says_how_it_stands_and_why() {
    let mut world = world();
    let now = world.now_ms;
    assert!(world.devices[0].write(path(5), Some("one"), now + 10));
    for index in [1, 2] {
        meet(&mut world, index);
    }
    // Two that do not know each other, then a deletion that knows neither.
    assert!(world.devices[1].write(path(5), Some("earlier"), now + 20));
    assert!(world.devices[2].write(path(5), Some("later"), now + 30));
    assert!(world.devices[0].write(path(5), None, now + 40));
    for index in [1, 2, 1] {
        meet(&mut world, index);
    }
    let all = history(&world, 5);
    let [first, earlier, later, deletion] = &all[..] else {
        panic!("{all:?}");
    };
    let at = |v: &Version| (v.writer, v.seq);
    assert_eq!(first.action, Some("create"));
    assert_eq!(deletion.action, Some("delete"));
    assert!(matches!(first.standing, Standing::Replaced { by: Some(by) } if by == at(earlier)));
    let over = vec![
        (deletion.writer, deletion.seq, Reason::Record),
        (earlier.writer, earlier.seq, Reason::Later),
    ];
    assert_eq!(
        later.standing,
        Standing::Won {
            over,
            with: Vec::new()
        }
    );
    let lost = |because| Standing::Lost {
        to: at(later),
        because,
    };
    assert_eq!(earlier.standing, lost(Reason::Later));
    assert_eq!(deletion.standing, lost(Reason::Record));
    // Whoever has seen all of them ends it.
    assert!(world.devices[2].write(path(5), Some("the end"), now + 50));
    meet(&mut world, 2);
    let all = history(&world, 5);
    let last = all.last().unwrap();
    assert_eq!(
        last.standing,
        Standing::Won {
            over: Vec::new(),
            with: Vec::new()
        }
    );
    for version in &all[1..4] {
        let by = Some(at(last));
        assert_eq!(version.standing, Standing::Replaced { by });
    }
}

#[test]
fn with_the_same_time_the_greater_author_counts() {
    let mut world = world();
    let now = world.now_ms + 1_000;
    for index in [1, 2] {
        assert!(world.devices[index].write(path(6), Some(&format!("of {index}")), now));
    }
    for index in [1, 2] {
        meet(&mut world, index);
    }
    let all = history(&world, 6);
    assert_eq!(all[0].time, all[1].time);
    let replica = world.devices[0].replica.as_ref().unwrap();
    let author = |v: &Version| replica.roster().author(v.writer).to_owned();
    let won = all
        .iter()
        .position(|v| matches!(v.standing, Standing::Won { .. }))
        .unwrap();
    assert!(author(&all[won]) > author(&all[1 - won]));
    let expected = Standing::Lost {
        to: (all[won].writer, all[won].seq),
        because: Reason::Author,
    };
    assert_eq!(all[1 - won].standing, expected);
}

#[test]
fn a_device_that_began_later_tells_what_is_left() {
    let mut world = world();
    let now = world.now_ms;
    assert!(world.devices[0].write(path(7), Some("one"), now + 1));
    assert!(world.devices[0].write(path(7), Some("two"), now + 2));
    let index = world.add(3999);
    meet(&mut world, index);
    let device = &world.devices[index];
    let replica = device.replica.as_ref().unwrap();
    let all = replica.history(&device.rows, &path(7)).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0].standing,
        Standing::Won {
            over: Vec::new(),
            with: Vec::new()
        }
    );
    assert!(replica.history(&device.rows, &path(8)).unwrap().is_empty());
}

#[test]
fn versions_that_merge_say_so() {
    use support::sheet;
    let mut world = world();
    let now = world.now_ms;
    let sheet = |visits: i128| {
        let fields = [
            ("$type", sheet::text(sheet::COLLECTION)),
            ("visits", ues_data::Ipld::Integer(visits)),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        Some(sheet::encode(&fields.into()))
    };
    let path = sheet::path(1);
    assert!(world.devices[0].put(path.clone(), sheet(5), now + 10));
    for index in [1, 2] {
        meet(&mut world, index);
    }
    assert!(world.devices[1].put(path.clone(), sheet(6), now + 20));
    assert!(world.devices[2].put(path.clone(), sheet(9), now + 30));
    for index in [1, 2, 1] {
        meet(&mut world, index);
    }
    let device = &world.devices[0];
    let replica = device.replica.as_ref().unwrap();
    let all = replica.history(&device.rows, &path).unwrap();
    let [first, merged, won] = &all[..] else {
        panic!("{all:?}")
    };
    let at = |version: &Version| (version.writer, version.seq);
    assert!(matches!(first.standing, Standing::Replaced { .. }));
    let (into, because) = (at(won), Reason::Later);
    assert_eq!(merged.standing, Standing::Merged { into, because });
    let (over, with) = (Vec::new(), vec![at(merged)]);
    assert_eq!(won.standing, Standing::Won { over, with });
    let Some(ues_data::Ipld::Map(record)) = device.record(&path) else {
        panic!("a record")
    };
    assert_eq!(record["visits"], ues_data::Ipld::Integer(10));
}
