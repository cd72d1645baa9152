//! Everything the program prints: results on stdout, all else on stderr.

mod bytes;
mod progress;
mod table;

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

pub use bytes::human_bytes;
pub use progress::Progress;
pub use table::{Table, printable};

use crate::failure::Failure;

/// Style of what matters in a line.
pub const STRONG: Style = Style::new().bold();
/// Style of what may be skipped.
pub const FAINT: Style = Style::new().dimmed();
/// Style of good news.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of advice.
pub const ADVICE: Style = AnsiColor::Cyan.on_default();

/// Where results go and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
    /// No progress bars and no remarks.
    pub quiet: bool,
}

impl Output {
    /// Prints a result: the JSON form, or what `human` writes. Colours reach a terminal only, and none when
    /// `NO_COLOR` is set.
    pub fn result(self, value: &Value, human: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
        let mut out = anstream::stdout().lock();
        let written = if self.json {
            writeln!(out, "{value}")
        } else {
            human(&mut out)
        };
        // A reader that has seen enough (`ues … | head`) is no error.
        drop(written.and_then(|()| out.flush()));
    }

    /// Prints one of many results: a JSON object a line, or one line of text.
    pub fn line(self, value: &Value, human: impl std::fmt::Display) {
        self.result(value, |out| writeln!(out, "{human}"));
    }

    /// Tells something on stderr that is not the result; nothing with `--quiet` or `--json`.
    pub fn remark(self, text: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            anstream::eprintln!("{text}");
        }
    }

    /// Tells a failure on stderr.
    pub fn failure(self, failure: &Failure) {
        if self.json {
            let mut value = json!({ "error": failure.exit.name(), "message": failure.message });
            if let Some(hint) = &failure.hint {
                value["hint"] = json!(hint);
            }
            anstream::eprintln!("{value}");
            return;
        }
        anstream::eprintln!("{BAD}error:{BAD:#} {}", failure.message);
        if let Some(hint) = &failure.hint {
            for line in hint.lines() {
                anstream::eprintln!("  {ADVICE}{line}{ADVICE:#}");
            }
        }
    }

    /// A progress bar for work of `total` units, shown on a terminal only; `total` 0 means unknown.
    pub fn progress(self, what: &str, total: u64) -> Progress {
        Progress::new(what, total, self.json || self.quiet)
    }
}
