//! Traces for an OpenTelemetry collector, over OTLP. Which spans there are: [`ues_pins::trace`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use reqwest::Url;
use tokio::runtime::Handle;
use ues_repo::identity::resolver::http_client_builder;

use crate::config::typed;
use crate::failure::{Failure, Outcome};

/// Path of a collector for traces, where the setting names none.
const TRACES: &str = "/v1/traces";
/// How long the collector is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the program waits for it.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer of the collector that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// What sends traces.
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// Starts it; `None` when no collector is configured. The exporter's calls are made on this runtime.
    ///
    /// # Errors
    /// A usage failure when the address is not one.
    pub fn start(settings: &typed::Telemetry, runtime: &Handle) -> Outcome<Option<Self>> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = endpoint(&settings.otlp_endpoint)?;
        let failed = |what: &str, why: &dyn std::fmt::Display| {
            Failure::usage(format!("telemetry: {what}: {why}"))
        };
        let client = http_client_builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| failed("no HTTP client", &e))?;
        let collector = Collector {
            client,
            runtime: runtime.clone(),
            reached: Arc::new(AtomicBool::new(true)),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|e| failed("no exporter", &e))?;
        let sampler = Sampler::TraceIdRatioBased(settings.sample);
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Some(Self(provider)))
    }

    /// What makes traces of spans.
    pub fn tracer(&self) -> SdkTracer {
        self.0.tracer("ues")
    }

    /// Sends what is left, as far as the collector takes it soon.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_PATIENCE) {
            tracing::warn!(%error, "the last traces are lost");
        }
    }
}

/// The address that traces are sent to.
fn endpoint(setting: &str) -> Outcome<String> {
    let wrong = |why: String| {
        Failure::usage(format!("telemetry.otlp_endpoint: {why}"))
            .hint("such as http://127.0.0.1:4318")
    };
    let mut url: Url = setting
        .parse()
        .map_err(|e| wrong(format!("an address expected: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("http or https expected".to_owned()));
    }
    if url.path() == "/" {
        url.set_path(TRACES);
    }
    Ok(url.into())
}

/// The collector. Its exporter runs on a thread of its own, which knows nothing of the runtime.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether it answered the last time.
    reached: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(send(client, request)).await?;
        let well = match &sent {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(response.status().to_string()),
            // An address may hold a password.
            Err(error) => Err(chain(error)),
        };
        let before = self.reached.swap(well.is_ok(), Ordering::Relaxed);
        if let (Err(why), true) = (well, before) {
            tracing::warn!(%why, "traces are lost: the collector does not take them");
        }
        Ok(sent?)
    }
}

async fn send(
    client: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, reqwest::Error> {
    let request = reqwest::Request::try_from(request)?;
    let answer = client.execute(request).await;
    let mut answer = answer.map_err(reqwest::Error::without_url)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            break;
        }
    }
    *response.body_mut() = body.freeze();
    Ok(response)
}

/// An error with what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_collectors() {
        let read = |text| endpoint(text).ok();
        let usual = Some("http://127.0.0.1:4318/v1/traces".to_owned());
        assert_eq!(read("http://127.0.0.1:4318"), usual);
        assert_eq!(read("http://127.0.0.1:4318/"), usual);
        let own = "https://collector.example/in?tenant=1";
        assert_eq!(read(own).as_deref(), Some(own));
        for wrong in ["127.0.0.1:4318", "collector", "grpc://x", "unix:/x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
