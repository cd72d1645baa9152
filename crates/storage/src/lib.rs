//! ues-storage
