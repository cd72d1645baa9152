//! The page of the network, at `/network`, for the people at this machine: a picture of who is connected and how, what
//! each repository lacks, and what went over the lines.

use std::collections::HashMap;
use std::f64::consts::TAU;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use ues_p2p::state::{Direction, NatStatus, NetworkState, PeerState};
use ues_p2p::sync::{PeerStatus, Stage};
use ues_p2p::{BlobStatus, identity};
use ues_sync::store::Replicas;

use super::PeerNetwork;
use super::app::{Desk, blobs};
use crate::node::here;
use crate::output::human_bytes;

/// Peers that are drawn; the others stand in the table.
const DRAWN: usize = 16;
/// The picture's middle, and how far from it the peers lie.
const MIDDLE: (f64, f64) = (320.0, 180.0);
const AROUND: (f64, f64) = (235.0, 125.0);

#[derive(Template, Default)]
#[template(path = "network.html")]
struct Page {
    enabled: bool,
    host: Option<Host>,
    peers: Vec<Peer>,
    more: usize,
    repos: Vec<Repo>,
}

struct Host {
    peer: String,
    listening: Vec<String>,
    external: Vec<String>,
    reached: &'static str,
    relays: usize,
    relayed_for: usize,
}

struct Peer {
    id: String,
    name: String,
    agent: String,
    /// `direct`, or `relayed`.
    way: &'static str,
    opened: &'static str,
    address: String,
    round_trip: String,
    bytes_in: u64,
    bytes_out: u64,
    sent: String,
    received: String,
    /// Whether it holds a repository that is shared here.
    device: bool,
    /// Where it lies in the picture; `None`: it is not drawn.
    place: Option<(i32, i32)>,
}

struct Repo {
    name: String,
    did: String,
    rev: String,
    head: String,
    missing: u64,
    sessions: Vec<Session>,
}

struct Session {
    device: String,
    stage: &'static str,
    operations: u64,
    sent: String,
    received: String,
    reason: String,
}

/// `GET /network`.
pub(super) async fn page(State(desk): State<Desk>, request: Request) -> Response {
    if !here::is_asked_for(&request, "/network") {
        let text = "This page is for a browser on the node's own machine. `ues peer ls` and `ues sync status` say the same.";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    here::answer(Page::of(&desk).await.render())
}

impl Page {
    async fn of(desk: &Desk) -> Self {
        let network = &desk.network;
        let (state, sessions) = match network.if_running().await {
            Some(running) => (running.network.state().await, running.sync.status()),
            None => (None, Vec::new()),
        };
        let names = names(&network.0.replicas);
        let peers: Vec<Peer> = state
            .iter()
            .flat_map(|state| placed(&state.peers, &names))
            .collect();
        Self {
            enabled: network.0.config.enabled,
            more: peers.iter().filter(|peer| peer.place.is_none()).count(),
            peers,
            host: state.map(host),
            repos: repos(desk, network, &sessions, &names).await,
        }
    }
}

/// What people call the devices, by their keys.
fn names(replicas: &Replicas) -> HashMap<String, String> {
    let dids = replicas.list();
    let devices = dids.iter().flat_map(|did| replicas.devices(did)).flatten();
    devices
        .filter(|device| !device.root)
        .map(|device| (device.key, device.name))
        .collect()
}

fn host(state: NetworkState) -> Host {
    let texts = |list: &[ues_p2p::Multiaddr]| list.iter().map(ToString::to_string).collect();
    Host {
        peer: state.peer.to_string(),
        listening: texts(&state.listening),
        external: texts(&state.external),
        reached: match state.nat {
            NatStatus::Unknown => "nobody was asked yet",
            NatStatus::Public => "directly",
            NatStatus::Private => "only through others",
        },
        relays: state.reservations.len(),
        relayed_for: state.reserved_for,
    }
}

/// Devices first, then those that moved most; the first ones have a place in the picture.
fn placed(peers: &[PeerState], names: &HashMap<String, String>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = peers.iter().map(|state| peer(state, names)).collect();
    peers.sort_by_key(|peer| {
        let moved = peer.bytes_in.saturating_add(peer.bytes_out);
        (!peer.device, std::cmp::Reverse(moved), peer.id.clone())
    });
    let drawn = peers.len().min(DRAWN);
    for (index, peer) in peers.iter_mut().take(drawn).enumerate() {
        peer.place = Some(place(index, drawn));
    }
    peers
}

/// The place of one of so many, clockwise from the right.
fn place(index: usize, count: usize) -> (i32, i32) {
    let part = |n: usize| u32::try_from(n).map_or(0.0, f64::from);
    let angle = TAU * part(index) / part(count.max(1));
    let at = |middle: f64, around: f64, part: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "within a picture of 640 by 360"
        )]
        let rounded = around.mul_add(part, middle).round() as i32;
        rounded
    };
    (
        at(MIDDLE.0, AROUND.0, angle.cos()),
        at(MIDDLE.1, AROUND.1, angle.sin()),
    )
}

