//! Makes Rust of the `.proto` files, without a `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message;

const FILE: &str = "proto/ues/pins/v1/pins.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FILE}");
    let files = protox::compile([FILE], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("pins_descriptor.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
