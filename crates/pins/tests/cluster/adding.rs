//! `POST /add`, with an intake that only remembers what it was given.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{Request, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use ues_data::Cid;
use ues_pins::PinMode;
use ues_pins::cluster;
use ues_pins::intake::{AddParams, Added, Intake, IntakeError, Layout, Part};
use ues_pins::store::StateStore;

use crate::desk::{Answer, Desk, cid, owner};

#[derive(Default)]
pub struct Fake {
    pub given: Arc<Mutex<(Vec<Part>, AddParams)>>,
    roots: Vec<Cid>,
    fails: bool,
}

#[async_trait]
impl Intake for Fake {
    fn add(
        &self,
        mut parts: BoxStream<'static, Result<Part, IntakeError>>,
        params: AddParams,
    ) -> BoxStream<'static, Result<Added, IntakeError>> {
        let (given, fails) = (Arc::clone(&self.given), self.fails);
        let work = async move {
            let mut made = Vec::new();
            while let Some(part) = parts.next().await {
                match part {
                    Ok(part) => {
                        if let Part::File { path } = &part {
                            made.push(Ok(Added {
                                bytes: 4,
                                ..Added::default()
                            }));
                            made.push(Ok(Added {
                                name: path.clone(),
                                cid: Some(cid(made.len() as u64)),
                                size: 12,
                                ..Added::default()
                            }));
                        }
                        given.lock().0.push(part);
                    }
                    Err(error) => made.push(Err(error)),
                }
            }
            if fails {
                made.push(Err(IntakeError::Failed("the disk is full".to_owned())));
            }
            given.lock().1 = params;
            stream::iter(made)
        };
        stream::once(work).flatten().boxed()
    }

    async fn import_car(
        &self,
        mut car: BoxStream<'static, Result<Bytes, IntakeError>>,
    ) -> Result<Vec<Cid>, IntakeError> {
        while let Some(piece) = car.next().await {
            self.given.lock().0.push(Part::Data(piece?));
        }
        Ok(self.roots.clone())
    }
}

/// A part: its path, its content type, its content.
type Sent = (&'static str, &'static str, &'static str);

const FILE: &str = "application/octet-stream";
const FOLDER: &str = "application/x-directory";
const LINK: &str = "application/symlink";

async fn send(desk: &Desk, query: &str, parts: &[Sent]) -> Answer {
    let mut body = String::new();
    for (name, kind, content) in parts {
        body += &format!(
            "--xx\r\nAbspath-Encoded: %2Ftmp\r\nContent-Disposition: form-data; name=\"file?mode=0644\"; \
             filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
        );
    }
    body += "--xx--\r\n";
    post(desk, query, "multipart/form-data; boundary=xx", body).await
}

async fn post(desk: &Desk, query: &str, kind: &str, body: String) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/add{query}"))
        .header("content-type", kind)
        .header("te", "trailers");
    desk.request(request.body(Body::from(body)).unwrap()).await
}

async fn with(fake: Fake) -> (Desk, Arc<Mutex<(Vec<Part>, AddParams)>>) {
    let given = Arc::clone(&fake.given);
    let desk = Desk::with(Some(Arc::new(fake)), cluster::Options::default()).await;
    (desk, given)
}

async fn is_wanted(desk: &Desk, number: u64) -> bool {
    let request = desk.store.request(&owner("default"), &cid(number)).await;
    request.unwrap().is_some()
}

#[tokio::test]
async fn files_come_in_and_their_root_is_pinned() {
    let (desk, given) = with(Fake::default()).await;
    let parts = [
        ("d", FOLDER, ""),
        ("d%2Fa+b", FILE, "content"),
        ("d%2Fempty", FILE, ""),
        ("d%2Fl", LINK, "a b"),
    ];
    let query = "?name=n&mode=direct&meta-k=v&pin-update=bafkqaaa";
    let answer = send(&desk, query, &parts).await.ok();
    assert_eq!(answer.headers["x-chunked-output"], "1");
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.trailer.as_deref(), Some(""));
    assert_eq!(
        answer.lines(),
        [
            json!({"name": "", "cid": null, "bytes": 4}),
            json!({"name": "", "cid": null, "bytes": 4}),
            json!({"name": "d/a b", "cid": cid(1).to_string(), "size": 12}),
            json!({"name": "d/empty", "cid": cid(3).to_string(), "size": 12}),
        ]
    );
    let text = |text: &str| text.to_owned();
    assert_eq!(
        given.lock().0,
        [
            Part::Folder { path: text("d") },
            Part::File {
                path: text("d/a b")
            },
            Part::Data(Bytes::from("content")),
            Part::File {
                path: text("d/empty")
            },
            Part::Link {
                path: text("d/l"),
                target: text("a b")
            },
        ]
    );
    let request = desk.store.request(&owner("default"), &cid(3)).await;
    let options = request.unwrap().unwrap().pin.options;
    assert_eq!(options.name, "n");
    assert_eq!(options.mode, PinMode::Recursive, "all of it is kept");
    assert_eq!(options.pin_update, None);
    assert!(!is_wanted(&desk, 1).await);
}

