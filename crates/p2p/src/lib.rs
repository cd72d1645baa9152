//! The peer-to-peer network of a node: a libp2p host with discovery, relays and hole punching, streams for protocols of
//! our own, and Bitswap.
