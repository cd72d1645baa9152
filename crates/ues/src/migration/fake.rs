//! Two servers and a directory in memory, of which any call can fail, and which watch that the account has a home.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use ues_data::car::{CarLimits, write_block, write_header};
use ues_data::mst::build_sorted;
use ues_data::{Cid, dag_cbor_cid, raw_cid};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::commit::Commit;
use ues_repo::repo::verify::Archive;
use ues_repo::syntax::{Did, Tid};
use zeroize::Zeroizing;

use super::desk::{Desk, Identity, LocalAccount};
use super::person::{Person, Question, Report};
use super::plan::Step;
use super::xrpc::{CallError, Called, Xrpc};
use crate::failure::{Failure, Outcome};

pub const DID: &str = "did:plc:abcdefghijklmnopqrstuvwx";
/// Each record: an empty map.
const RECORD: [u8; 1] = [0xa0];

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not arrive.
    Lost,
    /// It is done, and the answer does not arrive.
    Unanswered,
    /// The token is no longer good.
    Expired,
}

#[derive(Clone)]
pub struct Held {
    pub active: bool,
    /// Root of its records.
    pub data: Cid,
    records: u64,
    nodes: Vec<(Cid, Bytes)>,
    commit: Vec<u8>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    wanted: BTreeSet<String>,
    pub preferences: Value,
}

impl Held {
    fn new(active: bool, records: u64) -> Self {
        let key = SigningKey::generate(KeyKind::K256).unwrap();
        let mut nodes = Vec::new();
        let record = dag_cbor_cid(&RECORD);
        let entries = (0..records).map(|n| (format!("com.example.note/{n:05}"), record));
        let data = build_sorted(entries, |cid, bytes| nodes.push((cid, bytes))).unwrap();
        let commit = Commit::sign(&Did::parse(DID).unwrap(), data, &Tid::from_number(7), &key);
        Self {
            active,
            data,
            records,
            nodes,
            commit: commit.encode().1.to_vec(),
            blobs: BTreeMap::new(),
            wanted: BTreeSet::new(),
            preferences: json!([]),
        }
    }

    /// Another record.
    pub fn write(&mut self) {
        self.hold(self.records + 1);
    }

    fn hold(&mut self, records: u64) {
        let fresh = Self::new(self.active, records);
        (self.data, self.records) = (fresh.data, fresh.records);
        (self.nodes, self.commit) = (fresh.nodes, fresh.commit);
    }

    fn commit_cid(&self) -> Cid {
        dag_cbor_cid(&self.commit)
    }
}

pub struct State {
    /// Which server the identity names.
    pub home: &'static str,
    /// A did:web, which its owner publishes.
    pub is_web: bool,
    /// The old server answers nothing once the identity names the new one.
    pub gone_once_moved: bool,
    operations: u64,
    code: Option<String>,
    codes: u32,
    pub held: BTreeMap<&'static str, Held>,
    pub calls: u32,
    pub fault: Option<(u32, Fault)>,
}

/// See the module. The servers are called `old` and `new`.
pub struct World(pub Mutex<State>);

impl World {
    pub fn new() -> Arc<Self> {
        let mut old = Held::new(true, 40);
        for n in 0..5_u8 {
            let bytes = vec![n; 10];
            let cid = raw_cid(&bytes).to_string();
            old.wanted.insert(cid.clone());
            old.blobs.insert(cid, bytes);
        }
        old.preferences = json!([{ "$type": "app.bsky.actor.defs#adultContentPref" }]);
        Arc::new(Self(Mutex::new(State {
            home: "old",
            is_web: false,
            gone_once_moved: false,
            operations: 0,
            code: None,
            codes: 0,
            held: BTreeMap::from([("old", old)]),
            calls: 0,
            fault: None,
        })))
    }

