//! Archives: what is written reads back, however it is cut; what is damaged is named.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ues_data::car::{
    AsyncCarReader, CarDecoder, CarError, CarLimits, CarReader, CarWriter, write_block,
    write_header,
};
use ues_data::content_id::identity_cid;
use ues_data::{Cid, HashAlgorithm, cid_of, raw_cid};

fn archive(blocks: &[(Cid, Bytes)]) -> Vec<u8> {
    let roots: Vec<Cid> = blocks.iter().take(2).map(|(cid, _)| *cid).collect();
    let mut writer = CarWriter::new(Vec::new(), &roots).unwrap();
    for (cid, bytes) in blocks {
        writer.block(cid, bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn sample() -> Vec<(Cid, Bytes)> {
    let mut blocks: Vec<_> = (0..20usize)
        .map(|i| {
            let bytes = Bytes::from(vec![i as u8; i * i * 10]);
            let algorithm = match i % 3 {
                0 => HashAlgorithm::Sha2_256,
                1 => HashAlgorithm::Sha2_512,
                _ => HashAlgorithm::Blake3,
            };
            (cid_of(0x55, algorithm, &bytes), bytes)
        })
        .collect();
    blocks.push((
        identity_cid(0x55, b"me").unwrap(),
        Bytes::from_static(b"me"),
    ));
    blocks
}

fn read(input: &[u8]) -> Result<Vec<(Cid, Bytes)>, CarError> {
    CarReader::new(input, CarLimits::default())?.collect()
}

#[test]
fn every_cut_reads_the_same() {
    let blocks = sample();
    let archive = archive(&blocks);
    for size in [1, 2, 3, 7, 64, 1000, archive.len()] {
        let mut decoder = CarDecoder::new(CarLimits::default());
        let mut out = Vec::new();
        for chunk in archive.chunks(size) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(block) = decoder.next().unwrap() {
                out.push(block);
            }
        }
        decoder.finish().unwrap();
        assert_eq!(out, blocks, "chunks of {size}");
        assert_eq!(decoder.bytes(), archive.len() as u64);
        assert_eq!(decoder.header().unwrap().unwrap().roots.len(), 2);
    }
}

#[test]
fn chunks_may_be_fed_ahead() {
    let blocks = sample();
    let mut decoder = CarDecoder::new(CarLimits::default());
    for chunk in archive(&blocks).chunks(100) {
        decoder.feed(Bytes::copy_from_slice(chunk));
    }
    let mut out = Vec::new();
    while let Some(block) = decoder.next().unwrap() {
        out.push(block);
    }
    assert_eq!(out, blocks);
}

#[tokio::test]
async fn the_async_reader_agrees() {
    let blocks = sample();
    let archive = archive(&blocks);
    let mut reader = AsyncCarReader::new(&archive[..], CarLimits::default())
        .await
        .unwrap();
    assert_eq!(reader.roots().len(), 2);
    let mut out = Vec::new();
    while let Some(block) = reader.next().await.unwrap() {
        out.push(block);
    }
    assert_eq!(out, blocks);
}

#[test]
fn a_cut_archive_is_named() {
    let blocks = sample();
    let archive = archive(&blocks);
    let boundaries: Vec<usize> = {
        let mut decoder = CarDecoder::new(CarLimits::default());
        decoder.feed(archive.clone());
        decoder.header().unwrap();
        let mut ends = vec![decoder.bytes() as usize];
        while decoder.next().unwrap().is_some() {
            ends.push(decoder.bytes() as usize);
        }
        ends
    };
    for cut in 0..archive.len() {
        let result = read(&archive[..cut]);
        if boundaries.contains(&cut) {
            assert!(result.is_ok(), "cut at {cut}");
        } else {
            assert!(
                matches!(result, Err(CarError::Truncated { .. })),
                "cut at {cut}: {result:?}"
            );
        }
    }
}

#[test]
fn a_damaged_block_is_named_and_ends_reading() {
    let blocks = sample();
    let mut archive = archive(&blocks);
    let last = archive.len() - 100;
    archive[last] ^= 1;
    let mut reader = CarReader::new(&archive[..], CarLimits::default()).unwrap();
    let good = reader.by_ref().take_while(Result::is_ok).count();
    assert!(good >= 18);
    assert!(reader.next().is_none());
    assert!(matches!(
        read(&archive),
        Err(CarError::Hash { .. } | CarError::Cid { .. })
    ));
}

#[test]
fn headers_are_strict() {
    let header = |hex: &str| {
        let body = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        [vec![body.len() as u8], body].concat()
    };
    // {roots: [], version: 1}
    assert!(
        read(&header("a265726f6f7473806776657273696f6e01"))
            .unwrap()
            .is_empty()
    );
    // version 2, which is what every CARv2 begins with
    assert!(matches!(
        read(&header("a16776657273696f6e02")),
        Err(CarError::Version(2))
    ));
    // keys out of order, no roots, no version, a field of its own
    assert!(matches!(
        read(&header("a26776657273696f6e0165726f6f747380")),
        Err(CarError::Header(_))
    ));
    assert!(matches!(
        read(&header("a16776657273696f6e01")),
        Err(CarError::HeaderField(_))
    ));
    assert!(matches!(
        read(&header("a165726f6f747380")),
        Err(CarError::HeaderField(_))
    ));
    assert!(matches!(
        read(&header("a1616101")),
        Err(CarError::HeaderField(_))
    ));
    assert!(matches!(read(&[0]), Err(CarError::Empty { at: 0 })));
    assert!(matches!(
        read(&[0x80, 0x00]),
        Err(CarError::Length { at: 0, .. })
    ));
    assert!(matches!(
        read(&[0xff, 0xff, 0xff, 0xff, 0x7f]),
        Err(CarError::HeaderTooLong { .. })
    ));
}

#[test]
fn limits_hold() {
    let bytes = Bytes::from(vec![1; 1000]);
    let archive = archive(&[(raw_cid(&bytes), bytes.clone()), (raw_cid(&bytes), bytes)]);
    let read = |limits| {
        CarReader::new(&archive[..], limits).and_then(Iterator::collect::<Result<Vec<_>, _>>)
    };
    let base = CarLimits::default();
    assert!(
        read(CarLimits {
            max_block_bytes: 1000,
            ..base
        })
        .is_ok()
    );
    assert!(matches!(
        read(CarLimits {
            max_block_bytes: 999,
            ..base
        }),
        Err(CarError::BlockTooLong { .. })
    ));
    assert!(matches!(
        read(CarLimits {
            max_blocks: 1,
            ..base
        }),
        Err(CarError::TooManyBlocks(1))
    ));
    assert!(matches!(
        read(CarLimits {
            max_bytes: 2000,
            ..base
        }),
        Err(CarError::TooLong(2000))
    ));
    assert!(matches!(
        read(CarLimits {
            max_header_bytes: 10,
            ..base
        }),
        Err(CarError::HeaderTooLong { .. })
    ));
}

proptest! {
    #[test]
    fn archives_round_trip(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
        cut in 1usize..500,
    ) {
        let blocks: BTreeMap<Cid, Bytes> =
            contents.into_iter().map(|c| (raw_cid(&c), Bytes::from(c))).collect();
        let mut archive = Vec::new();
        write_header(&[], &mut archive);
        for (cid, bytes) in &blocks {
            write_block(cid, bytes, &mut archive);
        }
        let mut decoder = CarDecoder::new(CarLimits::default());
        let mut out = BTreeMap::new();
        for chunk in archive.chunks(cut) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some((cid, bytes)) = decoder.next().unwrap() {
                out.insert(cid, bytes);
            }
        }
        decoder.finish().unwrap();
        prop_assert_eq!(out, blocks);
    }
}
