//! Makes Rust of the `.proto` files, without a `protoc` on the machine.

use std::error::Error;

const FILES: [&str; 3] = [
    "proto/bitswap.proto",
    "proto/blobs.proto",
    "proto/repositories.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let files = protox::compile(FILES, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
