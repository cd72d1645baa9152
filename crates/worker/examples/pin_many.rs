//! Pins many small blocks into a store on the disk and tells how fast that was.
//!
//! `cargo run --release -p ues-worker --example pin_many -- FOLDER COUNT`

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use ues_data::raw_cid;
use ues_pins::PinMode;
use ues_storage::{Store, StoreOptions};
use ues_worker::backend::{Backend, PinJob};
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("a folder expected")?);
    let count: u32 = args.next().as_deref().unwrap_or("100000").parse()?;
    let store = Store::open(&folder, StoreOptions::default())?;
    let backend = EmbeddedBackend::open(store, EmbeddedOptions::default())?;
    let mut jobs = Vec::new();
    let mut upload = backend.upload().await?;
    let begun = Instant::now();
    for n in 0..count {
        let mut bytes = [0; 1024];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let cid = raw_cid(&bytes);
        upload.put(&cid, &bytes).await?;
        jobs.push(PinJob {
            cid,
            mode: PinMode::Recursive,
            origins: Vec::new(),
        });
    }
    upload.leave().await?;
    tell("taken in", count, begun);
    let begun = Instant::now();
    let answers = backend.pin_many(&jobs).await;
    tell("pinned", count, begun);
    println!("{} failed", answers.iter().filter(|a| a.is_err()).count());
    let cids: Vec<_> = jobs.iter().map(|job| job.cid).collect();
    let begun = Instant::now();
    backend.pinned(&cids).await?;
    tell("asked for", count, begun);
    let begun = Instant::now();
    backend.unpin_many(&cids).await;
    tell("unpinned", count, begun);
    Ok(())
}

fn tell(what: &str, count: u32, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{what}: {count} in {seconds:.2} s, {:.0}/s",
        f64::from(count) / seconds
    );
}