#[tokio::test]
async fn parameters_are_read_as_the_original_reads_them() {
    let (desk, given) = with(Fake::default()).await;
    let file = [("a", FILE, "x")];
    send(&desk, "", &file).await.ok();
    assert_eq!(given.lock().1, AddParams::default());
    let query = "?layout=trickle&chunker=rabin&cid-version=1&hash=blake3&wrap-with-directory=true&progress=1\
                 &nocopy=T&hidden=true&local=true&no-pin=true&stream-channels=false";
    let answer = send(&desk, query, &file).await.ok();
    assert!(answer.json().is_array());
    assert_eq!(
        given.lock().1,
        AddParams {
            layout: Layout::Trickle,
            chunker: "rabin".to_owned(),
            raw_leaves: true,
            cid_version: 1,
            hash: "blake3".to_owned(),
            wrap: true,
            progress: true,
            no_copy: true,
            hidden: true,
            local: true,
        }
    );
    send(&desk, "?cid-version=1&raw-leaves=false", &file)
        .await
        .ok();
    assert!(!given.lock().1.raw_leaves);
    for (query, why) in [
        ("?layout=x", "layout parameter is invalid"),
        ("?format=x", "format parameter is invalid"),
        ("?local=maybe", "parameter local invalid"),
        ("?cid-version=x", "parameter cid-version invalid"),
        ("?replication-min=x", "parameter replication-min invalid"),
        ("?shard=true", "shard"),
    ] {
        send(&desk, query, &file).await.fails(400, why);
    }
}

#[tokio::test]
async fn the_local_worker_is_asked_for_and_nothing_is_pinned_if_so_wished() {
    let (desk, _) = with(Fake::default()).await;
    send(&desk, "?no-pin=true", &[("a", FILE, "x")]).await.ok();
    assert!(!is_wanted(&desk, 1).await);
    send(&desk, "?local=true", &[("a", FILE, "x")]).await.ok();
    let request = desk.store.request(&owner("default"), &cid(1)).await;
    let options = request.unwrap().unwrap().pin.options;
    assert_eq!(options.user_allocations.len(), 1);
}

#[tokio::test]
async fn an_archive_has_one_root() {
    let fake = |roots: &[u64]| Fake {
        roots: roots.iter().map(|n| cid(*n)).collect(),
        ..Fake::default()
    };
    let (desk, given) = with(fake(&[7])).await;
    let answer = send(&desk, "?format=car", &[("x.car", FILE, "bytes")])
        .await
        .ok();
    let expected = json!({"name": "x.car", "cid": cid(7).to_string()});
    assert_eq!(answer.lines(), [expected]);
    assert_eq!(given.lock().0, [Part::Data(Bytes::from("bytes"))]);
    assert!(is_wanted(&desk, 7).await);
    let wrapped = send(
        &desk,
        "?format=car&wrap-with-directory=true",
        &[("x", FILE, "")],
    )
    .await;
    wrapped.fails(400, "cannot wrap a CAR file upload");
    let folder = send(&desk, "?format=car", &[("x", FOLDER, "")]).await;
    folder.fails(400, "expected CAR file is not of type file");
    let (desk, _) = with(fake(&[7, 8])).await;
    let two = send(&desk, "?format=car", &[("x.car", FILE, "bytes")]).await;
    two.fails(400, "only CAR files with a single root are supported");
    assert!(!is_wanted(&desk, 7).await);
}

#[tokio::test]
async fn what_fails_is_told_and_never_pinned() {
    let fails = || Fake {
        fails: true,
        ..Fake::default()
    };
    let (desk, _) = with(fails()).await;
    let late = send(&desk, "", &[("a", FILE, "x")]).await.ok();
    assert_eq!(late.trailer.as_deref(), Some("the disk is full"));
    assert_eq!(late.text.lines().count(), 1, "only what was on its way");
    assert!(!is_wanted(&desk, 1).await);
    let list = send(&desk, "?stream-channels=false", &[("a", FILE, "x")]).await;
    list.fails(500, "the disk is full");
    let early = send(&desk, "", &[]).await;
    early.fails(500, "the disk is full");
    let (desk, _) = with(Fake::default()).await;
    let cut = post(
        &desk,
        "",
        "multipart/form-data; boundary=xx",
        "--xx\r\n".to_owned(),
    )
    .await;
    cut.fails(400, "unexpected EOF");
    send(&desk, "", &[]).await.fails(400, "nothing was sent");
    let plain = post(&desk, "", "text/plain", String::new()).await;
    plain.fails(400, "request Content-Type isn't multipart/form-data");
    let none = Desk::new().await;
    let answer = send(&none, "", &[("a", FILE, "x")]).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
}
