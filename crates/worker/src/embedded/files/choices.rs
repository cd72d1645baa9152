//! What a client may choose.

use ues_data::content_id::HashAlgorithm;
use ues_data::unixfs::{CidVersion, ImportOptions};
use ues_pins::intake::{AddParams, IntakeError, Layout};

use super::invalid;

/// The largest block of a file, in bytes.
const MAX_CHUNK: usize = 1 << 20;

/// How files are made into blocks with these parameters.
pub(super) fn import_options(params: &AddParams) -> Result<ImportOptions, IntakeError> {
    if params.layout == Layout::Trickle {
        return Err(invalid("layout: trickle is not known here, use balanced"));
    }
    if params.no_copy {
        return Err(invalid(
            "nocopy: files are always copied here, leave it out",
        ));
    }
    if !params.hash.eq_ignore_ascii_case("sha2-256") {
        let hash = &params.hash;
        return Err(invalid(format!(
            "hash: sha2-256 expected, found {hash:.64}"
        )));
    }
    let version = match params.cid_version {
        0 => CidVersion::V0,
        1 => CidVersion::V1,
        other => {
            return Err(invalid(format!(
                "cid-version: 0 or 1 expected, found {other}"
            )));
        }
    };
    Ok(ImportOptions {
        version,
        hash: HashAlgorithm::Sha2_256,
        raw_leaves: params.raw_leaves,
        chunk_size: chunk_size(&params.chunker)?,
        ..ImportOptions::cid_v0()
    })
}

fn chunk_size(chunker: &str) -> Result<usize, IntakeError> {
    if chunker == "default" {
        return Ok(ImportOptions::cid_v0().chunk_size);
    }
    let size = chunker.strip_prefix("size-");
    let size = size.and_then(|size| size.parse().ok());
    size.filter(|size| (1..=MAX_CHUNK).contains(size))
        .ok_or_else(|| {
            invalid(format!(
                "chunker: size-1 to size-{MAX_CHUNK} expected, found {chunker:.64}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut AddParams)) -> Option<ImportOptions> {
        let mut params = AddParams::default();
        change(&mut params);
        import_options(&params).ok()
    }

    #[test]
    fn known_choices() {
        let default = ImportOptions::cid_v0();
        assert_eq!(with(|_| ()), Some(default));
        assert_eq!(with(|p| p.chunker = "default".to_owned()), Some(default));
        assert_eq!(with(|p| p.hash = "SHA2-256".to_owned()), Some(default));
        let made = with(|p| {
            p.cid_version = 1;
            p.raw_leaves = true;
        });
        assert_eq!(made, Some(ImportOptions::cid_v1()));
        let made = with(|p| p.chunker = "size-1048576".to_owned()).unwrap();
        assert_eq!(made.chunk_size, 1 << 20);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for chunker in [
            "",
            "rabin",
            "buzhash",
            "size-",
            "size-0",
            "size--1",
            "size-1048577",
        ] {
            assert_eq!(with(|p| p.chunker = chunker.to_owned()), None, "{chunker}");
        }
        for hash in ["", "blake3", "sha1", "identity"] {
            assert_eq!(with(|p| p.hash = hash.to_owned()), None, "{hash}");
        }
        assert_eq!(with(|p| p.cid_version = 2), None);
        assert_eq!(with(|p| p.cid_version = -1), None);
        assert_eq!(with(|p| p.layout = Layout::Trickle), None);
        assert_eq!(with(|p| p.no_copy = true), None);
    }
}
