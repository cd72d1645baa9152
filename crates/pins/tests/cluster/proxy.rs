//! The IPFS proxy, before a Kubo that remembers what it is asked.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use ues_data::Cid;
use ues_pins::intake::{AddParams, Intake, Layout, Part};
use ues_pins::ipfs_proxy::{self, Answer as KuboAnswer, Question, Upstream, UpstreamError};
use ues_pins::store::StateStore;
use ues_pins::{PinMode, PinOptions};

use crate::adding::Fake;
use crate::desk::{ALICE, Answer, Desk, authenticate, cid, owner};

/// Where a page may come from.
const HOME: &str = "http://home.example";

#[derive(Default)]
struct Kubo {
    asked: Mutex<Vec<String>>,
    headers: Mutex<HeaderMap>,
    got: Mutex<Vec<u8>>,
    /// What is answered, and the failure in its trailer.
    said: Mutex<(&'static str, Option<&'static str>)>,
}

#[async_trait]
impl Upstream for Kubo {
    async fn resolve(&self, path: &str) -> Result<Cid, UpstreamError> {
        match path {
            "/ipns/name" => Ok(cid(77)),
            _ => Err(UpstreamError::Said(format!("{path} leads nowhere"))),
        }
    }

    async fn forward(&self, question: Question) -> Result<KuboAnswer, UpstreamError> {
        if question.target.contains("gone") {
            return Err(UpstreamError::Unreachable("it is gone".to_owned()));
        }
        let asked = format!("{} {}", question.method, question.target);
        self.asked.lock().push(asked);
        let mut response = Response::builder().header("x-of-kubo", "1");
        let page = question.headers.get("origin").filter(|page| *page == HOME);
        if let Some(page) = page {
            response = response.header("access-control-allow-origin", page);
        }
        *self.headers.lock() = question.headers;
        if let Some(body) = question.body {
            let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
            *self.got.lock() = pieces.concat();
        }
        let (text, failure) = *self.said.lock();
        let mut frames = vec![Ok(Frame::data(Bytes::from_static(text.as_bytes())))];
        frames.extend(failure.map(|why| {
            let name = http::HeaderName::from_static("x-stream-error");
            let value = http::HeaderValue::from_static(why);
            Ok(Frame::trailers(HeaderMap::from_iter([(name, value)])))
        }));
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        Ok(response.body(body).unwrap())
    }
}

struct Proxy {
    desk: Desk,
    kubo: Arc<Kubo>,
    given: Arc<Mutex<(Vec<Part>, AddParams)>>,
}

impl Proxy {
    async fn new() -> Self {
        let mut desk = Desk::new().await;
        let kubo = Arc::new(Kubo::default());
        let fake = Fake::default();
        let given = Arc::clone(&fake.given);
        let intake: Arc<dyn Intake> = Arc::new(fake);
        let pins = desk.pins.clone();
        desk.router = ipfs_proxy::routes(pins, authenticate(), Some(intake), Some(kubo.clone()));
        Self { desk, kubo, given }
    }

    async fn alone() -> Desk {
        let mut desk = Desk::new().await;
        desk.router = ipfs_proxy::routes(desk.pins.clone(), authenticate(), None, None);
        desk
    }

    async fn post(&self, path: &str) -> Answer {
        self.desk.call("POST", &format!("/api/v0{path}")).await
    }

    async fn send(&self, headers: &[(&str, &str)], path: &str, body: &str) -> Answer {
        let mut request = Request::post(format!("/api/v0{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-length", body.len());
        self.desk
            .request(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn pinned(&self, number: u64) -> Option<PinOptions> {
        let request = self
            .desk
            .store
            .request(&owner("default"), &cid(number))
            .await;
        request.unwrap().map(|request| request.pin.options)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.kubo.asked.lock())
    }
}

#[track_caller]
fn fails(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["Code"], &said["Type"]), (&json!(0), &json!("error")));
    let message = said["Message"].as_str().unwrap();
    assert!(
        message.contains(words),
        "{words:?} expected, found {message:?}"
    );
}

