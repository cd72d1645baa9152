//! The methods that the node serves, one file for each group.

mod admin_account;
mod admin_act;
mod admin_invites;
mod admin_key;
mod admin_subject;
mod appview;
mod blob;
mod identity;
mod identity_plc;
mod identity_resolve;
mod import;
mod label;
mod lexicon;
mod mail_tokens;
mod moderation;
mod preferences;
mod prepare;
mod readable;
mod repo_read;
mod repo_write;
mod server;
mod server_account;
mod server_app_password;
mod server_invites;
mod server_life;
mod server_mail;
mod service_auth;
mod sync;
mod sync_hosts;

pub use identity::{change_handle, change_handle_as};
pub use lexicon::published_lexicon;
pub use mail_tokens::{send_token, send_token_as, take_token};
pub use prepare::write_error;
pub use readable::MIRROR_HEADER;
pub use server_mail::{EmailChange, change_email, change_password};

use ues_repo::lexicon::Lexicons;

use crate::config::Config;
use crate::xrpc::{Methods, NoLexicon};

/// All methods of this crate.
pub fn all(config: &Config, lexicons: &Lexicons) -> Result<Methods, NoLexicon> {
    let mut methods = Methods::default();
    let own = server::methods()
        .into_iter()
        .chain(server_account::methods())
        .chain(server_app_password::methods())
        .chain(server_invites::methods())
        .chain(server_life::methods())
        .chain(server_mail::methods())
        .chain(admin_account::methods())
        .chain(admin_invites::methods())
        .chain(admin_subject::methods())
        .chain(admin_key::methods())
        .chain(moderation::methods())
        .chain(identity_plc::methods())
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
        .chain(lexicon::methods())
        .chain(label::methods());
    let of_appview = config.appview.iter().flat_map(|_| appview::methods());
    for method in own.chain(of_appview) {
        methods.add(lexicons, method)?;
    }
    Ok(methods)
}
