//! Starts and stops nats-server with JetStream in a folder of its own.
//!
//! In `tls/` lie certificates of an authority for these tests, good for 127.0.0.1; nobody has its key any more.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server; it ends with this value.
pub struct Server {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    scheme: &'static str,
}

fn program() -> PathBuf {
    let named = std::env::var_os("UES_TEST_NATS").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.peers/nats/nats-server")
    });
    assert!(
        path.is_file(),
        "{} is not there: run tests/peers/install.sh, or name a nats-server in UES_TEST_NATS",
        path.display()
    );
    path
}

impl Server {
    /// Starts a server with further lines of configuration; `scheme` is `tls` for one that speaks only TLS.
    pub fn start(scheme: &'static str, configuration: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let dir = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(dir.path().join("server.conf")).unwrap();
        let store = dir.path().join("data");
        writeln!(
            file,
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?} }}\n{configuration}"
        )
        .unwrap();
        let mut server = Self {
            dir,
            port,
            child: None,
            scheme,
        };
        server.restart();
        server
    }

    pub fn url(&self) -> String {
        let scheme = if self.scheme.is_empty() {
            "nats"
        } else {
            self.scheme
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Starts it again with the same data and waits until it answers.
    pub fn restart(&mut self) {
        self.stop();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new(program())
            .arg("-c")
            .arg(self.dir.path().join("server.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            if log.contains("Server is ready") {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "nats-server ended: {log}");
            assert!(Instant::now() < deadline, "nats-server is not ready: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
