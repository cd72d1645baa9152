//! The lexicon engine: schemas of records and of XRPC methods.
