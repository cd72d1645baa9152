//! The Merkle Search Tree: an ordered, content-addressed map from record paths to CIDs.
