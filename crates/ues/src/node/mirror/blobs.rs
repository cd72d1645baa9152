//! The blobs of a mirror, for those that are kept with them.

use futures::StreamExt;
use reqwest::header::CONTENT_TYPE;
use ues_data::Cid;
use ues_p2p::blobs::fetch_blob;
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::mirror::Mirror;
use ues_repo::syntax::Did;

use super::fetch::now_ms;
use super::server::Server;
use super::{Mirroring, blocking};

/// Missing blobs that are looked up together.
const PAGE: usize = 64;
/// The longest media type that is kept, in bytes.
const MAX_MIME: usize = 255;

impl Mirroring {
    /// Fetches what records refer to and is not here. What cannot be had is tried again with the next update.
    pub(super) async fn fetch_blobs(&self, row: &Mirror) {
        let mut after: Option<Cid> = None;
        loop {
            let repos = self.mirrors().repos();
            let page = blocking(|| repos.missing_blobs(&row.did, after.as_ref(), PAGE));
            let Ok(page) = page else { return };
            let Some((last, _)) = page.last() else { return };
            after = Some(*last);
            for (cid, _) in &page {
                if let Err(why) = self.fetch_blob(row, cid).await {
                    tracing::debug!(did = %row.did, %cid, %why, "a blob of a mirror did not come");
                }
            }
        }
    }

    async fn fetch_blob(&self, row: &Mirror, cid: &Cid) -> Result<(), String> {
        let address = row.server.as_deref().ok_or("its server is not known")?;
        let server = self.0.servers.at(address).map_err(|e| e.to_string())?;
        match self.blob_from(&server, &row.did, cid, row.max_bytes).await {
            Ok(()) => Ok(()),
            Err(why) => match self.blob_from_peers(row, cid).await {
                true => Ok(()),
                false => Err(why),
            },
        }
    }

    async fn blob_from_peers(&self, row: &Mirror, cid: &Cid) -> bool {
        let Some(running) = self.0.network.if_running().await else {
            return false;
        };
        let repos = self.mirrors().repos();
        for peer in self.peers(row).await.unwrap_or_default() {
            let (network, max) = (&running.network, row.max_bytes);
            match fetch_blob(network, peer, repos, &row.did, cid, max).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::debug!(%peer, %cid, %error, "a peer gave no blob"),
            }
        }
        false
    }

    async fn blob_from(
        &self,
        server: &Server,
        did: &Did,
        cid: &Cid,
        max: u64,
    ) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let answer = server.blob(did, cid).await.map_err(|e| text(&e))?;
        let mime = answer.headers().get(CONTENT_TYPE);
        let mime = mime.and_then(|mime| mime.to_str().ok());
        let mime = mime.filter(|mime| mime.len() <= MAX_MIME);
        let mime = mime.unwrap_or("application/octet-stream").to_owned();
        let repos = self.mirrors().repos();
        let head = repos.head(did).map_err(|e| text(&e))?;
        let owner = head.ok_or("nothing of it is here")?.owner;
        let mut intake = repos.blob_intake(owner);
        let mut body = answer.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|e| text(&e.without_url()))?;
            if intake.size() + piece.len() as u64 > max {
                return Err(format!("it has more than {max} bytes"));
            }
            blocking(|| intake.push(&piece)).map_err(|e| text(&e))?;
        }
        let stored = blocking(|| intake.finish_as(cid)).map_err(|e| text(&e))?;
        let meta = BlobMeta::of(&stored, mime, now_ms());
        let entered = repos.enter_blob(did, owner, &meta).await;
        entered.map_err(|e| text(&e))
    }
}
