//! `com.atproto.label.subscribeLabels`: labels as they are made, from a cursor on.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use ues_data::dag_cbor::Writer;

use super::label::Label;
use crate::context::Context;
use crate::firehose::{Incoming, Incomings, Outgoing, farewell, message, write_all};

/// Labels of one read.
const PIECE: usize = 200;
/// How often a blocked write looks around.
const STEP: Duration = Duration::from_secs(1);

/// Serves a subscriber until one of the two goes. Nothing is ever outdated: all labels are kept.
pub async fn serve<S>(ctx: &Context, stream: S, cursor: Option<u64>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (from, mut to) = tokio::io::split(stream);
    let mut incoming = Incomings::new(from);
    let Some(_present) = ctx.hub.enter() else {
        let error = Some(("ServerBusy", "Too many subscribers"));
        return farewell(&mut to, error, CloseCode::Again).await;
    };
    let mut told = ctx.labels.watch();
    let newest = *told.borrow_and_update();
    if cursor.is_some_and(|cursor| cursor > newest) {
        let error = Some(("FutureCursor", "Cursor in the future."));
        return farewell(&mut to, error, CloseCode::Policy).await;
    }
    let mut position = cursor.unwrap_or(newest);
    let period = Duration::from_secs(ctx.config.firehose.ping_interval_s.max(1));
    let mut pings = interval_at(Instant::now() + period, period);
    loop {
        let messages = match next(ctx, position) {
            Ok((messages, last)) => {
                position = last;
                messages
            }
            Err(cause) => {
                tracing::error!(%cause, "labels cannot be read");
                let error = Some(("InternalServerError", "Internal Server Error"));
                return farewell(&mut to, error, CloseCode::Error).await;
            }
        };
        let sent = if messages.is_empty() {
            tokio::select! {
                biased;
                () = ctx.hub.stopped() => return farewell(&mut to, None, CloseCode::Away).await,
                changed = told.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return farewell(&mut to, None, CloseCode::Away).await,
                },
                message = incoming.next() => match message {
                    Incoming::Ping(payload) => send(ctx, &mut to, [message::pong(&payload)].into()).await,
                    Incoming::Close => return farewell(&mut to, None, CloseCode::Normal).await,
                },
                _ = pings.tick() => send(ctx, &mut to, [message::ping()].into()).await,
            }
        } else {
            send(ctx, &mut to, messages).await
        };
        if !sent {
            return;
        }
    }
}

/// The messages after a number, and the number of the last.
fn next(ctx: &Context, after: u64) -> Result<(VecDeque<Bytes>, u64), super::LabelError> {
    let labels = ctx.labels.after(after, PIECE)?;
    let last = labels.last().map_or(after, |(seq, _)| *seq);
    let messages = labels.iter().map(|(seq, label)| frame(*seq, label));
    Ok((messages.collect(), last))
}

fn frame(seq: u64, label: &Label) -> Bytes {
    let mut w = Writer::new();
    w.map(2);
    w.text("t");
    w.text("#labels");
    w.text("op");
    w.uint(1);
    w.map(2);
    w.text("seq");
    w.uint(seq);
    w.text("labels");
    w.array(1);
    label.write(&mut w, true);
    message::binary(&w.into_bytes())
}

/// Writes to a subscriber; whether it took everything in time.
async fn send<W: AsyncWrite + Unpin>(ctx: &Context, to: &mut W, messages: VecDeque<Bytes>) -> bool {
    let stall = ctx.config.firehose.stall_timeout_s;
    let go_on = |steps: u32| u64::from(steps) * STEP.as_secs() < stall;
    let mut out = Outgoing(messages);
    write_all(to, &mut out, STEP, go_on).await.is_ok()
}
