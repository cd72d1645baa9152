//! Files and archives that clients of the pin service send.
//!
//! Blocks are written while they come in. What waits for more is a chunk of one file and the entries of the folders
//! that are open; a folder is open until the end, so that its files may come in any order, unless memory gets short.

mod adding;
mod choices;
mod tree;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use ues_data::Cid;
use ues_data::car::{CarDecoder, CarError, CarLimits};
use ues_data::unixfs::ImportError;
use ues_pins::intake::{AddParams, Added, Intake, IntakeError, Part};

use super::EmbeddedBackend;
use super::upload::{IntakeError as UploadError, Upload};

/// Answers that wait for a caller who is slower than its content.
const WAITING: usize = 16;

#[async_trait]
impl Intake for EmbeddedBackend {
    fn add(
        &self,
        parts: BoxStream<'static, Result<Part, IntakeError>>,
        params: AddParams,
    ) -> BoxStream<'static, Result<Added, IntakeError>> {
        let (tell, mut told) = mpsc::channel(WAITING);
        let backend = self.clone();
        // Both run in the caller's task, so that dropping the stream ends the work as well.
        let work = stream::once(async move {
            if let Err(error) = adding::add(&backend, parts, &params, &tell).await {
                let _ = tell.send(Err(error)).await;
            }
        });
        let silent = work.filter_map(|()| std::future::ready(None));
        let told = stream::poll_fn(move |context| told.poll_recv(context));
        stream::select(silent, told).boxed()
    }

    async fn import_car(
        &self,
        car: BoxStream<'static, Result<Bytes, IntakeError>>,
    ) -> Result<Vec<Cid>, IntakeError> {
        let mut upload = self.upload().await?;
        match archive(&mut upload, car).await {
            Ok(roots) => {
                upload.leave().await?;
                Ok(roots)
            }
            Err(error) => {
                release(upload).await;
                Err(error)
            }
        }
    }
}

async fn archive(
    upload: &mut Upload,
    mut car: BoxStream<'static, Result<Bytes, IntakeError>>,
) -> Result<Vec<Cid>, IntakeError> {
    let damaged = |e: CarError| UploadError::from(e);
    let mut decoder = CarDecoder::new(CarLimits::default());
    while let Some(piece) = car.next().await {
        decoder.feed(piece?);
        while let Some((cid, bytes)) = decoder.next().map_err(damaged)? {
            upload.put_verified(&cid, &bytes).await?;
        }
    }
    decoder.finish().map_err(damaged)?;
    let header = decoder.header().map_err(damaged)?;
    Ok(header.map(|h| h.roots.clone()).unwrap_or_default())
}

/// Gives up what was stored of content that turned out to be bad.
async fn release(upload: Upload) {
    if let Err(error) = upload.give_up().await {
        tracing::warn!(%error, "content that was refused stays until it expires");
    }
}

fn invalid(why: impl Into<String>) -> IntakeError {
    IntakeError::Invalid(why.into())
}

impl From<UploadError> for IntakeError {
    fn from(error: UploadError) -> Self {
        let why = error.to_string();
        match error {
            UploadError::Import(cause) => match *cause {
                ImportError::Sink(_) | ImportError::Io(_) | ImportError::Read { .. } => {
                    Self::Failed(why)
                }
                _ => Self::Invalid(why),
            },
            UploadError::Car(cause) => match *cause {
                CarError::Io(_) => Self::Failed(why),
                _ => Self::Invalid(why),
            },
            UploadError::Hash(_) | UploadError::TooLarge(_) => Self::Invalid(why),
            _ => Self::Failed(why),
        }
    }
}
