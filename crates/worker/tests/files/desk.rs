//! A backend to add to, and what to add.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use ues_data::Cid;
use ues_pins::PinMode;
use ues_pins::intake::{AddParams, Added, Intake, IntakeError, Part};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};
use ues_worker::backend::{Backend, PinJob};
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions};

pub struct Desk {
    store: Store,
    pub backend: EmbeddedBackend,
}

impl Desk {
    pub fn new() -> Self {
        let quiet = StoreOptions {
            housekeeping: None,
            ..StoreOptions::default()
        };
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), quiet).unwrap();
        let options = EmbeddedOptions {
            batch_blocks: 50,
            ..EmbeddedOptions::default()
        };
        let backend = EmbeddedBackend::open(store.clone(), options).unwrap();
        Self { store, backend }
    }

    pub async fn add(
        &self,
        parts: Vec<Part>,
        params: AddParams,
    ) -> Result<Vec<Added>, IntakeError> {
        self.stream(parts.into_iter().map(Ok).collect(), params)
            .await
    }

    pub async fn stream(
        &self,
        parts: Vec<Result<Part, IntakeError>>,
        params: AddParams,
    ) -> Result<Vec<Added>, IntakeError> {
        let added = self.backend.add(stream::iter(parts).boxed(), params);
        added.try_collect().await
    }

    /// Adding this is refused, with a word about it, and leaves nothing behind.
    pub async fn refuses(&self, parts: Vec<Part>, params: AddParams, word: &str) {
        let before = self.blocks();
        match self.add(parts, params).await {
            Err(IntakeError::Invalid(why)) => assert!(why.contains(word), "{why}"),
            other => panic!("{word}: {other:?}"),
        }
        assert_eq!(self.blocks(), before, "{word}");
    }

    pub async fn pin(&self, cid: Cid) {
        let job = PinJob {
            cid,
            mode: PinMode::Recursive,
            origins: Vec::new(),
        };
        self.backend.pin(&job, &|_| ()).await.unwrap();
    }

    /// Everything that is not pinned expires.
    pub async fn expire(&self) {
        self.backend.sweep(u64::MAX).await.unwrap();
    }

    /// Blocks that are left once all that is not needed is gone.
    pub fn blocks(&self) -> u64 {
        while !self.store.collect(u64::MAX).unwrap().finished {}
        let report = self.store.check(&mut |_| ()).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        report.blocks
    }
}

pub fn folder(path: &str) -> Part {
    Part::Folder {
        path: path.to_owned(),
    }
}

pub fn file(path: &str) -> Part {
    Part::File {
        path: path.to_owned(),
    }
}

pub fn data(content: impl AsRef<[u8]>) -> Part {
    Part::Data(Bytes::copy_from_slice(content.as_ref()))
}

pub fn link(path: &str, target: &str) -> Part {
    Part::Link {
        path: path.to_owned(),
        target: target.to_owned(),
    }
}

/// A whole file.
pub fn text(path: &str, content: &str) -> Vec<Part> {
    vec![file(path), data(content)]
}

/// Names and CIDs of what was stored.
pub fn lines(added: &[Added]) -> Vec<(&str, String)> {
    added
        .iter()
        .map(|added| (added.name.as_str(), added.cid.unwrap().to_string()))
        .collect()
}
