//! Repositories and blobs as other servers read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Node, User, post, rkey, text};
use serde_json::{Value, json};
use ues_data::car::{CarLimits, CarReader};
use ues_data::{Cid, parse_cid};

async fn export(node: &Node, user: &User) -> Vec<u8> {
    let answer = node
        .query("com.atproto.sync.getRepo", &[("did", &user.did)])
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/vnd.ipld.car");
    answer.body
}

fn blocks(car: &[u8]) -> (Vec<Cid>, Vec<Cid>) {
    let reader = CarReader::new(car, CarLimits::default()).unwrap();
    let roots = reader.roots().to_vec();
    (roots, reader.map(|block| block.unwrap().0).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_exported_and_verifies() {
    let node = Node::new();
    let alice = node.user("alice").await;
    for n in 0..50 {
        node.post_text(&alice, &format!("post {n}")).await;
    }
    let car = export(&node, &alice).await;
    let (roots, cids) = blocks(&car);
    let head = node
        .query("com.atproto.sync.getLatestCommit", &[("did", &alice.did)])
        .await
        .ok();
    assert_eq!(roots, [parse_cid(&text(&head["cid"])).unwrap()]);
    assert!(cids.len() > 51, "{}", cids.len());
    let root = node
        .query("com.atproto.sync.getHead", &[("did", &alice.did)])
        .await
        .ok();
    assert_eq!(root["root"], head["cid"]);
    let listed = node.query("com.atproto.sync.listRepos", &[]).await.ok();
    assert_eq!(listed["repos"][0]["head"], head["cid"]);
    let nobody = [("did", "did:plc:abc222222222222222222222")];
    let refused = node.query("com.atproto.sync.getRepo", &nobody).await;
    assert_eq!(refused.refused(), (400, "RepoNotFound".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_blocks() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let written = node.post_text(&alice, "prove me").await;
    let cid = parse_cid(&text(&written["cid"])).unwrap();
    let params = [
        ("did", alice.did.as_str()),
        ("collection", "app.bsky.feed.post"),
        ("rkey", &rkey(&written)),
    ];
    let proof = node.query("com.atproto.sync.getRecord", &params).await;
    assert_eq!(proof.status, 200);
    assert!(blocks(&proof.body).1.contains(&cid));
    let params = [
        ("did", alice.did.as_str()),
        ("collection", "app.bsky.feed.post"),
        ("rkey", "absent"),
    ];
    let absence = node.query("com.atproto.sync.getRecord", &params).await;
    assert_eq!(absence.status, 200);
    assert!(!blocks(&absence.body).1.contains(&cid));
    let params = [("did", alice.did.as_str()), ("cids", &cid.to_string())];
    let got = node.query("com.atproto.sync.getBlocks", &params).await;
    assert_eq!(blocks(&got.body), (vec![], vec![cid]));
    let other = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
    let params = [("did", alice.did.as_str()), ("cids", other)];
    let missing = node.query("com.atproto.sync.getBlocks", &params).await;
    assert_eq!(missing.refused(), (400, "InvalidRequest".into()));
    assert_eq!(missing.message(), format!("Could not find cids: {other}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_those_of_the_repository_alone() {
    let node = Node::new();
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    let get = async |user: &User, cids: &[&str]| {
        let mut params = vec![("did", user.did.as_str())];
        params.extend(cids.iter().map(|cid| ("cids", *cid)));
        node.query("com.atproto.sync.getBlocks", &params).await
    };
    let hers = node.post_text(&alice, "hers").await;
    let first = text(&hers["commit"]["cid"]);
    let record = text(&hers["cid"]);
    assert_eq!(get(&alice, &[&record, &first]).await.status, 200);
    let refused = get(&bob, &[&record, &first]).await;
    assert_eq!(refused.refused(), (400, "InvalidRequest".into()));
    assert_eq!(
        refused.message(),
        format!("Could not find cids: {record},{first}")
    );
    // The same content is his once he writes it, and no longer hers once she deletes it.
    let his = node.post_text(&bob, "hers").await;
    assert_eq!(his["cid"], hers["cid"]);
    assert_eq!(get(&bob, &[&record]).await.status, 200);
    let body = json!({"repo": alice.did, "collection": "app.bsky.feed.post", "rkey": rkey(&hers)});
    node.call(&alice, "com.atproto.repo.deleteRecord", &body)
        .await
        .ok();
    assert_eq!(get(&alice, &[&record]).await.refused().0, 400);
    assert_eq!(get(&bob, &[&record]).await.status, 200);
    // A commit that another has followed is released, too.
    assert_eq!(get(&alice, &[&first]).await.refused().0, 400);
    // What is asked for is a block of a repository: the same hash as another kind is not.
    let raw = Cid::new_v1(0x55, *parse_cid(&record).unwrap().hash()).to_string();
    assert_eq!(get(&bob, &[&raw]).await.refused().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_again() {
    let node = Node::new();
    let alice = node.user("alice").await;
    for n in 0..20 {
        node.post_text(&alice, &format!("post {n}")).await;
    }
    let car = export(&node, &alice).await;
    for n in 0..5 {
        node.post_text(&alice, &format!("later {n}")).await;
    }
    let import = "com.atproto.repo.importRepo";
    let mime = "application/vnd.ipld.car";
    let answer = node.upload(&alice, import, mime, car.clone()).await;
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let params = [
        ("repo", alice.did.as_str()),
        ("collection", "app.bsky.feed.post"),
        ("limit", "100"),
    ];
    let page = node
        .query("com.atproto.repo.listRecords", &params)
        .await
        .ok();
    assert_eq!(page["records"].as_array().unwrap().len(), 20);
    // Writing goes on.
    node.post_text(&alice, "after").await;

    // As on the official server, what somebody else exported may be taken in; it becomes one's own.
    let bob = node.user("bob").await;
    let foreign = node.upload(&bob, import, mime, car.clone()).await;
    assert_eq!(foreign.status, 200);
    node.post_text(&bob, "mine now").await;
    let cut = node
        .upload(&alice, import, mime, car[..car.len() / 2].to_vec())
        .await;
    assert_eq!(cut.refused(), (400, "InvalidRequest".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_live_as_long_as_records_refer_to_them() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend((0..300_000u32).flat_map(u32::to_le_bytes));
    let upload = "com.atproto.repo.uploadBlob";
    // What the client says is not believed where the bytes tell.
    let blob = node
        .upload(&alice, upload, "text/plain", png.clone())
        .await
        .ok()["blob"]
        .clone();
    assert_eq!(blob["mimeType"], "image/png");
    assert_eq!(blob["size"], png.len());
    let cid = text(&blob["ref"]["$link"]);
    let create = async |blob: Value| {
        let mut record = post("with a picture");
        record["embed"] = json!({
            "$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}],
        });
        let body = json!({"repo": alice.did, "collection": "app.bsky.feed.post", "record": record});
        node.call(&alice, "com.atproto.repo.createRecord", &body)
            .await
    };
    let mut wrong = blob.clone();
    wrong["size"] = 5.into();
    assert_eq!(create(wrong).await.refused(), (400, "InvalidSize".into()));
    let mut wrong = blob.clone();
    wrong["mimeType"] = "image/jpeg".into();
    assert_eq!(
        create(wrong).await.refused(),
        (400, "InvalidMimeType".into())
    );
    let mut wrong = blob.clone();
    wrong["ref"]["$link"] = "bafkreiaqoxrv7bmmwc3l5ifsrfbfu4bvsgvkl2cfomwclmsvuqz6p5gk2i".into();
    assert_eq!(create(wrong).await.refused(), (400, "BlobNotFound".into()));
    let written = create(blob).await.ok();

    let listed = node
        .query("com.atproto.sync.listBlobs", &[("did", &alice.did)])
        .await
        .ok();
    assert_eq!(listed["cids"], json!([cid]));
    let params = [("did", alice.did.as_str()), ("cid", &cid)];
    let got = node.query("com.atproto.sync.getBlob", &params).await;
    assert_eq!(got.body, png);
    assert_eq!(got.headers["content-type"], "image/png");
    assert_eq!(
        got.headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    assert_eq!(got.headers["x-content-type-options"], "nosniff");

    let body =
        json!({"repo": alice.did, "collection": "app.bsky.feed.post", "rkey": rkey(&written)});
    node.call(&alice, "com.atproto.repo.deleteRecord", &body)
        .await
        .ok();
    assert_eq!(
        node.query("com.atproto.sync.getBlob", &params)
            .await
            .refused()
            .0,
        400
    );
    let missing = node
        .query_as(&alice, "com.atproto.repo.listMissingBlobs", &[])
        .await
        .ok();
    assert_eq!(missing["blobs"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_have_a_limit() {
    let mut config = common::config();
    config.sizes.blob = 1000;
    let node = Node::with(config);
    let alice = node.user("alice").await;
    let upload = "com.atproto.repo.uploadBlob";
    node.upload(&alice, upload, "text/plain", vec![b'x'; 1000])
        .await
        .ok();
    let refused = node
        .upload(&alice, upload, "text/plain", vec![b'x'; 1001])
        .await;
    assert_eq!(refused.refused(), (413, "PayloadTooLarge".into()));
}
