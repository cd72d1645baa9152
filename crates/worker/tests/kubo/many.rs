//! Many things at once.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::{StreamExt, stream};
use ues_data::Cid;
use ues_pins::PinMode::{Direct, Recursive};
use ues_worker::backend::{Backend, JobError};

use super::daemon::{Daemon, leaf};
use super::{backend, job, pins};

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn some_bad_among_many() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let blocks: Vec<_> = (0..2000).map(|n| leaf(&format!("block {n}"))).collect();
    let (missing, bad) = (700, 1400);
    let there: Vec<_> = (0..2000)
        .filter(|n| *n != missing)
        .map(|n| blocks[n].clone())
        .collect();
    daemon.import(&there);
    let mode = |n: usize| {
        if n.is_multiple_of(7) {
            Direct
        } else {
            Recursive
        }
    };
    let mut jobs: Vec<_> = (0..2000).map(|n| job(blocks[n].0, mode(n))).collect();
    jobs[bad].cid = Cid::new_v1(0x30_0000, ues_data::Multihash::wrap(0, b"abc").unwrap());

    for _ in 0..2 {
        let outcomes = kubo.pin_many(&jobs).await;
        assert_eq!(outcomes.len(), jobs.len());
        for (number, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Err(JobError::Retry(_)) => assert_eq!(number, missing),
                Err(JobError::Terminal(_)) => assert_eq!(number, bad),
                _ => assert!(outcome.is_ok() && number != missing && number != bad),
            }
        }
    }
    let good = |n: &usize| *n != missing && *n != bad;
    let wanted: BTreeMap<_, _> = (0..2000)
        .filter(good)
        .map(|n| (jobs[n].cid, mode(n)))
        .collect();
    assert!(pins(&kubo).await == wanted, "pins are missing or too many");

    let cids: Vec<Cid> = jobs.iter().map(|job| job.cid).collect();
    let expected =
        |cids: &[Cid]| -> Vec<_> { cids.iter().map(|cid| wanted.get(cid).copied()).collect() };
    assert_eq!(kubo.pinned(&cids).await.unwrap(), expected(&cids));
    // so many that all pins are listed
    let twice = [cids.as_slice(), &cids].concat();
    assert_eq!(kubo.pinned(&twice).await.unwrap(), expected(&twice));

    let outcomes = kubo.unpin_many(&cids).await;
    assert_eq!(
        outcomes,
        vec![Ok(()); cids.len()],
        "two of them were not pinned"
    );
    assert_eq!(pins(&kubo).await, BTreeMap::new());
}

/// Not a test of speed: with `--nocapture` it shows how near we are to what Kubo can do. `UES_PINS=5000` pins more.
#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn pinning_as_fast_as_kubo() {
    let pins = std::env::var("UES_PINS").map_or(500, |pins| pins.parse().unwrap());
    let count = f64::from(u32::try_from(pins).unwrap());
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let blocks: Vec<_> = (0..2 * pins).map(|n| leaf(&format!("small {n}"))).collect();
    daemon.import(&blocks);
    let cids: Vec<Cid> = blocks.iter().map(|(cid, _)| *cid).collect();
    let (ours, plain) = cids.split_at(pins);
    let rate = |begun: Instant| count / begun.elapsed().as_secs_f64();

    let jobs: Vec<_> = ours.iter().map(|cid| job(*cid, Recursive)).collect();
    let begun = Instant::now();
    let outcomes = kubo.pin_many(&jobs).await;
    let pinned = rate(begun);
    assert!(outcomes.iter().all(Result::is_ok));

    let client = reqwest::Client::builder().build().unwrap();
    let parts: Vec<String> = daemon.api().split('/').map(str::to_owned).collect();
    let url = format!("http://{}:{}/api/v0/pin/add?", parts[2], parts[4]);
    let calls: Vec<_> = plain
        .chunks(50)
        .map(|group| {
            let arguments: Vec<_> = group.iter().map(|cid| format!("arg={cid}")).collect();
            let call = client.post(format!("{url}{}", arguments.join("&"))).send();
            async {
                call.await
                    .unwrap()
                    .error_for_status()
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap()
            }
        })
        .collect();
    let begun = Instant::now();
    stream::iter(calls)
        .buffer_unordered(8)
        .collect::<Vec<_>>()
        .await;
    let plainly = rate(begun);

    assert!(
        outcomes
            .iter()
            .all(|o| o.as_ref().is_ok_and(|p| p.bytes.is_some()))
    );
    let begun = Instant::now();
    kubo.pin_many(&jobs).await;
    let again = rate(begun);
    let begun = Instant::now();
    assert_eq!(super::pins(&kubo).await.len(), 2 * pins);
    let listed = 2.0 * rate(begun);
    let begun = Instant::now();
    assert!(kubo.unpin_many(ours).await.iter().all(Result::is_ok));
    let unpinned = rate(begun);
    println!(
        "per second: pinned {pinned:.0} (plain calls {plainly:.0}), again {again:.0}, listed {listed:.0}, \
         unpinned {unpinned:.0}"
    );
}
