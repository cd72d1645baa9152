//! One session on its stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use tokio::time::timeout;
use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::Did;
use ues_sync::protocol::{Action, Failure, MAX_FRAME_BYTES, Session, Taken};
use ues_sync::store::{Replicas, ReplicasError};

use super::status::{Board, Stage};
use crate::framing::{self, Incoming};

/// Frames that wait to be taken. The protocol's window lets no honest peer send more.
const WAITING_FRAMES: usize = 16;
/// How long the other may take to read what is sent.
const SEND_WITHIN: Duration = Duration::from_secs(60);
/// How long a snapshot's sender may be silent.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(120);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Protocol(#[from] Failure),
    #[error(transparent)]
    Replicas(#[from] ReplicasError),
    #[error("the connection failed: {0}")]
    Stream(#[from] std::io::Error),
    #[error("the other device closed the session")]
    Closed,
    #[error("the other device does not read what is sent to it")]
    Stuck,
    #[error("the other device does not send the snapshot")]
    NoSnapshot,
    #[error("its right to write was taken back")]
    Revoked,
}

/// What a session works on.
pub(super) struct Ends {
    pub replicas: Replicas,
    pub board: Board,
    pub did: Did,
    pub peer: PeerId,
    /// The repository's own key, for a device that begins its log with a snapshot.
    pub root: Option<VerifyingKey>,
}

impl Ends {
    /// Runs a session until it ends. `first` is a frame that was read already; `until_synced` ends it there.
    pub async fn run(
        &self,
        mut session: Session,
        stream: Stream,
        first: Option<Bytes>,
        until_synced: bool,
    ) -> Result<(), Ended> {
        let (reader, mut writer) = stream.split();
        let mut frames = Incoming::start(reader, MAX_FRAME_BYTES, WAITING_FRAMES);
        let outcome = self
            .exchange(&mut session, &mut writer, &mut frames, first, until_synced)
            .await;
        if let Err(ended) = &outcome
            && !matches!(ended, Ended::Closed | Ended::Stream(_) | Ended::Stuck)
        {
            let reason = Session::refusal(&ended.to_string());
            let _ = timeout(SEND_WITHIN, framing::write(&mut writer, &reason)).await;
        }
        let _ = timeout(SEND_WITHIN, writer.close()).await;
        outcome
    }

    async fn exchange<W: futures::AsyncWrite + Unpin>(
        &self,
        session: &mut Session,
        writer: &mut W,
        frames: &mut Incoming,
        first: Option<Bytes>,
        until_synced: bool,
    ) -> Result<(), Ended> {
        let mut changes = self.replicas.watch(&self.did);
        if let Some(first) = first {
            session.receive(&self.replicas.copy(&self.did), first)?;
        }
        loop {
            while let Some(action) =
                session.step(&self.replicas.copy(&self.did), self.did.as_str())?
            {
                self.perform(session, writer, action).await?;
            }
            if changes.is_none() {
                changes = self.replicas.watch(&self.did);
            }
            if until_synced && session.is_synced() {
                return Ok(());
            }
            if let Some(key) = crate::identity::key_of(&self.peer)
                && changes.is_some()
                && !self.replicas.may_sync(&self.did, &key.did_key())
            {
                return Err(Ended::Revoked);
            }
            let frame = match &mut changes {
                Some(changes) => tokio::select! {
                    frame = frames.next() => frame?,
                    changed = changes.changed() => {
                        changed.map_err(|_| Ended::Closed)?;
                        continue;
                    }
                },
                None => timeout(SNAPSHOT_WITHIN, frames.next())
                    .await
                    .map_err(|_| Ended::NoSnapshot)??,
            };
            let Some(frame) = frame else {
                return Err(Ended::Closed);
            };
            self.board.update(&self.did, self.peer, |row| {
                row.bytes_in += frame.len() as u64;
            });
            session.receive(&self.replicas.copy(&self.did), frame)?;
        }
    }

    async fn perform<W: futures::AsyncWrite + Unpin>(
        &self,
        session: &mut Session,
        writer: &mut W,
        action: Action,
    ) -> Result<(), Ended> {
        match action {
            Action::Send(frame) => {
                timeout(SEND_WITHIN, framing::write(writer, &frame))
                    .await
                    .map_err(|_| Ended::Stuck)??;
                self.board.update(&self.did, self.peer, |row| {
                    row.bytes_out += frame.len() as u64;
                });
            }
            Action::Admit(batch) => {
                self.stage(Stage::Syncing);
                let taken = self.replicas.admit(&self.did, batch).await?;
                self.board.update(&self.did, self.peer, |row| {
                    for result in &taken.results {
                        match result {
                            Ok(_) => row.received += 1,
                            Err(refused) => {
                                row.refused += 1;
                                row.refused_why = Some(refused.to_string());
                            }
                        }
                    }
                });
                session.taken(&self.replicas.copy(&self.did), &taken);
            }
            Action::AdmitProofs(proofs) => {
                // What proves nothing is no reason to send anything again.
                self.replicas.admit_proofs(&self.did, proofs).await?;
                session.taken(&self.replicas.copy(&self.did), &Taken::default());
            }
            Action::MakeSnapshot => {
                let archive = self.replicas.snapshot(&self.did).await?;
                session.send_snapshot(&archive);
            }
            Action::Restore(archive) => {
                let Some(root) = &self.root else {
                    return Err(Failure::Protocol("a snapshot that nobody asked for").into());
                };
                self.replicas.restore(&self.did, root, archive).await?;
                session.restored();
            }
            Action::Rebase(archive) => {
                self.stage(Stage::Syncing);
                self.replicas.rebase(&self.did, archive).await?;
                session.rebased(&self.replicas.copy(&self.did));
            }
            Action::Synced => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                self.board.update(&self.did, self.peer, |row| {
                    row.stage = Stage::Synced;
                    row.reason = None;
                    row.synced_ms = Some(now.as_millis() as u64);
                });
                if let Some(key) = crate::identity::key_of(&self.peer) {
                    self.replicas.acknowledge(&self.did, &key.did_key()).await?;
                }
            }
        }
        Ok(())
    }

    fn stage(&self, stage: Stage) {
        self.board
            .update(&self.did, self.peer, |row| row.stage = stage);
    }
}

/// A task that ends with whoever started it.
pub(crate) struct AbortOnDrop(pub tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
