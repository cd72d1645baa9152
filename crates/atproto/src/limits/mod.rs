//! Rate limits: by address, by account, by method.

mod client;
mod policy;
mod window;

pub use client::{client_ip, limit_key, may_be_proxy, network};
pub use policy::{
    CREATE_ACCOUNT, CREATE_REPORT, CREATE_SESSION, CREATE_SESSION_DAY, DELETE_ACCOUNT, GET_REPO,
    GLOBAL_IP, Limiter, PASSKEY, REFRESH_IDENTITY, REQUEST_MAIL, REQUEST_MAIL_DAY, REQUEST_RESET,
    REQUEST_RESET_DAY, RESERVE_KEY, RESET_PASSWORD, SECOND_FACTOR, Tightest, UPDATE_HANDLE,
    UPDATE_HANDLE_DAY, UPLOAD_BLOB, WRITES_DAY, WRITES_HOUR,
};
pub use window::Limit;
