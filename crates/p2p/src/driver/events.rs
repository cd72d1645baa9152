//! What the swarm reports.

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, gossipsub, identify, kad, mdns, ping, relay};

use super::{Driver, MAX_NEARBY, connect_error, random};
use crate::addresses::to_remember;
use crate::behaviour::BehaviourEvent;
use crate::error::NetworkError;
use crate::gossip::{GossipMessage, Verdict};
use crate::known_peers::KnownPeer;
use crate::network::NetworkEvent;
use crate::state::NatStatus;

/// Addresses that are taken from one identify message for a known peer.
const LEARNED_ADDRESSES: usize = 8;

impl Driver {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => return self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.on_opened(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                if self.table.closed(&peer_id, connection_id) {
                    self.known.lost(&peer_id, Instant::now(), random());
                    self.tell(NetworkEvent::PeerDisconnected(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                if let Some(peer) = peer_id
                    && !self.swarm.is_connected(&peer)
                {
                    self.known.dial_failed(&peer, Instant::now(), random());
                }
                if let Some(reply) = self.dials.remove(&connection_id) {
                    let _ = reply.send(Err(connect_error(peer_id, &error)));
                }
            }
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                self.starting.remove(&listener_id);
                self.report_start();
                // An interface is up, or a relay can be reached: others may be too.
                let now = Instant::now();
                self.known.retry_all(now);
                self.relays.retry_all(now);
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                let reason = match reason {
                    Ok(()) => "closed".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.on_listener_gone(listener_id, &reason);
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                tracing::debug!(?listener_id, %error, "a listener has trouble");
            }
            SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::ExpiredListenAddr { .. } => {}
            _ => return,
        }
        self.changed();
    }

    fn on_opened(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let direct = !endpoint.is_relayed() && self.table.is_only_relayed(&peer);
        let first = self.table.opened(peer, id, endpoint);
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            self.known.learn(&peer, address.clone());
        }
        self.known.connected(&peer);
        if let Some(reply) = self.dials.remove(&id) {
            let _ = reply.send(Ok(peer));
        }
        if first {
            self.tell(NetworkEvent::PeerConnected(peer));
        } else if direct {
            self.tell(NetworkEvent::PeerDirect(peer));
        }
    }

    fn on_listener_gone(&mut self, id: ListenerId, reason: &str) {
        if let Some(relay) = self.relay_listeners.remove(&id) {
            tracing::debug!(%relay, reason, "the reservation ended");
            let now = Instant::now();
            self.relays.dial_failed(&relay, now, random());
            self.relays.lost(&relay, now, random());
        }
        if let Some(address) = self.starting.remove(&id)
            && let Some(started) = self.started.take()
        {
            let _ = started.send(Err(NetworkError::Listen {
                address,
                reason: reason.into(),
            }));
        }
    }

    /// Tells who started the host once every listener has an address.
    pub(super) fn report_start(&mut self) {
        if self.starting.is_empty()
            && let Some(started) = self.started.take()
        {
            let _ = started.send(Ok(()));
        }
    }

    fn tell(&self, event: NetworkEvent) {
        // It is no failure that nobody listens.
        let _ = self.events.send(event);
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            }) => {
                self.on_identified(peer_id, connection_id, &info);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => match result {
                Ok(round_trip) => self.table.pinged(&peer, connection, round_trip),
                Err(ping::Failure::Unsupported) => return,
                // TCP would wait a quarter of an hour for who is gone.
                Err(failure) => {
                    if self.table.is_silent(&peer, connection) {
                        tracing::debug!(%peer, %failure, "a connection is dead");
                        self.swarm.close_connection(connection);
                    }
                }
            },
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            BehaviourEvent::Autonat(autonat::Event::StatusChanged { new, .. }) => {
                self.nat = match new {
                    autonat::NatStatus::Public(_) => NatStatus::Public,
                    autonat::NatStatus::Private => NatStatus::Private,
                    autonat::NatStatus::Unknown => NatStatus::Unknown,
                };
            }
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                ..
            }) => self.relays.connected(&relay_peer_id),
            BehaviourEvent::RelayServer(event) => match event {
                relay::Event::ReservationReqAccepted { src_peer_id, .. } => {
                    self.table.reservation(src_peer_id, true);
                }
                relay::Event::ReservationClosed { src_peer_id }
                | relay::Event::ReservationTimedOut { src_peer_id } => {
                    self.table.reservation(src_peer_id, false);
                }
                _ => return,
            },
            BehaviourEvent::Dcutr(event) => {
                let peer = event.remote_peer_id;
                match event.result {
                    Ok(_) => self.tell(NetworkEvent::HolePunched(peer)),
                    Err(error) => tracing::debug!(%peer, %error, "no hole punched"),
                }
            }
            BehaviourEvent::Kademlia(kad::Event::OutboundQueryProgressed {
                id,
                result,
                step,
                ..
            }) => {
                if self.queries.progress(id, result, step.last)
                    && let Some(table) = self.swarm.behaviour_mut().kademlia.as_mut()
                    && let Some(mut query) = table.query_mut(&id)
                {
                    query.finish();
                }
                return;
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => return self.on_gossip(propagation_source, message_id, message),
            _ => return,
        }
        self.changed();
    }

    fn on_identified(&mut self, peer: PeerId, id: ConnectionId, info: &identify::Info) {
        let nearby = self.table.is_on_this_machine(&peer, id);
        let mut info = info.clone();
        info.listen_addrs = to_remember(&info.listen_addrs, nearby, LEARNED_ADDRESSES);
        self.table.identified(&peer, &info);
        for address in &info.listen_addrs {
            self.known.learn(&peer, address.clone());
        }
        if let Some(table) = self.swarm.behaviour_mut().kademlia.as_mut()
            && info
                .protocols
                .iter()
                .any(|p| table.protocol_names().contains(p))
        {
            for address in &info.listen_addrs {
                table.add_address(&peer, address.clone());
            }
        }
        self.tell(NetworkEvent::PeerIdentified(peer));
    }

    fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            self.nearby
                .send_if_modified(|nearby: &mut BTreeSet<PeerId>| {
                    nearby.len() < MAX_NEARBY && nearby.insert(peer)
                });
            // Anybody in the local network can say this, so it is remembered only once the peer answered there. Until
            // then mDNS itself gives the address to who dials.
            self.known.retry(&peer, Instant::now());
            if self.known.contains(&peer) && self.table.is_only_relayed(&peer) {
                self.dial_beside(peer, address.clone());
            }
            self.tell(NetworkEvent::PeerDiscovered(KnownPeer {
                peer,
                addresses: vec![address],
            }));
        }
    }

    /// Dials a peer that is connected already.
    fn dial_beside(&mut self, peer: PeerId, address: Multiaddr) {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::NotDialing)
            .addresses(vec![address])
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "no way beside the relay");
        }
    }

    fn on_gossip(&mut self, from: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let waiting = self.topics.get(&message.topic);
        let (Some(waiting), Some(author)) = (waiting, message.source) else {
            return;
        };
        let message = GossipMessage::new(
            author,
            from,
            message.data.into(),
            id,
            self.verdict_sender.clone(),
        );
        if !self.table.may_gossip(&from) {
            self.gossip_dropped += 1;
            message.judge(Verdict::Ignore);
        } else if waiting.try_send(message).is_err() {
            // dropping the message ignored it
            self.gossip_dropped += 1;
        }
    }
}
