//! A service whose interfaces, gRPC and REST, are called without a network.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions};
use ues_data::Cid;
use ues_pins::auth::{Authenticate, Caller, Credentials, Denied};
use ues_pins::grpc::v1;
use ues_pins::grpc::v1::fleet_service_client::FleetServiceClient;
use ues_pins::grpc::v1::pin_service_client::PinServiceClient;
use ues_pins::grpc::{self, CallLimits};
use ues_pins::intake::Intake;
use ues_pins::service::Options;
use ues_pins::store::{MemoryStore, StateStore};
use ues_pins::{Clock, Owner, PeerId, Pins, Worker, pinning_service};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

/// 2023-11-14T22:13:20.5Z
pub const NOW_MS: u64 = 1_700_000_000_500;

pub struct Desk {
    pub bus: Arc<dyn Bus>,
    pub store: Arc<MemoryStore>,
    pub router: Router,
    pub worker: PeerId,
}

pub fn cid(number: u64) -> Cid {
    ues_data::raw_cid(&number.to_be_bytes())
}

fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

/// `NAME`: an owner; `NAME-reader`: reads only; `operator`: everything.
fn authenticate() -> Authenticate {
    Arc::new(|shown| Box::pin(std::future::ready(judge(&shown))))
}

fn judge(shown: &Credentials) -> Result<Caller, Denied> {
    match shown {
        Credentials::Bearer(token) if token == "operator" => {
            Ok(Caller::operator(owner("operator")))
        }
        Credentials::Bearer(token) if token.is_empty() => Err(Denied::No("no key".to_owned())),
        Credentials::Bearer(token) => {
            let name = token.strip_suffix("-reader");
            Ok(Caller {
                writes: name.is_none(),
                operates: false,
                ..Caller::operator(owner(name.unwrap_or(token)))
            })
        }
        _ => Err(Denied::No("show an API key".to_owned())),
    }
}

impl Desk {
    pub async fn new() -> Self {
        Self::with(None, CallLimits::default()).await
    }

    pub async fn with(intake: Option<Arc<dyn Intake>>, limits: CallLimits) -> Self {
        let store = Arc::new(MemoryStore::default());
        let worker = PeerId::from_ed25519(&[1; 32]);
        store.put_worker(described(&worker)).await.unwrap();
        let rows = Arc::new(MemoryEngine::new());
        let rows = Store::with_engine(rows, StoreOptions::default()).unwrap();
        let bus: Arc<dyn Bus> = EmbeddedBus::open(rows, EmbeddedOptions::default()).unwrap();
        let options = Options {
            clock: Clock::new(|| NOW_MS),
            ..Options::new("test".to_owned())
        };
        let pins = Pins::start(store.clone(), Arc::clone(&bus), options);
        let grpc = grpc::routes(pins.clone(), authenticate(), intake, limits).unwrap();
        let rest = pinning_service::routes(pins, authenticate());
        Self {
            router: grpc.merge(rest),
            bus,
            store,
            worker,
        }
    }

    pub fn client(&self) -> PinServiceClient<Router> {
        PinServiceClient::new(self.router.clone())
    }

    pub fn fleet(&self) -> FleetServiceClient<Router> {
        FleetServiceClient::new(self.router.clone())
    }

    /// What REST says.
    pub async fn rest(&self, token: &str, method: &str, path: &str) -> Value {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }
}

fn described(id: &PeerId) -> Worker {
    Worker {
        id: id.clone(),
        name: "alpha".to_owned(),
        seen_ms: NOW_MS - 1000,
        free: 1 << 40,
        used: 7,
        pins: Some(3),
        tags: [("region".to_owned(), "eu".to_owned())].into(),
        concurrency: 10,
        draining: false,
        failing: None,
        content: 1,
        exclusive: true,
        ipfs_id: String::new(),
        ipfs_addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        agent: "test".to_owned(),
    }
}

/// A call by somebody.
pub fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

pub fn spec(cid: Cid) -> v1::PinSpec {
    v1::PinSpec {
        cid: cid.to_string(),
        ..Default::default()
    }
}

pub fn pin_request(cid: Cid) -> v1::PinRequest {
    v1::PinRequest {
        spec: Some(spec(cid)),
        ..Default::default()
    }
}
