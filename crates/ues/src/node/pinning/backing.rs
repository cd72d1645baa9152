//! What the pin service of this process stands on: the state store, the owners and their keys, and the bus.

use std::sync::Arc;

use ues_access::Access;
use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions, NatsBus, NatsOptions};
use ues_pins::store::{EmbeddedStore, StateStore};
use ues_storage::Store;

use super::{PinningError, cannot};
use crate::config::{Config, Datastore, Pins, Role};

/// Where the state lies, and who may see it.
pub struct State {
    pub store: Arc<dyn StateStore>,
    pub access: Access,
    /// Whether other processes work on the same state.
    pub shared: bool,
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
pub async fn bus(store: &Store, pins: &Pins) -> Result<Arc<dyn Bus>, PinningError> {
    if pins.bus == EMBEDDED {
        return Ok(EmbeddedBus::open(store.clone(), EmbeddedOptions::default()).map_err(cannot)?);
    }
    let options = NatsOptions {
        urls: pins.bus.split(',').map(str::to_owned).collect(),
        ..NatsOptions::default()
    };
    Ok(NatsBus::connect(options).await.map_err(cannot)?)
}

/// Opens the state store, and owners and keys beside it.
///
/// # Errors
/// [`PinningError`].
pub async fn state(store: &Store, config: &Config) -> Result<State, PinningError> {
    match config.state.datastore {
        Datastore::Embedded => Ok(State {
            store: Arc::new(EmbeddedStore::open(store.clone()).map_err(cannot)?),
            access: Access::open(store).await.map_err(cannot)?,
            shared: false,
        }),
        Datastore::Scylladb => Err(PinningError("not yet".to_owned())),
    }
}
