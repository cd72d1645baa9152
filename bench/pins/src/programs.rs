//! The programs that are measured, each in a folder and on ports of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Connection;

/// A running program; it is killed when dropped.
pub struct Program {
    child: Child,
    pub folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Highest resident memory so far, in bytes.
    pub fn peak(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line
            .and_then(|rest| rest.split_whitespace().next())
            .context("VmHWM")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Bytes that its folder takes on the disk.
    pub fn disk(&self) -> Result<u64> {
        disk(self.folder.path())
    }
}

/// Bytes that a folder takes on the disk.
pub fn disk(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        total += if metadata.is_dir() {
            disk(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(total)
}

fn peer(name: &str) -> PathBuf {
    Path::new(".peers").join(name)
}

/// A port that nobody listens on.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(command: &mut Command, folder: TempDir) -> Result<Program> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Program { child, folder })
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until a port answers a request.
async fn answers(port: u16, method: Method, path: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Ok(mut connection) = Connection::open(port, None).await
            && connection
                .send(method.clone(), path, "text/plain", Bytes::new())
                .await
                .is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("nothing answered {path} on port {port}")
}

/// A Kubo that reaches nobody: the program and the port of its RPC.
pub async fn kubo() -> Result<(Program, u16)> {
    let folder = tempfile::tempdir()?;
    let binary = peer("kubo/ipfs");
    let ipfs = || {
        let mut command = Command::new(&binary);
        command
            .env("IPFS_PATH", folder.path())
            .env("IPFS_TELEMETRY", "off");
        command
    };
    run(ipfs().args(["init", "--empty-repo"]))?;
    let (api, swarm, gateway) = (free_port()?, free_port()?, free_port()?);
    let file = folder.path().join("config");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    config["Bootstrap"] = json!([]);
    config["Discovery"]["MDNS"]["Enabled"] = json!(false);
    config["Routing"] = json!({"Type": "none"});
    config["AutoConf"] = json!({"Enabled": false});
    config["DNS"] = json!({"Resolvers": {}});
    config["Addresses"]["API"] = json!(format!("/ip4/127.0.0.1/tcp/{api}"));
    config["Addresses"]["Gateway"] = json!(format!("/ip4/127.0.0.1/tcp/{gateway}"));
    config["Addresses"]["Swarm"] = json!([format!("/ip4/127.0.0.1/tcp/{swarm}")]);
    config["Ipns"]["DelegatedPublishers"] = json!([]);
    config["Routing"]["DelegatedRouters"] = json!([]);
    std::fs::write(&file, config.to_string())?;
    let mut daemon = ipfs();
    let program = start(daemon.arg("daemon"), folder)?;
    answers(api, Method::POST, "/api/v0/id").await?;
    Ok((program, api))
}

/// Our node: the program, the port of its main listener, that of its cluster interface, and an API key.
pub async fn ours(kubo: Option<u16>) -> Result<(Program, u16, u16, String)> {
    let folder = tempfile::tempdir()?;
    let (port, cluster) = (free_port()?, free_port()?);
    let data = folder.path().join("data");
    let mut command = Command::new("target/release/ues");
    command
        .args(["up", "--data"])
        .arg(&data)
        .args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--set", &format!("pins.cluster_listen=127.0.0.1:{cluster}")]);
    if let Some(api) = kubo {
        command.args([
            "--set",
            "pins.backend=kubo",
            "--set",
            &format!("pins.kubo_api=http://127.0.0.1:{api}"),
        ]);
    }
    let program = start(&mut command, folder)?;
    answers(port, Method::GET, "/xrpc/_health").await?;
    answers(cluster, Method::GET, "/id").await?;
    let mut create = Command::new("target/release/ues");
    create
        .arg("--data")
        .arg(&data)
        .args(["key", "create", "--owner", "bench", "--quiet"]);
    let key = run(&mut create)?.trim().to_owned();
    Ok((program, port, cluster, key))
}

/// A cluster of one peer: the program and the port of its REST API.
pub async fn cluster(kubo: u16) -> Result<(Program, u16)> {
    let folder = tempfile::tempdir()?;
    let binary = peer("ipfs-cluster/ipfs-cluster-service");
    let service = || {
        let mut command = Command::new(&binary);
        command.env("IPFS_CLUSTER_PATH", folder.path());
        command
    };
    run(service().args(["init", "--consensus", "crdt"]))?;
    let (rest, proxy, pinsvc, swarm) = (free_port()?, free_port()?, free_port()?, free_port()?);
    let file = folder.path().join("service.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let address = |port: u16| json!(format!("/ip4/127.0.0.1/tcp/{port}"));
    config["cluster"]["listen_multiaddress"] = json!([address(swarm)]);
    config["cluster"]["mdns_interval"] = json!("0s");
    config["api"]["restapi"]["http_listen_multiaddress"] = address(rest);
    config["api"]["pinsvcapi"]["http_listen_multiaddress"] = address(pinsvc);
    config["api"]["ipfsproxy"]["listen_multiaddress"] = address(proxy);
    config["api"]["ipfsproxy"]["node_multiaddress"] = address(kubo);
    config["ipfs_connector"]["ipfshttp"]["node_multiaddress"] = address(kubo);
    std::fs::write(&file, config.to_string())?;
    let mut daemon = service();
    let program = start(daemon.arg("daemon"), folder)?;
    answers(rest, Method::GET, "/id").await?;
    Ok((program, rest))
}