    /// Counts a call and does it, unless it is the one that fails.
    fn call<T>(
        &self,
        server: &str,
        signed: bool,
        work: impl FnOnce(&mut State) -> Called<T>,
    ) -> Called<T> {
        let mut state = self.0.lock();
        state.calls += 1;
        let gone = || CallError::Unreachable {
            server: "fake".into(),
            why: "broken".into(),
        };
        let fault = state
            .fault
            .filter(|(at, _)| *at == state.calls)
            .map(|(_, fault)| fault);
        match fault {
            Some(Fault::Lost) => return Err(gone()),
            _ if state.gone_once_moved && (server, state.home) == ("old", "new") => {
                return Err(gone());
            }
            Some(Fault::Expired) if signed => return Err(refused(400, "ExpiredToken")),
            _ => {}
        }
        let done = work(&mut state);
        state.watch();
        match fault {
            Some(Fault::Unanswered) => Err(gone()),
            _ => done,
        }
    }
}

impl State {
    /// The account has a home at any time.
    fn watch(&self) {
        let active = |name| self.held.get(name).is_some_and(|held| held.active);
        if self.home == "old" {
            assert!(
                active("old"),
                "it lives at the old server, which has switched it off"
            );
            assert!(!active("new"), "it is switched on where it does not live");
        } else {
            assert!(active("old") || active("new"), "it is switched on nowhere");
        }
    }
}

fn refused(status: u16, name: &str) -> CallError {
    CallError::Refused {
        server: "fake".into(),
        nsid: "fake".into(),
        status,
        name: name.to_owned(),
        message: name.to_owned(),
    }
}

pub struct FakeServer {
    pub world: Arc<World>,
    pub name: &'static str,
}

impl FakeServer {
    fn answer(&self, state: &mut State, nsid: &str, input: &Value, token: Option<&str>) -> Called {
        let name = self.name;
        let session =
            json!({ "did": DID, "handle": "a.example", "accessJwt": name, "refreshJwt": name });
        let method = nsid.rsplit('.').next().unwrap();
        let open = [
            "createSession",
            "createAccount",
            "describeServer",
            "getRepoStatus",
            "refreshSession",
        ];
        assert!(
            open.contains(&method) || token == Some(name),
            "{method} at {name} without a session"
        );
        if method == "describeServer" {
            return Ok(json!({
                "did": format!("did:web:{name}"), "availableUserDomains": [],
                "inviteCodeRequired": name == "new",
            }));
        }
        if method == "createAccount" {
            assert_eq!(token, Some("pass for did:web:new"));
            assert_eq!(input["password"], "secret");
            if state.held.contains_key(name) {
                return Err(refused(400, "AlreadyExists"));
            }
            if input["inviteCode"] != "invite" {
                return Err(refused(400, "InvalidInviteCode"));
            }
            state.held.insert(name, Held::new(false, 0));
            return Ok(session);
        }
        let home = state.home;
        let (operations, code) = (state.operations, state.code.clone());
        let wanted = state.held["old"].wanted.clone();
        let Some(held) = state.held.get_mut(name) else {
            return Err(refused(400, "RepoNotFound"));
        };
        match method {
            "createSession" if input["password"] != "secret" => {
                Err(refused(401, "AuthenticationRequired"))
            }
            "createSession" if input["authFactorToken"] != "second" => {
                Err(refused(401, "AuthFactorTokenRequired"))
            }
            "createSession" => Ok(session),
            "refreshSession" => Ok(session),
            "getRepoStatus" => Ok(json!({ "active": held.active })),
            "getServiceAuth" => Ok(json!({ "token": "pass for did:web:new" })),
            "getRecommendedDidCredentials" => Ok(json!({
                "alsoKnownAs": ["at://a.example"], "rotationKeys": [format!("did:key:{name}")],
                "verificationMethods": { "atproto": format!("did:key:{name}-a") },
                "services": { "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": name } },
            })),
            "getLatestCommit" => Ok(json!({ "cid": held.commit_cid().to_string() })),
            "checkAccountStatus" => Ok(json!({
                "activated": held.active, "indexedRecords": held.records, "importedBlobs": held.blobs.len(),
                "expectedBlobs": if name == "old" { wanted.len() } else { held.wanted.len() },
            })),
            "listMissingBlobs" => {
                let missing = held
                    .wanted
                    .iter()
                    .filter(|cid| !held.blobs.contains_key(*cid));
                let missing: Vec<Value> = missing.map(|cid| json!({ "cid": cid })).collect();
                Ok(json!({ "blobs": missing }))
            }
            "getPreferences" => Ok(json!({ "preferences": held.preferences })),
            "putPreferences" => {
                held.preferences = input["preferences"].clone();
                Ok(Value::Null)
            }
            "requestPlcOperationSignature" => {
                state.codes += 1;
                state.code = Some(format!("code {}", state.codes));
                Ok(Value::Null)
            }
            "signPlcOperation" => {
                if code.as_deref() != input["token"].as_str() {
                    return Err(refused(400, "InvalidToken"));
                }
                state.code = None;
                Ok(json!({ "operation": signed(input, operations) }))
            }
            "submitPlcOperation" => {
                if input["operation"]["prev"] != json!(operations) {
                    return Err(refused(400, "InvalidRequest"));
                }
                assert_eq!(input["operation"]["rotationKeys"], json!(["did:key:new"]));
                state.operations += 1;
                state.home =
                    match input["operation"]["services"]["atproto_pds"]["endpoint"].as_str() {
                        Some("new") => "new",
                        other => panic!("moved to {other:?}"),
                    };
                Ok(Value::Null)
            }
            "activateAccount" => {
                if home != name {
                    return Err(refused(400, "InvalidRequest"));
                }
                held.active = true;
                Ok(Value::Null)
            }
            "deactivateAccount" => {
                held.active = false;
                Ok(Value::Null)
            }
            "requestAccountDelete" => {
                state.code = Some("delete".to_owned());
                Ok(Value::Null)
            }
            "deleteAccount" => {
                assert_eq!(input["token"], json!(code));
                state.held.remove(name);
                Ok(Value::Null)
            }
            other => panic!("no fake for {other}"),
        }
    }
}

