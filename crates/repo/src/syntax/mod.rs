//! Parsed identifiers of the AT Protocol: an invalid value cannot exist past the door.
