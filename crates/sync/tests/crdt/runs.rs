//! Runs that two people type at one place at the same time stay whole.

use proptest::prelude::*;
use ues_sync::crdt::*;

fn origin_of(writer: u32, seq: u64) -> Origin {
    Origin {
        dot: Dot::new(writer, seq, 0),
        time: seq + 1,
        author: format!("did:example:{writer}").into(),
    }
}

/// Types a word into a copy of a text, a character at a time.
fn type_word(
    base: &Text,
    writer: u32,
    at: u64,
    word: &str,
    backwards: bool,
) -> Vec<(Origin, TextEdit)> {
    let mut text = base.clone();
    let mut made = Vec::new();
    let mut chars: Vec<char> = word.chars().collect();
    if backwards {
        chars.reverse();
    }
    for (n, char) in chars.into_iter().enumerate() {
        let position = if backwards { at } else { at + n as u64 };
        let step = text.insert(position, &char.to_string()).unwrap();
        let edit = TextEdit { steps: vec![step] };
        let origin = origin_of(writer, n as u64);
        text.apply(&origin, &edit).unwrap();
        made.push((origin, edit));
    }
    made
}

proptest! {
    #[test]
    fn words_typed_at_one_place_do_not_mingle(
        start in "[a-z]{0,8}",
        place in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        backwards in prop::array::uniform3(any::<bool>()),
        turns in prop::collection::vec(0_usize..3, 30),
    ) {
        let mut base = Text::default();
        if !start.is_empty() {
            let step = base.insert(0, &start).unwrap();
            base.apply(&origin_of(9, 0), &TextEdit { steps: vec![step] }).unwrap();
            // A deleted character at the place, so that it is not only between those that are seen.
            let steps = base.delete(cut.index(start.len()) as u64, 1).unwrap();
            base.apply(&origin_of(9, 1), &TextEdit { steps }).unwrap();
        }
        let at = place.index(base.len() as usize + 1) as u64;
        let words = ["ABCDEF", "GHIJKL", "MNOPQR"];
        let mut queues: Vec<_> = (0..3)
            .map(|n| type_word(&base, n as u32, at, words[n], backwards[n]).into_iter())
            .collect();
        let mut merged = base.clone();
        for turn in turns.into_iter().chain([0, 1, 2].repeat(6)) {
            if let Some((origin, edit)) = queues[turn].next() {
                merged.apply(&origin, &edit).unwrap();
            }
        }
        let text = merged.text();
        for word in words {
            prop_assert!(text.contains(word), "{} in {}", word, text);
        }
        prop_assert_eq!(merged.len(), base.len() + 18);
    }
}

#[test]
fn a_run_of_a_thousand_characters_is_one_entry() {
    let mut text = Text::default();
    let step = text.insert(0, &"x".repeat(1000)).unwrap();
    text.apply(&origin_of(1, 0), &TextEdit { steps: vec![step] })
        .unwrap();
    assert!(text.encode().len() < 1040, "{}", text.encode().len());
    let steps = text.delete(0, 1000).unwrap();
    assert_eq!(steps.len(), 1);
    text.apply(&origin_of(1, 1), &TextEdit { steps }).unwrap();
    assert!(text.encode().len() < 40, "{}", text.encode().len());
}

#[test]
fn a_thousand_typed_characters_are_one_entry() {
    let word: String = ('a'..='z').cycle().take(1000).collect();
    let mut text = Text::default();
    for (origin, edit) in type_word(&text.clone(), 1, 0, &word, false) {
        text.apply(&origin, &edit).unwrap();
    }
    let bytes = text.encode();
    assert!(bytes.len() < 1040, "{}", bytes.len());
    let read = Text::decode(&bytes).unwrap();
    assert_eq!(read.text(), word);
    let origin = origin_of(2, 0);
    let edit = TextEdit {
        steps: vec![read.insert(500, "-").unwrap()],
    };
    let mut both = [text, read];
    for text in &mut both {
        text.apply(&origin, &edit).unwrap();
    }
    assert_eq!(both[0].encode(), both[1].encode());
    assert_eq!(both[0].text(), format!("{}-{}", &word[..500], &word[500..]));
    let [mut text, _] = both;
    let steps = text.delete(0, text.len()).unwrap();
    let origin = origin_of(2, 1);
    text.apply(&origin, &TextEdit { steps }).unwrap();
    let bytes = text.encode();
    assert!(bytes.len() < 2000, "{}", bytes.len());
    assert_eq!(Text::decode(&bytes).unwrap().encode(), bytes);
}

