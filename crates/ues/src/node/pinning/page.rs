//! The page of the pin service, at `/pins`: for the people at this machine.
//!
//! It tells of pins of all owners, so it is shown to nobody else: what comes over a network or through a proxy, from
//! another page or with credentials is a call of the API.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use askama::Template;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use ues_pins::model::GoTime;
use ues_pins::reconcile::Totals;

use super::{Parts, workers};
use crate::output::human_bytes;

/// Only what the page itself brings along may run.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long the bus and the state store are waited for.
const WAIT: Duration = Duration::from_secs(3);

/// Most dead letters that are counted.
const LETTERS: usize = 100;

/// Headers that make it another's call: of a proxy, of another page, or of a program that shows who it is.
const NOT_HERE: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ORIGIN,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
];

#[derive(Template)]
#[template(path = "pins.html")]
struct Page {
    /// `None`: another process plans.
    totals: Option<Tiles>,
    workers: Option<Vec<Worker>>,
    queues: Option<Vec<Queue>>,
    dead: Option<String>,
    failures: Vec<Failure>,
}

struct Tiles {
    /// `None`: not all was counted yet.
    counted: Option<String>,
    pins: String,
    desired: String,
    pinned: String,
    underway: String,
    failed: String,
    bytes: String,
    drift: String,
}

struct Worker {
    id: String,
    name: String,
    state: &'static str,
    free: String,
    used: String,
    pins: String,
    reason: String,
}

struct Queue {
    name: String,
    waiting: String,
    in_flight: String,
    oldest: String,
}

struct Failure {
    at: String,
    cid: String,
    worker: String,
    reason: String,
}

