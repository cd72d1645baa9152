//! From the program's configuration to those of the parts.

use std::path::PathBuf;
use std::sync::Arc;

use ues_atproto::{AcmeOptions, TlsOptions};
use ues_repo::blob_store::S3Options;
use ues_storage::StoreOptions;
use zeroize::Zeroizing;

use super::open::NodeError;
use crate::config::{BlobBackend, Config, Directory};

/// Options of the store.
pub fn store(config: &Config) -> StoreOptions {
    StoreOptions {
        block_cache_bytes: config.storage.cache_bytes,
        memtable_bytes: config.storage.write_buffer_bytes,
        ..StoreOptions::default()
    }
}

/// Folder for what an authority gave.
const TLS: &str = "tls";

/// Where the certificate comes from, if the node has TLS.
///
/// # Errors
/// A sentence about settings that contradict each other or are incomplete.
pub fn tls(config: &Config) -> Result<Option<TlsOptions>, &'static str> {
    let tls = &config.tls;
    let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
    match (tls.acme, path(&tls.cert), path(&tls.key)) {
        (false, None, None) => Ok(None),
        (false, Some(certificate), Some(key)) => Ok(Some(TlsOptions::Files { certificate, key })),
        (false, ..) => Err("tls.cert and tls.key belong together"),
        (true, None, None) if tls.domains.is_empty() => Err("tls.acme needs tls.domains"),
        (true, None, None) => Ok(Some(TlsOptions::Acme(AcmeOptions {
            domains: tls.domains.clone(),
            mail: tls.mail.clone(),
            directory: tls.acme_directory.clone(),
            roots: path(&tls.acme_ca_file),
            folder: config.data.join(TLS),
        }))),
        (true, ..) => Err("either tls.acme or tls.cert, not both"),
    }
}

/// The bucket that new blobs go to, if it is one.
///
/// # Errors
/// When the file with the secret cannot be read.
pub fn bucket(config: &Config) -> Result<Option<S3Options>, NodeError> {
    let blobs = &config.blobs;
    if blobs.backend == BlobBackend::Disk {
        return Ok(None);
    }
    let secret = if blobs.s3_secret_key_file.is_empty() {
        Zeroizing::new(blobs.s3_secret_key.clone())
    } else {
        let path = PathBuf::from(&blobs.s3_secret_key_file);
        let text = std::fs::read_to_string(&path).map(Zeroizing::new);
        let text = text.map_err(|source| NodeError::File { path, source })?;
        Zeroizing::new(text.trim().to_owned())
    };
    Ok(Some(S3Options {
        bucket: blobs.s3_bucket.clone(),
        region: blobs.s3_region.clone(),
        endpoint: blobs.s3_endpoint.clone(),
        access_key: blobs.s3_access_key.clone(),
        secret_key: Arc::new(secret),
        path_style: blobs.s3_path_style,
        prefix: blobs.s3_prefix.clone(),
    }))
}

/// Configuration of the AT Protocol server.
pub fn server(config: &Config) -> ues_atproto::Config {
    let text = |value: &String| Some(value.clone()).filter(|v| !v.is_empty());
    let mut server = ues_atproto::Config {
        public_url: public_url(config),
        handle_domains: config.handle_domains.clone(),
        invite_required: config.invite_required,
        invite_interval_days: config.invite_interval_days,
        mail: ues_atproto::MailConfig {
            smtp_url: text(&config.mail.smtp_url),
            from: text(&config.mail.from),
        },
        accept_imports: config.accept_imports,
        privacy_policy_url: text(&config.privacy_policy_url),
        terms_of_service_url: text(&config.terms_of_service_url),
        contact_email: text(&config.contact_email),
        plc: match &config.identity.directory {
            Directory::Embedded => ues_atproto::PlcMode::Embedded,
            Directory::Url(url) => ues_atproto::PlcMode::Url(url.clone()),
        },
        ..ues_atproto::Config::default()
    };
    server.dns_servers = config.identity.dns_servers.clone();
    server.firehose.relays = config.firehose.relays.clone();
    server.appview =
        service(&config.appview.url, &config.appview.did).map(|service| ues_atproto::AppView {
            service,
            cdn_url_pattern: text(&config.appview.cdn_url),
        });
    server.moderation = service(&config.moderation.url, &config.moderation.did);
    server.report_service = service(&config.reports.url, &config.reports.did);
    server.labeler = text(&config.labels.did);
    server.proxy.allow_private_addresses = config.proxy.allow_private_addresses;
    server.rate_limits.enabled = config.rate_limits.enabled;
    server.rate_limits.bypass_ips = config.rate_limits.trusted_ips.clone();
    server.quotas = ues_atproto::Quotas {
        blob_bytes: Some(config.quota.blob_bytes),
        records: Some(config.quota.records),
        record_bytes: Some(config.quota.record_bytes),
    };
    server.sizes.blob = config.limits.blob_bytes;
    server.sizes.import = config.limits.import_bytes;
    server.connections.max = config.limits.connections as usize;
    server.connections.per_client = config.limits.connections_per_client as usize;
    server.connections.shutdown_grace_s = config.limits.stop_seconds.into();
    server.firehose.ring_bytes = usize::try_from(config.limits.stream_bytes).unwrap_or(usize::MAX);
    server.firehose.backfill_limit_s = config.firehose.backfill_limit_seconds;
    server.upkeep.event_days = config.firehose.keep_days;
    server.upkeep.events = config.firehose.keep_events;
    server.upkeep.temporary_blob_hours = config.blobs.temporary_hours;
    server.firehose.max_subscribers = config.limits.subscribers as usize;
    server
}

/// A service whose address is set.
fn service(url: &str, did: &str) -> Option<ues_atproto::ServiceAddress> {
    let did = Some(did).filter(|did| !did.is_empty());
    (!url.is_empty()).then(|| ues_atproto::ServiceAddress::new(url, did))
}

/// Where clients reach the node: what the configuration says, else its first domain by TLS, else localhost.
pub fn public_url(config: &Config) -> String {
    match config.tls.domains.first() {
        _ if !config.public_url.is_empty() => config.public_url.clone(),
        Some(domain) if config.tls.is_on() => match config.tls.listen.port() {
            443 => format!("https://{domain}"),
            port => format!("https://{domain}:{port}"),
        },
        _ => format!("http://localhost:{}", config.listen.port()),
    }
}
