//! ues-atproto
