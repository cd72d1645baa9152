//! Starts and stops a Cassandra in a folder of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ues_pins::Clock;
use ues_pins::store::{CqlSettings, CqlStore};

/// The server of all tests that need none of their own.
static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(""));
/// Counts keyspaces.
static KEYSPACES: AtomicU32 = AtomicU32::new(0);

/// A running server; it ends with this value or with the process.
pub struct Server {
    dir: TempDir,
    ports: [u16; 2],
    child: Option<Child>,
}

fn program() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/cassandra/run");
    path.canonicalize().unwrap()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Starts a server with further lines of configuration.
    pub fn start(extra: &str) -> Self {
        // In memory where that is possible: what a killed process has written survives it there as well.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.unwrap();
        std::fs::write(dir.path().join("extra.yaml"), extra).unwrap();
        let mut server = Self {
            dir,
            ports: [free_port(), free_port()],
            child: None,
        };
        server.restart();
        server
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// Settings for a keyspace of its own.
    pub fn settings(&self) -> CqlSettings {
        let number = KEYSPACES.fetch_add(1, Ordering::Relaxed);
        CqlSettings {
            hosts: vec![self.address().to_string()],
            keyspace: format!("pins_{number}"),
            num_conns: 2,
            connect_timeout: Duration::from_secs(5),
            ..CqlSettings::default()
        }
    }

    /// Starts it again with the same data and waits until it answers.
    pub fn restart(&mut self) {
        self.stop();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new(program())
            .arg(self.dir.path())
            .args(self.ports.map(|port| port.to_string()))
            .env("WATCH", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(self.address()).is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "Cassandra ended: {}", log());
            assert!(
                Instant::now() < deadline,
                "Cassandra is not ready: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
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

/// A clock that stands at a time in milliseconds.
pub fn at(now_ms: u64) -> Clock {
    Clock::new(move || now_ms)
}

/// Connects to a database.
pub async fn connect(settings: CqlSettings, clock: Clock) -> CqlStore {
    CqlStore::connect(settings, clock).await.unwrap()
}
