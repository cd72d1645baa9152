//! Repositories asked of peers that have them, have them not, or answer with something else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use common::{pair, soon};
use futures::{AsyncReadExt, AsyncWriteExt};
use ues_data::{Cid, dag_cbor_cid};
use ues_p2p::repositories::message::Answer;
use ues_p2p::repositories::{AskError, Asking, PROTOCOL, RepositoryServer, RepositorySource};
use ues_p2p::{Network, PeerId};
use ues_repo::syntax::Did;

fn did(name: &str) -> Did {
    Did::parse(&format!("did:web:{name}.example")).unwrap()
}

fn block(n: u32) -> Bytes {
    Bytes::from(vec![n as u8; 1000 + n as usize])
}

/// Has one repository, for one peer.
struct One {
    reader: PeerId,
    blocks: HashMap<Cid, Bytes>,
}

#[async_trait]
impl RepositorySource for One {
    async fn commit(&self, peer: PeerId, repo: &Did) -> Option<Bytes> {
        (peer == self.reader && *repo == did("alice")).then(|| block(0))
    }

    async fn blocks(
        &self,
        peer: PeerId,
        repo: &Did,
        cids: &[Cid],
        enough: usize,
    ) -> Option<Vec<Option<Bytes>>> {
        self.commit(peer, repo).await?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        for cid in cids {
            if bytes >= enough {
                break;
            }
            let block = self.blocks.get(cid).cloned();
            bytes += block.as_ref().map_or(0, Bytes::len);
            all.push(block);
        }
        Some(all)
    }
}

/// Two hosts, and a service at the first with so many blocks, for the second or for somebody else.
async fn served(blocks: u32, for_us: bool) -> (Network, Network, RepositoryServer) {
    let (server, client) = pair().await;
    let reader = if for_us {
        client.peer_id()
    } else {
        server.peer_id()
    };
    let blocks = (0..blocks).map(block).map(|b| (dag_cbor_cid(&b), b));
    let source = One {
        reader,
        blocks: blocks.collect(),
    };
    let service = RepositoryServer::start(&server, Arc::new(source)).unwrap();
    (server, client, service)
}

#[tokio::test]
async fn all_that_is_there_comes_in_as_many_answers_as_it_takes() {
    let (server, client, _service) = served(3000, true).await;
    let mut asking = Asking::open(&client, server.peer_id(), &did("alice"))
        .await
        .unwrap();
    let commit = soon("an answer", asking.commit()).await.unwrap();
    assert_eq!(commit, Some(block(0)));
    let absent = dag_cbor_cid(b"absent");
    let mut wanted: Vec<Cid> = (0..2000).map(|n| dag_cbor_cid(&block(n))).collect();
    wanted.insert(7, absent);
    let mut answers = 0;
    while wanted != [absent] {
        let answer = soon("an answer", asking.blocks(&wanted)).await.unwrap();
        let answer = answer.unwrap();
        let came: Vec<&Cid> = answer.blocks.iter().map(|(cid, _)| cid).collect();
        assert!(answer.missing.iter().all(|cid| *cid == absent));
        wanted.retain(|cid| !came.contains(&cid));
        answers += 1;
    }
    assert!(answers > 1, "one answer does not hold 4 MB");
}

#[tokio::test]
async fn what_is_not_for_somebody_is_not_there() {
    let (server, client, _service) = served(1, false).await;
    for name in ["alice", "bob"] {
        let mut asking = Asking::open(&client, server.peer_id(), &did(name))
            .await
            .unwrap();
        assert_eq!(soon("an answer", asking.commit()).await.unwrap(), None);
        let asked = [dag_cbor_cid(&block(0))];
        let blocks = soon("an answer", asking.blocks(&asked)).await.unwrap();
        assert!(blocks.is_none());
    }
}

#[tokio::test]
async fn who_answers_something_else_is_not_listened_to() {
    let (server, client) = pair().await;
    let mut incoming = server.accept_streams(PROTOCOL).unwrap();
    let lies = [
        Answer::Commit(block(1)).encode(),
        Answer::Blocks {
            blocks: vec![block(2)],
            missing: Vec::new(),
        }
        .encode(),
        Answer::Blocks {
            blocks: Vec::new(),
            missing: vec![1],
        }
        .encode(),
        Answer::Blocks {
            blocks: Vec::new(),
            missing: Vec::new(),
        }
        .encode(),
        Answer::Blocks {
            blocks: vec![block(1), block(1)],
            missing: Vec::new(),
        }
        .encode(),
        b"nonsense".to_vec(),
    ];
    let answering = lies.clone();
    tokio::spawn(async move {
        for lie in answering {
            let (_, mut stream) = incoming.next().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let mut frame = Vec::new();
            let mut length = lie.len();
            while length >= 0x80 {
                frame.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            frame.push(length as u8);
            frame.extend(lie);
            stream.write_all(&frame).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    for (n, _) in lies.iter().enumerate() {
        let mut asking = Asking::open(&client, server.peer_id(), &did("alice"))
            .await
            .unwrap();
        let asked = [dag_cbor_cid(&block(1))];
        let answer = soon("an answer", asking.blocks(&asked)).await;
        assert!(
            matches!(answer, Err(AskError::Unasked | AskError::Malformed(_))),
            "{n}: {answer:?}"
        );
    }
}
