//! Settings of the connection, with the names of the founding text's `state.scylladb`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use scylla::frame::types::{Consistency, SerialConsistency};
use serde::{Deserialize, Deserializer, de};

/// How the database is reached and used. Read from JSON: unknown names are refused, missing ones have their default;
/// durations are texts such as `30s` and `100ms`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CqlSettings {
    /// Hosts that are asked first, with or without a port; the others are learnt from them.
    pub hosts: Vec<String>,
    /// Port of hosts that are named without one.
    pub port: u16,
    /// Keyspace of the tables; it is made where it is missing.
    pub keyspace: String,
    /// Name for the login; only with a password.
    pub username: String,
    /// Password for the login; only with a name.
    pub password: Password,
    /// [`CqlTls::enabled`], another spelling; so the next four.
    pub tls_enabled: bool,
    /// [`CqlTls::cert_file`].
    pub tls_cert_file: Option<PathBuf>,
    /// [`CqlTls::key_file`].
    pub tls_key_file: Option<PathBuf>,
    /// [`CqlTls::ca_file`].
    pub tls_ca_file: Option<PathBuf>,
    /// [`CqlTls::insecure_skip_verify`].
    #[serde(alias = "tls_skip_verify")]
    pub tls_insecure_skip_verify: bool,
    /// How the connection is encrypted; instead of the five before it.
    pub tls: Option<CqlTls>,
    /// Connections to each host.
    pub num_conns: usize,
    /// How long a statement may take.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long connecting to one host may take.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How many replicas have to agree.
    #[serde(deserialize_with = "consistency")]
    pub consistency: Consistency,
    /// How many replicas have to agree on a lease.
    #[serde(deserialize_with = "serial_consistency")]
    pub serial_consistency: SerialConsistency,
    /// What is done when a statement fails.
    pub retry_policy: CqlRetries,
    /// Most rows that are written in one statement. Only rows of one call and one partition are written together.
    pub batch_size: usize,
    /// Accepted as the founding text has it. Nobody waits for the rows of others, so nothing takes that long.
    #[serde(deserialize_with = "duration")]
    pub batch_timeout: Duration,
    /// Whether statements are measured.
    pub metrics_enabled: bool,
    /// Whether the database traces statements; it says where in the log, at level debug.
    pub tracing_enabled: bool,
    /// Name of the datacentre that is used as long as it answers.
    pub local_dc: String,
    /// Whether only the local datacentre is asked.
    pub dc_aware_routing: bool,
    /// Whether statements go to a host that has the row.
    pub token_aware_routing: bool,
    /// Copies of each row, where the keyspace is made.
    pub replication: Option<CqlReplication>,
}

/// Encryption of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CqlTls {
    /// Whether the connection is encrypted.
    pub enabled: bool,
    /// The client's certificate, PEM; only with a key.
    pub cert_file: Option<PathBuf>,
    /// Key of the certificate, PEM; only with a certificate.
    pub key_file: Option<PathBuf>,
    /// Authorities that are believed, PEM; those of the system where there is none.
    pub ca_file: Option<PathBuf>,
    /// Whether everybody is believed.
    #[serde(alias = "skip_verify")]
    pub insecure_skip_verify: bool,
}

/// What is done when a statement fails that may be tried again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CqlRetries {
    /// How often it is tried again; attempts are one more.
    pub num_retries: u32,
    /// The pause before the first repetition, about.
    #[serde(deserialize_with = "duration")]
    pub min_retry_delay: Duration,
    /// The longest pause.
    #[serde(deserialize_with = "duration")]
    pub max_retry_delay: Duration,
    /// How much longer each pause is than the one before.
    pub backoff_factor: f64,
}

/// Copies of each row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CqlReplication {
    /// So many, wherever.
    Copies(u32),
    /// So many in each datacentre.
    Datacentres(BTreeMap<String, u32>),
}

/// A password; it is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Default for CqlSettings {
    fn default() -> Self {
        Self {
            hosts: vec!["127.0.0.1".to_owned()],
            port: 9042,
            keyspace: "ipfs_pins".to_owned(),
            username: String::new(),
            password: Password::default(),
            tls_enabled: false,
            tls_cert_file: None,
            tls_key_file: None,
            tls_ca_file: None,
            tls_insecure_skip_verify: false,
            tls: None,
            num_conns: 10,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            consistency: Consistency::Quorum,
            serial_consistency: SerialConsistency::Serial,
            retry_policy: CqlRetries::default(),
            batch_size: 1000,
            batch_timeout: Duration::from_secs(1),
            metrics_enabled: true,
            tracing_enabled: false,
            local_dc: String::new(),
            dc_aware_routing: false,
            token_aware_routing: true,
            replication: None,
        }
    }
}

