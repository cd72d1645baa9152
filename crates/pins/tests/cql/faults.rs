//! Faults of the database and of the way to it, made by a proxy that understands CQL.

use std::net::SocketAddr;
use std::time::Duration;

use scylla_proxy::{
    Action, Condition, Node, Proxy, Reaction, RequestOpcode, RequestReaction, RequestRule,
    ResponseReaction, ResponseRule, RunningProxy, ShardAwareness, example_db_errors,
};
use ues_pins::Clock;
use ues_pins::store::{CqlRetries, CqlSettings, CqlStore, Lease, StateError, StateStore};

use crate::conformance::{cid, owner, put, request};
use crate::server::{Server, connect, free_port};

/// A store behind a proxy, and the same database without it.
struct Setup {
    proxy: RunningProxy,
    store: CqlStore,
    direct: CqlStore,
}

impl Setup {
    async fn new() -> Self {
        let server = Server::shared();
        let direct = server.settings();
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let node = Node::new(server.address(), at, ShardAwareness::Unaware, None, None);
        let proxy = Proxy::new([node]).run().await.unwrap();
        let behind = CqlSettings {
            hosts: vec![at.to_string()],
            // More than a busy machine takes, so that none is counted but those that are made.
            timeout: Duration::from_secs(3),
            retry_policy: CqlRetries {
                num_retries: 2,
                // Long enough for a new connection.
                min_retry_delay: Duration::from_secs(1),
                max_retry_delay: Duration::from_secs(2),
                backoff_factor: 2.0,
            },
            ..direct.clone()
        };
        let direct = connect(direct, Clock::default()).await;
        let store = connect(behind, Clock::default()).await;
        Self {
            proxy,
            store,
            direct,
        }
    }

    /// From now on this happens to statements that say so many times the mark, and to no other.
    fn when(&mut self, mark: &str, times: usize, reaction: RequestReaction) {
        let contains = Condition::BodyContainsCaseSensitive(mark.as_bytes().into());
        let execute = Condition::RequestOpcode(RequestOpcode::Execute)
            .or(Condition::RequestOpcode(RequestOpcode::Batch));
        let rule = execute
            .and(contains)
            .and(Condition::TrueForLimitedTimes(times));
        let rules = vec![RequestRule(rule, reaction)];
        self.proxy.running_nodes[0].change_request_rules(Some(rules));
    }

    async fn put(&self, mark: &str, number: u64) -> Result<(), StateError> {
        let mut request = request(&owner("alice"), cid(number), 1000);
        request.pin.options.name = mark.to_owned();
        let change = put(request);
        let done = self.store.change_requests(vec![change], Vec::new()).await;
        done.map(|_| ())
    }

    /// Whether a request is in the database.
    async fn has(&self, number: u64) -> bool {
        let found = self.direct.request(&owner("alice"), &cid(number)).await;
        found.unwrap().is_some()
    }

    fn counts(&self) -> [u64; 5] {
        self.store.metrics().unwrap().counts()
    }
}

