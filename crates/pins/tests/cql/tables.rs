//! Keyspace and tables are made by the program, by one of several at a time.

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use ues_pins::store::{CqlError, CqlReplication, CqlSettings, CqlStore, StateStore};

use crate::conformance::{cid, owner, put, request};
use crate::server::{Server, at, connect};

async fn session(server: &Server) -> Session {
    let builder = SessionBuilder::new().known_node_addr(server.address());
    builder.build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn programs_that_start_at_once_take_turns() {
    let server = Server::shared();
    let settings = CqlSettings {
        replication: Some(CqlReplication::Copies(1)),
        ..server.settings()
    };
    let starts = (0..5).map(|_| CqlStore::connect(settings.clone(), at(0)));
    for store in futures::future::join_all(starts).await {
        assert_eq!(store.unwrap().note("n").await.unwrap(), None);
    }
    let session = session(server).await;
    let text = format!("SELECT version FROM {}.schema_versions", settings.keyspace);
    let rows = session.query_unpaged(text, ()).await.unwrap();
    assert_eq!(rows.into_rows_result().unwrap().rows_num(), 2);
    let text = format!("SELECT name FROM {}.schema_lock", settings.keyspace);
    let rows = session.query_unpaged(text, ()).await.unwrap();
    assert_eq!(rows.into_rows_result().unwrap().rows_num(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn tables_of_another_program_are_left_alone() {
    let server = Server::shared();
    let settings = server.settings();
    connect(settings.clone(), at(0)).await;
    let session = session(server).await;
    let set = |version: i32, checksum: &str| {
        let text = format!(
            "INSERT INTO {}.schema_versions (part, version, checksum) VALUES ('pins', {version}, '{checksum}')",
            settings.keyspace
        );
        session.query_unpaged(text, ())
    };
    set(99, "x").await.unwrap();
    let newer = CqlStore::connect(settings.clone(), at(0)).await;
    assert!(
        matches!(
            newer,
            Err(CqlError::Newer {
                found: 99,
                known: 2,
                ..
            })
        ),
        "{newer:?}"
    );
    let text = format!(
        "DELETE FROM {}.schema_versions WHERE part = 'pins'",
        settings.keyspace
    );
    session.query_unpaged(text, ()).await.unwrap();
    set(1, "other").await.unwrap();
    let changed = CqlStore::connect(settings, at(0)).await;
    assert!(
        matches!(changed, Err(CqlError::Changed { version: 1, .. })),
        "{changed:?}"
    );
}

/// A request as other programs see it.
type Columns = (
    i32,
    i32,
    Option<Vec<String>>,
    Option<scylla::value::CqlTimestamp>,
    Option<std::collections::BTreeMap<String, String>>,
);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn people_read_the_columns() {
    let server = Server::shared();
    let settings = server.settings();
    let store = connect(settings.clone(), at(5000)).await;
    let session = session(server).await;
    let text = format!(
        "SELECT pin_type, rf, tags, ttl, metadata FROM {}.pins_by_cid",
        settings.keyspace
    );
    let columns = || async {
        let rows = session.query_unpaged(text.as_str(), ()).await.unwrap();
        let rows = rows.into_rows_result().unwrap();
        rows.single_row::<Columns>().unwrap()
    };
    let mut ending = request(&owner("alice"), cid(1), 1000);
    ending.pin.options.expire_at = Some(70);
    ending.pin.options.replication_max = 3;
    ending.pin.options.metadata = vec![("a".to_owned(), "b".to_owned())];
    let change = put(ending.clone());
    store
        .change_requests(vec![change], Vec::new())
        .await
        .unwrap();
    let (pin_type, rf, tags, ttl, metadata) = columns().await;
    assert_eq!((pin_type, rf), (1, 3));
    assert_eq!(tags.unwrap(), ["blue", "red"]);
    assert_eq!(ttl.unwrap().0, 70_000);
    assert_eq!(metadata.unwrap()["a"], "b");
    // Extended for ever: null.
    ending.pin.options.expire_at = None;
    let change = put(ending);
    store
        .change_requests(vec![change], Vec::new())
        .await
        .unwrap();
    assert_eq!(columns().await.3, None);
}
