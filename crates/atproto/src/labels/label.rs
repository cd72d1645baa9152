//! One label, and its signature.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ues_data::dag_cbor::Writer;
use ues_data::parse_cid;
use ues_repo::crypto::SigningKey;
use ues_repo::syntax::{AtUri, Datetime, Did};

/// Version of the label format (com.atproto.label.defs#label).
const VERSION: u64 = 1;
/// Longest value, in bytes (com.atproto.label.defs#label).
const MAX_VALUE: usize = 128;
/// Longest address of a subject, in bytes (the syntax of `at://` addresses).
const MAX_URI: usize = 8192;

/// What is to be said of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// An account (DID) or a record (`at://` with a DID).
    pub uri: String,
    /// The version of the record that it is about; `None`: all.
    pub cid: Option<String>,
    /// The label's value: small letters, digits and hyphens, with `!` in front of those that apps act on.
    pub val: String,
    /// When it stops to hold, RFC 3339; `None`: never.
    pub exp: Option<String>,
}

/// Why something is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLabel {
    /// The subject is neither a DID nor the address of a record.
    #[error("{0:?} is neither a DID nor an at:// address with a DID, of at most {MAX_URI} bytes")]
    Uri(String),
    /// The value has other letters, or too many.
    #[error("{0:?} is no label: expected small letters, digits and hyphens, at most {MAX_VALUE}")]
    Value(String),
    /// The version is no CID.
    #[error("{0:?} is no CID")]
    Cid(String),
    /// An account has no versions.
    #[error("a label of an account has no CID")]
    CidOfAccount,
    /// The end is no time, or has passed.
    #[error("{0:?} is no time to come: expected one like 2030-01-31T00:00:00Z")]
    Expiry(String),
}

impl Draft {
    /// Checks everything.
    ///
    /// # Errors
    /// [`InvalidLabel`].
    pub fn check(&self, now_ms: u64) -> Result<(), InvalidLabel> {
        let is_account = Did::parse(&self.uri).is_ok();
        let authority = self.uri.strip_prefix("at://").unwrap_or_default();
        let authority = authority.split('/').next().unwrap_or_default();
        let is_record = AtUri::parse(&self.uri).is_ok() && Did::parse(authority).is_ok();
        if self.uri.len() > MAX_URI || !(is_account || is_record) {
            return Err(InvalidLabel::Uri(self.uri.chars().take(100).collect()));
        }
        let word = self.val.strip_prefix('!').unwrap_or(&self.val);
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if word.is_empty() || self.val.len() > MAX_VALUE || !word.bytes().all(letter) {
            return Err(InvalidLabel::Value(self.val.chars().take(200).collect()));
        }
        match &self.cid {
            Some(_) if is_account => return Err(InvalidLabel::CidOfAccount),
            Some(cid) if parse_cid(cid).is_err() => return Err(InvalidLabel::Cid(cid.clone())),
            _ => {}
        }
        match &self.exp {
            Some(exp) if !is_to_come(exp, now_ms) => Err(InvalidLabel::Expiry(exp.clone())),
            _ => Ok(()),
        }
    }
}

fn is_to_come(time: &str, now_ms: u64) -> bool {
    let time = Datetime::parse(time).ok();
    time.is_some_and(|time| u64::try_from(time.unix_millis()).is_ok_and(|ms| ms > now_ms))
}

/// Who makes labels.
pub struct Labeler {
    /// Its DID, whose document has the key as `#atproto_label`.
    pub did: String,
    /// The key that signs them.
    pub key: SigningKey,
}

/// A signed label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// DID of the labeler.
    pub src: String,
    /// Subject: a DID or an `at://` address.
    pub uri: String,
    /// The version that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// The value.
    pub val: String,
    /// Whether it takes back the one of the same subject and value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub neg: bool,
    /// When it was made, RFC 3339.
    pub cts: String,
    /// When it stops to hold, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<String>,
    /// Signature over the DAG-CBOR of all the rest, by the labeler's key.
    pub sig: Vec<u8>,
}

impl Label {
    /// Signs a label, or what takes one back.
    pub fn sign(draft: Draft, neg: bool, labeler: &Labeler, now_ms: u64) -> Self {
        let mut label = Self {
            src: labeler.did.clone(),
            uri: draft.uri,
            cid: draft.cid,
            val: draft.val,
            neg,
            cts: Datetime::from_unix_millis(now_ms.cast_signed()).to_string(),
            exp: draft.exp,
            sig: Vec::new(),
        };
        label.sig = labeler.key.sign(&label.unsigned()).to_vec();
        label
    }

