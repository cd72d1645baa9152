//! Who administers, and from where.

use serde_json::Value;
use ues_repo::syntax::Datetime;

use crate::moderation::Act;

/// The operator's name in the audit: whoever has the secret of the data folder.
pub const OPERATOR: &str = "operator";
/// Header by which the operator's calls of XRPC methods say that they come from the command line.
pub const PLACE_HEADER: &str = "ues-place";
/// What it says.
pub const COMMAND_LINE: &str = "cli";

/// From where somebody administers the node, as the audit calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A method of `com.atproto.admin`.
    Xrpc,
    /// The operator's own routes, which the command line uses.
    CommandLine,
    /// The page `/admin`.
    Page,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Xrpc => "xrpc",
            Self::CommandLine => COMMAND_LINE,
            Self::Page => "page",
        }
    }
}

/// Somebody who administers the node. Whatever they do goes into the audit by this.
#[derive(Clone, Debug)]
pub struct Actor {
    by: String,
    place: Place,
}

impl Actor {
    /// Somebody by their name in the audit: `admin`, `operator`, or the DID of a moderation service.
    pub fn new(by: impl Into<String>, place: Place) -> Self {
        Self {
            by: by.into(),
            place,
        }
    }

    /// What they do now. `details` must hold no secret.
    pub fn act(&self, what: &str, subject: impl Into<String>, details: Value) -> Act {
        Act {
            at: Datetime::now().to_string(),
            by: self.by.clone(),
            place: self.place.name().to_owned(),
            what: what.to_owned(),
            subject: subject.into(),
            details,
        }
    }

    /// Their name in the audit.
    pub fn name(&self) -> &str {
        &self.by
    }
}