#[tokio::test]
async fn pins_are_added_and_removed() {
    let proxy = Proxy::new().await;
    let one = proxy.post(&format!("/pin/add?arg={}", cid(1))).await.ok();
    assert_eq!(one.json(), json!({ "Pins": [cid(1).to_string()] }));
    assert_eq!(one.headers["content-type"], "application/json");
    assert_eq!(proxy.pinned(1).await.unwrap().mode, PinMode::Recursive);
    let (two, three) = (cid(2), cid(3));
    let many = format!("/pin/add?arg=/ipfs/{two}&arg={three}&recursive=false&name=n");
    let many = proxy.post(&many).await.ok();
    assert_eq!(many.json()["Pins"].as_array().unwrap().len(), 2);
    for number in [2, 3] {
        let options = proxy.pinned(number).await.unwrap();
        assert_eq!(
            (options.mode, options.name.as_str()),
            (PinMode::Direct, "n")
        );
    }
    let typed = format!("/api/v0/pin/add/{}?type=direct", cid(4));
    proxy.desk.call("GET", &typed).await.ok();
    assert_eq!(proxy.pinned(4).await.unwrap().mode, PinMode::Direct);
    proxy.post("/pin/add?arg=/ipns/name").await.ok();
    assert!(proxy.pinned(77).await.is_some());

    let gone = proxy
        .post(&format!("/pin/rm?arg={}&arg={two}", cid(1)))
        .await
        .ok();
    assert_eq!(
        gone.json(),
        json!({ "Pins": [cid(1).to_string(), two.to_string()] })
    );
    assert!(proxy.pinned(1).await.is_none() && proxy.pinned(2).await.is_none());
    let again = proxy.post(&format!("/pin/rm/{two}")).await;
    fails(&again, 500, "pin is not part of the pinset");
    assert_eq!(proxy.asked(), [""; 0]);
}

#[tokio::test]
async fn wrong_arguments_are_told() {
    let proxy = Proxy::new().await;
    for (path, status, words) in [
        ("/pin/add", 400, "argument \"ipfs-path\" is required"),
        ("/pin/add?arg=x", 500, "invalid path \"x\""),
        ("/pin/add?arg=/ipns/nobody", 500, "leads nowhere"),
        ("/pin/rm", 400, "is required"),
        ("/pin/update", 400, "argument \"from-path\" is required"),
        ("/pin/update?arg=x", 400, "argument \"to-path\" is required"),
        ("/pin/ls?type=other", 500, "invalid type 'other'"),
        ("/pin/ls?arg=x", 500, "invalid path"),
        ("/add?only-hash=true", 500, "only-hash is not supported"),
        ("/add", 500, "multipart/form-data"),
    ] {
        fails(&proxy.post(path).await, status, words);
    }
    let absent = proxy.post(&format!("/pin/ls?arg={}", cid(9))).await;
    fails(&absent, 500, &format!("path '{}' is not pinned", cid(9)));
    let many = "&arg=x".repeat(1001);
    fails(
        &proxy.post(&format!("/pin/add?{many}")).await,
        400,
        "at most 1000",
    );
}

