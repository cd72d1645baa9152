//! Errors of did:plc operations and logs.

/// Why an operation is not accepted. The texts are those of the public directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlcError {
    /// The JSON is none of the known operations.
    #[error("Not a valid operation: {0}")]
    NotAnOperation(String),
    /// The operation has the right fields with impossible content.
    #[error("Improperly formatted operation, {reason}")]
    Improper {
        /// What is wrong.
        reason: String,
    },
    /// A field is too long, or there are too many of them.
    #[error("{0}")]
    Constraint(String),
    /// `prev` is not an operation of the history, follows a tombstone, or times do not rise.
    #[error("Operations not correctly ordered")]
    Misordered,
    /// A fork of the history came too late.
    #[error(
        "Recovery operation occurred outside of the allowed 72 hr recovery window. Time lapsed: {lapsed_ms}"
    )]
    LateRecovery {
        /// Milliseconds since the operation that would be nullified.
        lapsed_ms: i64,
    },
    /// The DID is not the hash of the first operation.
    #[error("Hash of genesis operation does not match DID identifier: {expected}")]
    GenesisHash {
        /// The DID that the operation gives.
        expected: String,
    },
    /// None of the keys that may sign has signed.
    #[error("Invalid signature on op: {0}")]
    InvalidSignature(String),
    /// A log names another CID than its operation has.
    #[error("the log says CID {found}, the operation has {expected}")]
    WrongCid {
        /// The operation's CID.
        expected: String,
        /// The CID in the log.
        found: String,
    },
    /// A log says that an operation is nullified and the rules say that it is not, or the other way round.
    #[error("the log says nullified: {found}, the rules say {expected}, for operation {cid}")]
    WrongNullified {
        /// The operation's CID.
        cid: String,
        /// What the rules say.
        expected: bool,
        /// What the log says.
        found: bool,
    },
    /// A log entry is about another DID.
    #[error("the log of {expected} has an entry of {found}")]
    WrongDid {
        /// Whose log it is.
        expected: String,
        /// Whose entry it is.
        found: String,
    },
    /// A log has no entry.
    #[error("the log is empty")]
    EmptyLog,
    /// A log is longer than any that the directory would keep.
    #[error("a log has at most {limit} operations, found {found}")]
    LogTooLong {
        /// The most.
        limit: usize,
        /// How many there are.
        found: usize,
    },
}
