//! Who is let in, and over what connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ues_pins::Clock;
use ues_pins::store::{CqlError, CqlSettings, CqlStore, CqlTls, StateStore};

use crate::server::Server;

/// Certificates of an authority for tests, good for 127.0.0.1.
fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../bus/tests/server/tls");
    Path::new(folder).canonicalize().unwrap().join(name)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn both_sides_show_certificates_and_a_password_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("server.pem");
    let text = |name| std::fs::read_to_string(file(name)).unwrap();
    std::fs::write(&keys, text("server-key.pem") + &text("server.pem")).unwrap();
    let server = Server::start(&format!(
        "authenticator: PasswordAuthenticator\n\
         client_encryption_options:\n  enabled: true\n  optional: false\n  require_client_auth: true\n  \
         ssl_context_factory:\n    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory\n  \
         keystore: {keys:?}\n  truststore: {:?}\n",
        file("ca.pem")
    ));
    let tls = CqlTls {
        enabled: true,
        cert_file: Some(file("client.pem")),
        key_file: Some(file("client-key.pem")),
        ca_file: Some(file("ca.pem")),
        insecure_skip_verify: false,
    };
    let good = CqlSettings {
        username: "cassandra".to_owned(),
        password: "cassandra".into(),
        tls: Some(tls.clone()),
        connect_timeout: Duration::from_secs(3),
        ..server.settings()
    };
    let connect = |settings: CqlSettings| CqlStore::connect(settings, Clock::default());
    // The first login has to wait until the server has made its first user.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let store = loop {
        match connect(good.clone()).await {
            Ok(store) => break store,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    };
    store.put_note("n", b"1".to_vec()).await.unwrap();
    let believing = CqlTls {
        ca_file: None,
        insecure_skip_verify: true,
        ..tls.clone()
    };
    connect(CqlSettings {
        tls: Some(believing),
        ..good.clone()
    })
    .await
    .unwrap();
    let without = |change: fn(&mut CqlTls)| {
        let mut tls = tls.clone();
        change(&mut tls);
        let tls = Some(tls);
        CqlSettings {
            tls,
            ..good.clone()
        }
    };
    for (what, settings) in [
        ("no encryption", without(|tls| tls.enabled = false)),
        ("no certificate", without(|tls| tls.cert_file = None)),
        ("unknown authority", without(|tls| tls.ca_file = None)),
        (
            "wrong password",
            CqlSettings {
                password: "wrong".into(),
                ..good.clone()
            },
        ),
        (
            "no password",
            CqlSettings {
                password: "".into(),
                ..good.clone()
            },
        ),
    ] {
        let refused = connect(settings).await.err();
        assert!(
            matches!(refused, Some(CqlError::Connect(_) | CqlError::Tls(_))),
            "{what}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_soon() {
    let settings = CqlSettings {
        hosts: vec!["127.0.0.1:1".to_owned()],
        ..CqlSettings::default()
    };
    let begun = std::time::Instant::now();
    let away = CqlStore::connect(settings.clone(), Clock::default()).await;
    assert!(matches!(away, Err(CqlError::Connect(_))), "{away:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let wrong = CqlSettings {
        keyspace: "a; b".to_owned(),
        ..settings
    };
    let refused = CqlStore::connect(wrong, Clock::default()).await;
    assert!(matches!(refused, Err(CqlError::Settings(_))), "{refused:?}");
}