impl Default for CqlRetries {
    fn default() -> Self {
        Self {
            num_retries: 3,
            min_retry_delay: Duration::from_millis(100),
            max_retry_delay: Duration::from_secs(10),
            backoff_factor: 2.0,
        }
    }
}

impl CqlSettings {
    /// How the connection is encrypted: as `tls` says, or the names that begin with `tls_`.
    pub(super) fn encryption(&self) -> CqlTls {
        self.tls.clone().unwrap_or_else(|| CqlTls {
            enabled: self.tls_enabled,
            cert_file: self.tls_cert_file.clone(),
            key_file: self.tls_key_file.clone(),
            ca_file: self.tls_ca_file.clone(),
            insecure_skip_verify: self.tls_insecure_skip_verify,
        })
    }

    /// Name and password, when both are there.
    pub(super) fn login(&self) -> Option<(&str, &str)> {
        let login = (self.username.as_str(), self.password.reveal());
        (!login.0.is_empty() && !login.1.is_empty()).then_some(login)
    }

    /// Consistency of reads: one that only writes can have is met by what every quorum contains.
    pub(super) fn read_consistency(&self) -> Consistency {
        match self.consistency {
            Consistency::EachQuorum => Consistency::Quorum,
            other => other,
        }
    }

    /// Looks for what cannot be; returns a sentence about it.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.len() <= 48
        };
        if self.hosts.is_empty() {
            return Err("hosts: at least one is needed".to_owned());
        }
        if !named(&self.keyspace) {
            return Err(format!(
                "keyspace: up to 48 letters, digits and _, a letter first, expected; found {:?}",
                self.keyspace
            ));
        }
        if self.num_conns == 0 || self.num_conns > 1000 {
            return Err(format!(
                "num_conns: 1 to 1000 expected, found {}",
                self.num_conns
            ));
        }
        if self.dc_aware_routing && self.local_dc.is_empty() {
            return Err("dc_aware_routing: local_dc has to name the datacentre".to_owned());
        }
        if self.batch_size == 0 {
            return Err("batch_size: at least 1 expected, found 0".to_owned());
        }
        let retries = &self.retry_policy;
        if !(1.0..=100.0).contains(&retries.backoff_factor) {
            return Err(format!(
                "retry_policy.backoff_factor: 1 to 100 expected, found {}",
                retries.backoff_factor
            ));
        }
        if self.tls.is_some() && self.has_flat_tls() {
            return Err("tls and names that begin with tls_ exclude each other".to_owned());
        }
        match &self.replication {
            Some(CqlReplication::Copies(0)) => {
                Err("replication: at least 1 expected, found 0".to_owned())
            }
            Some(CqlReplication::Datacentres(copies)) => check_datacentres(copies),
            _ => Ok(()),
        }
    }

    fn has_flat_tls(&self) -> bool {
        self.tls_enabled
            || self.tls_insecure_skip_verify
            || [&self.tls_cert_file, &self.tls_key_file, &self.tls_ca_file]
                .iter()
                .any(|file| file.is_some())
    }
}

fn check_datacentres(copies: &BTreeMap<String, u32>) -> Result<(), String> {
    if copies.is_empty() {
        return Err("replication: at least one datacentre expected".to_owned());
    }
    for (name, copies) in copies {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if *copies == 0 || name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(format!(
                "replication: names of datacentres with 1 copy or more expected, found {name:?}: {copies}"
            ));
        }
    }
    Ok(())
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let nanoseconds = crate::model::parse_duration(&text).map_err(de::Error::custom)?;
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(de::Error::custom(format!(
            "a duration above 0 expected, found {text:?}"
        ))),
    }
}

fn consistency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Consistency, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(match text.to_ascii_uppercase().as_str() {
        "ONE" => Consistency::One,
        "TWO" => Consistency::Two,
        "THREE" => Consistency::Three,
        "QUORUM" => Consistency::Quorum,
        "ALL" => Consistency::All,
        "LOCAL_QUORUM" => Consistency::LocalQuorum,
        "EACH_QUORUM" => Consistency::EachQuorum,
        "LOCAL_ONE" => Consistency::LocalOne,
        _ => {
            let known = "ONE, TWO, THREE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM or LOCAL_ONE expected \
                         (what was written with ANY cannot be read)";
            return Err(de::Error::custom(format!("{known}, found {text:?}")));
        }
    })
}

