//! ues-repo