#[test]
fn bold_grows_at_its_end_and_a_link_does_not() {
    let map = Value::new(&ues_data::Ipld::Map(Default::default())).unwrap();
    for (expand, marked) in [(Expand::After, 7), (Expand::Neither, 4)] {
        let mut text = Text::default();
        let step = text.insert(0, "bold and more").unwrap();
        text.apply(&origin_of(1, 0), &TextEdit { steps: vec![step] })
            .unwrap();
        let step = text.mark((0, 4), expand, "x#y", Some(map.clone())).unwrap();
        text.apply(&origin_of(1, 1), &TextEdit { steps: vec![step] })
            .unwrap();
        let step = text.insert(4, "ly!").unwrap();
        text.apply(&origin_of(2, 0), &TextEdit { steps: vec![step] })
            .unwrap();
        let step = text.insert(0, "> ").unwrap();
        text.apply(&origin_of(2, 1), &TextEdit { steps: vec![step] })
            .unwrap();
        let value = format!("{:?}", text.value());
        assert!(
            value.contains(&format!("\"byteEnd\": {}", 2 + marked)),
            "{value}"
        );
        assert!(value.contains("\"byteStart\": 2"), "{value}");
    }
}

#[test]
fn a_link_whose_last_character_is_deleted_still_does_not_grow() {
    let map = Value::new(&ues_data::Ipld::Map(Default::default())).unwrap();
    let mut text = Text::default();
    let step = text.insert(0, "link rest").unwrap();
    text.apply(&origin_of(1, 0), &TextEdit { steps: vec![step] })
        .unwrap();
    let step = text
        .mark((0, 4), Expand::Neither, "x#y", Some(map))
        .unwrap();
    text.apply(&origin_of(1, 1), &TextEdit { steps: vec![step] })
        .unwrap();
    let steps = text.delete(3, 1).unwrap();
    text.apply(&origin_of(1, 2), &TextEdit { steps }).unwrap();
    let step = text.insert(3, "XY").unwrap();
    text.apply(&origin_of(1, 3), &TextEdit { steps: vec![step] })
        .unwrap();
    assert_eq!(text.text(), "linXY rest");
    let value = format!("{:?}", text.value());
    assert!(value.contains("\"byteEnd\": 3"), "{value}");
}

#[test]
fn edits_that_no_author_could_make_are_refused_whole() {
    let mut text = Text::default();
    let step = text.insert(0, "abc").unwrap();
    text.apply(&origin_of(1, 0), &TextEdit { steps: vec![step] })
        .unwrap();
    let before = text.encode();
    let (a, beyond) = (Dot::new(1, 0, 0), Dot::new(1, 0, 3));
    let fine = text.insert(1, "x").unwrap();
    let wrong = [
        (
            TextStep::Insert(
                Place::After {
                    parent: Some(a),
                    next: None,
                },
                "x".into(),
            ),
            CrdtError::InsideRun(a),
        ),
        (
            TextStep::Insert(Place::Before { parent: beyond }, "x".into()),
            CrdtError::Missing(beyond),
        ),
        (TextStep::Delete(a, 4), CrdtError::Missing(beyond)),
        (
            TextStep::Delete(a, u32::MAX),
            CrdtError::TooManyDeleted {
                max: 1 << 20,
                found: u32::MAX.into(),
            },
        ),
        (
            TextStep::Mark(Mark {
                key: "k".into(),
                value: None,
                start: Anchor::Start,
                end: Anchor::After(beyond),
            }),
            CrdtError::Missing(beyond),
        ),
    ];
    for (step, error) in wrong {
        let edit = TextEdit {
            steps: vec![fine.clone(), step],
        };
        assert_eq!(text.apply(&origin_of(2, 0), &edit), Err(error));
        assert_eq!(text.encode(), before);
    }
}
