//! The table of all settings: name, kind, default and meaning of each.

mod limits;
mod network;
mod node;
mod pins;
mod state;

use super::setting::Setting;

const GROUPS: [&[Setting]; 5] = [
    node::SETTINGS,
    pins::SETTINGS,
    network::SETTINGS,
    state::SETTINGS,
    limits::SETTINGS,
];

/// All settings, in the order in which `ues config show` and `ues config init` list them.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.into_iter().flatten()
}
