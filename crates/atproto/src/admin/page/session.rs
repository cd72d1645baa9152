//! Who is signed in to the page: in memory only, for a short time, and gone with the process.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use ues_oauth::{hash_secret, secret_matches};

use crate::web::{fresh_secret, secret_of};

const COOKIE: &str = "ues-admin";
const MINUTE_MS: u64 = 60_000;
/// For how long somebody stays signed in who does nothing.
const IDLE_MS: u64 = 30 * MINUTE_MS;
/// For how long somebody stays signed in at all.
const LONGEST_MS: u64 = 8 * 60 * MINUTE_MS;
/// Most browsers that are signed in at one time; the one that was idle longest goes.
const MAX_SESSIONS: usize = 64;

/// What the next page says of what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it was done.
    pub good: bool,
    /// In words.
    pub text: String,
}

struct Row {
    name: &'static str,
    since_ms: u64,
    used_ms: u64,
    notice: Option<Notice>,
}

impl Row {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.used_ms.saturating_add(IDLE_MS)
            || now_ms >= self.since_ms.saturating_add(LONGEST_MS)
    }
}

/// The browsers that are signed in, by the hash of the secret in their cookie.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Row>>);

/// A browser that makes a request.
pub struct Visitor {
    secret: String,
    /// Whether the cookie still has to be set.
    fresh: bool,
    /// Who is signed in.
    pub name: Option<&'static str>,
}

impl Sessions {
    /// The browser that makes a request; one that has no cookie gets one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn visitor(&self, headers: &HeaderMap, now_ms: u64) -> Result<Visitor, getrandom::Error> {
        let Some(secret) = secret_of(headers, COOKIE) else {
            return Ok(Visitor {
                secret: fresh_secret()?,
                fresh: true,
                name: None,
            });
        };
        let mut rows = self.0.lock();
        rows.retain(|_, row| !row.is_over(now_ms));
        let row = rows.get_mut(&hash_secret(secret));
        let name = row.map(|row| {
            row.used_ms = now_ms;
            row.name
        });
        Ok(Visitor {
            secret: secret.to_owned(),
            fresh: false,
            name,
        })
    }

    /// Signs somebody in. The browser gets another secret, so that who knew the old one gains nothing.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn sign_in(
        &self,
        visitor: &mut Visitor,
        name: &'static str,
        now_ms: u64,
    ) -> Result<(), getrandom::Error> {
        let secret = fresh_secret()?;
        let mut rows = self.0.lock();
        rows.remove(&visitor.hash());
        if rows.len() >= MAX_SESSIONS {
            let idle = rows.iter().min_by_key(|(_, row)| row.used_ms);
            if let Some(hash) = idle.map(|(hash, _)| hash.clone()) {
                rows.remove(&hash);
            }
        }
        *visitor = Visitor {
            secret,
            fresh: true,
            name: Some(name),
        };
        let row = Row {
            name,
            since_ms: now_ms,
            used_ms: now_ms,
            notice: None,
        };
        rows.insert(visitor.hash(), row);
        Ok(())
    }

    /// Signs a browser out.
    pub fn sign_out(&self, visitor: &mut Visitor) {
        self.0.lock().remove(&visitor.hash());
        visitor.name = None;
    }

    /// Leaves word for the next page.
    pub fn leave(&self, visitor: &Visitor, notice: Notice) {
        if let Some(row) = self.0.lock().get_mut(&visitor.hash()) {
            row.notice = Some(notice);
        }
    }

    /// What was left, once.
    pub fn take(&self, visitor: &Visitor) -> Option<Notice> {
        self.0.lock().get_mut(&visitor.hash())?.notice.take()
    }
}

impl Visitor {
    fn hash(&self) -> String {
        hash_secret(&self.secret)
    }

    /// What its forms must carry, so that no other page can send them.
    pub fn form_token(&self) -> String {
        hash_secret(&format!("admin form\n{}", self.secret))
    }

    /// Whether a form is one of this browser's.
    pub fn is_form_token(&self, token: Option<&str>) -> bool {
        !self.fresh && token.is_some_and(|token| secret_matches(token, &self.form_token()))
    }

    /// The cookie to set, if it has to be.
    pub fn cookie(&self, secure: bool) -> Option<HeaderValue> {
        if !self.fresh {
            return None;
        }
        let secure = if secure { "; Secure" } else { "" };
        let age = LONGEST_MS / 1000;
        let text = format!(
            "{COOKIE}={}; Path=/admin; HttpOnly; SameSite=Strict; Max-Age={age}{secure}",
            self.secret
        );
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(visitor: &Visitor) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("other=1; {COOKIE}={}", visitor.secret);
        headers.insert(http::header::COOKIE, value.parse().unwrap());
        headers
    }

    #[test]
    fn sessions_end_by_themselves() {
        let sessions = Sessions::default();
        let name_at = |visitor: &Visitor, now_ms| {
            let seen = sessions.visitor(&headers(visitor), now_ms).unwrap();
            seen.name
        };
        let mut visitor = sessions.visitor(&HeaderMap::new(), 0).unwrap();
        let before = visitor.secret.clone();
        sessions.sign_in(&mut visitor, "admin", 0).unwrap();
        assert_ne!(visitor.secret, before);
        assert_eq!(name_at(&visitor, IDLE_MS - 1), Some("admin"));
        assert_eq!(name_at(&visitor, 2 * IDLE_MS - 2), Some("admin"));
        assert_eq!(name_at(&visitor, 3 * IDLE_MS), None);

        sessions.sign_in(&mut visitor, "admin", 0).unwrap();
        let mut now_ms = 0;
        while name_at(&visitor, now_ms).is_some() {
            now_ms += IDLE_MS / 2;
        }
        assert_eq!(now_ms, LONGEST_MS);
    }

    #[test]
    fn there_are_only_so_many() {
        let sessions = Sessions::default();
        let mut first = None;
        for now_ms in 0..=MAX_SESSIONS as u64 {
            let mut visitor = sessions.visitor(&HeaderMap::new(), now_ms).unwrap();
            sessions.sign_in(&mut visitor, "admin", now_ms).unwrap();
            first.get_or_insert(visitor);
        }
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
        let first = sessions.visitor(&headers(&first.unwrap()), 1).unwrap();
        assert_eq!(first.name, None);
    }

    #[test]
    fn forms_belong_to_a_browser() {
        let sessions = Sessions::default();
        let a = sessions.visitor(&HeaderMap::new(), 0).unwrap();
        assert!(
            !a.is_form_token(Some(&a.form_token())),
            "it has no cookie yet"
        );
        let back = sessions.visitor(&headers(&a), 0).unwrap();
        assert!(back.is_form_token(Some(&a.form_token())));
        assert!(!back.is_form_token(None));
        let b = sessions.visitor(&HeaderMap::new(), 0).unwrap();
        assert!(!back.is_form_token(Some(&b.form_token())));
    }
}
