//! Rate limits: by address, by account, by method.

mod client;
mod policy;
mod window;

pub use client::{client_ip, limit_key};
pub use policy::{
    CREATE_ACCOUNT, CREATE_SESSION, CREATE_SESSION_DAY, GET_REPO, GLOBAL_IP, Limiter,
    REFRESH_IDENTITY, Tightest, UPDATE_HANDLE, UPDATE_HANDLE_DAY, UPLOAD_BLOB, WRITES_DAY,
    WRITES_HOUR,
};
pub use window::Limit;
