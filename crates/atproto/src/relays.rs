//! Telling relays that this node has something for them (`com.atproto.sync.requestCrawl`).

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use ues_repo::identity::resolver::http_client_builder;

use crate::context::Context;

/// How often relays are told while there are events; a relay that follows needs no more.
const EVERY: Duration = Duration::from_secs(20 * 60);
/// How long a relay may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a relay that did not answer is asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Starts a task for each configured relay; they end when the event stream is stopped.
pub fn start(ctx: &Context) {
    if ctx.config.firehose.relays.is_empty() {
        return;
    }
    let client = http_client_builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = match client {
        Ok(client) => client,
        Err(cause) => {
            tracing::error!(%cause, "relays cannot be told of this node");
            return;
        }
    };
    for relay in &ctx.config.firehose.relays {
        let (ctx, client, relay) = (ctx.clone(), client.clone(), relay.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ctx.hub.stopped() => {}
                () = keep_told(&ctx, &client, &relay) => {}
            }
        });
    }
}

/// Tells a relay at once, and later whenever there are events, but not too often.
async fn keep_told(ctx: &Context, client: &Client, relay: &str) {
    let mut durable = ctx.store.log().subscribe();
    loop {
        let mut pause = FIRST_PAUSE;
        durable.borrow_and_update();
        while let Err(cause) = request_crawl(ctx, client, relay).await {
            match cause {
                Refused::ForNow(cause) => {
                    tracing::warn!(relay, %cause, "a relay was not told of this node; it is tried again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Refused::ForGood(cause) => {
                    tracing::error!(relay, %cause, "a relay refuses this node");
                    break;
                }
            }
        }
        sleep_until(Instant::now() + EVERY).await;
        if durable.changed().await.is_err() {
            return;
        }
    }
}

enum Refused {
    ForNow(String),
    ForGood(String),
}

async fn request_crawl(ctx: &Context, client: &Client, relay: &str) -> Result<(), Refused> {
    let url = format!(
        "{}/xrpc/com.atproto.sync.requestCrawl",
        relay.trim_end_matches('/')
    );
    let input = json!({ "hostname": ctx.config.authority() });
    let answer = client.post(url).json(&input).send().await;
    let answer = answer.map_err(|e| Refused::ForNow(e.to_string()))?;
    let status = answer.status();
    if status.is_success() {
        tracing::info!(relay, "a relay was told of this node");
        Ok(())
    } else if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        Err(Refused::ForGood(format!("it answered {status}")))
    } else {
        Err(Refused::ForNow(format!("it answered {status}")))
    }
}
