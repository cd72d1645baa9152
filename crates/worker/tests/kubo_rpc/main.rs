//! The client of Kubo's RPC against a server that behaves in every bad way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use server::{Server, Step, chunk, end, end_with_error, failure, head, lines, refusal};
use ues_data::{Cid, raw_cid};
use ues_pins::PinMode;
use ues_worker::backend::{Backend, JobError, PinJob, Pinned};
use ues_worker::kubo::KuboAuth;
use ues_worker::{KuboBackend, KuboOptions};

const STALL: Duration = Duration::from_millis(300);

fn options(url: &str) -> KuboOptions {
    let mut options = KuboOptions::new(url).unwrap();
    options.stall = STALL;
    options.answer = STALL;
    options.size = STALL;
    options.origins = STALL;
    options
}

fn backend(server: &Server) -> KuboBackend {
    KuboBackend::new(options(&server.url)).unwrap()
}

fn cid(number: u32) -> Cid {
    raw_cid(&number.to_be_bytes())
}

fn job(number: u32, mode: PinMode) -> PinJob {
    PinJob {
        cid: cid(number),
        mode,
        origins: Vec::new(),
    }
}

fn retry<T: std::fmt::Debug>(outcome: Result<T, JobError>) -> String {
    match outcome {
        Err(JobError::Retry(why)) => why,
        other => panic!("not to be tried again: {other:?}"),
    }
}