#[tokio::test]
async fn a_pin_takes_the_place_of_another() {
    let proxy = Proxy::new().await;
    let options = PinOptions {
        name: "kept".to_owned(),
        ..PinOptions::default()
    };
    proxy.desk.put("default", cid(1), options).await;
    let update = |from: u64, to: u64| format!("/pin/update?arg={}&arg={}", cid(from), cid(to));
    let done = proxy.post(&update(1, 2)).await.ok();
    assert_eq!(
        done.json(),
        json!({ "Pins": [cid(1).to_string(), cid(2).to_string()] })
    );
    assert!(proxy.pinned(1).await.is_none());
    assert_eq!(proxy.pinned(2).await.unwrap().name, "kept");
    proxy
        .post(&format!("{}&unpin=false", update(2, 3)))
        .await
        .ok();
    assert!(proxy.pinned(2).await.is_some() && proxy.pinned(3).await.is_some());
    fails(
        &proxy.post(&update(9, 4)).await,
        500,
        "not part of the pinset",
    );
    assert!(proxy.pinned(4).await.is_none());
    proxy.post(&update(3, 3)).await.ok();
    assert!(
        proxy.pinned(3).await.is_some(),
        "a pin does not remove itself"
    );
}

#[tokio::test]
async fn pins_are_listed() {
    let proxy = Proxy::new().await;
    assert_eq!(
        proxy.post("/pin/ls").await.ok().json(),
        json!({ "Keys": {} })
    );
    assert_eq!(proxy.post("/pin/ls?stream=true").await.ok().text, "");
    for number in 0..50 {
        let options = PinOptions {
            name: format!("\"{number}\""),
            mode: [PinMode::Recursive, PinMode::Direct][usize::from(number == 7)],
            ..PinOptions::default()
        };
        proxy.desk.put("default", cid(number), options).await;
    }
    proxy
        .desk
        .put("alice", cid(99), PinOptions::default())
        .await;
    let all = proxy.post("/pin/ls?names=true").await.ok().json();
    assert_eq!(all["Keys"].as_object().unwrap().len(), 51);
    let seven = json!({ "Name": "\"7\"", "Type": "direct" });
    assert_eq!(all["Keys"][cid(7).to_string()], seven);
    let direct = proxy.post("/pin/ls?type=direct").await.ok().json();
    assert_eq!(
        direct,
        json!({ "Keys": { cid(7).to_string(): { "Type": "direct" } } })
    );
    assert_eq!(
        proxy.post("/pin/ls?type=indirect").await.ok().json(),
        json!({ "Keys": {} })
    );
    let lines = proxy
        .post("/pin/ls?stream=true&type=recursive")
        .await
        .ok()
        .lines();
    assert_eq!(lines.len(), 50);
    let line = |number: u64| json!({ "Cid": cid(number).to_string(), "Type": "recursive" });
    assert!(lines.contains(&line(99)));
    let named = format!("/pin/ls?arg={}&arg={}&stream=true", cid(1), cid(2));
    assert_eq!(proxy.post(&named).await.ok().lines(), [line(1), line(2)]);
    let wrong = format!("/pin/ls?arg={}&type=direct", cid(1));
    fails(&proxy.post(&wrong).await, 500, "is not pinned");
    // An owner sees their own.
    let own = proxy
        .desk
        .call_as(ALICE, "POST", "/api/v0/pin/ls")
        .await
        .ok();
    let expected = json!({ "Keys": { cid(99).to_string(): { "Type": "recursive" } } });
    assert_eq!(own.json(), expected);
}

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%20b\"\r\n\
     Content-Type: application/octet-stream\r\n\r\nwords\r\n--b--\r\n";
const FORM_TYPE: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

