//! Whether it is noticed that a Kubo is not the one that it was.

use std::sync::Arc;

use ues_pins::PinMode::Recursive;
use ues_worker::KuboBackend;
use ues_worker::backend::Backend;

use super::daemon::{Daemon, leaf};
use super::{backend, pin, pins};

async fn content_id(kubo: &KuboBackend) -> String {
    kubo.status().await.unwrap().content_id
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn status() {
    let daemon = Daemon::start();
    let status = backend(&daemon).status().await.unwrap();
    assert_eq!(status.ipfs_id, Some(daemon.ipfs(&["id", "-f", "<id>"])));
    assert!(status.agent.starts_with("kubo/0."), "{status:?}");
    assert!(status.free > 1 << 30 && status.used > 0, "{status:?}");
    assert!(
        status
            .ipfs_addresses
            .iter()
            .all(|a| a.starts_with("/ip4/127.0.0.1/tcp/"))
    );
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn an_emptied_kubo_is_another_one() {
    let mut daemon = Daemon::start();
    let kubo = backend(&daemon);
    let content = leaf("content");
    daemon.import(std::slice::from_ref(&content));
    pin(&kubo, content.0, Recursive).await.unwrap();
    let first = content_id(&kubo).await;
    assert_eq!(pins(&kubo).await.len(), 1, "the marker is no pin");
    daemon.ipfs(&["repo", "gc"]);
    assert_eq!(content_id(&kubo).await, first, "the marker is no garbage");
    // another worker, and the same one after Kubo was killed
    assert_eq!(content_id(&backend(&daemon)).await, first);
    daemon.kill();
    assert!(kubo.status().await.is_err());
    daemon.run();
    assert_eq!(content_id(&backend(&daemon)).await, first);

    daemon.empty();
    let kubo = backend(&daemon);
    let second = content_id(&kubo).await;
    assert_ne!(second, first);
    assert_eq!(
        second.split('/').next(),
        first.split('/').next(),
        "the same peer id"
    );
    assert!(pins(&kubo).await.is_empty());
    assert_eq!(content_id(&kubo).await, second);
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn workers_that_race_agree() {
    let mut daemon = Daemon::start();
    for _ in 0..3 {
        let workers: Vec<_> = (0..16).map(|_| Arc::new(backend(&daemon))).collect();
        let tasks: Vec<_> = workers
            .into_iter()
            .map(|kubo| tokio::spawn(async move { content_id(&kubo).await }))
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids, [content_id(&backend(&daemon)).await]);
        daemon.empty();
    }
}