fn signed(fields: &Value, prev: u64) -> Value {
    let mut operation = fields.clone();
    operation["prev"] = json!(prev);
    operation
}

#[async_trait]
impl Xrpc for FakeServer {
    fn address(&self) -> &str {
        self.name
    }

    async fn query(&self, nsid: &str, _: &[(&str, &str)], token: Option<&str>) -> Called {
        let work = |state: &mut State| self.answer(state, nsid, &Value::Null, token);
        self.world.call(self.name, token.is_some(), work)
    }

    async fn procedure(&self, nsid: &str, input: Option<&Value>, token: Option<&str>) -> Called {
        let input = input.cloned().unwrap_or_default();
        // A pass for one method is no session that could be renewed.
        let session = token == Some(self.name);
        self.world.call(self.name, session, |state| {
            self.answer(state, nsid, &input, token)
        })
    }

    async fn download(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        token: &str,
        to: &Path,
    ) -> Called<String> {
        assert_eq!(token, self.name);
        self.world.call(self.name, true, |state| {
            let held = state
                .held
                .get(self.name)
                .ok_or_else(|| refused(400, "RepoNotFound"))?;
            let (root, mut file) = (held.commit_cid(), Vec::new());
            match nsid.rsplit('.').next().unwrap() {
                "getBlob" => {
                    let cid = params.iter().find(|(name, _)| *name == "cid").unwrap().1;
                    let blob = held
                        .blobs
                        .get(cid)
                        .ok_or_else(|| refused(400, "BlobNotFound"))?;
                    file.extend_from_slice(blob);
                }
                method => {
                    write_header(&[root], &mut file);
                    write_block(&root, &held.commit, &mut file);
                    if method == "getRepo" {
                        for (cid, node) in &held.nodes {
                            write_block(cid, node, &mut file);
                        }
                        write_block(&dag_cbor_cid(&RECORD), &RECORD, &mut file);
                    }
                }
            }
            std::fs::write(to, file).unwrap();
            Ok("application/octet-stream".to_owned())
        })
    }

