//! Sending what is in the outbox by SMTP.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::letter::Letter;
use crate::context::Context;

/// How long a mail server may take for one letter.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the outbox is looked at when nothing was written.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Letters of one look.
const AT_ONCE: usize = 50;

type Smtp = AsyncSmtpTransport<Tokio1Executor>;

/// Starts sending; ends when the event stream is stopped. Without a mail server the letters stay in
/// the outbox.
pub fn start(ctx: &Context) {
    let Some(url) = ctx.config.mail.smtp_url.clone() else {
        return;
    };
    let transport = match Smtp::from_url(&url) {
        Ok(builder) => builder.timeout(Some(PATIENCE)).build::<Tokio1Executor>(),
        Err(cause) => {
            tracing::error!(%cause, "mail.smtp_url makes no sense; mail stays in the outbox");
            return;
        }
    };
    let ctx = ctx.clone();
    tokio::spawn(async move {
        loop {
            if let Err(cause) = send_due(&ctx, &transport).await {
                tracing::error!(%cause, "the outbox cannot be used");
            }
            tokio::select! {
                () = ctx.hub.stopped() => return,
                () = ctx.outbox.written.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
}

async fn send_due(ctx: &Context, transport: &Smtp) -> Result<(), String> {
    let due = ctx
        .outbox
        .due(&ctx.seal, ctx.now_ms(), AT_ONCE)
        .map_err(|e| e.to_string())?;
    for (id, letter) in due {
        let outcome = send(ctx, transport, &letter).await;
        if let Err(cause) = &outcome {
            tracing::warn!(id, %cause, "a letter was not sent");
        }
        let mut batch = ctx.store.batch();
        ctx.outbox
            .tried(&mut batch, id, outcome, ctx.now_ms())
            .map_err(|e| e.to_string())?;
        ctx.store.commit(batch).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn send(ctx: &Context, transport: &Smtp, letter: &Letter) -> Result<(), String> {
    let from: Mailbox = ctx
        .config
        .mail_from()
        .parse()
        .map_err(|e| format!("mail.from is no address: {e}"))?;
    let to: Mailbox = letter
        .to
        .parse()
        .map_err(|e| format!("{} is no address: {e}", letter.to))?;
    let message = Message::builder()
        .from(from)
        .to(to)
        .subject(letter.subject.as_str())
        .header(ContentType::TEXT_PLAIN)
        .body(letter.text.clone())
        .map_err(|e| e.to_string())?;
    let sending = tokio::time::timeout(PATIENCE, transport.send(message));
    match sending.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(cause)) => Err(cause.to_string()),
        Err(_) => Err("the mail server did not answer in time".to_owned()),
    }
}
