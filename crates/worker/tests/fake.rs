//! The backend in memory does what every backend must, and what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod support;

use async_trait::async_trait;
use bytes::Bytes;
use conformance::Subject;
use support::{job, leaf};
use ues_data::Cid;
use ues_pins::PinMode::Recursive;
use ues_worker::backend::{Backend, JobError};
use ues_worker::fake::FakeBackend;

struct Fake(FakeBackend);

#[async_trait]
impl Subject for Fake {
    fn backend(&self) -> &dyn Backend {
        &self.0
    }

    async fn put(&self, blocks: &[(Cid, Bytes)]) {
        for (cid, bytes) in blocks {
            self.0.put(*cid, bytes.clone());
        }
    }
}

#[tokio::test]
async fn conforms() {
    let fake = Fake(FakeBackend::new("f"));
    conformance::all(&fake).await;
    conformance::many(&fake, 10_000).await;
}

#[tokio::test]
async fn fails_stalls_forgets_and_lies_on_command() {
    let fake = FakeBackend::with_everything("f");
    let jobs: Vec<_> = (0..3)
        .map(|n| job(leaf(&format!("{n}")).0, Recursive))
        .collect();
    let full = JobError::Retry("full".to_owned());
    fake.fail_next(2, &full);
    let answers = fake.pin_many(&jobs).await;
    assert_eq!(answers[0], Err(full.clone()));
    assert_eq!(answers[1], Err(full));
    assert!(answers[2].is_ok());
    assert!(fake.forget(&jobs[2].cid));

    fake.lie(true);
    assert!(fake.pin(&jobs[0], &|_| ()).await.is_ok());
    assert_eq!(fake.pinned(&[jobs[0].cid]).await.unwrap(), [None]);
    fake.lie(false);

    fake.stall(true);
    let mut held = std::pin::pin!(fake.pin(&jobs[0], &|_| ()));
    assert!(futures::poll!(&mut held).is_pending());
    fake.stall(false);
    held.await.unwrap();
    assert_eq!(
        fake.pinned(&[jobs[0].cid]).await.unwrap(),
        [Some(Recursive)]
    );
    assert_eq!(fake.jobs(), 5);

    let before = fake.status().await.unwrap().content_id;
    fake.wipe();
    assert_ne!(fake.status().await.unwrap().content_id, before);
    assert_eq!(fake.pinned(&[jobs[0].cid]).await.unwrap(), [None]);
}
