//! Mail to the owners of accounts: written into an outbox in the batch of what it is about, and sent
//! from there.

mod letter;
mod notice;
mod outbox;
mod sender;

pub use letter::Letter;
pub use notice::Notice;
pub use outbox::{Again, Mail, Outbox};
pub use sender::start;
