//! Compares our verdicts with those of the official engine, which `tests/lexicon-diff/generate.mjs` writes.
//!
//! Reads one JSON object per line, `{collection, record, valid, message}`, from standard input. Prints each
//! record on which the two disagree, and fails if there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, stdin};
use std::process::ExitCode;

use serde_json::Value;
use ues_data::atproto_json;
use ues_repo::lexicon::Lexicons;

#[derive(Default)]
struct Tally {
    valid: usize,
    invalid: usize,
    same_message: usize,
    refused_by_codec: usize,
    differ: usize,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let lexicons = Lexicons::official();
    let mut tally = Tally::default();
    for line in stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let collection = case["collection"].as_str().ok_or("no collection")?;
        let expected = case["valid"].as_bool().ok_or("no verdict")?;
        let message = case["message"].as_str().unwrap_or_default();
        // Some faults are of the data model, and a record with one never reaches a lexicon.
        let ours = match atproto_json::from_json(&case["record"]) {
            Ok(record) => lexicons
                .validate_record(collection, &record)
                .map_err(|e| e.to_string()),
            Err(error) => {
                tally.refused_by_codec += 1;
                Err(error.to_string())
            }
        };
        match (&ours, expected) {
            (Ok(()), true) => tally.valid += 1,
            (Err(ours), false) => {
                tally.invalid += 1;
                tally.same_message += usize::from(ours == message);
            }
            _ => {
                tally.differ += 1;
                println!("{collection}: ours {ours:?}, official {expected} {message}");
                println!("  {}", case["record"]);
            }
        }
    }
    println!(
        "{} valid and {} invalid for both ({} with the same message, {} refused by the codec already), {} differ",
        tally.valid, tally.invalid, tally.same_message, tally.refused_by_codec, tally.differ
    );
    let agreed = tally.differ == 0 && tally.valid > 0 && tally.invalid > 0;
    Ok(ExitCode::from(u8::from(!agreed)))
}
