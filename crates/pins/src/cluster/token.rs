//! `POST /token`: a token in exchange for a password.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Desk, Failure};
use crate::auth::Credentials;

/// A token to show as `Authorization: Bearer …`.
#[derive(Serialize)]
pub(super) struct Token {
    token: String,
}

/// `POST /token`
pub(super) async fn issue(
    State(desk): State<Desk>,
    headers: HeaderMap,
) -> Result<Json<Token>, Failure> {
    let shown = Credentials::of(&headers).ok();
    let token = shown
        .filter(|shown| *shown != Credentials::None)
        .and_then(|shown| desk.options.tokens.as_ref()?(&shown));
    match token {
        Some(token) => Ok(Json(Token { token })),
        None => Err(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized")),
    }
}
