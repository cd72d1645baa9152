//! Archives of blocks.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ues_data::car::{write_block, write_header};
use ues_data::{Cid, raw_cid};
use ues_pins::intake::{Intake, IntakeError};

use crate::desk::Desk;

fn archive(blocks: &[&[u8]]) -> (Vec<Cid>, Vec<u8>) {
    let roots: Vec<Cid> = blocks.iter().map(|block| raw_cid(block)).collect();
    let mut car = Vec::new();
    write_header(&roots, &mut car);
    for (cid, block) in roots.iter().zip(blocks) {
        write_block(cid, block, &mut car);
    }
    (roots, car)
}

async fn import(desk: &Desk, car: &[u8], piece: usize) -> Result<Vec<Cid>, IntakeError> {
    let pieces: Vec<_> = car
        .chunks(piece)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    desk.backend.import_car(stream::iter(pieces).boxed()).await
}

#[tokio::test]
async fn blocks_come_in_however_they_are_cut() {
    let (roots, car) = archive(&[b"one", b"two", &[9; 10_000]]);
    for piece in [1, 7, 4096, car.len()] {
        let desk = Desk::new();
        assert_eq!(import(&desk, &car, piece).await.unwrap(), roots);
        assert_eq!(desk.blocks(), 3);
        desk.pin(roots[0]).await;
        desk.expire().await;
        assert_eq!(desk.blocks(), 1);
    }
}

#[tokio::test]
async fn a_damaged_archive_is_refused() {
    let desk = Desk::new();
    let (_, car) = archive(&[b"one", b"two"]);
    let mut damaged = car.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let cut = &car[..car.len() - 1];
    for bad in [&damaged[..], cut, b"", b"no archive at all"] {
        let imported = import(&desk, bad, 10).await;
        assert!(
            matches!(imported, Err(IntakeError::Invalid(_))),
            "{imported:?}"
        );
        assert_eq!(desk.blocks(), 0);
    }
    let lost = IntakeError::Failed("gone".to_owned());
    let pieces = [Ok(Bytes::from(car)), Err(lost.clone())];
    let imported = desk.backend.import_car(stream::iter(pieces).boxed()).await;
    assert_eq!(imported.unwrap_err(), lost);
    assert_eq!(desk.blocks(), 0);
}
