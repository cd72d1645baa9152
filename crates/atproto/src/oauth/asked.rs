//! What a browser sends: the query of a page, or a form.

use std::net::IpAddr;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, header};
use ues_oauth::{OAuthError, form_pairs};

use crate::context::Context;
use crate::limits;

const MAX_FORM: usize = 16 << 10;

/// A form or a query, and from where it came.
pub struct Asked {
    pub pairs: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub client: IpAddr,
}

impl Asked {
    pub fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// Reads the query of a page.
    pub fn query(ctx: &Context, request: &Request<Body>) -> Result<Self, OAuthError> {
        let client = limits::client_ip(
            request.extensions(),
            request.headers(),
            ctx.limiter.trusted(),
        );
        Ok(Self {
            pairs: form_pairs(request.uri().query().unwrap_or_default().as_bytes())?,
            headers: request.headers().clone(),
            client,
        })
    }

    /// Reads a form. Browsers say where a form comes from: only our own pages may send one.
    pub async fn form(ctx: &Context, request: Request<Body>) -> Result<Self, OAuthError> {
        let asked = Self::body(ctx, request).await?;
        let origin = asked.header(header::ORIGIN);
        if asked.is_cross_site() || origin.is_some_and(|o| o != ctx.config.endpoint()) {
            return Err(OAuthError::request(
                "this form was not sent by a page of this server",
            ));
        }
        Ok(asked)
    }

    /// Whether a browser says that another site has it make the request.
    pub fn is_cross_site(&self) -> bool {
        let site = self.header(header::HeaderName::from_static("sec-fetch-site"));
        site.is_some_and(|site| site != "same-origin")
    }

    /// A header, if it is text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Reads a form, wherever it comes from.
    pub async fn body(ctx: &Context, request: Request<Body>) -> Result<Self, OAuthError> {
        let client = limits::client_ip(
            request.extensions(),
            request.headers(),
            ctx.limiter.trusted(),
        );
        let (parts, body) = request.into_parts();
        let patience = ctx.config.connections.body_timeout();
        let body = tokio::time::timeout(patience, to_bytes(body, MAX_FORM)).await;
        let body = body.map_err(|_| OAuthError::request("the form did not come in time"))?;
        let body = body.map_err(|_| OAuthError::request("the form is too long"))?;
        Ok(Self {
            pairs: form_pairs(&body)?,
            headers: parts.headers,
            client,
        })
    }
}
