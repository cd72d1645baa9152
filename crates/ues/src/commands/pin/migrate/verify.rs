//! Whether the service holds what was read.

use ues_pins::migration::PinSetDigest;

use super::journal::Record;
use crate::client::Client;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// Asks the service for the digest of what the migration brought, part by part, and compares.
///
/// # Errors
/// When it differs from what was read.
pub(super) async fn verify(context: &Context, client: &Client, record: &Record) -> Outcome {
    let held = held(context, client, record).await?;
    if held == record.digest {
        return Ok(());
    }
    let (there, meant) = (held.count(), record.digest.count());
    let sentence = if there == meant {
        format!(
            "the service holds {there} pins of this migration, but not all of them as they were read"
        )
    } else {
        format!("the service holds {there} pins of this migration, and {meant} were read")
    };
    Err(Failure::unsound(sentence).hint(format!(
        "somebody may have changed pins of {} meanwhile; begin again without --resume, which does no harm",
        record.owner
    )))
}

async fn held(context: &Context, client: &Client, record: &Record) -> Outcome<PinSetDigest> {
    let progress = context.output.progress("compared", record.digest.count());
    let horizon = record.horizon_s.to_string();
    let (mut held, mut cursor) = (PinSetDigest::default(), String::new());
    loop {
        let mut params = vec![
            ("owner", record.owner.as_str()),
            ("tag", &record.tag),
            ("horizon", &horizon),
        ];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let page = client.admin_get("pins/digest", &params).await?;
        let part = page["digest"].as_str().unwrap_or_default();
        let part: PinSetDigest = part
            .parse()
            .map_err(Failure::while_doing("read the node's answer"))?;
        held.join(part);
        progress.advance(part.count());
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(held),
        }
    }
}
