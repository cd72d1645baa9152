//! Connections: HTTP/1.1 and HTTP/2, with TLS or without, patience with slow clients, a stop that lets
//! requests end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Service;

use crate::config::Connections;
use crate::tls::Tls;

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

/// Serves until `shutdown` completes; then no connection is accepted any more, requests in
/// flight end, and `before_drain` has told those who stay connected for long.
pub async fn serve(
    doors: Vec<Door>,
    config: &Connections,
    shutdown: impl Future<Output = ()>,
    before_drain: impl FnOnce(),
) -> io::Result<()> {
    let server = builder(config);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(config.max));
    let doors = doors.into_iter().map(|door| {
        let (server, room) = (server.clone(), Arc::clone(&room));
        accept(door, server, &graceful, room, config.header_timeout())
    });
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
async fn accept(
    door: Door,
    server: Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    room: Arc<Semaphore>,
    patience: Duration,
) {
    let Door {
        listener,
        tls,
        router,
    } = door;
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                tracing::warn!(%cause, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small; waiting for more to send only makes them late.
        let _ = stream.set_nodelay(true);
        let (server, watcher, router) = (server.clone(), graceful.watcher(), router.clone());
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => serve_one(server, watcher, stream, peer, router).await,
                Some(tls) => match tls.accept(stream, patience).await {
                    Ok(Some(stream)) => serve_one(server, watcher, stream, peer, router).await,
                    Ok(None) => {}
                    Err(cause) => tracing::debug!(%peer, %cause, "a TLS handshake failed"),
                },
            }
            drop(place);
        });
    }
}

fn builder(config: &Connections) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(128 << 10)
        .pipeline_flush(true);
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
    server: Builder<TokioExecutor>,
    watcher: Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(call(&mut router, request.map(Body::new)).await) }
    });
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(cause) = watcher.watch(connection).await {
        tracing::debug!(%peer, %cause, "a connection broke off");
    }
}

async fn call(router: &mut Router, request: Request<Body>) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
