//! A service with two workers, three callers, and time that stands still.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use ues_bus::{EmbeddedBus, EmbeddedOptions};
use ues_data::Cid;
use ues_pins::auth::{Authenticate, Caller, Credentials, Denied};
use ues_pins::intake::Intake;
use ues_pins::planner::Policy;
use ues_pins::service::Options;
use ues_pins::store::{MemoryStore, PlacementChange, RequestChange, StateStore};
use ues_pins::{
    Clock, Owner, PeerId, Pin, PinOptions, PinRequest, Pins, Placement, PlacementState, Worker,
    cluster,
};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

/// 2023-11-14T22:13:20.5Z
pub const NOW_MS: u64 = 1_700_000_000_500;

pub struct Desk {
    pub store: Arc<MemoryStore>,
    pub pins: Pins,
    pub router: Router,
    /// The workers, in the order of their ids as text.
    pub workers: [PeerId; 2],
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// Whether the answer was cut off, and its trailer.
    pub cut: bool,
    pub trailer: Option<String>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        assert!(!self.cut, "{self:?}");
        let lines = self.text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self
    }

    /// A failure in the words of the original.
    #[track_caller]
    pub fn fails(self, code: u16, message: &str) {
        assert_eq!(self.status.as_u16(), code, "{self:?}");
        let json = self.json();
        assert_eq!(json["code"], code);
        let said = json["message"].as_str().unwrap();
        assert!(
            said.contains(message),
            "{message:?} expected, found {said:?}"
        );
    }
}

pub fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

pub fn cid(number: u64) -> Cid {
    ues_data::content_id::raw_cid(&number.to_be_bytes())
}

pub fn worker(id: &PeerId, name: &str) -> Worker {
    Worker {
        id: id.clone(),
        name: name.to_owned(),
        seen_ms: NOW_MS - 1000,
        free: 1 << 40,
        used: 0,
        pins: None,
        tags: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        concurrency: 10,
        draining: false,
        failing: None,
        content: 1,
        exclusive: true,
        ipfs_id: PeerId::from_ed25519(&[9; 32]).to_string(),
        ipfs_addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        agent: "test".to_owned(),
    }
}

/// Nobody: an operator. `alice` with a password: an owner. `reader`, a token: reads only.
pub fn authenticate() -> Authenticate {
    Arc::new(|shown| Box::pin(std::future::ready(judge(&shown))))
}

fn judge(shown: &Credentials) -> Result<Caller, Denied> {
    match shown {
        Credentials::None => Ok(Caller::operator(owner("default"))),
        Credentials::Basic(name, password) if name == "alice" && password == "secret" => {
            Ok(Caller {
                operates: false,
                ..Caller::operator(owner("alice"))
            })
        }
        Credentials::Bearer(token) if token == "reader" => Ok(Caller {
            writes: false,
            operates: false,
            ..Caller::operator(owner("default"))
        }),
        _ => Err(Denied::No("show an API key".to_owned())),
    }
}

/// `alice:secret`
pub const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

impl Desk {
    pub async fn new() -> Self {
        Self::with(None, cluster::Options::default()).await
    }

    pub async fn with(intake: Option<Arc<dyn Intake>>, options: cluster::Options) -> Self {
        let store = Arc::new(MemoryStore::default());
        let mut workers = [1, 2].map(|seed| PeerId::from_ed25519(&[seed; 32]));
        workers.sort_by_key(ToString::to_string);
        for (id, name) in workers.iter().zip(["alpha", "beta"]) {
            store.put_worker(worker(id, name)).await.unwrap();
        }
        let engine = Arc::new(MemoryEngine::new());
        let bus = Store::with_engine(engine, StoreOptions::default()).unwrap();
        let bus = EmbeddedBus::open(bus, EmbeddedOptions::default()).unwrap();
        let service = Options {
            plans: false,
            clock: Clock::new(|| NOW_MS),
            policy: Policy {
                replication_min: 1,
                replication_max: 2,
                ..Policy::default()
            },
            ..Options::new("test".to_owned())
        };
        let pins = Pins::start(store.clone(), bus, service);
        let router = cluster::routes(pins.clone(), authenticate(), intake, options);
        Self {
            store,
            pins,
            router,
            workers,
        }
    }

    pub async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let (mut cut, mut trailer) = (false, None);
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap();
                    let value = trailers.get("x-stream-error").unwrap();
                    trailer = Some(value.to_str().unwrap().to_owned());
                }
                Err(_) => cut = true,
            }
        }
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes).unwrap(),
            cut,
            trailer,
        }
    }

    pub async fn call(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.request(request.body(Body::empty()).unwrap()).await
    }

    pub async fn call_as(&self, who: &str, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", who);
        self.request(request.body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    /// Makes a request as if it had come over any interface.
    pub async fn put(&self, name: &str, cid: Cid, options: PinOptions) {
        let pin = Pin::new(cid, options, NOW_MS / 1000);
        self.put_pin(name, pin).await;
    }

    pub async fn put_pin(&self, name: &str, pin: Pin) {
        let request = PinRequest {
            owner: owner(name),
            pin,
            tags: Vec::new(),
            created_ms: NOW_MS,
        };
        let change = RequestChange::Put(Box::new(request));
        let made = self.store.change_requests(vec![change], Vec::new()).await;
        made.unwrap();
    }

    /// Writes how a CID fares on a worker.
    pub async fn place(&self, cid: Cid, peer: &PeerId, desired: bool, state: PlacementState) {
        let error = match state {
            PlacementState::Error => "no \"space\" left".to_owned(),
            _ => String::new(),
        };
        let placement = Placement {
            state,
            error,
            attempt: 3,
            ..Placement::assigned(desired, NOW_MS, NOW_MS)
        };
        let change = PlacementChange {
            cid,
            peer: peer.clone(),
            placement: Some(placement),
        };
        self.store.change_placements(vec![change]).await.unwrap();
    }
}
