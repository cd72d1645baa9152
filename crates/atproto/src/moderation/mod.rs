//! What the operator takes down, what is reported to them, and what they did.

mod journal;
mod records;
mod takedown;
mod withheld;

pub use journal::Journal;
pub use records::{Act, Done, Report};
pub use takedown::{Takedowns, Target};
pub use withheld::{EVERYTHING, Withheld};
