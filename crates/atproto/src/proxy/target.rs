//! Where a call that is not served here goes.

use http::HeaderMap;
use reqwest::Url;
use ues_repo::syntax::Did;

use crate::config::ServiceAddress;
use crate::context::Context;
use crate::xrpc::XrpcError;

use super::client::Reach;

/// Longest `atproto-proxy` header that is looked at: a DID of the greatest length and a name.
const MAX_HEADER: usize = 2048 + 256;
const HEADER: &str = "atproto-proxy";

/// A service that a call is passed on to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The service, the audience of tokens for it.
    pub did: String,
    /// Its address; only scheme, host and port count.
    pub url: Url,
    /// Whether the operator or a stranger named the address.
    pub reach: Reach,
}

impl Target {
    /// What the operator configured.
    pub fn configured(service: &ServiceAddress) -> Result<Self, XrpcError> {
        Ok(Self {
            did: service.did.clone(),
            url: service.url.parse().map_err(XrpcError::internal)?,
            reach: Reach::Operator,
        })
    }
}

/// The `DID#service` that a call goes to: what its client asks for, or the one configured for the
/// method.
pub fn proxy_to(ctx: &Context, headers: &HeaderMap, nsid: &str) -> Result<String, XrpcError> {
    if let Some(wanted) = wanted(headers)? {
        return Ok(wanted.to_owned());
    }
    let (service, name) = default_service(ctx, nsid);
    let service = service.ok_or_else(|| none_configured(nsid))?;
    Ok(format!("{}#{name}", service.did))
}

/// Whether a call goes elsewhere although this node could answer it: reports, where the client or the operator
/// named who gets them.
pub fn is_for_others(ctx: &Context, headers: &HeaderMap, nsid: &str) -> bool {
    nsid == "com.atproto.moderation.createReport"
        && (headers.contains_key(HEADER) || ctx.config.report_service.is_some())
}

/// The service that a call goes to.
pub async fn target(ctx: &Context, headers: &HeaderMap, nsid: &str) -> Result<Target, XrpcError> {
    match wanted(headers)? {
        Some(wanted) => parse(ctx, wanted).await,
        None => {
            let (service, _) = default_service(ctx, nsid);
            Target::configured(service.ok_or_else(|| none_configured(nsid))?)
        }
    }
}

/// The service of a DID document by its name.
pub async fn service_of(ctx: &Context, did: &Did, name: &str) -> Result<Target, XrpcError> {
    let document = ctx.identities.did_document(did).await.map_err(|cause| {
        tracing::debug!(%did, %cause, "a service was not resolved");
        XrpcError::invalid("could not resolve proxy did")
    })?;
    let unusable = || XrpcError::invalid("could not resolve proxy did service url");
    let url = document.service_url(name).ok_or_else(unusable)?;
    Ok(Target {
        did: did.to_string(),
        url: url.parse().map_err(|_| unusable())?,
        reach: Reach::Stranger,
    })
}

fn wanted(headers: &HeaderMap) -> Result<Option<&str>, XrpcError> {
    let Some(value) = headers.get(HEADER).filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    if value.len() > MAX_HEADER {
        return Err(XrpcError::invalid("proxy header too long"));
    }
    let text = value
        .to_str()
        .map_err(|_| XrpcError::invalid("invalid proxy header format"))?;
    Ok(Some(text))
}

/// Splits `DID#service`.
fn split(wanted: &str) -> Result<(&str, &str), XrpcError> {
    let (did, name) = wanted.split_once('#').unwrap_or((wanted, ""));
    let problem = if did.is_empty() {
        "no did specified in proxy header"
    } else if name.is_empty() {
        "no service id specified in proxy header"
    } else if name.contains('#') {
        "invalid proxy header format"
    } else if wanted.contains(' ') {
        "proxy header cannot contain spaces"
    } else {
        return Ok((did, name));
    };
    Err(XrpcError::invalid(problem))
}

async fn parse(ctx: &Context, wanted: &str) -> Result<Target, XrpcError> {
    let (did, name) = split(wanted)?;
    if let Some(appview) = &ctx.config.appview
        && did == appview.service.did
        && name == "bsky_appview"
    {
        return Target::configured(&appview.service);
    }
    let did = Did::parse(did).map_err(|_| XrpcError::invalid("could not resolve proxy did"))?;
    service_of(ctx, &did, name).await
}

fn default_service<'a>(ctx: &'a Context, nsid: &str) -> (Option<&'a ServiceAddress>, &'static str) {
    let config = &ctx.config;
    if nsid.starts_with("tools.ozone.") {
        (config.moderation.as_ref(), "atproto_labeler")
    } else if nsid == "com.atproto.moderation.createReport" {
        (config.report_service.as_ref(), "atproto_labeler")
    } else {
        (config.appview.as_ref().map(|a| &a.service), "bsky_appview")
    }
}

fn none_configured(nsid: &str) -> XrpcError {
    let setting = if nsid.starts_with("tools.ozone.") {
        "moderation.url"
    } else if nsid == "com.atproto.moderation.createReport" {
        "reports.url"
    } else {
        "appview.url"
    };
    XrpcError::invalid(format!(
        "No service configured for {nsid}: the operator has not set {setting}, and the request has no {HEADER} header"
    ))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn headers() {
        assert_eq!(split("did:web:a.b#c").unwrap(), ("did:web:a.b", "c"));
        for bad in [
            "",
            "#c",
            "did:web:a.b",
            "did:web:a.b#",
            "a#b#c",
            "did:web:a b#c",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
