//! The methods that the node serves, one file for each group.

mod blob;
mod identity;
mod import;
mod prepare;
mod repo_read;
mod repo_write;
mod server;
mod sync;

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
        .chain(identity::methods());
    for method in own {
        methods.add(lexicons, method)?;
    }
    Ok(methods)
}