#[tokio::test]
async fn content_is_added() {
    let proxy = Proxy::new().await;
    let added = proxy
        .send(
            &[FORM_TYPE],
            "/add?trickle=true&raw-leaves=true&pin-name=n&progress=true",
            FORM,
        )
        .await
        .ok();
    let root = json!({ "Name": "a b", "Hash": cid(1).to_string(), "Size": "12" });
    assert_eq!(
        added.lines(),
        [json!({ "Name": "", "Bytes": 4 }), root.clone()]
    );
    assert_eq!(proxy.pinned(1).await.unwrap().name, "n");
    let given = std::mem::take(&mut *proxy.given.lock());
    assert_eq!(
        (given.1.layout, given.1.raw_leaves),
        (Layout::Trickle, true)
    );
    assert_eq!(
        given.0.last(),
        Some(&Part::Data(Bytes::from_static(b"words")))
    );

    let list = proxy
        .send(&[FORM_TYPE], "/add?stream-channels=false", FORM)
        .await
        .ok();
    assert_eq!(list.json().as_array().unwrap().last(), Some(&root));
    proxy.post(&format!("/pin/rm?arg={}", cid(1))).await.ok();
    proxy.send(&[FORM_TYPE], "/add?pin=false", FORM).await.ok();
    assert!(proxy.pinned(1).await.is_none());
    let cut = FORM.get(..FORM.len() - 8).unwrap();
    let cut = proxy.send(&[FORM_TYPE], "/add", cut).await;
    assert!(
        cut.cut || cut.trailer.is_some() || cut.status != StatusCode::OK,
        "{cut:?}"
    );
    assert!(proxy.pinned(1).await.is_none());
}

#[tokio::test]
async fn what_a_refused_client_sends_is_read() {
    let proxy = Proxy::new().await;
    for (pieces, all) in [(100usize, true), (100_000, false)] {
        let read = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&read);
        let body = stream::iter(0..pieces).map(move |_| {
            *counted.lock() += 1;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1024]))
        });
        let request = Request::post("/api/v0/add?only-hash=true");
        let request = request.body(Body::from_stream(body)).unwrap();
        fails(&proxy.desk.request(request).await, 500, "only-hash");
        let read = *read.lock();
        assert_eq!(read == pieces, all, "{read} of {pieces}");
    }
}

#[tokio::test]
async fn what_is_put_into_kubo_is_pinned() {
    let proxy = Proxy::new().await;
    let text: &'static str = format!(
        "{{\"Key\":\"{}\",\"Size\":3}}\n{{\"Cid\":{{\"/\":\"{}\"}}}}",
        cid(5),
        cid(6)
    )
    .leak();
    *proxy.kubo.said.lock() = (text, None);
    let put = proxy
        .send(&[], "/block/put?pin=true&mhtype=x%20y", "body")
        .await
        .ok();
    assert_eq!(put.text, text);
    assert_eq!(
        proxy.asked(),
        ["POST /api/v0/block/put?mhtype=x+y&pin=false"]
    );
    assert_eq!(*proxy.kubo.got.lock(), b"body");
    assert!(proxy.pinned(5).await.is_some() && proxy.pinned(6).await.is_some());

    let plain = proxy.send(&[], "/dag/put?x=y", "body").await.ok();
    assert_eq!(
        (plain.text.as_str(), &plain.headers["x-of-kubo"]),
        (text, &"1".parse().unwrap())
    );
    assert_eq!(proxy.asked(), ["POST /api/v0/dag/put?x=y"]);

    *proxy.kubo.said.lock() = ("{\"Key\":\"nothing\"}\n", None);
    let wrong = proxy
        .send(&[("te", "trailers")], "/dag/put?pin=true", "body")
        .await;
    assert!(wrong.trailer.unwrap().contains("cannot be read"));
    *proxy.kubo.said.lock() = ("", Some("no room"));
    let wrong = proxy
        .send(&[("te", "trailers")], "/dag/put?pin=true", "body")
        .await;
    assert_eq!(wrong.trailer.as_deref(), Some("no room"));
}

