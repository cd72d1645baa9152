//! Makes Rust of the `.proto` file, without a `protoc` on the machine.

use std::error::Error;

const FILE: &str = "proto/bitswap.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FILE}");
    let files = protox::compile([FILE], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