    async fn upload(&self, nsid: &str, _: &str, from: &Path, token: &str) -> Called {
        assert_eq!(token, self.name);
        let file = std::fs::read(from).unwrap();
        self.world.call(self.name, true, |state| {
            let wanted = state.held["old"].wanted.clone();
            let held = state
                .held
                .get_mut(self.name)
                .ok_or_else(|| refused(400, "RepoNotFound"))?;
            if nsid.ends_with("uploadBlob") {
                let cid = raw_cid(&file).to_string();
                held.blobs.insert(cid.clone(), file);
                return Ok(json!({ "blob": { "ref": { "$link": cid } } }));
            }
            let archive = Archive::read(file.as_slice(), CarLimits::default()).unwrap();
            let verified = archive.verify(None, |_, _, _| {}, |_, _| {}).unwrap();
            held.hold(verified.records);
            held.wanted = wanted;
            Ok(Value::Null)
        })
    }
}

/// The operator of the server of this name.
pub struct FakeDesk {
    pub world: Arc<World>,
    pub own: &'static str,
}

#[async_trait]
impl Desk for FakeDesk {
    async fn session(&self, _: &str) -> Outcome<String> {
        Ok(self
            .world
            .call("desk", false, |_| Ok(self.own.to_owned()))?)
    }

    async fn account(&self, did: &str) -> Outcome<Option<LocalAccount>> {
        let found = self.world.call("desk", false, |state| {
            Ok(state.held.get(self.own).map(|held| LocalAccount {
                did: did.to_owned(),
                handle: "a.example".to_owned(),
                email: None,
                status: if held.active { "active" } else { "deactivated" }.to_owned(),
            }))
        });
        Ok(found?)
    }

    async fn identity(&self, _: &str) -> Outcome<Identity> {
        let found = self.world.call("desk", false, |state| {
            let home = state.home;
            Ok(Identity {
                endpoint: Some(home.to_owned()),
                here: home == self.own,
                key: Some(format!("did:key:{home}-a")),
                plc: (!state.is_web)
                    .then(|| json!({ "rotationKeys": [format!("did:key:{home}")] })),
            })
        });
        Ok(found?)
    }

    async fn resolve(&self, _: &str) -> Outcome<String> {
        Ok(DID.to_owned())
    }

    async fn sign(&self, _: &str, fields: &Value) -> Outcome<Value> {
        let work = |state: &mut State| Ok(signed(fields, state.operations));
        Ok(self.world.call("desk", false, work)?)
    }

    async fn invite(&self) -> Outcome<String> {
        Ok("invite".to_owned())
    }

    async fn delete(&self, _: &str) -> Outcome {
        let work = |state: &mut State| {
            state.held.remove(self.own);
            Ok(())
        };
        Ok(self.world.call("desk", false, work)?)
    }
}

/// Knows the password, and reads the letters.
pub struct FakePerson {
    pub world: Arc<World>,
    pub reads_letters: bool,
}

#[async_trait]
impl Person for FakePerson {
    async fn ask(&self, question: Question) -> Outcome<Zeroizing<String>> {
        let code = self.world.0.lock().code.clone();
        match question {
            Question::Password { .. } => Ok(Zeroizing::new("secret".to_owned())),
            Question::SecondFactor { .. } => Ok(Zeroizing::new("second".to_owned())),
            _ if !self.reads_letters => Err(Failure::failed("a code was sent")),
            _ => Ok(Zeroizing::new(code.unwrap())),
        }
    }
    fn begins(&self, _: Step) {}
    fn progress(&self, _: Step, _: u64, _: u64) {}
    fn done(&self, _: Step, _: &Report) {}
    fn warn(&self, _: &str) {}
}

/// The CID of one of the blobs.
pub fn a_blob() -> String {
    raw_cid(&[3; 10]).to_string()
}
