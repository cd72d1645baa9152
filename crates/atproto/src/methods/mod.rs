//! The methods that the node serves, one file for each group.

mod appview;
mod blob;
mod identity;
mod identity_resolve;
mod import;
mod lexicon;
mod preferences;
mod prepare;
mod repo_read;
mod repo_write;
mod server;
mod service_auth;
mod sync;
mod sync_hosts;

pub use identity::change_handle;

use ues_repo::lexicon::Lexicons;

use crate::config::Config;
use crate::xrpc::{Methods, NoLexicon};

/// All methods of this crate.
pub fn all(config: &Config, lexicons: &Lexicons) -> Result<Methods, NoLexicon> {
    let mut methods = Methods::default();
    let own = server::methods()
        .into_iter()
        .chain(repo_write::methods(config.sizes.record_json as u64))
        .chain(repo_read::methods())
        .chain(blob::methods(config.sizes.blob))
        .chain(import::methods(config.sizes.import))
        .chain(sync::methods())
        .chain(identity::methods())
        .chain(service_auth::methods())
        .chain(preferences::methods())
        .chain(identity_resolve::methods())
        .chain(sync_hosts::methods())
        .chain(lexicon::methods());
    let of_appview = config.appview.iter().flat_map(|_| appview::methods());
    for method in own.chain(of_appview) {
        methods.add(lexicons, method)?;
    }
    Ok(methods)
}
