//! The two servers: each started on an empty folder and a free port, and measured from outside.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tempfile::TempDir;

use crate::client::Connection;
use crate::service;

/// Which server a figure belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Our node.
    Ours,
    /// The official PDS.
    Theirs,
}

/// How a server ended before it is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// By SIGTERM, its files still in the system's cache.
    Asked,
    /// By SIGKILL, and nothing in the cache, not even the program. Needs root.
    KilledAndCold,
}

/// A running server and its data.
pub struct Server {
    /// Which one it is.
    pub side: Side,
    /// Where it listens on the loopback.
    pub port: u16,
    /// Where the service listens that our node passes calls on to.
    pub service: u16,
    process: Process,
    _directory: Option<Process>,
    data: TempDir,
}

/// A child process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The repository's root folder.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn spawn(command: &mut Command) -> Result<Process> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    Ok(Process(child))
}

fn node_script(name: &str) -> Command {
    let mut command = Command::new(root().join(".peers/node/bin/node"));
    command
        .arg(root().join("tests/peers").join(name))
        .env("LOG_ENABLED", "false");
    command
}

fn ues(port: u16, data: &Path, service: u16) -> Command {
    let mut command = Command::new(root().join("target/release/ues"));
    command
        .args(["up", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(data.join("data"))
        .env("UES_RATE_LIMITS_ENABLED", "false")
        .env("UES_APPVIEW_URL", format!("http://127.0.0.1:{service}"))
        .env("UES_PROXY_ALLOW_PRIVATE_ADDRESSES", "true");
    command
}

impl Server {
    /// Starts the server of that side and waits until it answers.
    pub async fn start(side: Side) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let port = free_port()?;
        let service = service::start().await?;
        let (process, directory) = match side {
            Side::Ours => (spawn(&mut ues(port, data.path(), service))?, None),
            Side::Theirs => {
                let plc = free_port()?;
                let directory = spawn(node_script("plc.mjs").arg(plc.to_string()))?;
                answers(plc, "/_health", Duration::from_secs(60)).await?;
                let mut command = node_script("pds.mjs");
                command
                    .arg(port.to_string())
                    .arg(data.path())
                    .arg(format!("http://localhost:{plc}"));
                (spawn(&mut command)?, Some(directory))
            }
        };
        answers(port, "/xrpc/_health", Duration::from_secs(60)).await?;
        Ok(Self {
            side,
            port,
            service,
            process,
            _directory: directory,
            data,
        })
    }

    /// Ends our node, starts it on the same data, and says how long it took to answer.
    pub async fn restart(&mut self, after: Stop) -> Result<Duration> {
        if self.side == Side::Theirs {
            bail!("only our node is restarted");
        }
        let pid = self.process.0.id().to_string();
        let signal = match after {
            Stop::Asked => "-TERM",
            Stop::KilledAndCold => "-KILL",
        };
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .context("kill")?;
        self.process.0.wait()?;
        if after == Stop::KilledAndCold {
            Command::new("sync").status().context("sync")?;
            std::fs::write("/proc/sys/vm/drop_caches", "3").context("emptying the file cache")?;
        }
        let begun = Instant::now();
        self.process = spawn(&mut ues(self.port, self.data.path(), self.service))?;
        answers(self.port, "/xrpc/_health", Duration::from_secs(120)).await?;
        Ok(begun.elapsed())
    }

    /// Resident memory now and at its highest, in bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|number| number.parse::<u64>().ok())
                .map(|kib| kib * 1024)
                .with_context(|| format!("{name} in /proc"))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Bytes that its folder takes on the disk.
    pub fn disk(&self) -> Result<u64> {
        disk_usage(self.data.path())
    }
}

fn disk_usage(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Files come and go while a server works.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        total += if metadata.is_dir() {
            disk_usage(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(total)
}

/// Waits until a path answers 200.
async fn answers(port: u16, path: &str, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Ok(mut connection) = Connection::open(port).await
            && connection.get(path).await.is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("nothing answered on port {port} within {limit:?}")
}
