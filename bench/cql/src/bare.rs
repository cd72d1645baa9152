//! The same rows by the driver alone.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::frame::types::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlValue};
use ues_pins::{Owner, PinRequest};

/// The driver with the statements that the store uses for the same.
pub struct Bare {
    session: Session,
    put_request: PreparedStatement,
    put_owned: PreparedStatement,
    requests_of: PreparedStatement,
    placements_of: PreparedStatement,
    scan: [PreparedStatement; 2],
    listed: PreparedStatement,
    request: PreparedStatement,
}

impl Bare {
    pub async fn connect(host: &str, keyspace: &str) -> Result<Self> {
        let profile = ExecutionProfile::builder().consistency(Consistency::Quorum);
        let connections = std::num::NonZeroUsize::new(10).context("ten")?;
        let session = SessionBuilder::new()
            .known_node(host)
            .pool_size(PoolSize::PerHost(connections))
            .default_execution_profile_handle(profile.build().into_handle())
            .use_keyspace(keyspace, false)
            .build()
            .await?;
        let prepare = async |text: &str| {
            let mut prepared = session.prepare(text).await?;
            prepared.set_page_size(1000);
            anyhow::Ok(prepared)
        };
        Ok(Self {
            put_request: prepare(
                "INSERT INTO pins_by_cid (mh, cid, owner, request, pin_type, rf, tags, created_at, updated_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .await?,
            put_owned: prepare(
                "INSERT INTO owner_pins (owner, tag, minute, created_ms, cid, stamp) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .await?,
            requests_of: prepare("SELECT owner, request FROM pins_by_cid WHERE mh = ? AND cid = ?")
                .await?,
            placements_of: prepare(
                "SELECT peer, placement FROM placements_by_cid WHERE mh = ? AND cid = ?",
            )
            .await?,
            scan: [
                prepare("SELECT cid, owner, request FROM pins_by_cid").await?,
                prepare("SELECT cid, peer, placement FROM placements_by_cid").await?,
            ],
            listed: prepare(
                "SELECT created_ms, cid FROM owner_pins WHERE owner = ? AND tag = '' AND minute = ?",
            )
            .await?,
            request: prepare(
                "SELECT request FROM pins_by_cid WHERE mh = ? AND cid = ? AND owner = ?",
            )
            .await?,
            session,
        })
    }

    /// Writes what leads to a request, and the request.
    pub async fn put(&self, request: &PinRequest) -> Result<()> {
        let (owner, cid) = (request.owner.as_str(), request.cid().to_bytes());
        let created = i64::try_from(request.created_ms)?;
        let own = |tag: &'static str| {
            let values = (owner, tag, created / 60_000, created, &cid, created);
            self.session.execute_unpaged(&self.put_owned, values)
        };
        let time = CqlTimestamp(created);
        let values = (
            request.cid().hash().to_bytes(),
            &cid,
            owner,
            request.pin.to_proto(),
            1,
            request.pin.options.replication_max,
            &request.tags,
            time,
            time,
        );
        let put = self.session.execute_unpaged(&self.put_request, values);
        futures::try_join!(own(""), own("blue"), put)?;
        Ok(())
    }

    /// Reads everything about a CID.
    pub async fn read(&self, request: &PinRequest) -> Result<()> {
        let key = (request.cid().hash().to_bytes(), request.cid().to_bytes());
        let (requests, placements) = futures::try_join!(
            self.session.execute_unpaged(&self.requests_of, &key),
            self.session.execute_unpaged(&self.placements_of, &key)
        )?;
        let requests = requests.into_rows_result()?;
        for row in requests.rows::<(String, Vec<u8>)>()? {
            row?;
        }
        ensure!(requests.rows_num() == 1 && placements.is_rows());
        Ok(())
    }

    /// Reads all rows of both tables; returns how many requests there are.
    pub async fn scan(&self) -> Result<u32> {
        let mut counts = [0u32; 2];
        for (count, statement) in counts.iter_mut().zip(&self.scan) {
            let pages = self.session.execute_iter(statement.clone(), ()).await?;
            let mut rows = pages.rows_stream::<(Vec<u8>, CqlValue, Vec<u8>)>()?;
            while let Some(row) = rows.next().await {
                row?;
                *count += 1;
            }
        }
        Ok(counts[0])
    }

    /// Reads the listing of an owner and its requests; returns how many there are.
    pub async fn list(&self, owner: &Owner, requests: &[PinRequest]) -> Result<u32> {
        let minutes = requests.iter().map(|r| r.created_ms / 60_000);
        let (Some(first), Some(last)) = (minutes.clone().min(), minutes.max()) else {
            return Ok(0);
        };
        let mut count = 0;
        for minute in first..=last {
            let values = (owner.as_str(), i64::try_from(minute)?);
            let pages = self
                .session
                .execute_iter(self.listed.clone(), values)
                .await?;
            let rows = pages.rows_stream::<(i64, Vec<u8>)>()?;
            let read = rows.map_err(anyhow::Error::from).map_ok(async |(_, cid)| {
                let parsed = ues_data::content_id::cid_from_bytes(&cid)?;
                let values = (parsed.hash().to_bytes(), cid, owner.as_str());
                let row = self.session.execute_unpaged(&self.request, values).await?;
                row.into_rows_result()?.single_row::<(Vec<u8>,)>()?;
                anyhow::Ok(())
            });
            let read = read.try_buffer_unordered(64);
            count += read.try_fold(0u32, async |count, ()| Ok(count + 1)).await?;
        }
        Ok(count)
    }
}
