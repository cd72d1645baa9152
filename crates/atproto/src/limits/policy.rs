//! Which limits apply to which request, and the headers that tell a client.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::RateLimits;
use crate::xrpc::XrpcError;

use super::window::{Limit, Standing, Windows};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// All requests of one address, but for `sync.getRepo`.
pub const GLOBAL_IP: Limit = Limit {
    id: 0,
    points: 3000,
    window: MINUTE.saturating_mul(5),
};
/// Points of record writes of one account: creations 3, puts and updates 2, deletions 1.
pub const WRITES_HOUR: Limit = Limit {
    id: 1,
    points: 5000,
    window: HOUR,
};
/// The same in a day.
pub const WRITES_DAY: Limit = Limit {
    id: 2,
    points: 35_000,
    window: DAY,
};
/// `createAccount` by address.
pub const CREATE_ACCOUNT: Limit = Limit {
    id: 3,
    points: 100,
    window: MINUTE.saturating_mul(5),
};
/// `createSession` by identifier and address.
pub const CREATE_SESSION_DAY: Limit = Limit {
    id: 4,
    points: 300,
    window: DAY,
};
/// The same, for bursts.
pub const CREATE_SESSION: Limit = Limit {
    id: 5,
    points: 30,
    window: MINUTE.saturating_mul(5),
};
/// `uploadBlob` by address.
pub const UPLOAD_BLOB: Limit = Limit {
    id: 6,
    points: 1000,
    window: DAY,
};
/// `sync.getRepo` by address.
pub const GET_REPO: Limit = Limit {
    id: 7,
    points: 6000,
    window: MINUTE.saturating_mul(5),
};
/// `updateHandle` by account.
pub const UPDATE_HANDLE: Limit = Limit {
    id: 8,
    points: 10,
    window: MINUTE.saturating_mul(5),
};
/// The same in a day.
pub const UPDATE_HANDLE_DAY: Limit = Limit {
    id: 9,
    points: 50,
    window: DAY,
};

/// A letter to an account's owner, by what it is for.
pub const REQUEST_MAIL: Limit = Limit {
    id: 20,
    points: 5,
    window: HOUR,
};
/// The same in a day.
pub const REQUEST_MAIL_DAY: Limit = Limit {
    id: 21,
    points: 15,
    window: DAY,
};
/// `requestPasswordReset` by address.
pub const REQUEST_RESET: Limit = Limit {
    id: 22,
    points: 15,
    window: HOUR,
};
/// The same in a day.
pub const REQUEST_RESET_DAY: Limit = Limit {
    id: 23,
    points: 50,
    window: DAY,
};
/// `resetPassword` by address.
pub const RESET_PASSWORD: Limit = Limit {
    id: 24,
    points: 50,
    window: MINUTE.saturating_mul(5),
};
/// `deleteAccount` by address.
pub const DELETE_ACCOUNT: Limit = Limit {
    id: 25,
    points: 50,
    window: MINUTE.saturating_mul(5),
};
/// `reserveSigningKey` by address.
pub const RESERVE_KEY: Limit = Limit {
    id: 26,
    points: 100,
    window: MINUTE.saturating_mul(5),
};
/// Second factors asked for or tried, by account, wherever from.
pub const SECOND_FACTOR: Limit = Limit {
    id: 28,
    points: 20,
    window: MINUTE.saturating_mul(5),
};
/// Challenges for passkeys, by address.
pub const PASSKEY: Limit = Limit {
    id: 29,
    points: 60,
    window: MINUTE.saturating_mul(5),
};
/// `createReport` by account.
pub const CREATE_REPORT: Limit = Limit {
    id: 27,
    points: 100,
    window: HOUR,
};
/// `refreshIdentity` by address: each one asks other servers.
pub const REFRESH_IDENTITY: Limit = Limit {
    id: 40,
    points: 100,
    window: MINUTE.saturating_mul(5),
};

/// The node's rate limiter.
pub struct Limiter {
    config: RateLimits,
    windows: Windows,
}

impl Limiter {
    /// A limiter with nothing counted yet.
    pub fn new(config: RateLimits) -> Self {
        Self {
            config,
            windows: Windows::default(),
        }
    }

    /// Whether this request is counted at all.
    pub fn applies(&self, headers: &HeaderMap, address: std::net::IpAddr) -> bool {
        if !self.config.enabled || self.config.bypass_ips.contains(&address) {
            return false;
        }
        match &self.config.bypass_key {
            Some(key) => headers
                .get("x-ratelimit-bypass")
                .is_none_or(|v| v != key.as_str()),
            None => true,
        }
    }

    /// Addresses whose `x-forwarded-for` is believed.
    pub fn trusted(&self) -> &[std::net::IpAddr] {
        &self.config.bypass_ips
    }

    /// Counts a request against a limit.
    pub fn consume(&self, limit: Limit, key: &str, points: u32) -> Standing {
        self.windows.consume(limit, key, points, Instant::now())
    }
}

/// The tightest of what one request was counted against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tightest(Option<Standing>);

impl Tightest {
    /// Takes another into account. The first that is exceeded stays.
    pub fn add(&mut self, standing: Standing) {
        let keep = match &self.0 {
            Some(now) => {
                now.exceeded || (!standing.exceeded && now.remaining <= standing.remaining)
            }
            None => false,
        };
        if !keep {
            self.0 = Some(standing);
        }
    }

    /// An error once a limit is exceeded.
    pub fn check(&self) -> Result<(), XrpcError> {
        match &self.0 {
            Some(standing) if standing.exceeded => Err(XrpcError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "RateLimitExceeded",
                "Rate Limit Exceeded",
            )),
            _ => Ok(()),
        }
    }

    /// Writes the `RateLimit-*` headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Some(standing) = &self.0 else { return };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let window = standing.limit.window.as_secs();
        let limit = standing.limit.points;
        headers.insert(
            HeaderName::from_static("ratelimit-limit"),
            HeaderValue::from(limit),
        );
        headers.insert(
            HeaderName::from_static("ratelimit-reset"),
            HeaderValue::from((now + standing.resets_in).as_secs()),
        );
        headers.insert(
            HeaderName::from_static("ratelimit-remaining"),
            HeaderValue::from(standing.remaining),
        );
        if let Ok(policy) = HeaderValue::try_from(format!("{limit};w={window}")) {
            headers.insert(HeaderName::from_static("ratelimit-policy"), policy);
        }
    }
}
