//! The page of the pin service, at `/pins`: for the people at this machine.
//! What else comes to that path is a call of the API.

use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ues_pins::model::GoTime;
use ues_pins::reconcile::Totals;

use super::{Parts, workers};
use crate::node::here;
use crate::output::human_bytes;

/// How long the bus and the state store are waited for.
const WAIT: Duration = Duration::from_secs(3);

/// Most dead letters that are counted.
const LETTERS: usize = 100;

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
    if !here::is_asked_for(&request, "/pins") {
        return next.run(request).await;
    }
    here::answer(Page::of(&parts).await.render())
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
            reason: event.error.clone(),
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