fn peer(state: &PeerState, names: &HashMap<String, String>) -> Peer {
    let id = state.peer.to_string();
    let key = identity::key_of(&state.peer).map(|key| key.did_key());
    let name = key.and_then(|key| names.get(&key).cloned());
    // The best of several connections is the one that is used.
    let best = state.connections.iter().min_by_key(|c| c.relayed);
    Peer {
        device: name.is_some(),
        name: name.unwrap_or_else(|| id[id.len().saturating_sub(6)..].to_owned()),
        id,
        agent: state.agent.clone(),
        way: match best {
            Some(connection) if connection.relayed => "relayed",
            _ => "direct",
        },
        opened: match best.map(|connection| connection.direction) {
            Some(Direction::Incoming) => "by the peer",
            Some(Direction::Outgoing) => "from here",
            None => "",
        },
        address: best.map_or_else(String::new, |c| c.address.to_string()),
        round_trip: state.round_trip().map_or_else(String::new, |time| {
            format!("{:.1} ms", time.as_secs_f64() * 1000.0)
        }),
        bytes_in: state.bytes_in,
        bytes_out: state.bytes_out,
        sent: human_bytes(state.bytes_out),
        received: human_bytes(state.bytes_in),
        place: None,
    }
}

async fn repos(
    desk: &Desk,
    network: &PeerNetwork,
    sessions: &[PeerStatus],
    names: &HashMap<String, String>,
) -> Vec<Repo> {
    let dids = network.0.replicas.list();
    let blobs = blobs(network, dids.clone()).await.unwrap_or_default();
    dids.iter()
        .map(|did| {
            let head = desk.ctx.repos.head(did).ok().flatten();
            let account = desk.ctx.accounts.by_did(did).ok().flatten();
            let missing = |row: &&BlobStatus| row.repo == did.as_str();
            Repo {
                name: account.map_or_else(|| did.to_string(), |a| a.handle.to_string()),
                did: did.to_string(),
                rev: head.as_ref().map(|h| h.rev.to_string()).unwrap_or_default(),
                head: head.map(|h| h.data.to_string()).unwrap_or_default(),
                missing: blobs.iter().find(missing).map_or(0, |row| row.missing),
                sessions: sessions
                    .iter()
                    .filter(|session| session.repo == did.as_str())
                    .map(|row| session(row, names))
                    .collect(),
            }
        })
        .collect()
}

fn session(row: &PeerStatus, names: &HashMap<String, String>) -> Session {
    let name = names.get(&row.key).cloned();
    Session {
        device: name.unwrap_or_else(|| row.peer.clone()),
        stage: match row.stage {
            Stage::Synced => "equal",
            Stage::Syncing => "syncing",
            Stage::Ended => "away",
        },
        operations: row.received,
        sent: human_bytes(row.bytes_out),
        received: human_bytes(row.bytes_in),
        reason: row
            .refused_why
            .clone()
            .or_else(|| row.reason.clone())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn state(bytes: u64, relayed: &[bool]) -> PeerState {
        PeerState {
            peer: ues_p2p::PeerId::random(),
            agent: "<b>agent</b>".to_owned(),
            protocols: Vec::new(),
            addresses: Vec::new(),
            known: false,
            connections: relayed
                .iter()
                .map(|relayed| ues_p2p::state::ConnectionState {
                    address: "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
                    direction: Direction::Outgoing,
                    relayed: *relayed,
                    round_trip: None,
                })
                .collect(),
            bytes_in: bytes,
            bytes_out: 0,
        }
    }

    #[test]
    fn the_busiest_are_drawn_each_at_a_place_of_its_own() {
        let states: Vec<_> = (0..40).map(|n| state(n, &[false])).collect();
        let peers = placed(&states, &HashMap::new());
        let places: std::collections::HashSet<_> = peers.iter().filter_map(|p| p.place).collect();
        assert_eq!((peers.len(), places.len()), (40, DRAWN));
        assert_eq!((peers[0].bytes_in, peers[39].bytes_in), (39, 0));
        assert!(
            places
                .iter()
                .all(|(x, y)| (0..640).contains(x) && (0..360).contains(y))
        );
    }

    #[test]
    fn a_direct_connection_counts_more_than_a_relayed_one() {
        let way = |relayed: &[bool]| peer(&state(0, relayed), &HashMap::new()).way;
        assert_eq!(way(&[true, false]), "direct");
        assert_eq!(way(&[true]), "relayed");
    }

    #[test]
    fn what_others_call_themselves_is_only_text() {
        let page = Page {
            enabled: true,
            peers: placed(&[state(1, &[true])], &HashMap::new()),
            repos: vec![Repo {
                name: "<script>".to_owned(),
                did: String::new(),
                rev: String::new(),
                head: String::new(),
                missing: 1,
                sessions: vec![Session {
                    device: "<i>".to_owned(),
                    stage: "equal",
                    operations: 0,
                    sent: String::new(),
                    received: String::new(),
                    reason: "<u>".to_owned(),
                }],
            }],
            ..Page::default()
        };
        let html = page.render().unwrap();
        for tag in ["<b>", "<i>", "<u>"] {
            assert!(!html.contains(tag), "{tag}");
        }
        assert_eq!(html.matches("<script").count(), 1);
    }
}
