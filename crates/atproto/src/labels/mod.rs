//! Labels that this node makes as a labeler: signed, kept, told to whoever listens.
//!
//! Every label, and every label that negates another, is a row with a rising number; nothing is forgotten,
//! so that a listener can begin at 0. What holds at the moment is found by subject.

mod label;
mod store;
mod stream;

pub use label::{Draft, InvalidLabel, Label, Labeler};
pub use store::{LabelError, Labels};
pub use stream::serve;
