//! Sync by file: what one device has, in frames of the protocol, for others to take in. `docs/sync.md` has the format.
//!
//! A file is written without knowing who will read it. It begins with [`MAGIC`]; then come frames, each after its length
//! as an unsigned varint.

mod export;
mod import;
mod reader;

pub use export::Export;
pub use import::{Import, ImportAction, Report};
pub use reader::FileReader;

use super::frame::FrameError;

/// The first bytes of a file.
pub const MAGIC: &[u8] = b"ues sync file 1\n";
/// What the name of a file should end with.
pub const EXTENSION: &str = "uessync";

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Something else.
    #[error("this is not a file that `ues sync export` wrote")]
    NotOne,
    /// It ends too early.
    #[error("the file is cut off; what came before its end was taken in")]
    CutOff,
    /// A frame is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Something that does not belong where it stands.
    #[error("the file is damaged: {0}")]
    Malformed(&'static str),
}
