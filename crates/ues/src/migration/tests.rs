//! Whatever call fails: the account has a home, and the next run goes on.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::fake::{DID, FakeDesk, FakePerson, FakeServer, Fault, World, a_blob};
use super::journal::Journal;
use super::mover::{Mover, Wishes};
use super::plan::Direction;
use super::side::{Key, Side};
use crate::failure::Outcome;

const WAYS: [Direction; 2] = [Direction::From, Direction::To];

/// The account on its way, as a new process finds it.
fn mover(world: &Arc<World>, direction: Direction, folder: &Path, reads_letters: bool) -> Mover {
    let own = match direction {
        Direction::From => "new",
        Direction::To => "old",
    };
    let desk = Arc::new(FakeDesk {
        world: Arc::clone(world),
        own,
    });
    let person = Arc::new(FakePerson {
        world: Arc::clone(world),
        reads_letters,
    });
    let side = |name: &'static str| {
        let server = Arc::new(FakeServer {
            world: Arc::clone(world),
            name,
        });
        let key = match name == own {
            true => Key::Operator(desk.clone()),
            false => Key::password(person.clone(), None),
        };
        Side::new(server, key, DID)
    };
    // This node makes an invite for whoever moves here; another server has given one.
    let invite = (direction == Direction::To).then(|| "invite".to_owned());
    Mover {
        wishes: Wishes {
            invite,
            ..Wishes::default()
        },
        old: side("old"),
        new: side("new"),
        desk: desk.clone(),
        person: person.clone(),
        journal: Journal::open(folder, direction, "https://other.example", DID).unwrap(),
    }
}

async fn run(world: &Arc<World>, direction: Direction, folder: &Path) -> Outcome {
    let mut mover = mover(world, direction, folder, true);
    mover.run().await?;
    mover.journal.finish()
}

fn assert_moved(world: &World) {
    let state = world.0.lock();
    let (old, new) = (&state.held["old"], &state.held["new"]);
    assert_eq!(state.home, "new");
    assert_eq!((old.active, new.active), (false, true));
    assert_eq!(old.data, new.data);
    assert_eq!(old.blobs, new.blobs);
    assert_eq!(old.preferences, new.preferences);
}

#[tokio::test]
async fn whatever_call_fails_the_next_run_goes_on() {
    for direction in WAYS {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        run(&world, direction, dir.path()).await.unwrap();
        assert_moved(&world);
        let calls = world.0.lock().calls;
        assert!(calls > 30, "{calls}");

        for at in 1..=calls {
            for fault in [Fault::Lost, Fault::Unanswered, Fault::Expired] {
                let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
                world.0.lock().fault = Some((at, fault));
                let first = run(&world, direction, dir.path()).await;
                if fault == Fault::Expired {
                    first.unwrap();
                } else if first.is_err() {
                    run(&world, direction, dir.path()).await.unwrap();
                }
                assert_moved(&world);
            }
        }
    }
}

#[tokio::test]
async fn before_the_identity_changes_a_move_can_be_abandoned() {
    for direction in WAYS {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        run(&world, direction, dir.path()).await.unwrap();
        let calls = world.0.lock().calls;
        let mut abandoned = 0;
        for at in 1..=calls {
            let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
            world.0.lock().fault = Some((at, Fault::Unanswered));
            if run(&world, direction, dir.path()).await.is_ok() {
                continue;
            }
            let moved = world.0.lock().home == "new";
            let mover = mover(&world, direction, dir.path(), true);
            assert_eq!(mover.abandon().await.is_err(), moved, "call {at}");
            if !moved {
                abandoned += 1;
                mover.journal.finish().unwrap();
                assert_eq!(
                    world.0.lock().held.keys().copied().collect::<Vec<_>>(),
                    ["old"]
                );
                run(&world, direction, dir.path()).await.unwrap();
                assert_moved(&world);
            }
        }
        assert!(abandoned > 20, "{abandoned}");
    }
}

#[tokio::test]
async fn a_copy_from_earlier_is_used_and_not_deleted() {
    for direction in WAYS {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        {
            let mut state = world.0.lock();
            let mut earlier = state.held["old"].clone();
            earlier.active = false;
            state.held.insert("new", earlier);
        }
        let mut first = mover(&world, direction, dir.path(), false);
        if direction == Direction::From {
            first.run().await.unwrap_err();
        }
        first.abandon().await.unwrap();
        assert!(world.0.lock().held.contains_key("new"));
        first.journal.finish().unwrap();
        run(&world, direction, dir.path()).await.unwrap();
        assert_moved(&world);
    }
}

#[tokio::test]
async fn a_code_may_come_with_a_later_run() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let mut first = mover(&world, Direction::From, dir.path(), false);
    first.run().await.unwrap_err();
    drop(first);
    let mut second = mover(&world, Direction::From, dir.path(), false);
    second.wishes.token = Some(Zeroizing::new("code 0".to_owned()));
    let hint = second.run().await.unwrap_err().hint.unwrap();
    assert!(hint.contains("without --token"), "{hint}");
    drop(second);
    let mut third = mover(&world, Direction::From, dir.path(), false);
    third.wishes.token = Some(Zeroizing::new(" code 1\n".to_owned()));
    third.run().await.unwrap();
    assert_moved(&world);
}

#[tokio::test]
async fn lost_blobs_stop_the_move_unless_they_are_given_up() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world
        .0
        .lock()
        .held
        .get_mut("old")
        .unwrap()
        .blobs
        .remove(&a_blob());
    let mut first = mover(&world, Direction::From, dir.path(), true);
    let failure = first.run().await.unwrap_err();
    assert!(failure.message.contains(&a_blob()), "{}", failure.message);
    assert_eq!(world.0.lock().home, "old");
    first.wishes.without_lost_blobs = true;
    first.run().await.unwrap();
    assert_moved(&world);
}

#[tokio::test]
async fn a_did_web_waits_for_its_owner() {
    for direction in WAYS {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        world.0.lock().is_web = true;
        let failure = run(&world, direction, dir.path()).await.unwrap_err();
        let hint = failure.hint.unwrap();
        assert!(hint.contains("\"publicKeyMultibase\": \"new-a\""), "{hint}");
        {
            let mut state = world.0.lock();
            // What is written until it is published comes along.
            state.held.get_mut("old").unwrap().write();
            state.home = "new";
        }
        run(&world, direction, dir.path()).await.unwrap();
        assert_moved(&world);
    }
}

#[tokio::test]
async fn an_old_server_that_is_gone_does_not_keep_the_account_from_its_home() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let mut mover = mover(&world, Direction::From, dir.path(), true);
    world.0.lock().gone_once_moved = true;
    mover.run().await.unwrap_err();
    {
        let state = world.0.lock();
        assert_eq!((state.home, state.held["new"].active), ("new", true));
    }
    world.0.lock().gone_once_moved = false;
    mover.run().await.unwrap();
    assert_moved(&world);
}

#[tokio::test]
async fn a_server_may_ask_for_an_invite() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let mut mover = mover(&world, Direction::To, dir.path(), true);
    mover.wishes.invite = None;
    let hint = mover.run().await.unwrap_err().hint.unwrap();
    assert!(hint.contains("--invite"), "{hint}");
    assert!(!mover.journal.record.made, "nothing to delete");
}