    /// What is signed: DAG-CBOR without the signature.
    pub fn unsigned(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w, false);
        w.into_bytes()
    }

    /// Writes it as DAG-CBOR. All keys have three letters, so that they stand in the order of the alphabet.
    pub fn write(&self, w: &mut Writer, signed: bool) {
        let optional = [self.cid.is_some(), self.exp.is_some(), self.neg, signed];
        let optional = optional.iter().filter(|there| **there).count();
        w.map(5 + optional as u64);
        if let Some(cid) = &self.cid {
            w.text("cid");
            w.text(cid);
        }
        w.text("cts");
        w.text(&self.cts);
        if let Some(exp) = &self.exp {
            w.text("exp");
            w.text(exp);
        }
        if self.neg {
            w.text("neg");
            w.bool(true);
        }
        if signed {
            w.text("sig");
            w.bytes(&self.sig);
        }
        for (name, text) in [("src", &self.src), ("uri", &self.uri), ("val", &self.val)] {
            w.text(name);
            w.text(text);
        }
        w.text("ver");
        w.uint(VERSION);
    }

    /// Whether it says that something holds at a time, in milliseconds since 1970.
    pub fn holds(&self, now_ms: u64) -> bool {
        !self.neg
            && self
                .exp
                .as_deref()
                .is_none_or(|exp| is_to_come(exp, now_ms))
    }

    /// As the protocol shows it.
    pub fn json(&self) -> Value {
        let sig = data_encoding::BASE64_NOPAD.encode(&self.sig);
        let mut value = json!({
            "ver": VERSION, "src": self.src, "uri": self.uri, "val": self.val, "cts": self.cts,
            "sig": { "$bytes": sig },
        });
        for (name, text) in [("cid", &self.cid), ("exp", &self.exp)] {
            if let Some(text) = text {
                value[name] = text.as_str().into();
            }
        }
        if self.neg {
            value["neg"] = true.into();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ues_data::dag_cbor;
    use ues_repo::crypto::KeyKind;

    const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

    fn draft(uri: &str, val: &str) -> Draft {
        Draft {
            uri: uri.to_owned(),
            cid: None,
            val: val.to_owned(),
            exp: None,
        }
    }

    #[test]
    fn drafts_are_checked() {
        let record = format!("at://{DID}/app.bsky.feed.post/3jzfcijpj2z2a");
        for (uri, val) in [(DID, "spam"), (&record, "!takedown"), (&record, "x-2")] {
            assert_eq!(draft(uri, val).check(0), Ok(()), "{uri} {val}");
        }
        for (uri, val) in [
            ("", "spam"),
            ("at://alice.test/a.b.c/d", "spam"),
            ("https://x.test", "spam"),
            (DID, ""),
            (DID, "!"),
            (DID, "Spam"),
            (DID, "a b"),
            (DID, &"x".repeat(129)),
        ] {
            assert!(draft(uri, val).check(0).is_err(), "{uri} {val}");
        }
        let cid = "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        let with = |uri: &str, cid: &str, exp: &str| Draft {
            cid: Some(cid.to_owned()).filter(|c| !c.is_empty()),
            exp: Some(exp.to_owned()).filter(|e| !e.is_empty()),
            ..draft(uri, "spam")
        };
        assert!(with(&record, cid, "").check(0).is_ok());
        assert_eq!(with(DID, cid, "").check(0), Err(InvalidLabel::CidOfAccount));
        assert!(with(&record, "bafy", "").check(0).is_err());
        assert!(with(&record, "", "1970-01-01T00:00:01Z").check(999).is_ok());
        assert!(
            with(&record, "", "1970-01-01T00:00:01Z")
                .check(1000)
                .is_err()
        );
        assert!(with(&record, "", "tomorrow").check(0).is_err());
    }

    #[test]
    fn what_is_signed_is_canonical() {
        let labeler = Labeler {
            did: "did:web:node.example".to_owned(),
            key: SigningKey::generate(KeyKind::K256).unwrap(),
        };
        let full = Draft {
            cid: Some("bafy".to_owned()),
            exp: Some("2030-01-01T00:00:00Z".to_owned()),
            ..draft(DID, "spam")
        };
        for (draft, neg) in [
            (full.clone(), true),
            (full, false),
            (draft(DID, "spam"), false),
        ] {
            let label = Label::sign(draft, neg, &labeler, 0);
            let bytes = label.unsigned();
            let decoded = dag_cbor::decode(&bytes).unwrap();
            assert_eq!(dag_cbor::encode(&decoded).unwrap(), bytes);
            let key = labeler.key.verifying_key();
            assert!(key.verify(&bytes, &label.sig).is_ok());
            let mut signed = Writer::new();
            label.write(&mut signed, true);
            let signed = signed.into_bytes();
            assert_eq!(
                dag_cbor::encode(&dag_cbor::decode(&signed).unwrap()).unwrap(),
                signed
            );
        }
    }
}
