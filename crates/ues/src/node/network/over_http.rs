//! `GET /p2p`: peers that come in by HTTP.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, UPGRADE};
use http::{Request, StatusCode, Uri};
use ues_atproto::websocket;
use ues_p2p::http::address;
use ues_p2p::{Multiaddr, OverHttp};

use super::app::Desk;

/// Seconds after which who found no place may come again.
const COME_AGAIN: &str = "30";

/// What a host whose web server is found at a URL says of it.
pub(super) fn settings(public_url: &str) -> OverHttp {
    OverHttp {
        address: address_of(public_url),
    }
}

fn address_of(url: &str) -> Option<Multiaddr> {
    let url: Uri = url.parse().ok()?;
    let tls = match url.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Some(address(url.host()?, port, tls))
}

/// Takes a connection in, if the network runs and there is a place.
pub(super) async fn enter(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let running = desk.network.if_running().await;
    let Some(entrance) = running.and_then(|running| running.network.entrance()) else {
        let text = "the network of peers does not run";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let port = info.map_or(0, |info| info.0.port());
    let client = desk.ctx.client_ip(request.extensions(), request.headers());
    let place = match entrance.place(SocketAddr::new(client, port)) {
        Ok(place) => place,
        Err(full) => {
            let again = [(RETRY_AFTER, COME_AGAIN)];
            return (StatusCode::SERVICE_UNAVAILABLE, again, full.to_string()).into_response();
        }
    };
    let accepted = websocket::accept(request, move |stream| async move { place.enter(stream) });
    accepted.unwrap_or_else(|| {
        let wanted = [(UPGRADE, "websocket")];
        let text = "peers of the network connect here: a WebSocket is expected";
        (StatusCode::UPGRADE_REQUIRED, wanted, text).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_an_address() {
        let of = |url| address_of(url).map(|address| address.to_string());
        for (url, expected) in [
            (
                "https://node.example",
                "/dns/node.example/tcp/443/tls/ws/http-path/p2p",
            ),
            (
                "http://localhost:2583",
                "/dns/localhost/tcp/2583/ws/http-path/p2p",
            ),
            (
                "https://[2001:db8::1]:8443",
                "/ip6/2001:db8::1/tcp/8443/tls/ws/http-path/p2p",
            ),
        ] {
            assert_eq!(of(url).as_deref(), Some(expected));
        }
        assert_eq!(of("node.example"), None);
    }
}
