//! What every backend must do. A backend that comes with a way to be given blocks runs all of it.

use async_trait::async_trait;
use bytes::Bytes;
use ues_data::unixfs::{FileBuilder, ImportOptions};
use ues_data::{Cid, HashAlgorithm, cid_of};
use ues_pins::PinMode::{self, Direct, Recursive};
use ues_worker::backend::{Backend, JobError};

use crate::support::{all_pins, job, leaf, node};

/// A backend, and how blocks come into its reach.
#[async_trait]
pub trait Subject: Send + Sync {
    fn backend(&self) -> &dyn Backend;
    async fn put(&self, blocks: &[(Cid, Bytes)]);
}

async fn pin(subject: &dyn Subject, cid: Cid, mode: PinMode) -> Result<(), JobError> {
    let pinned = subject.backend().pin(&job(cid, mode), &|_| ()).await;
    pinned.map(|_| ())
}

async fn mode_of(subject: &dyn Subject, cid: Cid) -> Option<PinMode> {
    subject.backend().pinned(&[cid]).await.unwrap()[0]
}

/// Runs everything on one backend, which may have other content and pins.
pub async fn all(subject: &dyn Subject) {
    present_content(subject).await;
    missing_content(subject).await;
    direct_and_recursive(subject).await;
    shared_blocks(subject).await;
    files(subject).await;
    odd_cids(subject).await;
    one_bad_among_good(subject).await;
    the_same_twice_in_one_call(subject).await;
    pins_are_told(subject).await;
    status_is_stable(subject).await;
}

async fn present_content(subject: &dyn Subject) {
    let (a, b) = (leaf("present a"), leaf("present b"));
    let root = node("present", &[a.0, b.0, a.0]);
    subject.put(&[a, b, root.clone()]).await;
    assert_eq!(mode_of(subject, root.0).await, None);
    for _ in 0..2 {
        pin(subject, root.0, Recursive).await.unwrap();
        assert_eq!(mode_of(subject, root.0).await, Some(Recursive));
    }
    for _ in 0..2 {
        let gone = subject.backend().unpin_many(&[root.0]).await;
        assert_eq!(gone, [Ok(())]);
        assert_eq!(mode_of(subject, root.0).await, None);
    }
}

async fn missing_content(subject: &dyn Subject) {
    let lost = leaf("never stored");
    let root = node("incomplete", &[lost.0]);
    subject.put(std::slice::from_ref(&root)).await;
    for cid in [lost.0, root.0] {
        let error = pin(subject, cid, Recursive).await.unwrap_err();
        assert!(matches!(error, JobError::Retry(_)), "{error:?}");
        assert_eq!(mode_of(subject, cid).await, None);
    }
    // The block alone is there, and the rest may come later.
    pin(subject, root.0, Direct).await.unwrap();
    subject.put(&[lost]).await;
    pin(subject, root.0, Recursive).await.unwrap();
    assert_eq!(mode_of(subject, root.0).await, Some(Recursive));
    subject.backend().unpin_many(&[root.0]).await;
}

async fn direct_and_recursive(subject: &dyn Subject) {
    let a = leaf("mode a");
    let root = node("mode", &[a.0]);
    subject.put(&[a, root.clone()]).await;
    for (first, then, outcome) in [
        (Direct, Direct, Direct),
        (Direct, Recursive, Recursive),
        (Recursive, Direct, Recursive),
    ] {
        pin(subject, root.0, first).await.unwrap();
        assert_eq!(mode_of(subject, root.0).await, Some(first));
        pin(subject, root.0, then).await.unwrap();
        assert_eq!(mode_of(subject, root.0).await, Some(outcome));
        let many = subject.backend().pin_many(&[job(root.0, then)]).await;
        assert!(many[0].is_ok(), "{many:?}");
        assert_eq!(mode_of(subject, root.0).await, Some(outcome));
        assert_eq!(subject.backend().unpin_many(&[root.0]).await, [Ok(())]);
        assert_eq!(mode_of(subject, root.0).await, None);
    }
}

async fn shared_blocks(subject: &dyn Subject) {
    let a = leaf("shared");
    let (x, y) = (node("shares x", &[a.0]), node("shares y", &[a.0]));
    subject.put(&[a.clone(), x.clone(), y.clone()]).await;
    pin(subject, x.0, Recursive).await.unwrap();
    pin(subject, y.0, Recursive).await.unwrap();
    // What another pin protects is not pinned itself.
    assert_eq!(mode_of(subject, a.0).await, None);
    assert_eq!(
        subject.backend().unpin_many(&[a.0, x.0]).await,
        [Ok(()), Ok(())]
    );
    assert_eq!(mode_of(subject, y.0).await, Some(Recursive));
    pin(subject, y.0, Recursive).await.unwrap();
    subject.backend().unpin_many(&[y.0]).await;
}

async fn files(subject: &dyn Subject) {
    for options in [ImportOptions::cid_v0(), ImportOptions::cid_v1()] {
        let mut made: Vec<(Cid, Bytes)> = Vec::new();
        let mut sink = ues_data::source::FromFn(|cid: &Cid, bytes: Bytes| {
            made.push((*cid, bytes));
            Ok(())
        });
        let mut file = FileBuilder::new(ImportOptions {
            chunk_size: 1000,
            ..options
        })
        .unwrap();
        let content: Vec<u8> = (0..60_000u32).flat_map(u32::to_le_bytes).collect();
        file.write(&content, &mut sink).unwrap();
        let root = file.finish(&mut sink).unwrap().cid;
        subject.put(&made).await;
        pin(subject, root, Recursive).await.unwrap();
        assert_eq!(mode_of(subject, root).await, Some(Recursive));
        assert!(all_pins(subject.backend()).await.contains_key(&root));
        subject.backend().unpin_many(&[root]).await;
    }
}

