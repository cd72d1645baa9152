//! Arguments of calls: CIDs, and paths that lead to one.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use ues_data::Cid;

use super::{Failure, Proxy};
use crate::cluster::query::Query;

/// Arguments that one call may have.
const MAX_ARGUMENTS: usize = 1000;

/// The query of a call. An argument in the path (`pin/add/CID`) counts as the only one.
pub(super) struct Args {
    pub query: Query,
    args: Vec<String>,
}

impl Args {
    /// All arguments, at least one.
    pub(super) fn required(&self, name: &str) -> Result<&[String], Failure> {
        match self.args.len() {
            0 => Err(missing(name)),
            1..=MAX_ARGUMENTS => Ok(&self.args),
            found => Err(Failure::bad_request(format!(
                "at most {MAX_ARGUMENTS} arguments expected, found {found}"
            ))),
        }
    }

    /// All arguments, if there are any.
    pub(super) fn all(&self) -> &[String] {
        &self.args
    }

    /// The argument at a place.
    pub(super) fn at(&self, place: usize, name: &str) -> Result<&str, Failure> {
        let found = self.args.get(place).map(String::as_str);
        found.ok_or_else(|| missing(name))
    }

    /// A truth value. As in the original only the plain words count.
    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.query.get(name) == word
    }
}

fn missing(name: &str) -> Failure {
    Failure::bad_request(format!("argument \"{name}\" is required"))
}

impl<S: Send + Sync> FromRequestParts<S> for Args {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Ok(query) = Query::from_request_parts(parts, state).await;
        let in_path = RawPathParams::from_request_parts(parts, state).await;
        let in_path = in_path.map_err(|why| Failure::bad_request(why.to_string()))?;
        let in_path: Vec<String> = in_path.iter().map(|(_, arg)| arg.to_owned()).collect();
        let args = if in_path.is_empty() {
            let args = query.0.iter().filter(|(name, _)| name == "arg");
            args.map(|(_, arg)| arg.clone()).collect()
        } else {
            in_path
        };
        Ok(Self { query, args })
    }
}

/// A path: the CID that it begins with if that is all there is, and its canonical form.
fn read(text: &str) -> Result<(Option<Cid>, String), Failure> {
    let path = match text.strip_prefix('/') {
        Some(_) => text.to_owned(),
        None => format!("/ipfs/{text}"),
    };
    let mut names = path.split('/').skip(1);
    let (kind, root) = (
        names.next().unwrap_or_default(),
        names.next().unwrap_or_default(),
    );
    let below = names.any(|name| !name.is_empty());
    let wrong = |why: &str| Failure::internal(format!("invalid path {text:?}: {why}"));
    if root.is_empty() {
        return Err(wrong("not enough path components"));
    }
    match kind {
        "ipns" => Ok((None, path)),
        "ipfs" | "ipld" => {
            let cid = ues_data::parse_cid(root);
            let cid = cid.map_err(|why| wrong(&format!("invalid CID: {why}")))?;
            Ok(((!below).then_some(cid), path))
        }
        other => Err(wrong(&format!("unknown namespace {other:?}"))),
    }
}

impl Proxy {
    /// The CID that an argument leads to.
    pub(super) async fn resolve(&self, text: &str) -> Result<Cid, Failure> {
        match read(text)? {
            (Some(cid), _) => Ok(cid),
            (None, path) => match &self.upstream {
                Some(upstream) => Ok(upstream.resolve(&path).await?),
                None => Err(Failure::no_kubo(&path)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_names() {
        let cid = ues_data::raw_cid(b"x");
        let found = |text: &str| read(text).map_err(|failure| failure.message);
        for plain in [
            format!("{cid}"),
            format!("/ipfs/{cid}"),
            format!("/ipld/{cid}/"),
        ] {
            assert_eq!(found(&plain).unwrap().0, Some(cid), "{plain}");
        }
        let below = found(&format!("{cid}/a")).unwrap();
        assert_eq!(below, (None, format!("/ipfs/{cid}/a")));
        assert_eq!(found("/ipns/x.example").unwrap().0, None);
        for wrong in ["", "/", "/ipfs", "/ipfs/", "/ipfs/x", "x y", "/other/x"] {
            assert!(
                found(wrong).unwrap_err().starts_with("invalid path"),
                "{wrong}"
            );
        }
    }
}