/// Part of the name of requests, which only their own row has.
const MARK: &str = "the-marked-request";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn what_may_do_better_is_repeated_and_counted() {
    let mut setup = Setup::new().await;
    let errors = [
        (example_db_errors::read_timeout(), 0),
        (example_db_errors::write_timeout(), 0),
        (example_db_errors::unavailable(), 1),
        (example_db_errors::overloaded(), 1),
        (example_db_errors::is_bootstrapping(), 1),
        (example_db_errors::write_failure(), 1),
        (example_db_errors::read_failure(), 1),
        (example_db_errors::server_error(), 1),
        (example_db_errors::truncate_error(), 1),
    ];
    for (number, (error, counter)) in (0..).zip(errors) {
        let before = setup.counts();
        setup.when(MARK, 2, RequestReaction::forge_with_error(error.clone()));
        setup.put(MARK, number).await.unwrap();
        assert!(setup.has(number).await, "{error}");
        let mut expected = before;
        expected[counter] += 2;
        expected[3] += 2;
        assert_eq!(setup.counts(), expected, "{error}");

        // Once too often.
        setup.when(MARK, 3, RequestReaction::forge_with_error(error.clone()));
        let failed = setup.put(MARK, 100 + number).await;
        let Err(StateError::Unavailable(text)) = failed else {
            panic!("{error}: {failed:?}")
        };
        assert!(text.contains("after 3 attempts"), "{text}");
        assert!(!setup.has(100 + number).await, "{error}");
        expected[counter] += 3;
        expected[3] += 2;
        expected[4] += 1;
        assert_eq!(setup.counts(), expected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn what_will_not_do_is_tried_once() {
    let mut setup = Setup::new().await;
    for error in [
        example_db_errors::invalid(),
        example_db_errors::syntax_error(),
        example_db_errors::unauthorized(),
        example_db_errors::config_error(),
    ] {
        let before = setup.counts();
        setup.when(MARK, 9, RequestReaction::forge_with_error(error.clone()));
        let failed = setup.put(MARK, 1).await;
        let Err(StateError::Refused(text)) = failed else {
            panic!("{error}: {failed:?}")
        };
        assert!(text.contains("after 1 attempt:"), "{text}");
        let after = setup.counts();
        assert_eq!((after[3], after[4]), (before[3], before[4] + 1), "{error}");
    }
    assert!(!setup.has(1).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn silence_is_a_timeout() {
    let mut setup = Setup::new().await;
    setup.when(MARK, 1, RequestReaction::drop_frame());
    setup.put(MARK, 1).await.unwrap();
    assert!(setup.has(1).await);
    assert_eq!(setup.counts(), [1, 0, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_connection_that_breaks_is_no_loss() {
    let mut setup = Setup::new().await;
    for number in 0..10 {
        setup.when(MARK, 1, RequestReaction::drop_connection());
        setup.put(MARK, number).await.unwrap();
        assert!(setup.has(number).await);
    }
    assert!(setup.counts()[2] >= 10);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_write_whose_answer_is_lost_took_effect() {
    let mut setup = Setup::new().await;
    // The statement arrives, its answer waits, and the connection breaks.
    let lost = || RequestReaction {
        to_addressee: Some(Action {
            delay: None,
            msg_processor: None,
        }),
        to_sender: None,
        drop_connection: Some(Some(Duration::from_millis(50))),
        feedback_channel: None,
    };
    let slow = ResponseReaction::delay(Duration::from_millis(100));
    let slow = vec![ResponseRule(Condition::True, slow)];
    setup.proxy.running_nodes[0].change_response_rules(Some(slow));
    // Repeated, it is the same write.
    setup.when(MARK, 1, lost());
    setup.put(MARK, 1).await.unwrap();
    assert!(setup.has(1).await);
    assert_eq!(setup.counts()[4], 0);
    // Given up, it may be there; here it is.
    setup.when(MARK, 3, lost());
    let failed = setup.put(MARK, 2).await;
    assert!(
        matches!(failed, Err(StateError::Unavailable(_))),
        "{failed:?}"
    );
    assert!(setup.has(2).await);
    let alice = owner("alice");
    let listed = setup
        .direct
        .owner_requests(&alice, crate::conformance::all());
    assert_eq!(listed.await.unwrap().requests.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_failure_half_way_leaves_nothing_that_is_seen() {
    let mut setup = Setup::new().await;
    let unavailable = || RequestReaction::forge_with_error(example_db_errors::unavailable());
    // The listing is there, the request is not.
    setup.when(MARK, 3, unavailable());
    assert!(setup.put(MARK, 1).await.is_err());
    let alice = owner("alice");
    let listed = || {
        setup
            .direct
            .owner_requests(&alice, crate::conformance::all())
    };
    assert_eq!(listed().await.unwrap().requests, []);
    assert_eq!(
        setup.direct.records(&[cid(1)]).await.unwrap()[0].wanted,
        None
    );
    // Asked for again, it is there.
    setup.put(MARK, 1).await.unwrap();
    assert_eq!(listed().await.unwrap().requests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_lease_whose_answer_is_lost_is_read_again() {
    let mut setup = Setup::new().await;
    let wish = |until_ms| Lease {
        holder: "the-marked-holder".to_owned(),
        until_ms,
    };
    for (round, error) in [
        example_db_errors::write_timeout(),
        example_db_errors::unavailable(),
    ]
    .into_iter()
    .enumerate()
    {
        let until_ms = 100 + round as u64;
        let forged = RequestReaction::forge_with_error(error);
        setup.when("the-marked-holder", 2, forged);
        let lease = setup.store.lease("x", wish(until_ms), 0).await.unwrap();
        assert_eq!(lease, wish(until_ms));
        let seen = setup.direct.lease(
            "x",
            Lease {
                holder: "another".to_owned(),
                until_ms: 900,
            },
            50,
        );
        assert_eq!(seen.await.unwrap(), wish(until_ms));
    }
}
