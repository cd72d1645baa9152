//! `com.atproto.repo.importRepo`.

use crate::quota::room_for_records;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError, blocking};

use super::prepare::write_error;

/// The methods of this file.
pub fn methods(limit: u64) -> [Method; 1] {
    [Method::new("com.atproto.repo.importRepo", Auth::Full, import_repo).body_limit(limit)]
}

async fn import_repo(mut call: Call) -> Result<Reply, XrpcError> {
    if !call.ctx.config.accept_imports {
        return Err(XrpcError::invalid("Service is not accepting repo imports"));
    }
    let did = call.did()?.clone();
    let pieces = call
        .stream
        .take()
        .ok_or_else(|| XrpcError::internal("no body"))?;
    let room = room_for_records(&call.ctx, &did)?;
    let (feeder, body) = blocking(pieces);
    let import = call.ctx.repos.import_within(&did, body, room);
    let (fed, imported) = tokio::join!(feeder.run(), import);
    // What went wrong with the body explains what went wrong with the archive.
    fed?;
    imported.map_err(write_error)?;
    Ok(Reply::Empty)
}