#[tokio::test]
async fn the_rest_is_passed_on() {
    let proxy = Proxy::new().await;
    *proxy.kubo.said.lock() = ("all of it", None);
    let headers = [
        ("authorization", "Basic x"),
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("x-kept", "1"),
    ];
    let refused = proxy.send(&headers, "/cat?arg=a%20b", "body").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let passed = proxy
        .send(&headers[1..], "/cat?arg=a%20b", "body")
        .await
        .ok();
    assert_eq!(passed.text, "all of it");
    assert_eq!(proxy.asked(), ["POST /api/v0/cat?arg=a%20b"]);
    let got = proxy.kubo.headers.lock().clone();
    assert!(got.contains_key("x-kept") && got.contains_key("content-length"));
    for name in ["authorization", "host", "connection", "x-private"] {
        assert!(!got.contains_key(name), "{name}");
    }
    for (method, path) in [
        (Method::GET, "/webui"),
        (Method::HEAD, "/api/v0/pin/ls"),
        (Method::DELETE, "/api/v0/pin/add/x"),
        (Method::OPTIONS, "/api/v0/add"),
    ] {
        proxy.desk.call(method.as_str(), path).await.ok();
        assert_eq!(proxy.asked(), [format!("{method} {path}")]);
    }
    // A failure in the trailer of Kubo's answer: told, or the answer is cut off.
    *proxy.kubo.said.lock() = ("some", Some("the rest is lost"));
    assert!(proxy.post("/cat").await.cut);
    let told = proxy.send(&[("te", "trailers")], "/cat", "").await;
    assert_eq!(
        (told.text.as_str(), told.trailer.as_deref()),
        ("some", Some("the rest is lost"))
    );
    fails(&proxy.post("/gone").await, 502, "it is gone");
}

#[tokio::test]
async fn only_operators_reach_kubo() {
    let proxy = Proxy::new().await;
    for path in ["/cat", "/repo/gc", "/block/put?pin=true", "/nonsense"] {
        let path = format!("/api/v0{path}");
        let refused = proxy.desk.call_as(ALICE, "POST", &path).await;
        fails(&refused, 403, "forbidden");
    }
    assert_eq!(proxy.asked(), [""; 0]);
    let own = format!("/api/v0/pin/add?arg={}", cid(1));
    proxy.desk.call_as(ALICE, "POST", &own).await.ok();
    let refused = proxy.desk.call_as("Bearer reader", "POST", &own).await;
    fails(&refused, 403, "may not change pins");
}

#[tokio::test]
async fn pages_may_do_what_kubo_lets_them() {
    let proxy = Proxy::new().await;
    let path = format!("/pin/add?arg={}", cid(1));
    for headers in [
        &[("origin", "http://strange.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-origin")],
    ] {
        let refused = proxy.send(headers, &path, "").await;
        fails(&refused, 403, "Forbidden");
    }
    assert!(proxy.pinned(1).await.is_none());
    proxy.asked();
    let allowed = proxy.send(&[("origin", HOME)], &path, "").await.ok();
    assert_eq!(allowed.headers["access-control-allow-origin"], HOME);
    assert!(proxy.pinned(1).await.is_some());
    let asked = ["OPTIONS /api/v0/pin/add", "POST /api/v0/version"];
    assert_eq!(proxy.asked(), asked);
    proxy.send(&[("origin", HOME)], &path, "").await.ok();
    assert_eq!(
        proxy.asked(),
        asked[..1],
        "what pages may see is known by now"
    );
    proxy
        .send(&[("sec-fetch-site", "none")], &path, "")
        .await
        .ok();
}

#[tokio::test]
async fn without_a_kubo() {
    let desk = Proxy::alone().await;
    for path in [
        "/api/v0/cat",
        "/api/v0/pin/add?arg=/ipns/name",
        "/api/v0/block/put?pin=true",
        "/api/v0/repo/gc",
        "/webui",
    ] {
        fails(&desk.call("POST", path).await, 501, "");
    }
    let stat = desk.call("POST", "/api/v0/repo/stat").await.ok().json();
    let expected: Value = json!({ "RepoSize": 0, "StorageMax": 2u64 << 40 });
    assert_eq!(stat, expected);
    let version = desk.call("POST", "/api/v0/version").await.ok().json();
    assert!(version["Version"].as_str().unwrap().starts_with("0."));
    let own = format!("/api/v0/pin/add?arg={}", cid(1));
    desk.call("POST", &own).await.ok();
}
