//! `ImportCar`: an archive is stored, and its roots are pinned.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tonic::{Status, Streaming};

use super::desk::Desk;
use super::status::invalid;
use super::v1;
use super::wire::{pin, read_wish};
use crate::Owner;
use crate::intake::IntakeError;

/// Most roots of one archive.
const MAX_ROOTS: usize = 1000;
/// Longest silence of a caller in the middle of an archive.
const SILENCE: Duration = Duration::from_secs(60);

/// Stores an archive. Returns the pins of its roots.
pub(super) async fn import(
    desk: &Desk,
    owner: Owner,
    mut requests: Streaming<v1::ImportCarRequest>,
) -> Result<Vec<v1::Pin>, Status> {
    let Some(intake) = &desk.intake else {
        return Err(Status::unimplemented(
            "this node keeps content in a Kubo: bring it there (ipfs dag import), then pin the CID",
        ));
    };
    let first = next(&mut requests).await?;
    let first = first.ok_or_else(|| invalid("an archive expected, found nothing"))?;
    // Wrong wishes are refused before anything is stored.
    let wish = read_wish(first.spec.unwrap_or_default(), String::new(), desk.now_s())?;
    let begin = futures::stream::once(async move { Ok(first.data.into()) });
    let rest = futures::stream::try_unfold(requests, |mut requests| async {
        let part = next(&mut requests).await;
        let part = part.map_err(|status| IntakeError::Invalid(status.message().to_owned()))?;
        Ok(part.map(|part| (part.data.into(), requests)))
    });
    let roots = intake.import_car(begin.chain(rest).boxed()).await?;
    if roots.is_empty() || roots.len() > MAX_ROOTS {
        return Err(invalid(format!(
            "the archive: 1 to {MAX_ROOTS} roots expected, found {}",
            roots.len()
        )));
    }
    let fleet = desk.pins.fleet().await?;
    let mut pins = Vec::with_capacity(roots.len());
    for root in roots {
        let view = desk.pins.add(&owner, root, wish.clone()).await?;
        pins.push(pin(view, &fleet));
    }
    Ok(pins)
}

async fn next(
    requests: &mut Streaming<v1::ImportCarRequest>,
) -> Result<Option<v1::ImportCarRequest>, Status> {
    match tokio::time::timeout(SILENCE, requests.try_next()).await {
        Ok(next) => next,
        Err(_) => Err(Status::deadline_exceeded(
            "nothing came for a minute in the middle of an archive",
        )),
    }
}
