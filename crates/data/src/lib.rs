//! ues-data
