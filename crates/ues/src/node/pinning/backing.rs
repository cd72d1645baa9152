//! What the pin service of this process stands on: the state store, the owners and their keys, and the bus.

use std::path::PathBuf;
use std::sync::Arc;

use ues_access::Access;
use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions, NatsBus, NatsOptions, NatsTls};
use ues_pins::Clock;
use ues_pins::metrics::CqlMetrics;
use ues_pins::shard::Shards;
use ues_pins::store::{CqlSettings, CqlStore, EmbeddedStore, StateStore};
use ues_storage::Store;

use super::{PinningError, cannot};
use crate::config::{Config, Datastore, Nats, Pins, Role};

/// Where the state lies, and who may see it.
pub struct State {
    pub store: Arc<dyn StateStore>,
    pub access: Access,
    /// Whether other processes work on the same state.
    pub shared: bool,
    /// Into how many shards all pins are divided.
    pub shards: Shards,
    /// What is measured of the database.
    pub cql: Option<CqlMetrics>,
}

/// Refuses roles that could do nothing with what they would stand on.
///
/// # Errors
/// [`PinningError`], which says what would do.
pub fn check(config: &Config) -> Result<(), PinningError> {
    let pins = &config.pins;
    let has = |role| pins.roles.contains(&role);
    let alone = pins.bus == EMBEDDED;
    let own_state = config.state.datastore == Datastore::Embedded;
    let needs = |what: &str| Err(PinningError(what.to_owned()));
    if pins.roles.is_empty() {
        return Ok(());
    }
    if alone && !(has(Role::Planner) && has(Role::Worker)) {
        return needs(
            "roles that run in different processes meet on a bus: pins.bus = \"nats://HOST:4222\"",
        );
    }
    if own_state && has(Role::Api) != has(Role::Planner) {
        return needs(
            "API and planner in different processes share their state: state.datastore = \"scylladb\"",
        );
    }
    Ok(())
}

/// The word for what is part of the process.
const EMBEDDED: &str = "embedded";

/// Opens the bus.
///
/// # Errors
/// [`PinningError`].
pub async fn bus(store: &Store, config: &Config) -> Result<Arc<dyn Bus>, PinningError> {
    let address = &config.pins.bus;
    if address == EMBEDDED {
        return Ok(EmbeddedBus::open(store.clone(), EmbeddedOptions::default()).map_err(cannot)?);
    }
    let options = nats_options(address, &config.nats)?;
    Ok(NatsBus::connect(options).await.map_err(cannot)?)
}

/// How the NATS servers with these addresses are reached. Of two settings that go together, one alone is a mistake.
fn nats_options(addresses: &str, nats: &Nats) -> Result<NatsOptions, PinningError> {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let pair = |first: &str, second: &str, names: &str| match (said(first), said(second)) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        _ => Err(PinningError(format!(
            "{names} go together: one of them is missing"
        ))),
    };
    let user = pair(
        &nats.username,
        &nats.password,
        "nats.username and nats.password",
    )?;
    let client = pair(
        &nats.tls_cert_file,
        &nats.tls_key_file,
        "nats.tls_cert_file and nats.tls_key_file",
    )?;
    if ![1, 3, 5].contains(&nats.replicas) {
        return Err(PinningError(format!(
            "nats.replicas: 1, 3 or 5 expected, found {}",
            nats.replicas
        )));
    }
    Ok(NatsOptions {
        urls: addresses
            .split(',')
            .map(|url| url.trim().to_owned())
            .collect(),
        user,
        token: said(&nats.token),
        credentials: said(&nats.credentials_file).map(PathBuf::from),
        tls: NatsTls {
            required: nats.tls_required,
            ca: said(&nats.tls_ca_file).map(PathBuf::from),
            client: client.map(|(cert, key)| (PathBuf::from(cert), PathBuf::from(key))),
        },
        replicas: nats.replicas,
        prefix: said(&nats.prefix),
        ..NatsOptions::default()
    })
}

/// Opens the state store, and owners and keys beside it.
///
/// # Errors
/// [`PinningError`].
pub async fn state(store: &Store, config: &Config) -> Result<State, PinningError> {
    match config.state.datastore {
        Datastore::Embedded => {
            let state = EmbeddedStore::open(store.clone()).map_err(cannot)?;
            Ok(State {
                shards: shards(&state, &config.pins).await?,
                store: Arc::new(state),
                access: Access::open(store).await.map_err(cannot)?,
                shared: false,
                cql: None,
            })
        }
        Datastore::Scylladb => {
            let settings = cql_settings(&config.state.scylladb)?;
            let store = CqlStore::connect(settings, Clock::default()).await;
            let store = store.map_err(cannot)?;
            let access = Access::shared(Box::new(store.clone())).await;
            Ok(State {
                shards: shards(&store, &config.pins).await?,
                cql: store.metrics().cloned(),
                store: Arc::new(store),
                access: access.map_err(cannot)?,
                shared: true,
            })
        }
    }
}

/// Into how many shards the pins are divided: as the settings say, else as the state says.
async fn shards(store: &dyn StateStore, pins: &Pins) -> Result<Shards, PinningError> {
    let wanted = Shards::new(pins.shards);
    if wanted.is_none() && pins.shards != 0 {
        return Err(PinningError(format!(
            "pins.shards: up to {} expected, found {}",
            Shards::MAX,
            pins.shards
        )));
    }
    Shards::agreed(store, wanted).await.map_err(cannot)
}

/// The settings of the database; an empty text is one that was not given.
fn cql_settings(section: &serde_json::Value) -> Result<CqlSettings, PinningError> {
    let mut section = section.clone();
    if let Some(entries) = section.as_object_mut() {
        entries.retain(|_, value| value.as_str() != Some(""));
    }
    serde_json::from_value(section).map_err(|e| PinningError(format!("state.scylladb: {e}")))
}
