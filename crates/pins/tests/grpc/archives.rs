//! Archives.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use tonic::Code;
use ues_data::Cid;
use ues_pins::grpc::{CallLimits, v1};
use ues_pins::intake::{AddParams, Added, Intake, IntakeError, Part};

use crate::desk::{Desk, by, cid};

/// Takes text for an archive whose root is the raw block of all of it.
struct Texts;

pub fn intake() -> Arc<dyn Intake> {
    Arc::new(Texts)
}

#[async_trait]
impl Intake for Texts {
    fn add(
        &self,
        _: BoxStream<'static, Result<Part, IntakeError>>,
        _: AddParams,
    ) -> BoxStream<'static, Result<Added, IntakeError>> {
        Box::pin(futures::stream::empty())
    }

    async fn import_car(
        &self,
        car: BoxStream<'static, Result<Bytes, IntakeError>>,
    ) -> Result<Vec<Cid>, IntakeError> {
        let parts: Vec<Bytes> = car.try_collect().await?;
        let all = parts.concat();
        if all == b"bad" {
            return Err(IntakeError::Invalid("no header".to_owned()));
        }
        Ok(if all.is_empty() {
            Vec::new()
        } else {
            vec![ues_data::raw_cid(&all), cid(1)]
        })
    }
}

fn part(data: &[u8], name: Option<&str>) -> v1::ImportCarRequest {
    v1::ImportCarRequest {
        spec: name.map(|name| v1::PinSpec {
            name: name.to_owned(),
            ..Default::default()
        }),
        data: data.to_vec(),
    }
}

async fn import(desk: &Desk, parts: Vec<v1::ImportCarRequest>) -> Result<Vec<v1::Pin>, Code> {
    let parts = futures::stream::iter(parts);
    let imported = desk.client().import_car(by("alice", parts)).await;
    let imported = imported.map(|answer| answer.into_inner().pins);
    imported.map_err(|status| status.code())
}

#[tokio::test]
async fn an_archive_is_stored_and_its_roots_are_pinned() {
    let desk = Desk::with(Some(intake()), CallLimits::default()).await;
    let parts = vec![part(b"one ", Some("both")), part(b"two", None)];
    let pins = import(&desk, parts).await.unwrap();
    let cids: Vec<_> = pins
        .iter()
        .map(|p| p.spec.as_ref().unwrap().cid.clone())
        .collect();
    assert_eq!(
        cids,
        [
            ues_data::raw_cid(b"one two").to_string(),
            cid(1).to_string()
        ]
    );
    let listed = desk
        .rest("alice", "GET", "/pins?name=both&status=queued,pinning")
        .await;
    assert_eq!(listed["count"], 2);
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let desk = Desk::with(Some(intake()), CallLimits::default()).await;
    let wrong = Err(Code::InvalidArgument);
    assert_eq!(import(&desk, Vec::new()).await, wrong);
    assert_eq!(import(&desk, vec![part(b"", None)]).await, wrong);
    assert_eq!(import(&desk, vec![part(b"bad", None)]).await, wrong);
    let mut odd = part(b"one", Some("x"));
    odd.spec.as_mut().unwrap().mode = 7;
    assert_eq!(import(&desk, vec![odd]).await, wrong);
    let desk = Desk::new().await;
    let without = import(&desk, vec![part(b"one", None)]).await;
    assert_eq!(without, Err(Code::Unimplemented));
}
