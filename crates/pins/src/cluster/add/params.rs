//! The parameters of `POST /add`.

use crate::intake::{AddParams, Layout};

use super::super::query::Query;
use super::Failure;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Files.
    UnixFs,
    /// An archive of blocks.
    Car,
}

/// How a call of `POST /add` is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub format: Format,
    /// How files become a DAG.
    pub params: AddParams,
    /// Whether answers come one by one rather than as a list in the end.
    pub stream: bool,
    /// Whether nothing is pinned.
    pub no_pin: bool,
}

impl Call {
    /// Reads them as the original does; pin options are read elsewhere.
    pub(super) fn read(query: &Query) -> Result<Self, Failure> {
        let layout = match query.get("layout") {
            "" | "balanced" => Layout::Balanced,
            "trickle" => Layout::Trickle,
            _ => return Err(invalid("layout", "is invalid")),
        };
        let format = match query.get("format") {
            "" | "unixfs" => Format::UnixFs,
            "car" => Format::Car,
            _ => return Err(invalid("format", "is invalid")),
        };
        let defaults = AddParams::default();
        let text = |name: &str, default: String| match query.get(name) {
            "" => default,
            value => value.to_owned(),
        };
        let local = flag(query, "local", false)?;
        flag(query, "recursive", true)?;
        let hidden = flag(query, "hidden", false)?;
        let wrap = flag(query, "wrap-with-directory", false)?;
        if flag(query, "shard", false)? {
            return Err(Failure::bad_request(
                "parameter shard: content is not divided here, leave it out",
            ));
        }
        let progress = flag(query, "progress", false)?;
        let cid_version = match query.get("cid-version") {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| invalid("cid-version", "invalid"))?,
        };
        Ok(Self {
            format,
            params: AddParams {
                layout,
                chunker: text("chunker", defaults.chunker),
                raw_leaves: flag(query, "raw-leaves", cid_version > 0)?,
                cid_version,
                hash: text("hash", defaults.hash),
                wrap,
                progress,
                hidden,
                local,
                no_copy: flag(query, "nocopy", false)?,
            },
            stream: flag(query, "stream-channels", true)?,
            no_pin: flag(query, "no-pin", false)?,
        })
    }
}

fn invalid(name: &str, how: &str) -> Failure {
    match how {
        "invalid" => Failure::bad_request(format!("parameter {name} invalid")),
        how => Failure::bad_request(format!("{name} parameter {how}")),
    }
}

/// A truth value in any of the ways that Go reads one.
fn flag(query: &Query, name: &str, default: bool) -> Result<bool, Failure> {
    match query.get(name) {
        "" => Ok(default),
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(invalid(name, "invalid")),
    }
}
