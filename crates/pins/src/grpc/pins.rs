//! `PinService`.

use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::desk::{Desk, owner_named};
use super::status::invalid;
use super::v1::pin_service_server::PinService;
use super::wire::{pin, read_cids, read_spec};
use super::{archive, bulk, list, v1, watch};
use crate::service::{PinView, PinsError};

/// Metadata that carries the operation id, as others have it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Desk {
    pub(super) async fn shown(&self, view: PinView) -> Result<v1::Pin, Status> {
        Ok(pin(view, &self.pins.fleet().await?))
    }

    pub(super) fn now_s(&self) -> u64 {
        self.pins.now_ms() / 1000
    }
}

/// The operation id: of the message, otherwise of the metadata; empty for none.
fn op_id<T>(request: &Request<T>, named: &str) -> Result<String, Status> {
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let Some(value) = request.metadata().get(IDEMPOTENCY_KEY) else {
        return Ok(String::new());
    };
    let value = value.to_str();
    let value = value.map_err(|_| invalid("the metadata idempotency-key is not plain text"))?;
    Ok(value.to_owned())
}

#[tonic::async_trait]
impl PinService for Desk {
    type ListPinsStream = Answers<v1::ListPinsResponse>;
    type BulkPinStream = Answers<v1::BulkPinResponse>;
    type BulkUnpinStream = Answers<v1::BulkUnpinResponse>;
    type WatchStream = Answers<v1::WatchResponse>;

    async fn pin(
        &self,
        request: Request<v1::PinRequest>,
    ) -> Result<Response<v1::PinResponse>, Status> {
        let caller = self.writer(request.metadata()).await?;
        let op_id = op_id(&request, &request.get_ref().op_id)?;
        let (cid, wish) = read_spec(request.into_inner().spec, op_id, self.now_s())?;
        let view = self.pins.add(&caller.owner, cid, wish).await?;
        let pin = Some(self.shown(view).await?);
        Ok(Response::new(v1::PinResponse { pin }))
    }

    async fn unpin(
        &self,
        request: Request<v1::UnpinRequest>,
    ) -> Result<Response<v1::UnpinResponse>, Status> {
        let owner = self.writer(request.metadata()).await?.owner;
        let op_id = op_id(&request, &request.get_ref().op_id)?;
        let id = &request.get_ref().id;
        let removed = if op_id.is_empty() {
            crate::RequestId::of(&self.pins.remove(&owner, id).await?)
        } else {
            self.pins.remove_once(&owner, id, &op_id).await?
        };
        let request_id = removed.to_string();
        Ok(Response::new(v1::UnpinResponse { request_id }))
    }

    async fn replace_pin(
        &self,
        request: Request<v1::ReplacePinRequest>,
    ) -> Result<Response<v1::ReplacePinResponse>, Status> {
        let owner = self.writer(request.metadata()).await?.owner;
        let v1::ReplacePinRequest { id, spec } = request.into_inner();
        let (cid, wish) = read_spec(spec, String::new(), self.now_s())?;
        let view = self.pins.replace(&owner, &id, cid, wish).await?;
        let pin = Some(self.shown(view).await?);
        Ok(Response::new(v1::ReplacePinResponse { pin }))
    }

    async fn get_pin(
        &self,
        request: Request<v1::GetPinRequest>,
    ) -> Result<Response<v1::GetPinResponse>, Status> {
        let caller = self.reader(request.metadata()).await?;
        let asked = request.get_ref();
        let owner = owner_named(&caller, &asked.owner)?;
        let found = self.pins.request(&owner, &asked.id).await?;
        let view = self.pins.view(found).await?;
        let pin = Some(self.shown(view).await?);
        Ok(Response::new(v1::GetPinResponse { pin }))
    }

    async fn list_pins(
        &self,
        request: Request<v1::ListPinsRequest>,
    ) -> Result<Response<Self::ListPinsStream>, Status> {
        let caller = self.reader(request.metadata()).await?;
        let owner = owner_named(&caller, &request.get_ref().owner)?;
        list::list(self.clone(), owner, request.into_inner()).map(Response::new)
    }

    async fn bulk_pin(
        &self,
        request: Request<Streaming<v1::BulkPinRequest>>,
    ) -> Result<Response<Self::BulkPinStream>, Status> {
        let owner = self.writer(request.metadata()).await?.owner;
        let answers = bulk::pin(self.clone(), owner, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn bulk_unpin(
        &self,
        request: Request<Streaming<v1::BulkUnpinRequest>>,
    ) -> Result<Response<Self::BulkUnpinStream>, Status> {
        let owner = self.writer(request.metadata()).await?.owner;
        let answers = bulk::unpin(self.clone(), owner, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.reader(request.metadata()).await?;
        let cids = read_cids(&request.get_ref().cids)?;
        Ok(Response::new(watch::watch(self.pins.clone(), caller, cids)))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let caller = self.writer(request.metadata()).await?;
        let cids = read_cids(&request.get_ref().cids)?;
        if cids.is_empty() {
            return Err(invalid("cids: at least one expected"));
        }
        if !caller.operates {
            for cid in &cids {
                let id = cid.to_string();
                self.pins.request(&caller.owner, &id).await?;
            }
        }
        self.pins.recover(&cids).await?;
        Ok(Response::new(v1::RecoverResponse {}))
    }

    async fn import_car(
        &self,
        request: Request<Streaming<v1::ImportCarRequest>>,
    ) -> Result<Response<v1::ImportCarResponse>, Status> {
        let owner = self.writer(request.metadata()).await?.owner;
        let pins = archive::import(self, owner, request.into_inner()).await?;
        Ok(Response::new(v1::ImportCarResponse { pins }))
    }
}

/// What a call alone would have been answered.
pub(super) fn item_error(error: impl Into<Status>) -> v1::ItemError {
    let status: Status = error.into();
    v1::ItemError {
        code: status.code().into(),
        message: status.message().to_owned(),
    }
}

/// The same of an error of many at once, which is theirs as well.
pub(super) fn item_error_of(error: &PinsError) -> v1::ItemError {
    item_error(error.clone())
}
