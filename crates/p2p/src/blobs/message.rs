//! The messages, read and checked.

use bytes::Bytes;
use prost::Message;
use ues_data::Cid;
use ues_data::content_id::{RAW, SHA2_256, cid_from_bytes};
use ues_repo::syntax::Did;

#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/ues.blobs.v1.rs"));
}

/// The longest message in bytes.
pub const MAX_MESSAGE: usize = 4096;
/// The longest media type in bytes.
pub const MAX_MIME: usize = 255;

/// Asks for the content of a blob from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The repository.
    pub repo: Did,
    /// The blob: raw, SHA-256.
    pub cid: Cid,
    /// The first byte that is wanted.
    pub offset: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The content follows.
    Here {
        /// Bytes of the whole blob.
        size: u64,
        /// Its media type.
        mime: String,
    },
    /// It is not here.
    Absent,
    /// The repository is not shared with the asking device.
    Refused,
}

/// A message that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

fn malformed(what: impl std::fmt::Display) -> Malformed {
    Malformed(what.to_string())
}

impl Ask {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = wire::Ask {
            repo: self.repo.to_string(),
            cid: self.cid.to_bytes().into(),
            offset: self.offset,
        };
        message.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let message = wire::Ask::decode(bytes).map_err(malformed)?;
        let cid = cid_from_bytes(&message.cid).map_err(malformed)?;
        if cid.codec() != RAW || cid.hash().code() != SHA2_256 {
            return Err(malformed(format!(
                "the CID of a blob expected (raw, SHA-256), found {cid}"
            )));
        }
        Ok(Self {
            repo: Did::parse(&message.repo).map_err(malformed)?,
            cid,
            offset: message.offset,
        })
    }
}

impl Answer {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = wire::Answer::default();
        let status = match self {
            Self::Here { size, mime } => {
                message.size = *size;
                message.mime.clone_from(mime);
                wire::Status::Here
            }
            Self::Absent => wire::Status::Absent,
            Self::Refused => wire::Status::Refused,
        };
        message.status = status.into();
        message.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let message = wire::Answer::decode(bytes).map_err(malformed)?;
        let mime = message.mime;
        match wire::Status::try_from(message.status) {
            // It ends up in a header of HTTP.
            Ok(wire::Status::Here)
                if mime.len() <= MAX_MIME && mime.bytes().all(|b| (0x20..0x7f).contains(&b)) =>
            {
                Ok(Self::Here {
                    size: message.size,
                    mime,
                })
            }
            Ok(wire::Status::Here) => Err(malformed(format!(
                "a media type of at most {MAX_MIME} printable characters expected, found {mime:?}"
            ))),
            Ok(wire::Status::Absent) => Ok(Self::Absent),
            Ok(wire::Status::Refused) => Ok(Self::Refused),
            _ => Err(malformed(format!(
                "status 1 to 3 expected, found {}",
                message.status
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;
    use ues_data::raw_cid;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-z2-7]{24}", content in proptest::collection::vec(any::<u8>(), 0..64), n in any::<u64>(),
            mime in "[ -~]{0,255}",
        ) {
            let repo = Did::parse(&format!("did:plc:{name}")).unwrap();
            let ask = Ask { repo, cid: raw_cid(&content), offset: n };
            prop_assert_eq!(Ask::decode(ask.encode().into()).unwrap(), ask);
            for answer in [Answer::Here { size: n, mime }, Answer::Absent, Answer::Refused] {
                prop_assert_eq!(Answer::decode(answer.encode().into()).unwrap(), answer);
            }
        }

        #[test]
        fn nothing_that_comes_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Ask::decode(bytes.clone().into());
            let _ = Answer::decode(bytes.into());
        }
    }

    #[test]
    fn what_could_do_harm_is_refused() {
        let here = |mime: &str| {
            let mime = mime.to_owned();
            Answer::decode(Answer::Here { size: 1, mime }.encode().into())
        };
        assert!(here("image/png").is_ok());
        assert!(here("a\r\nset-cookie: b").is_err());
        assert!(here(&"a".repeat(256)).is_err());
        assert!(Answer::decode(Bytes::new()).is_err());
        let record = Cid::new_v1(0x71, *raw_cid(b"x").hash());
        let repo = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let (cid, offset) = (record, 0);
        assert!(Ask::decode(Ask { repo, cid, offset }.encode().into()).is_err());
    }
}
