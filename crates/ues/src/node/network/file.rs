//! Sync by file: `/admin/v1/sync/heads`, `…/export`, `…/import`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::Did;
use ues_sync::clock::VectorClock;
use ues_sync::log::Replica;
use ues_sync::protocol::file::{Export, FileReader, Import, ImportAction};
use ues_sync::protocol::{Copy, Taken, floor_archive};

use super::app::{Desk, invalid};
use crate::node::operator::{Answer, Refusal};

/// Pieces of a file that wait for a slow reader.
const PIECES: usize = 4;

#[derive(Deserialize)]
pub(super) struct Which {
    account: String,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    account: String,
    /// What the reader has: a clock.
    since: Option<String>,
    /// Whether the file is to begin with a new snapshot, the whole repository with it.
    #[serde(default)]
    snapshot: bool,
}

#[derive(Deserialize)]
pub(super) struct Trusted {
    /// The repository's key, for a repository that this device does not hold yet.
    root: Option<String>,
}

/// `GET sync/heads?account`: how far each writer has come here.
pub(super) async fn heads(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let copy = desk.network.0.replicas.copy(&account.did);
    let heads = copy.replica().map(Replica::clock).unwrap_or_default();
    Ok(Json(
        json!({ "did": account.did.as_str(), "heads": heads.to_string(), "operations": heads.total() }),
    ))
}

/// `GET sync/export?account&since&snapshot`: a file with what this device has.
pub(super) async fn export(
    State(desk): State<Desk>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let account = desk.account(&wanted.account)?;
    let since = match &wanted.since {
        Some(text) => text.parse::<VectorClock>().map_err(invalid)?,
        None => VectorClock::default(),
    };
    let replicas = &desk.network.0.replicas;
    let start = match wanted.snapshot {
        true => Some(replicas.snapshot(&account.did).await.map_err(invalid)?),
        false => None,
    };
    let copy = replicas.copy(&account.did);
    let Some(replica) = copy.replica() else {
        let text = format!(
            "{} is on this device alone: `ues device invite` or `ues device grant` lets another one hold it",
            account.handle
        );
        return Err(Refusal::invalid(text));
    };
    let floor = replica
        .floor_clock(copy.rows())
        .map_err(Refusal::internal)?;
    let archive = match start {
        None if !since.includes(&floor) => floor_archive(&copy).map_err(Refusal::internal)?,
        start => start,
    };
    let (sender, pieces) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut export = Export::new(since, archive);
        loop {
            let piece = match export.next(&copy) {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(e) => {
                    tracing::error!(error = %e, "a sync file cannot be written to its end");
                    Err(std::io::Error::other(e.to_string()))
                }
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// `POST sync/import?root`: takes a file in.
pub(super) async fn import(
    State(desk): State<Desk>,
    Query(trusted): Query<Trusted>,
    body: Body,
) -> Answer {
    let mut taking = Taking {
        desk,
        root: trusted.root,
        did: None,
        import: Import::default(),
    };
    let mut reader = FileReader::default();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| invalid(format!("the file breaks off: {e}")))?;
        // A piece may be as large as whoever sends it likes; frames are taken out of it one by one.
        for part in piece.chunks(64 << 10) {
            reader.push(part);
            while let Some(frame) = reader.next().map_err(invalid)? {
                taking.take(frame).await?;
            }
        }
    }
    taking.finish()
}

/// A file on its way in.
struct Taking {
    desk: Desk,
    root: Option<String>,
    did: Option<Did>,
    import: Import,
}

impl Taking {
    async fn take(&mut self, frame: Bytes) -> Result<(), Refusal> {
        let action = self.import.receive(frame).map_err(invalid)?;
        let taken = match action {
            ImportAction::Nothing => return Ok(()),
            ImportAction::Begin(did) => return self.begin(&did).await,
            ImportAction::Snapshot(archive) => return self.snapshot(archive).await,
            ImportAction::Admit(batch) => {
                let (did, replicas) = self.held()?;
                replicas.admit(did, batch).await
            }
            ImportAction::AdmitProofs(proofs) => {
                let (did, replicas) = self.held()?;
                replicas.admit_proofs(did, proofs).await
            }
        };
        let taken: Taken = taken.map_err(Refusal::internal)?;
        self.import.taken(&taken);
        Ok(())
    }

    /// The repository, once this device holds it.
    fn held(&self) -> Result<(&Did, &ues_sync::store::Replicas), Refusal> {
        let replicas = &self.desk.network.0.replicas;
        match &self.did {
            Some(did) if replicas.watch(did).is_some() => Ok((did, replicas)),
            _ => Err(invalid(
                "the file does not begin with the whole repository, which this device does not hold yet: \
                 `ues sync export --snapshot` on the device that has its key writes one that does",
            )),
        }
    }

    async fn begin(&mut self, did: &str) -> Result<(), Refusal> {
        let did = Did::parse(did).map_err(invalid)?;
        let replicas = &self.desk.network.0.replicas;
        if replicas.watch(&did).is_none() {
            let Some(root) = &self.root else {
                return Err(invalid(format!(
                    "this device does not hold {did}: `ues device grant` on the device that has its key lets it, \
                     and shows the command to begin here with"
                )));
            };
            if VerifyingKey::from_did_key(root).is_err() {
                return Err(invalid(format!(
                    "{root:?} is not a key: did:key:z… expected"
                )));
            }
            self.desk
                .network
                .make_room(&did, None)
                .await
                .map_err(invalid)?;
        }
        self.did = Some(did);
        Ok(())
    }

    async fn snapshot(&self, archive: Bytes) -> Result<(), Refusal> {
        let Some(did) = &self.did else {
            return Ok(());
        };
        let replicas = &self.desk.network.0.replicas;
        if replicas.watch(did).is_some() {
            return replicas
                .rebase(did, archive)
                .await
                .map(drop)
                .map_err(invalid);
        }
        let root = self.root.as_deref().map(VerifyingKey::from_did_key);
        let Some(Ok(root)) = root else {
            return Err(invalid("the repository's key is needed to begin with it"));
        };
        replicas.restore(did, &root, archive).await.map_err(invalid)
    }

    fn finish(self) -> Answer {
        let Some(did) = &self.did else {
            return Err(invalid("this is not a file that `ues sync export` wrote"));
        };
        let copy = self.desk.network.0.replicas.copy(did);
        let report = self.import.finish(&copy).map_err(invalid)?;
        let heads = copy.replica().map(Replica::clock).unwrap_or_default();
        let reasons = report.reasons.iter();
        let reasons: Vec<_> = reasons
            .map(|(why, count)| json!({ "why": why, "count": count }))
            .collect();
        Ok(Json(json!({
            "did": did.as_str(), "new": report.new, "known": report.known, "waiting": report.waiting,
            "forks": report.forks, "refused": report.refused, "reasons": reasons, "equal": report.equal,
            "heads": heads.to_string(),
        })))
    }
}