/// What is pinned by a server that answers `pin/add` so, and has nothing pinned.
async fn pin(add: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> Result<Pinned, JobError> {
    let server = Server::start(move |path| match path {
        p if p.starts_with("pin/add") => add(),
        p if p.starts_with("pin/ls") => failure("path 'x' is not pinned"),
        _ => failure("no such call"),
    })
    .await;
    let backend = backend(&server);
    backend.pin(&job(1, PinMode::Recursive), &|_| ()).await
}

#[tokio::test]
async fn progress_and_size() {
    let server = Server::start(|path| match path {
        p if p.starts_with("pin/add") => lines(&[
            "{}",
            r#"{"Progress":3,"Bytes":30}"#,
            r#"{"Progress":5,"Bytes":70}"#,
            r#"{"Pins":["x"]}"#,
        ]),
        _ => failure("path 'x' is not pinned"),
    })
    .await;
    let blocks = AtomicU64::new(0);
    let hear = |count| blocks.store(count, Ordering::Relaxed);
    let done = backend(&server)
        .pin(&job(1, PinMode::Recursive), &hear)
        .await;
    assert_eq!(done, Ok(Pinned { bytes: Some(70) }));
    assert_eq!(blocks.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_failure_after_the_answer_began() {
    let why = pin(|| {
        vec![
            head(),
            chunk("{\"Progress\":1}\n"),
            end_with_error("pin: it broke"),
        ]
    })
    .await;
    assert_eq!(retry(why), "pin: it broke");
    // even after what looks like success
    let why = pin(|| {
        vec![
            head(),
            chunk("{\"Pins\":[\"x\"]}\n"),
            end_with_error("no space left"),
        ]
    })
    .await;
    assert_eq!(retry(why), "no space left");
    let why = pin(|| {
        vec![
            head(),
            end_with_error("could not choose a decoder: no decoder registered"),
        ]
    })
    .await;
    assert!(matches!(why, Err(JobError::Terminal(_))), "{why:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut() {
    let cut = retry(pin(|| vec![head(), chunk("{\"Progress\":1}\n")]).await);
    assert!(cut.contains("cut"), "{cut}");
    let cut = retry(pin(|| vec![head(), chunk("{\"Pins\":[\"x\"]}\n")]).await);
    assert!(cut.contains("cut"), "{cut}");
    let silent = retry(pin(|| lines(&[r#"{"Progress":1}"#])).await);
    assert!(silent.contains("does not say that it pinned"), "{silent}");
    let closed = retry(pin(Vec::new).await);
    assert!(closed.contains("does not answer"), "{closed}");
}

#[tokio::test]
async fn no_new_block_for_long() {
    let begun = Instant::now();
    let why = pin(|| {
        let mut steps = vec![head()];
        for _ in 0..100 {
            steps.extend([chunk("{\"Progress\":7}\n"), Step::Wait(STALL / 10)]);
        }
        steps
    });
    assert_eq!(retry(why.await), "no new block for 0.3 s");
    assert!(begun.elapsed() < STALL * 8);
    // nothing at all
    let why = pin(|| vec![Step::Wait(Duration::from_secs(60))]).await;
    assert_eq!(retry(why), "no new block for 0.3 s");
    // growing slowly is fine, however long it takes
    let done = pin(|| {
        let mut steps = vec![head()];
        for count in 1..=20 {
            steps.extend([
                chunk(&format!("{{\"Progress\":{count}}}\n")),
                Step::Wait(STALL / 6),
            ]);
        }
        steps.extend([chunk("{\"Pins\":[\"x\"]}\n"), end()]);
        steps
    });
    done.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read() {
    let why = retry(pin(|| lines(&["<html>hello</html>"])).await);
    assert!(why.contains("cannot be read"), "{why}");
    let why = retry(pin(|| lines(&[r#"{"Progress":"many"}"#])).await);
    assert!(why.contains("cannot be read"), "{why}");
    let huge = || {
        let mut steps = vec![head()];
        steps.extend((0..64).map(|_| chunk(&"x".repeat(1 << 16))));
        steps
    };
    let why = retry(pin(huge).await);
    assert!(why.contains("longer than"), "{why}");
    // a character and a line that come in pieces
    let pieces = || {
        vec![
            head(),
            chunk("{\"Pro"),
            chunk("gress\":1}\n\n{\"Pins\":"),
            chunk("[\"x\"]}"),
            end(),
        ]
    };
    pin(pieces).await.unwrap();
}

/// A program that says yes to everything is not a Kubo that has pinned.
#[tokio::test]
async fn another_program_altogether() {
    for page in ["<html>", "{}", "", "[]", "{\"Cid\":\"x\",\"Pins\":null}"] {
        let server = Server::start(move |_| refusal(200, page)).await;
        let backend = backend(&server);
        let jobs = [1, 2].map(|n| job(n, PinMode::Recursive));
        for outcome in backend.pin_many(&jobs).await {
            retry(outcome);
        }
        for job in jobs {
            retry(backend.pin(&job, &|_| ()).await);
            let outcomes = backend.unpin_many(&[job.cid]).await;
            outcomes.into_iter().map(retry).for_each(drop);
            retry(backend.pinned(&[job.cid]).await);
        }
        retry(backend.status().await);
    }
}

#[tokio::test]
async fn refusals() {
    assert_eq!(
        retry(pin(|| failure("pin: not found")).await),
        "pin: not found"
    );
    let bad = pin(|| failure("invalid path \\\"x\\\"")).await;
    assert_eq!(
        bad,
        Err(JobError::Terminal("invalid path \"x\"".to_owned()))
    );
    let proxy = retry(pin(|| refusal(502, "<h1>invalid path</h1>")).await);
    assert!(proxy.contains("502"), "{proxy}");
    let many = retry(pin(|| refusal(500, &"x".repeat(1 << 20))).await);
    assert!(many.chars().count() < 600, "{}", many.len());
}

#[tokio::test]
async fn nobody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let backend = KuboBackend::new(options(&url)).unwrap();
    let says = format!("Kubo at {url} does not answer");
    let why = retry(backend.pin(&job(1, PinMode::Recursive), &|_| ()).await);
    assert!(why.contains(&says), "{why}");
    assert!(retry(backend.status().await).contains(&says));
    assert!(retry(backend.pins().try_collect::<Vec<_>>().await).contains(&says));
    assert!(retry(backend.pinned(&[cid(1)]).await).contains(&says));
    let jobs: Vec<_> = (0..120).map(|n| job(n, PinMode::Recursive)).collect();
    let outcomes = backend.pin_many(&jobs).await;
    assert_eq!(outcomes.len(), 120);
    assert!(outcomes.into_iter().all(|o| retry(o).contains(&says)));
    let outcomes = backend.unpin_many(&[cid(1), cid(2)]).await;
    assert!(outcomes.into_iter().all(|o| retry(o).contains(&says)));
}

#[tokio::test]
async fn one_bad_among_many() {
    let bad = cid(33).to_string();
    let server = Server::start(move |path| match path {
        p if p.starts_with("pin/ls") => failure("path 'x' is not pinned"),
        p if p.contains(&bad) => failure("pin: no decoder registered for multicodec code 1"),
        p => {
            let pins = vec!["\"x\""; p.matches("arg=").count()].join(",");
            lines(&[&format!("{{\"Pins\":[{pins}]}}")])
        }
    })
    .await;
    let mode = |n: u32| {
        if n.is_multiple_of(3) {
            PinMode::Direct
        } else {
            PinMode::Recursive
        }
    };
    let jobs: Vec<_> = (0..150).map(|n| job(n, mode(n))).collect();
    let outcomes = backend(&server).pin_many(&jobs).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            33 => assert!(matches!(outcome, Err(JobError::Terminal(_))), "{outcome:?}"),
            _ => assert!(outcome.is_ok(), "{number}: {outcome:?}"),
        }
    }
    let heads = server.heads();
    assert!(heads.iter().all(|head| head.starts_with("POST ")));
    let mixed =
        |head: &&String| head.contains("recursive=true") && head.contains(&cid(3).to_string());
    assert_eq!(heads.iter().find(mixed), None);
    // three groups of recursive and direct ones, and singles for one of them
    assert_eq!(
        heads.iter().filter(|head| head.contains("pin/add")).count(),
        3 + 50
    );
}

#[tokio::test]
async fn fewer_pins_than_asked_for_are_a_failure() {
    let server = Server::start(|path| match path {
        p if p.starts_with("pin/ls") => failure("path 'x' is not pinned"),
        _ => lines(&[r#"{"Pins":["x"]}"#]),
    })
    .await;
    let jobs = [job(1, PinMode::Recursive), job(2, PinMode::Recursive)];
    let outcomes = backend(&server).pin_many(&jobs).await;
    assert!(
        outcomes.iter().all(Result::is_ok),
        "each alone: {outcomes:?}"
    );
    let adds = server
        .heads()
        .iter()
        .filter(|h| h.contains("pin/add"))
        .count();
    assert_eq!(adds, 3);
}

#[tokio::test]
async fn a_list_that_breaks_off() {
    let line = |n: u32| format!("{{\"Cid\":\"{}\",\"Type\":\"direct\"}}\n", cid(n));
    let server = Server::start(move |path| match path {
        p if p.contains("type=direct") => vec![head(), chunk(&line(1)), chunk(&line(2)), end()],
        _ => vec![head(), chunk(&line(3)), end_with_error("datastore closed")],
    })
    .await;
    let backend = backend(&server);
    let pins: Vec<_> = backend.pins().collect().await;
    assert_eq!(pins.len(), 4);
    assert_eq!(pins[0], Ok((cid(1), PinMode::Direct)));
    assert_eq!(pins[2], Ok((cid(3), PinMode::Recursive)));
    assert_eq!(pins[3], Err(JobError::Retry("datastore closed".to_owned())));
}

#[tokio::test]
async fn a_list_that_says_nothing_more() {
    let server = Server::start(|_| vec![head(), Step::Wait(Duration::from_secs(60))]).await;
    let backend = backend(&server);
    let pins: Vec<_> = backend.pins().collect().await;
    assert!(matches!(&pins[..], [Err(JobError::Retry(_))]), "{pins:?}");
    assert!(retry(backend.status().await).contains("did not answer within"));
    assert!(retry(backend.pinned(&[cid(1)]).await).contains("did not answer within"));
}

#[tokio::test]
async fn many_while_nobody_answers() {
    let server = Server::start(|_| vec![Step::Wait(Duration::from_secs(60))]).await;
    let backend = backend(&server);
    let jobs: Vec<_> = (0..200).map(|n| job(n, PinMode::Recursive)).collect();
    let begun = Instant::now();
    assert!(backend.pin_many(&jobs).await.iter().all(Result::is_err));
    let cids: Vec<_> = jobs.iter().map(|job| job.cid).collect();
    assert!(backend.unpin_many(&cids).await.iter().all(Result::is_err));
    assert!(begun.elapsed() < STALL * 8, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn credentials_are_sent() {
    let server = Server::start(|_| refusal(401, "who are you?")).await;
    let mut options = options(&server.url);
    options.auth = KuboAuth::Bearer("token".to_owned());
    let why = retry(KuboBackend::new(options.clone()).unwrap().status().await);
    assert!(why.contains("401") && why.contains("who are you?"), "{why}");
    options.auth = KuboAuth::Basic {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    };
    retry(KuboBackend::new(options).unwrap().status().await);
    let heads = server.heads();
    let sent = |value: &str| heads.iter().any(|head| head.contains(value));
    assert!(sent("authorization: Bearer token"), "{heads:?}");
    assert!(sent("authorization: Basic bWU6c2VjcmV0"), "{heads:?}");
}

#[tokio::test]
async fn origins_that_cannot_be_reached() {
    let server = Server::start(|path| match path {
        p if p.starts_with("swarm/connect") => failure("connect failure: dial backoff"),
        p if p.starts_with("pin/add") => lines(&[r#"{"Pins":["x"]}"#]),
        _ => failure("path 'x' is not pinned"),
    })
    .await;
    let origin = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWMNJ1v64Lg6Tx3tsY5E7gYkuX2WFmB28AGCDY4NC1h82V";
    let backend = backend(&server);
    for number in [1, 2] {
        let mut job = job(number, PinMode::Recursive);
        job.origins = vec![origin.to_owned(), "nonsense&arg=x".to_owned()];
        backend.pin(&job, &|_| ()).await.unwrap();
    }
    let heads = server.heads();
    let connects: Vec<_> = heads
        .iter()
        .filter(|h| h.contains("swarm/connect"))
        .collect();
    assert_eq!(
        connects.len(),
        1,
        "one that failed is not tried again at once: {connects:?}"
    );
}