fn serial_consistency<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SerialConsistency, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_ascii_uppercase().as_str() {
        "SERIAL" => Ok(SerialConsistency::Serial),
        "LOCAL_SERIAL" => Ok(SerialConsistency::LocalSerial),
        _ => Err(de::Error::custom(format!(
            "SERIAL or LOCAL_SERIAL expected, found {text:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<CqlSettings, String> {
        let settings: CqlSettings = serde_json::from_str(json).map_err(|e| e.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn the_founding_text_is_read() {
        let text = r#"{
            "hosts": ["a.example", "b.example:9142"], "port": 9043, "keyspace": "ipfs_pins",
            "username": "u", "password": "p",
            "tls_enabled": true, "tls_cert_file": "/c", "tls_key_file": "/k", "tls_ca_file": "/a",
            "num_conns": 4, "timeout": "3s", "connect_timeout": "1m30s",
            "consistency": "LOCAL_QUORUM", "serial_consistency": "LOCAL_SERIAL",
            "retry_policy": {"num_retries": 5, "min_retry_delay": "50ms", "max_retry_delay": "2s"},
            "batch_size": 10, "batch_timeout": "200ms", "metrics_enabled": false, "tracing_enabled": true,
            "local_dc": "dc1", "dc_aware_routing": true, "token_aware_routing": false,
            "replication": {"dc1": 3}
        }"#;
        let settings = read(text).unwrap();
        assert_eq!(settings.login(), Some(("u", "p")));
        assert_eq!(settings.connect_timeout, Duration::from_secs(90));
        assert_eq!(settings.consistency, Consistency::LocalQuorum);
        assert_eq!(
            settings.retry_policy.min_retry_delay,
            Duration::from_millis(50)
        );
        assert_eq!(settings.encryption().key_file, Some("/k".into()));
        assert!(!format!("{settings:?}").contains("\"p\""));
    }

    #[test]
    fn defaults_are_those_of_the_founding_text() {
        let settings = read("{}").unwrap();
        assert_eq!(settings, CqlSettings::default());
        let numbers = (
            settings.port,
            settings.num_conns,
            settings.batch_size,
            settings.retry_policy.num_retries,
        );
        assert_eq!(numbers, (9042, 10, 1000, 3));
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(settings.login(), None);
        assert!(!settings.encryption().enabled);
    }

    #[test]
    fn both_spellings_of_tls_are_read() {
        let flat = read(r#"{"tls_enabled": true, "tls_ca_file": "/a"}"#).unwrap();
        let nested = read(r#"{"tls": {"enabled": true, "ca_file": "/a"}}"#).unwrap();
        assert_eq!(flat.encryption(), nested.encryption());
        let both = read(r#"{"tls_enabled": true, "tls": {"enabled": true}}"#).unwrap_err();
        assert!(both.contains("exclude"), "{both}");
    }

    #[test]
    fn a_login_needs_both() {
        let settings = read(r#"{"username": "u"}"#).unwrap();
        assert_eq!(settings.login(), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (json, words) in [
            (r#"{"host": "x"}"#, "host"),
            (r#"{"retry_policy": {"retries": 1}}"#, "retries"),
            (r#"{"tls": {"cert": "x"}}"#, "cert"),
            (r#"{"timeout": "30"}"#, "30"),
            (r#"{"timeout": "0s"}"#, "above 0"),
            (r#"{"timeout": 30}"#, "string"),
            (r#"{"consistency": "ANY"}"#, "LOCAL_QUORUM"),
            (r#"{"serial_consistency": "QUORUM"}"#, "LOCAL_SERIAL"),
            (r#"{"hosts": []}"#, "hosts"),
            (r#"{"keyspace": "a\"; DROP"}"#, "keyspace"),
            (r#"{"num_conns": 0}"#, "num_conns"),
            (r#"{"dc_aware_routing": true}"#, "local_dc"),
            (r#"{"replication": 0}"#, "replication"),
            (r#"{"replication": {"d'c": 1}}"#, "replication"),
            (
                r#"{"retry_policy": {"backoff_factor": 0.5}}"#,
                "backoff_factor",
            ),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
