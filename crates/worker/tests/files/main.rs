//! Files and archives into the embedded backend. The CIDs are those that Kubo 0.40 gives (`ipfs add --only-hash`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod desk;
mod faults;
mod golden;

use desk::{Desk, data, file, folder, lines, link, text};
use futures::stream::{self, StreamExt};
use ues_pins::intake::{AddParams, Added, Intake};

const HELLO: &str = "QmWfVY9y3xjsixTgbd9AorQxH7VtMpzfx2HaWtsoUYecaX";
const TWO: &str = "QmNaRTGzBpmuPhLaGSgRsNkh37zUqRZ7SGNocxvj4oVKAe";

fn named<'a>(name: &'a str, cid: &str) -> (&'a str, String) {
    (name, cid.to_owned())
}

#[tokio::test]
async fn without_a_folder_around_them_the_last_is_the_root() {
    let desk = Desk::new();
    let parts = [text("a.txt", "hello"), text("b.txt", "two")].concat();
    let added = desk.add(parts, AddParams::default()).await.unwrap();
    assert_eq!(lines(&added), [named("a.txt", HELLO), named("b.txt", TWO)]);
    // A folder is complete when something else comes.
    let parts = [
        text("d/x", "hello"),
        text("b.txt", "two"),
        vec![folder("e")],
        text("e/y", "two"),
        text("last", "hello"),
    ];
    let added = desk.add(parts.concat(), AddParams::default()).await;
    let added = added.unwrap();
    let paths: Vec<&str> = added.iter().map(|added| added.name.as_str()).collect();
    assert_eq!(paths, ["d/x", "d", "b.txt", "e/y", "e", "last"]);
    let late = [
        text("d/x", "hello"),
        text("b.txt", "two"),
        text("d/y", "two"),
    ];
    desk.refuses(late.concat(), AddParams::default(), "come together")
        .await;
}

#[tokio::test]
async fn a_folder_around_them_takes_files_in_any_order() {
    let desk = Desk::new();
    let wrap = AddParams {
        wrap: true,
        ..AddParams::default()
    };
    let parts = [
        text("d/x", "1"),
        text("e/y", "2"),
        text("d/z", "3"),
        vec![link("e/a", "y")],
    ];
    let mut turned = parts.clone();
    turned.reverse();
    let one = desk.add(parts.concat(), wrap.clone()).await.unwrap();
    let other = desk.add(turned.concat(), wrap).await.unwrap();
    assert_eq!(one.last(), other.last());
    let paths: Vec<&str> = one.iter().map(|added| added.name.as_str()).collect();
    assert_eq!(paths, ["d/x", "e/y", "d/z", "e/a", "d", "e", ""]);
}

#[tokio::test]
async fn what_has_no_name_is_named_by_its_cid() {
    let desk = Desk::new();
    let added = desk.add(text("", "hello"), AddParams::default()).await;
    assert_eq!(lines(&added.unwrap()), [named(HELLO, HELLO)]);
    let wrap = AddParams {
        wrap: true,
        ..AddParams::default()
    };
    let twice = [text("", "hello"), text("", "hello")].concat();
    let added = desk.add(twice, wrap).await.unwrap();
    let root = "QmbQZvv2ankGm2zSPfaB4F4ticfxKpi8ttrXY2BfTXgf5p";
    assert_eq!(
        lines(&added),
        [named(HELLO, HELLO), named(HELLO, HELLO), named("", root)]
    );
}

#[tokio::test]
async fn nothing_becomes_nothing() {
    let desk = Desk::new();
    for wrap in [false, true] {
        let params = AddParams {
            wrap,
            ..AddParams::default()
        };
        assert_eq!(desk.add(Vec::new(), params).await.unwrap(), []);
    }
    let added = desk.add(vec![folder("d")], AddParams::default()).await;
    let empty = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    assert_eq!(lines(&added.unwrap()), [named("d", empty)]);
}

#[tokio::test]
async fn news_of_a_file_come_in_between() {
    let desk = Desk::new();
    let progress = AddParams {
        progress: true,
        ..AddParams::default()
    };
    let piece = vec![7; 200_000];
    let parts = vec![
        file("small"),
        data("x"),
        file("big"),
        data(&piece),
        data(&piece),
        data(&piece),
    ];
    let added = desk.add(parts, progress).await.unwrap();
    let shape = |added: &Added| (added.name.clone(), added.bytes, added.cid.is_some());
    let told: Vec<_> = added.iter().map(shape).collect();
    let news = |name: &str, bytes, stored| (name.to_owned(), bytes, stored);
    assert_eq!(
        told,
        [
            news("small", 1, false),
            news("small", 0, true),
            news("big", 400_000, false),
            news("big", 600_000, false),
            news("big", 0, true),
        ]
    );
}

#[tokio::test]
async fn it_stays_when_it_is_pinned_and_goes_when_not() {
    let desk = Desk::new();
    let parts = [text("d/x", "1"), text("d/y", "2")].concat();
    let added = desk.add(parts.clone(), AddParams::default()).await.unwrap();
    assert_eq!(desk.blocks(), 3);
    desk.pin(added.last().unwrap().cid.unwrap()).await;
    desk.add(text("z", "3"), AddParams::default())
        .await
        .unwrap();
    assert_eq!(desk.blocks(), 4);
    desk.expire().await;
    assert_eq!(desk.blocks(), 3);
}

#[tokio::test]
async fn who_does_not_wait_gives_up() {
    let desk = Desk::new();
    let parts = stream::iter(text("d/x", "1").into_iter().map(Ok)).chain(stream::pending());
    let mut added = desk.backend.add(parts.boxed(), AddParams::default());
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), added.next());
    assert!(
        waited.await.is_err(),
        "the last is told when more has come, or the end"
    );
    drop(added);
    desk.expire().await;
    assert_eq!(desk.blocks(), 0);
}