async fn odd_cids(subject: &dyn Subject) {
    let inlined = ues_data::content_id::identity_cid(0x55, b"here").unwrap();
    pin(subject, inlined, Recursive).await.unwrap();
    assert_eq!(mode_of(subject, inlined).await, Some(Recursive));
    assert_eq!(subject.backend().unpin_many(&[inlined]).await, [Ok(())]);

    // No backend can follow a codec that nobody has heard of.
    let bytes = Bytes::from_static(b"opaque");
    let unknown = cid_of(0x30_1234, HashAlgorithm::Sha2_256, &bytes);
    subject.put(&[(unknown, bytes)]).await;
    let error = pin(subject, unknown, Recursive).await.unwrap_err();
    assert!(matches!(error, JobError::Terminal(_)), "{error:?}");
    assert_eq!(mode_of(subject, unknown).await, None);
}

async fn one_bad_among_good(subject: &dyn Subject) {
    let blocks: Vec<_> = (0..120).map(|n| leaf(&format!("group {n}"))).collect();
    let (there, rest) = blocks.split_at(60);
    subject.put(there).await;
    subject.put(&rest[1..]).await;
    let jobs: Vec<_> = blocks.iter().map(|(cid, _)| job(*cid, Recursive)).collect();
    let answers = subject.backend().pin_many(&jobs).await;
    let cids: Vec<_> = blocks.iter().map(|(cid, _)| *cid).collect();
    let modes = subject.backend().pinned(&cids).await.unwrap();
    for (n, (answer, mode)) in answers.iter().zip(modes).enumerate() {
        if n == 60 {
            assert!(matches!(answer, Err(JobError::Retry(_))), "{answer:?}");
            assert_eq!(mode, None);
        } else {
            assert!(answer.is_ok(), "{n}: {answer:?}");
            assert_eq!(mode, Some(Recursive), "{n}");
        }
    }
    let gone = subject.backend().unpin_many(&cids).await;
    assert!(gone.iter().all(Result::is_ok), "{gone:?}");
    let left = subject.backend().pinned(&cids).await.unwrap();
    assert!(left.iter().all(Option::is_none));
}

async fn the_same_twice_in_one_call(subject: &dyn Subject) {
    let a = leaf("twice");
    subject.put(std::slice::from_ref(&a)).await;
    let jobs = [job(a.0, Direct), job(a.0, Recursive), job(a.0, Direct)];
    let answers = subject.backend().pin_many(&jobs).await;
    assert!(
        answers.len() == 3 && answers.iter().all(Result::is_ok),
        "{answers:?}"
    );
    assert_eq!(mode_of(subject, a.0).await, Some(Recursive));
    assert_eq!(
        subject.backend().unpin_many(&[a.0, a.0]).await,
        [Ok(()), Ok(())]
    );
    assert_eq!(mode_of(subject, a.0).await, None);
}

async fn pins_are_told(subject: &dyn Subject) {
    let before = all_pins(subject.backend()).await;
    let blocks: Vec<_> = (0..30).map(|n| leaf(&format!("told {n}"))).collect();
    subject.put(&blocks).await;
    let mut expected = before.clone();
    let mut jobs = Vec::new();
    for (n, (cid, _)) in blocks.iter().enumerate() {
        let mode = if n % 3 == 0 { Direct } else { Recursive };
        jobs.push(job(*cid, mode));
        expected.insert(*cid, mode);
    }
    let answers = subject.backend().pin_many(&jobs).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(all_pins(subject.backend()).await, expected);
    let cids: Vec<_> = blocks.iter().map(|(cid, _)| *cid).collect();
    subject.backend().unpin_many(&cids).await;
    assert_eq!(all_pins(subject.backend()).await, before);
}

async fn status_is_stable(subject: &dyn Subject) {
    let status = subject.backend().status().await.unwrap();
    assert!(!status.content_id.is_empty() && !status.agent.is_empty());
    assert!(status.free > 0);
    let again = subject.backend().status().await.unwrap();
    assert_eq!(status.content_id, again.content_id);
}

/// Many small things at once.
pub async fn many(subject: &dyn Subject, count: usize) {
    let blocks: Vec<_> = (0..count).map(|n| leaf(&format!("many {n}"))).collect();
    subject.put(&blocks).await;
    let jobs: Vec<_> = blocks.iter().map(|(cid, _)| job(*cid, Recursive)).collect();
    let answers = subject.backend().pin_many(&jobs).await;
    assert!(answers.len() == count && answers.iter().all(Result::is_ok));
    let pins = all_pins(subject.backend()).await;
    assert!(
        jobs.iter()
            .all(|job| pins.get(&job.cid) == Some(&Recursive))
    );
    let cids: Vec<_> = jobs.iter().map(|job| job.cid).collect();
    let modes = subject.backend().pinned(&cids).await.unwrap();
    assert!(modes.len() == count && modes.iter().all(|mode| *mode == Some(Recursive)));
    let gone = subject.backend().unpin_many(&cids).await;
    assert!(gone.iter().all(Result::is_ok));
    let pins = all_pins(subject.backend()).await;
    assert!(cids.iter().all(|cid| !pins.contains_key(cid)));
}
