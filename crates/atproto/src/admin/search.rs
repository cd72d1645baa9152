//! Finding accounts.

use std::sync::Arc;

use crate::accounts::{Account, AccountError};
use crate::context::Context;
use crate::xrpc::XrpcError;

/// Accounts that are read at one time.
const PAGE: usize = 1000;

/// Whether an account has a text in its handle, its DID or its e-mail address, in whatever case.
pub fn is_like(text: &str) -> impl Fn(&Account) -> bool + Send + use<> {
    let part = text.trim_start_matches('@').to_lowercase();
    move |account| {
        account.handle.as_str().contains(&part)
            || account.did.as_str().to_lowercase().contains(&part)
            || account
                .email
                .as_deref()
                .is_some_and(|email| email.contains(&part))
    }
}

/// The accounts after a DID, in the order of their DIDs, that were not deleted and that `fits`; at most `limit`.
/// Reads all accounts on the way.
///
/// # Errors
/// When accounts cannot be read.
pub async fn find_accounts(
    ctx: &Context,
    after: Option<String>,
    limit: usize,
    fits: impl Fn(&Account) -> bool + Send + 'static,
) -> Result<Vec<Arc<Account>>, XrpcError> {
    let (ctx, mut after) = (ctx.clone(), after);
    let found = tokio::task::spawn_blocking(move || {
        let mut found: Vec<Arc<Account>> = Vec::new();
        loop {
            let page = ctx.accounts.page(after.as_deref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok::<_, AccountError>(found);
            };
            after = Some(last.did.to_string());
            for account in page {
                if !account.is_deleted() && fits(&account) {
                    found.push(account);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    });
    let found = found.await.map_err(XrpcError::internal)?;
    found.map_err(XrpcError::internal)
}
