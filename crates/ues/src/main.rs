//! ues
fn main() {}
