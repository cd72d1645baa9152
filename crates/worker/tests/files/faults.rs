//! What is refused, and what it leaves behind: nothing.

use ues_pins::intake::{AddParams, IntakeError, Layout, Part};

use crate::desk::{Desk, data, file, folder, link, text};

#[tokio::test]
async fn choices_that_are_not_known_are_refused() {
    let desk = Desk::new();
    let with = |change: fn(&mut AddParams)| {
        let mut params = AddParams::default();
        change(&mut params);
        params
    };
    for (params, word) in [
        (with(|p| p.layout = Layout::Trickle), "layout"),
        (with(|p| p.no_copy = true), "nocopy"),
        (with(|p| p.hash = "blake3".to_owned()), "hash"),
        (with(|p| p.cid_version = 2), "cid-version"),
        (with(|p| p.chunker = "rabin".to_owned()), "chunker"),
        (with(|p| p.chunker = "size-0".to_owned()), "chunker"),
    ] {
        desk.refuses(text("a", "x"), params, word).await;
    }
}

#[tokio::test]
async fn parts_that_make_no_sense_are_refused() {
    let desk = Desk::new();
    let cases: [(Vec<Part>, &str); 8] = [
        (vec![folder("d"), data("x")], "no file"),
        (text("../x", "1"), "path"),
        (text("/etc/x", "1"), "path"),
        (vec![link("d/./l", "x")], "path"),
        (text(&"d/".repeat(300), "1"), "deeper"),
        (vec![link("l", &"x".repeat(5000))], "target"),
        ([text("a", "1"), text("a/b", "2")].concat(), "a file"),
        ([text("d/b", "1"), text("d", "2")].concat(), "a folder"),
    ];
    for (parts, word) in cases {
        // Something good comes before it, and is given up with it.
        let parts = [text("w/good", "good"), parts].concat();
        let params = AddParams {
            wrap: true,
            ..AddParams::default()
        };
        desk.refuses(parts, params, word).await;
    }
    desk.refuses(vec![data("x")], AddParams::default(), "no file")
        .await;
    let twice = [text("d/a", "1"), text("d/a", "2")].concat();
    desk.refuses(twice, AddParams::default(), "twice").await;
    assert_eq!(desk.blocks(), 0);
}

#[tokio::test]
async fn an_error_of_the_sender_is_handed_on() {
    let desk = Desk::new();
    let cut = IntakeError::Invalid("the body was cut".to_owned());
    let mut parts: Vec<_> = (0..300)
        .flat_map(|n| text(&format!("d/{n}"), &n.to_string()))
        .map(Ok)
        .collect();
    parts.push(Ok(file("d/last")));
    parts.push(Err(cut.clone()));
    parts.push(Ok(data("more")));
    let added = desk.stream(parts, AddParams::default()).await;
    assert_eq!(added.unwrap_err(), cut);
    assert_eq!(desk.blocks(), 0);
}
