//! Signed repositories: commits, writes, reads, and the event log.
