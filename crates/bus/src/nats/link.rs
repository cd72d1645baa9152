//! The connection: how it is made, whether it is there, and questions to the server.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::options::NatsOptions;
use crate::queue::BusError;

/// Publishes whose answers are awaited at one time.
pub(super) const PIPELINE: usize = 512;
/// Between two looks whether the connection is back, should the news of it be missed.
const MOMENT: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to connect again.
const RECONNECT: Duration = Duration::from_secs(2);

/// The connection.
pub(super) struct Link {
    pub client: Client,
    pub context: Context,
    pub timeout: Duration,
    /// Counts how often a connection came to be.
    connections: watch::Receiver<u64>,
}

/// Why a question was not answered as wished.
#[derive(Debug)]
pub(super) enum AskError {
    /// No answer.
    Away(String),
    /// The server says no.
    No(jetstream::Error),
}

impl Link {
    pub(super) async fn connect(options: &NatsOptions) -> Result<Self, BusError> {
        let refused = |e: &dyn std::fmt::Display| BusError::Refused(e.to_string());
        let addresses: Vec<ServerAddr> = options
            .urls
            .iter()
            .map(|url| url.parse())
            .collect::<Result<_, std::io::Error>>()
            .map_err(|e| refused(&e))?;
        if addresses.is_empty() {
            return Err(refused(&"the address of a NATS server is missing"));
        }
        // The client takes what the process uses for TLS. Where nobody has chosen, it would have to guess, and panics.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (count, connections) = watch::channel(0u64);
        let mut connect = ConnectOptions::new()
            .name("ues")
            .connection_timeout(options.timeout)
            .request_timeout(Some(options.timeout))
            .require_tls(options.tls.required)
            .reconnect_delay_callback(|attempts| {
                let doubled = 1u64 << attempts.clamp(1, 6);
                Duration::from_millis(doubled * 25).min(RECONNECT)
            })
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        tracing::info!("connected to NATS");
                        count.send_modify(|n| *n += 1);
                    }
                    other => tracing::warn!("NATS: {other}"),
                }
                async {}
            });
        if let Some((user, password)) = &options.user {
            connect = connect.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &options.token {
            connect = connect.token(token.clone());
        }
        if let Some(ca) = &options.tls.ca {
            connect = connect.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &options.tls.client {
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
        if let Some(path) = &options.credentials {
            connect = connect
                .credentials_file(path)
                .await
                .map_err(|e| BusError::Refused(format!("cannot read {}: {e}", path.display())))?;
        }
        let all = options.timeout.saturating_mul(
            u32::try_from(addresses.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        );
        let client = tokio::time::timeout(all, connect.connect(addresses))
            .await
            .map_err(|_| BusError::Unavailable("no NATS server answers".to_owned()))?
            .map_err(|e| match e.kind() {
                ConnectErrorKind::ServerParse
                | ConnectErrorKind::Authentication
                | ConnectErrorKind::AuthorizationViolation => refused(&e),
                _ => BusError::Unavailable(e.to_string()),
            })?;
        let context = ContextBuilder::new()
            .timeout(options.timeout)
            .ack_timeout(options.timeout)
            .max_ack_inflight(PIPELINE * 4)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            timeout: options.timeout,
            connections,
        })
    }

    /// Whether there is a connection now.
    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for a connection that is away just now.
    pub(super) async fn ready(&self) -> Result<(), BusError> {
        let mut connections = self.connections();
        let back = async {
            while !self.is_up() {
                // The news may come a moment before the state changes.
                let _ = tokio::time::timeout(MOMENT, connections.changed()).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(self.timeout, back)
            .await
            .map_err(|_| BusError::Unavailable("no connection to NATS".to_owned()))
    }

    /// Changes when there is a new connection.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// Asks the JetStream API.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        what: String,
        question: &impl Serialize,
    ) -> Result<T, AskError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer<T> {
            No { error: jetstream::Error },
            Yes(T),
        }
        match self.context.request(what, question).await {
            Ok(Answer::Yes(answer)) => Ok(answer),
            Ok(Answer::No { error }) => Err(AskError::No(error)),
            Err(e) => Err(AskError::Away(e.to_string())),
        }
    }
}

impl AskError {
    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Away(_) => None,
            Self::No(error) => Some(error.error_code()),
        }
    }

    /// Whether the thing that was asked for is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::No(error) if error.code() == 404)
            || self.code() == Some(ErrorCode::NO_MESSAGE_FOUND)
    }
}

impl From<AskError> for BusError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Away(why) => Self::Unavailable(why),
            AskError::No(error) => refusal(&error),
        }
    }
}

/// What a refusal of the server means.
pub(super) fn refusal(error: &jetstream::Error) -> BusError {
    if error.code() >= 500 {
        BusError::Unavailable(error.to_string())
    } else {
        BusError::Refused(error.to_string())
    }
}
