//! Owners and keys through their whole life, against a model, across restarts, and against failing disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use ues_access::{Access, AccessError, CreatedKey, NewKey, OwnerId, Principal, Scope};
use ues_storage::engine::{Fault, MemoryEngine};
use ues_storage::{Clock, Store, StoreOptions};

const NOW: u64 = 1_700_000_000_000;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

fn memory() -> (Arc<MemoryEngine>, Access) {
    let engine = Arc::new(MemoryEngine::new());
    let access = over(&engine);
    (engine, access)
}

fn over(engine: &Arc<MemoryEngine>) -> Access {
    let options = StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    };
    open(&Store::with_engine(engine.clone(), options).unwrap())
}

fn open(store: &Store) -> Access {
    run(Access::open_with_clock(store, Clock::new(|| NOW))).unwrap()
}

fn on_disk(dir: &Path) -> (Store, Access) {
    let store = Store::open(dir, StoreOptions::default()).unwrap();
    let access = open(&store);
    (store, access)
}

fn owner(id: &str) -> OwnerId {
    id.parse().unwrap()
}

fn with(scopes: &[Scope]) -> NewKey {
    NewKey {
        scopes: scopes.to_vec(),
        ..NewKey::default()
    }
}

fn new_key(access: &Access, owner: &OwnerId, new: NewKey) -> CreatedKey {
    run(access.create_key(owner, new)).unwrap()
}

fn try_key(access: &Access, key: &CreatedKey, now_ms: u64) -> Result<Principal, AccessError> {
    run(access.authenticate(key.secret.expose(), now_ms))
}

#[test]
fn a_key_acts_for_its_owner_within_its_scopes() {
    let (_, access) = memory();
    let ann = owner("did:plc:ann");
    run(access.create_owner(ann.clone())).unwrap();
    let key = new_key(&access, &ann, with(&[Scope::PinsRead, Scope::PinsWrite]));
    let who = try_key(&access, &key, NOW).unwrap();
    assert_eq!((&who.owner, who.key_id), (&ann, key.id));
    let may: Vec<_> = Scope::ALL
        .into_iter()
        .filter(|scope| who.may(*scope))
        .collect();
    assert_eq!(may, [Scope::PinsRead, Scope::PinsWrite]);

    let admin = new_key(&access, &OwnerId::default_owner(), with(&[Scope::Admin]));
    let who = try_key(&access, &admin, NOW).unwrap();
    assert!(Scope::ALL.into_iter().all(|scope| who.may(scope)));
}

#[test]
fn owners_are_listed_and_made_once() {
    let (_, access) = memory();
    for id in ["zoe", "ann", "did:web:example.org", "a@b.c"] {
        run(access.create_owner(owner(id))).unwrap();
    }
    let first = run(access.owner(&owner("ann"))).unwrap().unwrap();
    assert_eq!(run(access.create_owner(owner("ann"))).unwrap(), first);
    let ids: Vec<_> = run(access.owners())
        .unwrap()
        .into_iter()
        .map(|o| o.id.to_string())
        .collect();
    assert_eq!(
        ids,
        ["a@b.c", "ann", "default", "did:web:example.org", "zoe"]
    );
    let nobody = run(access.create_key(&owner("nobody"), with(&[Scope::Admin])));
    assert!(matches!(nobody, Err(AccessError::NoSuchOwner(id)) if id == owner("nobody")));
}

#[test]
fn an_owner_sees_its_own_keys() {
    let (_, access) = memory();
    // The one id begins with the other.
    let (ann, anna) = (owner("ann"), owner("anna"));
    for id in [&ann, &anna] {
        run(access.create_owner(id.clone())).unwrap();
    }
    let new = NewKey {
        name: "laptop".to_owned(),
        expires_at_ms: Some(NOW + 5),
        ..with(&[Scope::PinsRead])
    };
    let of_ann = new_key(&access, &ann, new);
    let of_anna = new_key(&access, &anna, with(&[Scope::PinsRead]));
    let keys = run(access.keys(Some(&ann))).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].id, keys[0].name.as_str()), (of_ann.id, "laptop"));
    assert_eq!(
        (keys[0].created_at_ms, keys[0].expires_at_ms),
        (NOW, Some(NOW + 5))
    );
    assert_eq!(run(access.keys(Some(&anna))).unwrap()[0].id, of_anna.id);
    assert_eq!(run(access.keys(None)).unwrap().len(), 2);
    assert!(run(access.keys(Some(&owner("nobody")))).unwrap().is_empty());
}

