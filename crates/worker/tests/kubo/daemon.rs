//! A real Kubo that talks to nobody, in a folder of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ues_data::car::{write_block, write_header};
use ues_data::{Cid, Ipld, dag_cbor, dag_cbor_cid, raw_cid};

/// A Kubo; killed when dropped.
pub struct Daemon {
    home: TempDir,
    child: Option<Child>,
}

impl Daemon {
    pub fn start() -> Self {
        let mut daemon = Self {
            home: TempDir::new().unwrap(),
            child: None,
        };
        daemon.ipfs(&["init", "--empty-repo"]);
        // an empty repository has an empty folder pinned
        for pin in daemon.ipfs(&["pin", "ls", "--quiet"]).lines() {
            daemon.ipfs(&["pin", "rm", pin]);
        }
        let path = daemon.repo().join("config");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let address = "/ip4/127.0.0.1/tcp/0";
        config["Bootstrap"] = json!([]);
        config["Discovery"]["MDNS"]["Enabled"] = json!(false);
        config["AutoConf"]["Enabled"] = json!(false);
        config["DNS"]["Resolvers"] = json!({});
        config["Routing"] = json!({ "Type": "none", "DelegatedRouters": [] });
        config["Ipns"]["DelegatedPublishers"] = json!([]);
        config["Addresses"]["API"] = json!(address);
        config["Addresses"]["Gateway"] = json!("");
        config["Addresses"]["Swarm"] = json!([address]);
        fs::write(&path, config.to_string()).unwrap();
        daemon.run();
        daemon
    }

    /// Starts it again, perhaps on another port.
    pub fn run(&mut self) {
        let _ = fs::remove_file(self.repo().join("api"));
        let log = File::create(self.home.path().join("log")).unwrap();
        let mut command = self.command(&["daemon", "--migrate=false"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.stdin(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while !self.log().contains("Daemon is ready") {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // left by one that was killed
        let _ = fs::remove_file(self.repo().join("repo.lock"));
    }

    /// Takes away all that it holds. Its key, and so its peer id, stays.
    pub fn empty(&mut self) {
        self.kill();
        for folder in ["blocks", "datastore"] {
            fs::remove_dir_all(self.repo().join(folder)).unwrap();
        }
        self.run();
    }

    /// Loses one block, as a bad disk would.
    pub fn lose(&mut self, bytes: &[u8]) {
        self.kill();
        let shards = fs::read_dir(self.repo().join("blocks")).unwrap();
        let shards = shards
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir());
        let files = shards.flat_map(|shard| fs::read_dir(shard).unwrap());
        let lost = files
            .map(|file| file.unwrap().path())
            .find(|file| fs::read(file).unwrap() == bytes);
        fs::remove_file(lost.expect("the block is there")).unwrap();
        self.run();
    }

    /// The multiaddr of its RPC.
    pub fn api(&self) -> String {
        fs::read_to_string(self.repo().join("api"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Runs a command of Kubo; it must succeed.
    pub fn ipfs(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ipfs {arguments:?}: {errors}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Brings blocks in without pinning them.
    pub fn import(&self, blocks: &[(Cid, Vec<u8>)]) {
        let mut car = Vec::new();
        write_header(&[], &mut car);
        for (cid, bytes) in blocks {
            write_block(cid, bytes, &mut car);
        }
        let mut file = tempfile::NamedTempFile::new_in(self.home.path()).unwrap();
        file.write_all(&car).unwrap();
        let path = file.path().to_str().unwrap();
        self.ipfs(&["dag", "import", "--pin-roots=false", path]);
    }

    /// Adds a file of Kubo's own kind without pinning it; its CID is of version 0.
    pub fn add_file(&self, bytes: &[u8]) -> Cid {
        let path = self.home.path().join("file");
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let kind = ["--cid-version=0", "--raw-leaves=false", "--pin=false", "-Q"];
        let cid = self.ipfs(&["add", kind[0], kind[1], kind[2], kind[3], path]);
        Cid::try_from(cid.as_str()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env("IPFS_PATH", self.repo());
        command
            .env("IPFS_TELEMETRY", "off")
            .current_dir(self.home.path());
        command
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = workspace.join(".peers/kubo/ipfs");
    assert!(binary.exists(), "no Kubo: tests/peers/install.sh kubo");
    binary.canonicalize().unwrap()
}

/// A small block without links.
pub fn leaf(text: &str) -> (Cid, Vec<u8>) {
    (raw_cid(text.as_bytes()), text.as_bytes().to_vec())
}

/// A block that links to these.
pub fn parent(children: &[Cid]) -> (Cid, Vec<u8>) {
    let links = children.iter().map(|cid| Ipld::Link(*cid)).collect();
    let bytes = dag_cbor::encode(&Ipld::List(links)).unwrap();
    (dag_cbor_cid(&bytes), bytes)
}
