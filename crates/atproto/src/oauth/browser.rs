//! Who is signed in to the pages of this node, in which browser.

use http::{HeaderMap, HeaderValue};
use ues_oauth::{OAuthError, hash_secret, secret_matches};
use ues_repo::syntax::Did;
use ues_storage::Batch;

use super::rows::{BrowserRow, Kind, SignedIn};
use super::{OAuth, fresh_secret, server_error};
use crate::web::secret_of;

const COOKIE: &str = "ues-browser";
const DAY_MS: u64 = 86_400_000;
/// For how long somebody stays signed in.
const SIGNED_IN_MS: u64 = 30 * DAY_MS;
/// For how long a right password waits for the code that has to follow.
const HALF_WAY_MS: u64 = 600_000;
/// Accounts in one browser.
const MAX_ACCOUNTS: usize = 16;

/// A browser, by the secret in its cookie.
pub struct Browser {
    secret: String,
    /// Whether the cookie still has to be set.
    fresh: bool,
    accounts: Vec<SignedIn>,
}

impl OAuth {
    /// The browser that makes a request; one that has no cookie gets one.
    pub(super) fn browser(&self, headers: &HeaderMap) -> Result<Browser, OAuthError> {
        let known = secret_of(headers, COOKIE).map(|secret| {
            let row: Option<BrowserRow> = self
                .rows
                .get(Kind::Browser, &hash_secret(secret))
                .map_err(server_error)?;
            let mut accounts = row.unwrap_or_default().accounts;
            for account in std::mem::take(&mut accounts) {
                if self
                    .ended_ms(&account.did)?
                    .is_none_or(|ended| account.at_ms > ended)
                {
                    accounts.push(account);
                }
            }
            Ok::<_, OAuthError>(Browser {
                secret: secret.to_owned(),
                fresh: false,
                accounts,
            })
        });
        match known {
            Some(browser) => browser,
            None => Ok(Browser {
                secret: fresh_secret()?,
                fresh: true,
                accounts: Vec::new(),
            }),
        }
    }

    /// When all sign-ins of an account ended.
    fn ended_ms(&self, did: &str) -> Result<Option<u64>, OAuthError> {
        self.rows.get(Kind::Ended, did).map_err(server_error)
    }

    /// Ends the sign-ins of an account in all browsers; goes into `batch`.
    pub fn end_browsers(&self, batch: &mut Batch, did: &Did, now_ms: u64) {
        let until = now_ms + SIGNED_IN_MS;
        self.rows
            .put(batch, Kind::Ended, did.as_str(), &now_ms, until);
    }

    /// Notes who brought the right password in a browser, until they bring a code too.
    pub(super) async fn put_half_way(
        &self,
        browser: &Browser,
        did: &Did,
        now_ms: u64,
    ) -> Result<(), OAuthError> {
        let mut batch = self.store.batch();
        let until = now_ms + HALF_WAY_MS;
        let row = SignedIn {
            did: did.to_string(),
            at_ms: now_ms,
        };
        self.rows
            .put(&mut batch, Kind::HalfWay, &browser.hash(), &row, until);
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }

    /// Who brought the right password in a browser, and owes the code.
    pub(super) fn half_way(&self, browser: &Browser) -> Result<Option<Did>, OAuthError> {
        let row: Option<SignedIn> = self
            .rows
            .get(Kind::HalfWay, &browser.hash())
            .map_err(server_error)?;
        let Some(row) = row else { return Ok(None) };
        let ended = self.ended_ms(&row.did)?;
        let did = Did::parse(&row.did).ok();
        Ok(did.filter(|_| ended.is_none_or(|ended| row.at_ms > ended)))
    }

    /// Signs an account in. The browser gets another secret, so that who knew the old one gains nothing.
    pub(super) async fn sign_in(
        &self,
        browser: &mut Browser,
        did: &Did,
        now_ms: u64,
    ) -> Result<(), OAuthError> {
        browser.accounts.retain(|a| a.did != did.as_str());
        browser.accounts.insert(
            0,
            SignedIn {
                did: did.to_string(),
                // Later than the end of all others, be it in the same millisecond.
                at_ms: self
                    .ended_ms(did.as_str())?
                    .map_or(now_ms, |ended| now_ms.max(ended + 1)),
            },
        );
        browser.accounts.truncate(MAX_ACCOUNTS);
        let mut batch = self.store.batch();
        self.rows.delete(&mut batch, Kind::Browser, &browser.hash());
        self.rows.delete(&mut batch, Kind::HalfWay, &browser.hash());
        browser.secret = fresh_secret()?;
        browser.fresh = true;
        let row = BrowserRow {
            accounts: browser.accounts.clone(),
        };
        self.rows.put(
            &mut batch,
            Kind::Browser,
            &browser.hash(),
            &row,
            now_ms + SIGNED_IN_MS,
        );
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }

    /// Signs an account out.
    pub(super) async fn sign_out(
        &self,
        browser: &mut Browser,
        did: &str,
        now_ms: u64,
    ) -> Result<(), OAuthError> {
        browser.accounts.retain(|a| a.did != did);
        let row = BrowserRow {
            accounts: browser.accounts.clone(),
        };
        let mut batch = self.store.batch();
        if row.accounts.is_empty() {
            self.rows.delete(&mut batch, Kind::Browser, &browser.hash());
        } else {
            self.rows.put(
                &mut batch,
                Kind::Browser,
                &browser.hash(),
                &row,
                now_ms + SIGNED_IN_MS,
            );
        }
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }
}

impl Browser {
    /// What it is called in rows.
    pub fn hash(&self) -> String {
        hash_secret(&self.secret)
    }

    /// What its forms must carry, so that no other page can send them.
    pub fn form_token(&self) -> String {
        hash_secret(&format!("form\n{}", self.secret))
    }

    /// Whether a form is one of this browser's.
    pub fn is_form_token(&self, token: Option<&str>) -> bool {
        !self.fresh && token.is_some_and(|token| secret_matches(token, &self.form_token()))
    }

    /// The accounts that are signed in, the latest first.
    pub fn accounts(&self) -> &[SignedIn] {
        &self.accounts
    }

    /// When an account signed in.
    pub fn since(&self, did: &str) -> Option<u64> {
        let account = self.accounts.iter().find(|a| a.did == did);
        account.map(|a| a.at_ms)
    }

    /// The cookie to set, if it has to be.
    pub fn cookie(&self, issuer: &str) -> Option<HeaderValue> {
        if !self.fresh {
            return None;
        }
        let secure = if issuer.starts_with("https://") {
            "; Secure"
        } else {
            ""
        };
        let age = SIGNED_IN_MS / 1000;
        let secret = &self.secret;
        let text =
            format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
        HeaderValue::from_str(&text).ok()
    }
}