#[test]
fn a_key_expires_to_the_millisecond() {
    let (_, access) = memory();
    let new = NewKey {
        expires_at_ms: Some(NOW),
        ..with(&[Scope::PinsRead])
    };
    let key = new_key(&access, &OwnerId::default_owner(), new);
    for _ in 0..2 {
        assert!(try_key(&access, &key, NOW - 1).is_ok());
        assert!(matches!(
            try_key(&access, &key, NOW),
            Err(AccessError::Expired)
        ));
    }
}

#[test]
fn a_revoked_key_is_shut_though_it_was_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, access) = on_disk(dir.path());
    let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    assert!(try_key(&access, &key, NOW).is_ok());
    assert!(try_key(&access.clone(), &key, NOW).is_ok());
    run(access.revoke(&key.id)).unwrap();
    run(access.revoke(&key.id)).unwrap();
    assert!(matches!(
        try_key(&access, &key, NOW),
        Err(AccessError::Revoked)
    ));
    assert_eq!(run(access.keys(None)).unwrap()[0].revoked_at_ms, Some(NOW));
    drop((access, store));

    let (_store, access) = on_disk(dir.path());
    assert!(matches!(
        try_key(&access, &key, NOW),
        Err(AccessError::Revoked)
    ));
    let other = "aaaaaaaaaaaaaaaa".parse().unwrap();
    assert!(matches!(run(access.revoke(&other)), Err(AccessError::NoSuchKey(id)) if id == other));
}

#[test]
fn a_revocation_that_nobody_waits_for_counts_all_the_same() {
    let (_, access) = memory();
    let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    assert!(try_key(&access, &key, NOW).is_ok());
    run(async {
        // Asked once, then dropped.
        let _ = poll_once(access.revoke(&key.id)).await;
    });
    assert!(matches!(
        try_key(&access, &key, NOW),
        Err(AccessError::Revoked)
    ));
}

async fn poll_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match work.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn no_key_opens_after_its_revocation_has_returned() {
    let (_, access) = memory();
    for _ in 0..50 {
        let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
        let revoked = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    loop {
                        let over = revoked.load(Ordering::SeqCst);
                        let opened = try_key(&access, &key, NOW).is_ok();
                        assert!(!(over && opened), "opened after revocation");
                        if over {
                            break;
                        }
                    }
                });
            }
            run(access.revoke(&key.id)).unwrap();
            revoked.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn what_is_acknowledged_survives_a_crash() {
    let (engine, access) = memory();
    let keep = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    let shut = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    run(access.revoke(&shut.id)).unwrap();
    let access = over(&Arc::new(engine.crash(0)));
    assert!(try_key(&access, &keep, NOW).is_ok());
    assert!(matches!(
        try_key(&access, &shut, NOW),
        Err(AccessError::Revoked)
    ));
}

#[test]
fn a_failing_disk_is_reported_and_opens_nothing() {
    let (engine, access) = memory();
    let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    assert!(try_key(&access, &key, NOW).is_ok());
    engine.inject(1, Fault::TornWrite);
    assert!(matches!(
        run(access.revoke(&key.id)),
        Err(AccessError::Commit(_))
    ));
    assert!(matches!(
        try_key(&access, &key, NOW),
        Err(AccessError::Revoked)
    ));
    let made = run(access.create_key(&OwnerId::default_owner(), with(&[Scope::Admin])));
    assert!(matches!(made, Err(AccessError::Commit(_))));
}

#[test]
fn a_damaged_row_is_an_error() {
    let (engine, access) = memory();
    let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    assert!(engine.flip_bit("access", format!("k/{}", key.id).as_bytes()));
    let got = try_key(&access, &key, NOW).unwrap_err();
    assert!(!got.is_denial(), "{got}");
}

#[test]
fn secrets_are_neither_stored_nor_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (store, access) = on_disk(dir.path());
    let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
    let text = key.secret.expose().to_owned();
    let secret = text.rsplit('_').next().unwrap();
    assert_eq!(text, format!("ues_{}_{secret}", key.id));
    assert!(!format!("{key:?}").contains(secret));
    store.close();
    drop(access);
    let mut folders = vec![dir.path().to_path_buf()];
    let mut found_id = false;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(path).unwrap();
            let has = |what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
            assert!(!has(secret));
            found_id |= has(key.id.as_str());
        }
    }
    assert!(found_id, "the search itself is wrong");
}

