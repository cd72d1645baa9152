//! Progress of long work.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, invisible where stderr is no terminal. It goes away when dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(what: &str, total: u64, hidden: bool) -> Self {
        if hidden || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::hidden(),
            ));
        }
        let (bar, template) = if total == 0 {
            (
                ProgressBar::new_spinner(),
                "{spinner} {prefix} {human_pos} {msg} ({per_sec}, {elapsed})",
            )
        } else {
            (
                ProgressBar::new(total),
                "{prefix} [{bar:30}] {human_pos}/{human_len} {msg} ({per_sec}, {eta} left)",
            )
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So many units are done, of so many in all (0: unknown).
    pub fn set(&self, done: u64, total: u64) {
        if total != 0 && self.0.length() != Some(total) {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }

    /// So many units more are done.
    pub fn advance(&self, units: u64) {
        self.0.inc(units);
    }

    /// What is being worked on now.
    pub fn message(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