/// Answers `GET /pins` with the page when somebody at this machine looks at it with a browser.
pub async fn or_api(State(parts): State<Parts>, request: Request, next: Next) -> Response {
    if !is_asked_for(&request) {
        return next.run(request).await;
    }
    match Page::of(&parts).await.render() {
        Ok(html) => {
            let headers = [
                (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
                (header::CACHE_CONTROL, "no-store"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::VARY, "accept, authorization, origin"),
            ];
            let headers = headers.map(|(name, text)| (name, HeaderValue::from_static(text)));
            (headers, Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the page of the pin service could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn is_asked_for(request: &Request) -> bool {
    let (headers, uri) = (request.headers(), request.uri());
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    request.method() == Method::GET
        && uri.path() == "/pins"
        && text(headers, &header::ACCEPT).contains("text/html")
        && from.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && !NOT_HERE.iter().any(|name| headers.contains_key(name))
        // Another name may be that of a page elsewhere which has itself resolved to this machine.
        && names_this_machine(uri.host().unwrap_or(text(headers, &header::HOST)))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Whether a host, with or without a port, is this machine under a name that nobody else can give it.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let ip = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

impl Page {
    async fn of(parts: &Parts) -> Self {
        let (pins, now_ms) = (&parts.pins, parts.pins.now_ms());
        let away_ms = pins.policy().away_ms;
        let all = async {
            tokio::join!(
                pins.store().workers(),
                pins.bus().stats(),
                pins.bus().dead_letters(0, LETTERS)
            )
        };
        let (known, queues, dead) = match tokio::time::timeout(WAIT, all).await {
            Ok((known, queues, dead)) => (known.ok(), queues.ok(), dead.ok()),
            Err(_) => (None, None, None),
        };
        let name = |id: &ues_pins::PeerId| {
            let worker = known.iter().flatten().find(|worker| worker.id == *id);
            worker.map_or_else(|| id.to_string(), |worker| worker.name.clone())
        };
        let failures = parts.failures.latest();
        let failures = failures.into_iter().map(|event| Failure {
            at: GoTime::from_millis(event.at_ms).to_string(),
            cid: event.cid.to_string(),
            worker: name(&event.peer),
            reason: event.error,
        });
        Self {
            totals: pins.totals().await.ok().map(tiles),
            failures: failures.collect(),
            workers: known.as_ref().map(|known| {
                let line = |w| worker(w, now_ms, away_ms);
                known.iter().map(line).collect()
            }),
            queues: queues.map(|queues| queues.iter().map(queue).collect()),
            dead: dead.map(|dead| match dead.len() {
                LETTERS.. => format!("{LETTERS} or more"),
                few => few.to_string(),
            }),
        }
    }
}

fn tiles(totals: Totals) -> Tiles {
    let counted = totals.counted_ms > 0;
    Tiles {
        counted: counted.then(|| GoTime::from_millis(totals.counted_ms).to_string()),
        pins: grouped(totals.wanted),
        desired: grouped(totals.desired),
        pinned: grouped(totals.pinned),
        underway: grouped(totals.underway),
        failed: grouped(totals.failed),
        bytes: human_bytes(totals.bytes),
        drift: format!("{:.2} %", totals.drift() * 100.0),
    }
}

fn worker(worker: &ues_pins::Worker, now_ms: u64, away_ms: u64) -> Worker {
    Worker {
        id: worker.id.to_string(),
        name: worker.name.clone(),
        state: workers::state(worker, now_ms, away_ms),
        free: human_bytes(worker.free),
        used: human_bytes(worker.used),
        pins: worker.pins.map(grouped).unwrap_or_default(),
        reason: worker.failing.clone().unwrap_or_default(),
    }
}

fn queue(queue: &ues_bus::QueueStats) -> Queue {
    Queue {
        name: queue.name.clone(),
        waiting: grouped(queue.waiting),
        in_flight: grouped(queue.in_flight),
        oldest: match queue.oldest_ms {
            0 => String::new(),
            ms => format!("{} s", grouped(ms.div_ceil(1000))),
        },
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut builder = http::Request::get("/pins?limit=1");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(axum::body::Body::empty()).unwrap();
        let peer: IpAddr = peer.parse().unwrap();
        let peer = ConnectInfo(SocketAddr::new(peer, 1));
        request.extensions_mut().insert(peer);
        is_asked_for(&request)
    }

    #[test]
    fn a_browser_at_this_machine_sees_the_page() {
        let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for host in ["localhost:2583", "LocalHost", "127.0.0.1:80", "[::1]:2583"] {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(asked(peer, &[accept, ("host", host)]), "{host} {peer}");
            }
        }
    }

    #[test]
    fn everybody_else_sees_the_api() {
        let (accept, host) = (("accept", "text/html"), ("host", "localhost"));
        assert!(!asked("192.0.2.1", &[accept, host]));
        assert!(!asked("127.0.0.1", &[("accept", "*/*"), host]));
        assert!(!asked("127.0.0.1", &[accept]));
        for host in ["node.example", "localhost.example:80", "192.0.2.1", "", "["] {
            assert!(!asked("127.0.0.1", &[accept, ("host", host)]), "{host}");
        }
        for name in NOT_HERE {
            let other = (name.as_str(), "x");
            assert!(!asked("127.0.0.1", &[accept, host, other]), "{name}");
        }
    }

    #[test]
    fn what_others_wrote_is_only_text() {
        let evil = "<script>alert('x')</script>\"&".to_owned();
        let page = Page {
            totals: Some(tiles(Totals::default())),
            workers: Some(vec![Worker {
                id: evil.clone(),
                name: evil.clone(),
                state: "failing",
                free: evil.clone(),
                used: evil.clone(),
                pins: evil.clone(),
                reason: evil.clone(),
            }]),
            queues: Some(vec![Queue {
                name: evil.clone(),
                waiting: evil.clone(),
                in_flight: evil.clone(),
                oldest: evil.clone(),
            }]),
            dead: Some(evil.clone()),
            failures: vec![Failure {
                at: evil.clone(),
                cid: evil.clone(),
                worker: evil.clone(),
                reason: evil,
            }],
        };
        let html = page.render().unwrap();
        assert!(!html.contains("alert('"), "{html}");
        assert_eq!(html.matches("<script").count(), 1);
        let nothing = Page {
            totals: None,
            workers: None,
            queues: None,
            dead: None,
            failures: Vec::new(),
        };
        assert!(nothing.render().unwrap().contains("does not answer"));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