#[test]
fn what_is_no_use_is_refused() {
    let (_, access) = memory();
    let default = OwnerId::default_owner();
    assert!(matches!(
        run(access.create_key(&default, with(&[]))),
        Err(AccessError::NoScopes)
    ));
    let long = NewKey {
        name: "n".repeat(201),
        ..with(&[Scope::Admin])
    };
    assert!(matches!(
        run(access.create_key(&default, long)),
        Err(AccessError::NameTooLong {
            limit: 200,
            found: 201
        })
    ));
    let too_long = "a".repeat(129);
    for text in ["", "a b", "a/b", "ä", "a\0", too_long.as_str()] {
        assert!(text.parse::<OwnerId>().is_err(), "{text:?}");
    }
    for text in ["a", "did:key:z6Mk", "Ann.B_c-d@e", &"a".repeat(128)] {
        assert_eq!(text.parse::<OwnerId>().unwrap().as_str(), text);
    }
}

/// What a run may do; numbers choose among the keys made so far.
#[derive(Debug, Clone)]
enum Step {
    Create { owner: u8, expires: Option<u8> },
    Revoke(prop::sample::Index),
    Authenticate(prop::sample::Index, u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..3, proptest::option::of(any::<u8>())).prop_map(|(owner, expires)| Step::Create { owner, expires }),
        1 => any::<prop::sample::Index>().prop_map(Step::Revoke),
        6 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(key, at)| Step::Authenticate(key, at)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

struct Known {
    key: CreatedKey,
    owner: OwnerId,
    expires: Option<u64>,
    revoked: bool,
}

proptest! {
    #[test]
    fn keys_follow_the_model(steps in steps()) {
        let (engine, mut access) = memory();
        let mut known: Vec<Known> = Vec::new();
        for step in steps {
            match step {
                Step::Create { owner: number, expires } => {
                    let owner = owner(&format!("owner-{number}"));
                    run(access.create_owner(owner.clone())).unwrap();
                    let expires = expires.map(u64::from);
                    let new = NewKey { expires_at_ms: expires, ..with(&[Scope::PinsRead]) };
                    let key = new_key(&access, &owner, new);
                    known.push(Known { key, owner, expires, revoked: false });
                }
                Step::Reopen => {
                    drop(access);
                    access = over(&engine);
                }
                _ if known.is_empty() => {}
                Step::Revoke(index) => {
                    let at = index.index(known.len());
                    run(access.revoke(&known[at].key.id)).unwrap();
                    known[at].revoked = true;
                }
                Step::Authenticate(index, now) => {
                    let one = &known[index.index(known.len())];
                    match try_key(&access, &one.key, now.into()) {
                        Ok(who) => {
                            prop_assert!(!one.revoked && one.expires.is_none_or(|end| u64::from(now) < end));
                            prop_assert_eq!(&who.owner, &one.owner);
                        }
                        Err(AccessError::Revoked) => prop_assert!(one.revoked),
                        Err(AccessError::Expired) => prop_assert!(one.expires.is_some_and(|end| end <= u64::from(now))),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
        prop_assert_eq!(run(access.keys(None)).unwrap().len(), known.len());
    }

    #[test]
    fn only_the_very_text_opens(at in any::<prop::sample::Index>(), other in any::<char>()) {
        let (_, access) = memory();
        let key = new_key(&access, &OwnerId::default_owner(), with(&[Scope::PinsRead]));
        let mut text: Vec<char> = key.secret.expose().chars().collect();
        let at = at.index(text.len());
        prop_assume!(text[at] != other);
        text[at] = other;
        let text: String = text.into_iter().collect();
        for _ in 0..2 {
            let got = run(access.authenticate(&text, NOW));
            prop_assert!(matches!(got, Err(AccessError::Malformed | AccessError::Unknown)));
            prop_assert!(try_key(&access, &key, NOW).is_ok());
        }
    }

    #[test]
    fn any_text_does_no_harm(text in ".{0,100}", shaped in "ues_[a-z2-7]{16}_[a-z2-7]{52}") {
        let (_, access) = memory();
        for text in [text, shaped] {
            prop_assert!(run(access.authenticate(&text, NOW)).unwrap_err().is_denial());
        }
    }
}
