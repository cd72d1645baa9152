//! The CIDs of folders.

use ues_pins::intake::{AddParams, Part};

use crate::desk::{Desk, data, file, folder, lines, link, text};

fn params(cid_version: i64, raw_leaves: bool, chunker: &str) -> AddParams {
    AddParams {
        cid_version,
        raw_leaves,
        chunker: chunker.to_owned(),
        ..AddParams::default()
    }
}

/// Bytes that do not repeat, made by a simple generator.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A folder with a file of many blocks, an empty one, a link and folders, in the order in which Kubo's client sends it.
fn tree() -> Vec<Part> {
    let mut parts = vec![folder("p"), folder("p/b")];
    parts.extend(text("p/b/two", "two"));
    parts.push(file("p/big"));
    parts.extend(pattern(1_000_000).chunks(65_000).map(data));
    parts.extend(text("p/hello", "hello"));
    parts.extend([
        folder("p/sub"),
        folder("p/sub/empty"),
        link("p/sub/link", "../hello"),
        file("p/sub/nothing"),
    ]);
    parts
}

#[tokio::test]
async fn everything_is_told_as_ipfs_add_tells_it() {
    let desk = Desk::new();
    let added = desk.add(tree(), AddParams::default()).await.unwrap();
    let expected = [
        ("p/b/two", "QmNaRTGzBpmuPhLaGSgRsNkh37zUqRZ7SGNocxvj4oVKAe"),
        ("p/big", "QmXTzZQF1rPHGKK5u94EpvZwMZHo4disLMUFfZygat8jQ4"),
        ("p/hello", "QmWfVY9y3xjsixTgbd9AorQxH7VtMpzfx2HaWtsoUYecaX"),
        (
            "p/sub/link",
            "Qmd9t9fSLmyjqpV2KbezLstsEw49PhonU1fnPcxxdzwCSg",
        ),
        (
            "p/sub/nothing",
            "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        ),
        ("p/b", "QmQr1ZLXSQsDPuqy5xQdMHDUxRb2qzvuzUCjtpwzLnzgBt"),
        (
            "p/sub/empty",
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        ),
        ("p/sub", "QmXs6XTjo1UXwgTG4ozYQBnxjKMuidKJqKicURDyLHyGaA"),
        ("p", "Qmc3SbU2ehiPNfTZ8LhEwfKmwcLpN57SYXfYWePTyUnzzK"),
    ];
    assert_eq!(
        lines(&added),
        expected.map(|(name, cid)| (name, cid.to_owned()))
    );
}

/// The roots of [`tree`], of the same in one more folder, of seven thousand files in a folder, and of two files in
/// one more folder.
const ROOTS: [(i64, bool, &str, [&str; 4]); 4] = [
    (
        0,
        false,
        "size-262144",
        [
            "Qmc3SbU2ehiPNfTZ8LhEwfKmwcLpN57SYXfYWePTyUnzzK",
            "QmQjqchqBAj4o4jE7QHvvCYvevWFvfbiVHCPYk5y117r2x",
            "QmTbn6QnRwdihC3pPeGC3Ufimx11ZCJECX16CaUdEMHG1u",
            "QmZv7PA2BjPwccx1n6eorZgD8Ziqt6JaEndrhNesK8FvTd",
        ],
    ),
    (
        1,
        true,
        "size-262144",
        [
            "bafybeifs3af2nu4aw5zc22nl6ekn7mnffbkdccxokuya7k6e4h7sfxvh5a",
            "bafybeiaxyjhvqnkan5fgyc7agt44jspu2jduvtp67ebpmxlevhjvubz2ea",
            "bafybeidjrnh3y7gpotkncydledlyiy2p6tqrp6y5ngyzpikaco6ulnlhru",
            "bafybeidtde6nyrhwjo3efemdjyuy2hph425hoe4ukoa2mfg7fayzqihtwy",
        ],
    ),
    (
        0,
        true,
        "size-1000",
        [
            "QmQia3SchHSB8BxYP5Ec6KQr9gtdDCGNcv5Gf24zUn1gXA",
            "QmWDKPGEgtjKrDqBu8ELg5uWcWM2tLHsesTzukUyEFufSU",
            "QmSCe6mUr6Y3xkR6Zotn4GuuK1yTCxMZY2uEe6kvAM5wkh",
            "QmW5wv2rkQkEKYVe6yQFnopYBuH5ShrEF9a9SM1rwnay4q",
        ],
    ),
    (
        1,
        false,
        "size-1048576",
        [
            "bafybeihi2xpioepnj5y6mtiurqkzogeclcxzqe3i5dg26h5yzbvd5fw7ju",
            "bafybeickepruw6vnghf7tubgri2kfcxb36vilifw5jjlv562med4mttdou",
            "bafybeiaqb5t7ovfkxjg5nikl7yuz54xrjpv2teg3kvgly2ha5nlpd6pm7u",
            "bafybeidg52ffg4kdnpz6ivm6t74eywhvtpumki5ahhevmdk73n3wif24nq",
        ],
    ),
];

#[tokio::test]
async fn roots_are_those_of_ipfs_add() {
    let desk = Desk::new();
    let many: Vec<Part> = (0..7000)
        .flat_map(|n| {
            text(
                &format!("many/a name that is rather long {n:05}"),
                &n.to_string(),
            )
        })
        .collect();
    let two = [text("a.txt", "hello"), text("b.txt", "two")].concat();
    for (version, raw_leaves, chunker, roots) in ROOTS {
        let plain = params(version, raw_leaves, chunker);
        let wrap = AddParams {
            wrap: true,
            ..plain.clone()
        };
        let cases = [
            (tree(), plain.clone()),
            (tree(), wrap.clone()),
            (many.clone(), plain),
            (two.clone(), wrap),
        ];
        for ((parts, params), root) in cases.into_iter().zip(roots) {
            let added = desk.add(parts, params).await.unwrap();
            let made = added.last().unwrap().cid.unwrap();
            assert_eq!(made.to_string(), root, "{version} {raw_leaves} {chunker}");
            // All of it is there, or it could not be pinned.
            desk.pin(made).await;
        }
    }
}
