//! Taking content in: files that become a DAG, and archives that hold one. Who has a store of blocks implements it;
//! the interfaces of the pin service read what clients send, and pin what comes out.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use ues_data::Cid;

/// Why content was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The content, or how it is to be taken in, is wrong. The sentence is for the client.
    #[error("{0}")]
    Invalid(String),
    /// It could not be read or stored.
    #[error("{0}")]
    Failed(String),
}

/// A piece of what a client sends. Paths are relative, have `/` between their names, and no `.` or `..`. Folders
/// above a path may come before it or not at all; what is below a folder comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A folder.
    Folder {
        /// Its path.
        path: String,
    },
    /// A file begins; its content follows as [`Data`](Self::Data), up to the next other part.
    File {
        /// Its path; empty if it has no name.
        path: String,
    },
    /// Content of the file that began last.
    Data(Bytes),
    /// A symbolic link.
    Link {
        /// Its path.
        path: String,
        /// Where it leads.
        target: String,
    },
}

/// How the blocks of a file are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A tree whose leaves are all equally deep.
    #[default]
    Balanced,
    /// A tree whose beginning can be read early.
    Trickle,
}

/// How files become a DAG; the names and defaults are those of Kubo and IPFS-Cluster. An implementer refuses what it
/// does not know with [`IntakeError::Invalid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddParams {
    /// How blocks are put together.
    pub layout: Layout,
    /// How files are cut, such as `size-262144`.
    pub chunker: String,
    /// Whether leaves are plain bytes.
    pub raw_leaves: bool,
    /// Version of the CIDs.
    pub cid_version: i64,
    /// Name of the hash function, such as `sha2-256`.
    pub hash: String,
    /// Whether everything goes into one more folder, whose name is empty.
    pub wrap: bool,
    /// Whether it is told how many bytes of a file have arrived, in between.
    pub progress: bool,
    /// Whether files are left where they are and only referred to.
    pub no_copy: bool,
    /// Whether hidden files are taken as well. Clients leave them out by themselves.
    pub hidden: bool,
    /// Whether the blocks go to the worker of this process rather than where they will be pinned.
    pub local: bool,
}

impl Default for AddParams {
    fn default() -> Self {
        Self {
            layout: Layout::Balanced,
            chunker: "size-262144".to_owned(),
            raw_leaves: false,
            cid_version: 0,
            hash: "sha2-256".to_owned(),
            wrap: false,
            progress: false,
            no_copy: false,
            hidden: false,
            local: false,
        }
    }
}

/// What has come of a part: a file or folder that is stored, or news of one that is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Its path; empty for the folder around everything.
    pub name: String,
    /// What it has become; `None` while it is on its way.
    pub cid: Option<Cid>,
    /// Bytes of it that have arrived so far, if it is on its way.
    pub bytes: u64,
    /// Bytes of the blocks of its DAG.
    pub size: u64,
}

/// Takes content in.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Stores files. The answer names every file and folder once it is stored, children before their folder; the last
    /// one with a CID is the root of it all, which the caller pins. It must not hold more than a part in memory, and
    /// ends after its first error. Dropping it gives up.
    ///
    /// An error in `parts` is the client's or the network's; it is handed on.
    fn add(
        &self,
        parts: BoxStream<'static, Result<Part, IntakeError>>,
        params: AddParams,
    ) -> BoxStream<'static, Result<Added, IntakeError>>;

    /// Stores the blocks of an archive ([CAR](https://ipld.io/specs/transport/car/)), each checked against its CID.
    /// Returns its roots, whether or not their blocks were in it: a DAG may be sent in several archives.
    ///
    /// # Errors
    /// [`IntakeError`]; blocks that came before it may have been stored.
    async fn import_car(
        &self,
        car: BoxStream<'static, Result<Bytes, IntakeError>>,
    ) -> Result<Vec<Cid>, IntakeError>;
}
