//! Connections: HTTP/1.1 and HTTP/2, with TLS or without, patience with slow clients, a stop that lets
//! requests end.

mod arriving;
mod closing;
mod room;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::Service;

use crate::config::Config;
use crate::limits;
use crate::tls::Tls;
use crate::xrpc::XrpcError;

pub(crate) use self::arriving::is_too_slow;
use self::arriving::{Arriving, Pace, leaving};
use self::closing::Closing;
pub(crate) use self::room::Exchange;
use self::room::{Room, Seat};

/// Pause after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where clients come in, and what they find.
pub struct Door {
    /// Where.
    pub listener: TcpListener,
    /// With TLS, or without.
    pub tls: Option<Tls>,
    /// What.
    pub router: Router,
}

/// What all connections have in common.
#[derive(Clone)]
struct House {
    server: Builder<TokioExecutor>,
    room: Arc<Room>,
    /// Who is believed about whom they come for.
    trusted: Arc<[IpAddr]>,
    patience: Duration,
    pace: Pace,
}

/// Serves until `shutdown` completes; then no connection is accepted any more, requests in
/// flight end, and `before_drain` has told those who stay connected for long.
pub async fn serve(
    doors: Vec<Door>,
    config: &Config,
    shutdown: impl Future<Output = ()>,
    before_drain: impl FnOnce(),
) -> io::Result<()> {
    let (config, trusted) = (&config.connections, &config.rate_limits.bypass_ips);
    let graceful = GracefulShutdown::new();
    let house = House {
        server: builder(config),
        room: Room::new(config.max, config.per_client, trusted.clone()),
        trusted: trusted.as_slice().into(),
        patience: config.header_timeout(),
        pace: Pace {
            idle: config.body_idle_timeout(),
            span: Duration::from_secs(config.body_span_s),
            bytes: config.body_span_s.saturating_mul(config.body_bytes_per_s),
        },
    };
    let doors = doors
        .into_iter()
        .map(|door| accept(door, house.clone(), &graceful));
    tokio::select! {
        () = shutdown => {}
        // No door is left on its own.
        _ = futures::future::join_all(doors) => {}
    }
    before_drain();
    if tokio::time::timeout(config.shutdown_grace(), graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

/// Accepts connections for ever.
async fn accept(door: Door, house: House, graceful: &GracefulShutdown) {
    let Door {
        listener,
        tls,
        router,
    } = door;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                tracing::warn!(%cause, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Others wait in the system's queue meanwhile, if all who are in have work.
        let Some(seat) = house.room.enter_when_possible(peer.ip()).await else {
            tracing::debug!(%peer, "a client has too many connections");
            continue;
        };
        let seat = Arc::new(seat);
        // Answers are small; waiting for more to send only makes them late.
        let _ = stream.set_nodelay(true);
        let (house, watcher, router) = (house.clone(), graceful.watcher(), router.clone());
        let tls = tls.clone();
        tokio::spawn(async move {
            let served = async {
                match tls {
                    None => serve_one(&house, watcher, stream, peer, router, &seat).await,
                    Some(tls) => match tls.accept(stream, house.patience).await {
                        Ok(Some(stream)) => {
                            serve_one(&house, watcher, stream, peer, router, &seat).await;
                        }
                        Ok(None) => {}
                        Err(cause) => tracing::debug!(%peer, %cause, "a TLS handshake failed"),
                    },
                }
            };
            tokio::select! {
                () = served => {}
                () = seat.told_to_go() => tracing::debug!(%peer, "a connection made room"),
            }
        });
    }
}

fn builder(config: &crate::config::Connections) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(128 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(256);
    builder
}

/// One connection, from its first byte to its last.
async fn serve_one(
    house: &House,
    watcher: Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    seat: &Arc<Seat>,
) {
    let (pace, trusted, sitting) = (house.pace, Arc::clone(&house.trusted), Arc::clone(seat));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let from = limits::client_ip(request.extensions(), request.headers(), &trusted);
        let exchange = sitting.exchange(from);
        let mut router = router.clone();
        async move {
            let Some(exchange) = exchange else {
                let refused = XrpcError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "RateLimitExceeded",
                    "Too many requests at one time",
                );
                return Ok::<_, Infallible>(refused.into_response());
            };
            request.extensions_mut().insert(Arc::clone(&exchange));
            let request = request.map(|body| Arriving::body(body, &exchange, pace));
            let response = call(&mut router, request).await;
            Ok(leaving(response, exchange))
        }
    });
    let stream = TokioIo::new(Closing::new(stream));
    let connection = house.server.serve_connection_with_upgrades(stream, service);
    // Until its first line is there, a connection has no clock of its own.
    let silence = async {
        tokio::time::sleep(house.patience).await;
        if seat.has_asked() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = watcher.watch(connection) => {
            if let Err(cause) = served {
                tracing::debug!(%peer, %cause, "a connection broke off");
            }
        }
        () = silence => tracing::debug!(%peer, "a connection asked for nothing"),
    }
}

async fn call(router: &mut Router, request: Request<Body>) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
