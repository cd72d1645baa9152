//! The handshake as it should go, and its states, bounds and times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod attacks;
mod noise;

use super::super::invitation::Invitation;
use super::super::message::{Confirm, Grant, Joined, Reveal};
use super::super::{MAX_MESSAGE, MAX_PAYLOAD, testing};
use super::*;

const JOINER: u8 = 1;
const INVITER: u8 = 2;
const ATTACKER: u8 = 3;

fn device(local: u8, remote: u8) -> Device {
    let name = format!("device {local}").parse().unwrap();
    Device::new(testing::key(local), testing::key(remote), name).unwrap()
}

fn inviter_for(local: u8, remote: u8, nonce: u8) -> Inviter {
    Inviter::new(device(local, remote), [nonce; 32], 0)
}

fn joiner_for(local: u8, remote: u8, nonce: u8) -> (Joiner, Vec<u8>) {
    let (joiner, actions) =
        Joiner::new(testing::keys(), device(local, remote), None, [nonce; 32], 0).unwrap();
    (joiner, sent(&actions))
}

/// The message that the actions send.
fn sent(actions: &[Action]) -> Vec<u8> {
    actions
        .iter()
        .find_map(|action| match action {
            Action::Send(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .expect("a message")
}

fn words(actions: &[Action]) -> [&'static str; WORDS] {
    actions
        .iter()
        .find_map(|action| match action {
            Action::ShowWords(words) => Some(*words),
            _ => None,
        })
        .expect("words")
}

/// The error of the actions, of which the other side must have been told.
fn failed(actions: &[Action]) -> PairingError {
    match actions {
        [Action::Send(refusal), Action::Failed(error)] => {
            assert!(matches!(Body::read(refusal), Ok(Body::Refuse(_))));
            error.clone()
        }
        [Action::Failed(error @ PairingError::Refused { .. })] => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn refuse(reason: &str) -> Vec<u8> {
    Body::refuse(reason).write().to_vec()
}

fn confirm() -> Vec<u8> {
    Body::Confirm(Confirm {}).write().to_vec()
}

/// Both sides, and the messages so far.
struct Pair {
    invitations: Vec<Invitation>,
    inviter: Inviter,
    joiner: Joiner,
    hello: Vec<u8>,
    offer: Vec<u8>,
    reveal: Vec<u8>,
}

impl Pair {
    /// Up to the words.
    fn agreed() -> Self {
        let mut invitations = vec![testing::invitation(0)];
        let mut inviter = inviter_for(INVITER, JOINER, 10);
        let (mut joiner, hello) = joiner_for(JOINER, INVITER, 20);
        let offer = sent(&inviter.on_message(&mut invitations, &hello, 1));
        let theirs = joiner.on_message(&offer, 2);
        let reveal = sent(&theirs);
        let ours = inviter.on_message(&mut invitations, &reveal, 3);
        assert_eq!(words(&ours), words(&theirs));
        assert!(matches!(
            ours[..],
            [Action::ShowWords(_), Action::AskConfirmation]
        ));
        assert!(matches!(
            theirs[1..],
            [Action::ShowWords(_), Action::AskConfirmation]
        ));
        Self {
            invitations,
            inviter,
            joiner,
            hello,
            offer,
            reveal,
        }
    }

    fn tell_inviter(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.inviter.on_message(&mut self.invitations, bytes, 4)
    }

    /// Up to the grant.
    fn confirmed() -> Self {
        let mut pair = Self::agreed();
        assert!(pair.inviter.on_confirmation(true, 4).is_empty());
        let confirm = sent(&pair.joiner.on_confirmation(true, 4));
        let actions = pair.tell_inviter(&confirm);
        assert!(matches!(actions[..], [Action::MakeGrant { .. }]));
        pair
    }
}

#[test]
fn two_devices_pair() {
    for joiner_is_first in [true, false] {
        let mut pair = Pair::agreed();
        assert_eq!(pair.inviter.joiner().unwrap().as_str(), "device 1");
        let (name, repository) = pair.joiner.offer().unwrap();
        assert_eq!(name.as_str(), "device 2");
        assert_eq!(repository, &testing::repository());
        let actions = if joiner_is_first {
            let confirm = sent(&pair.joiner.on_confirmation(true, 4));
            assert!(pair.tell_inviter(&confirm).is_empty(), "one is not enough");
            pair.inviter.on_confirmation(true, 5)
        } else {
            assert!(pair.inviter.on_confirmation(true, 4).is_empty());
            let confirm = sent(&pair.joiner.on_confirmation(true, 4));
            pair.tell_inviter(&confirm)
        };
        let [
            Action::MakeGrant {
                repository,
                key,
                device_name,
            },
        ] = &actions[..]
        else {
            panic!("{actions:?}");
        };
        assert_eq!(repository, &testing::repository().did);
        assert_eq!(key, &testing::key(JOINER));
        assert_eq!(device_name.as_str(), "device 1");
        let payload = SecretBytes::new(vec![7; MAX_PAYLOAD]);
        let grant = sent(&pair.inviter.on_grant(&payload, 6));
        assert!(grant.len() <= MAX_MESSAGE);
        let actions = pair.joiner.on_message(&grant, 7);
        let [Action::Send(joined), Action::Complete(found)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(found[..], payload[..]);
        let actions = pair.tell_inviter(joined);
        assert!(matches!(&actions[..], [Action::Complete(none)] if none.is_empty()));
        assert_eq!(pair.inviter.deadline_ms(), None);
        assert_eq!(pair.joiner.deadline_ms(), None);
        // and that was it
        assert!(pair.tell_inviter(joined).is_empty());
        assert!(pair.joiner.on_message(&grant, 8).is_empty());
        assert!(pair.inviter.on_timeout(u64::MAX).is_empty());
        assert!(pair.joiner.cancel().is_empty());
    }
}

#[test]
fn messages_out_of_order_end_it() {
    let all = |pair: &Pair| {
        let grant = Body::Grant(Grant {
            payload: vec![1],
            proof: vec![0; 32],
        });
        [
            pair.hello.clone(),
            pair.offer.clone(),
            pair.reveal.clone(),
            confirm(),
            grant.write().to_vec(),
            Body::Joined(Joined {}).write().to_vec(),
        ]
    };
    let model = Pair::agreed();
    let is_unexpected =
        |actions: &[Action]| matches!(failed(actions), PairingError::Unexpected { .. });
    for (at, bytes) in all(&model).iter().enumerate() {
        if at != 0 {
            let mut inviter = inviter_for(INVITER, JOINER, 10);
            let actions = inviter.on_message(&mut [testing::invitation(0)], bytes, 1);
            assert!(is_unexpected(&actions), "start, {at}");
            assert_eq!(inviter.deadline_ms(), None);
        }
        if at != 3 {
            assert!(
                is_unexpected(&Pair::agreed().tell_inviter(bytes)),
                "agreed, {at}"
            );
        }
        assert!(
            is_unexpected(&Pair::confirmed().tell_inviter(bytes)),
            "granting, {at}"
        );
        if at != 1 {
            let (mut joiner, _) = joiner_for(JOINER, INVITER, 20);
            assert!(is_unexpected(&joiner.on_message(bytes, 1)), "joiner, {at}");
        }
        let actions = Pair::agreed().joiner.on_message(bytes, 4);
        assert!(is_unexpected(&actions), "joiner before its user, {at}");
    }
    let mut pair = Pair::agreed();
    assert!(pair.tell_inviter(&confirm()).is_empty());
    assert!(
        is_unexpected(&pair.tell_inviter(&confirm())),
        "confirmed twice"
    );
}

#[test]
fn nothing_is_granted_unless_both_confirm() {
    let mut pair = Pair::agreed();
    assert!(
        pair.inviter
            .on_grant(&SecretBytes::new(vec![1]), 4)
            .is_empty()
    );
    assert!(pair.inviter.on_confirmation(true, 4).is_empty());
    assert!(
        pair.inviter.on_confirmation(true, 4).is_empty(),
        "twice is not two"
    );
    assert!(
        pair.inviter
            .on_grant(&SecretBytes::new(vec![1]), 4)
            .is_empty()
    );
    assert!(pair.tell_inviter(&refuse("no")).len() == 1);

    let mut pair = Pair::agreed();
    let actions = pair.joiner.on_confirmation(false, 4);
    assert_eq!(failed(&actions), PairingError::Declined);
    let refused = failed(&pair.tell_inviter(&sent(&actions)));
    let reason = PairingError::Declined.to_string();
    assert_eq!(refused, PairingError::Refused { reason });
    assert!(pair.inviter.on_confirmation(true, 5).is_empty());

    let mut pair = Pair::agreed();
    sent(&pair.joiner.on_confirmation(true, 4));
    let actions = pair.inviter.on_confirmation(false, 4);
    assert_eq!(failed(&actions), PairingError::Declined);
    let refused = failed(&pair.joiner.on_message(&sent(&actions), 5));
    assert!(matches!(refused, PairingError::Refused { .. }));

    let mut pair = Pair::confirmed();
    assert_eq!(failed(&pair.inviter.cancel()), PairingError::Cancelled);
}

#[test]
fn a_refusal_is_heard_in_every_state() {
    let refused = PairingError::Refused {
        reason: "no".into(),
    };
    let mut inviter = inviter_for(INVITER, JOINER, 10);
    assert_eq!(
        failed(&inviter.on_message(&mut [], &refuse("no"), 1)),
        refused
    );
    let (mut joiner, _) = joiner_for(JOINER, INVITER, 20);
    assert_eq!(failed(&joiner.on_message(&refuse("\u{1b}no"), 1)), refused);
    assert_eq!(failed(&Pair::agreed().tell_inviter(&refuse("no"))), refused);
    assert_eq!(
        failed(&Pair::confirmed().tell_inviter(&refuse("no"))),
        refused
    );
    let mut pair = Pair::confirmed();
    assert_eq!(failed(&pair.joiner.on_message(&refuse("no"), 5)), refused);
}

#[test]
fn too_much_is_refused() {
    let found = MAX_MESSAGE + 1;
    let long = PairingError::Message(MessageError::Length { found });
    assert_eq!(failed(&Pair::agreed().tell_inviter(&vec![0; found])), long);
    let mut pair = Pair::agreed();
    assert_eq!(failed(&pair.joiner.on_message(&vec![0; found], 4)), long);

    let found = MAX_PAYLOAD + 1;
    let long = PairingError::Message(MessageError::Payload { found });
    let mut pair = Pair::confirmed();
    let payload = SecretBytes::new(vec![0; found]);
    assert_eq!(failed(&pair.inviter.on_grant(&payload, 5)), long);
    let grant = Body::Grant(Grant {
        payload: vec![0; found],
        proof: vec![0; 32],
    });
    assert_eq!(failed(&pair.joiner.on_message(&grant.write(), 5)), long);
}

#[test]
fn another_version_is_refused_with_a_sentence() {
    let (_, hello) = joiner_for(JOINER, INVITER, 20);
    let Ok(Body::Hello(mut hello)) = Body::read(&hello) else {
        panic!("a hello");
    };
    hello.version = 2;
    let mut invitations = [testing::invitation(0)];
    let actions = inviter_for(INVITER, JOINER, 10).on_message(
        &mut invitations,
        &Body::Hello(hello).write(),
        1,
    );
    let (expected, found) = (1, 2);
    assert_eq!(failed(&actions), PairingError::Version { expected, found });
    let (mut joiner, _) = joiner_for(JOINER, INVITER, 20);
    let PairingError::Refused { reason } = failed(&joiner.on_message(&sent(&actions), 2)) else {
        panic!("a refusal");
    };
    assert!(
        reason.contains("version 1") && reason.contains("found 2"),
        "{reason}"
    );
}

#[test]
fn every_state_times_out() {
    let timeout = |waiting_for| PairingError::Timeout { waiting_for };
    let inviter = |mut inviter: Inviter, waiting_for| {
        let deadline = inviter.deadline_ms().unwrap();
        assert!(inviter.on_timeout(deadline - 1).is_empty());
        assert_eq!(failed(&inviter.on_timeout(deadline)), timeout(waiting_for));
        assert_eq!(inviter.deadline_ms(), None);
    };
    let joiner = |mut joiner: Joiner, waiting_for| {
        let deadline = joiner.deadline_ms().unwrap();
        assert!(joiner.on_timeout(deadline - 1).is_empty());
        assert_eq!(failed(&joiner.on_timeout(deadline)), timeout(waiting_for));
        assert_eq!(joiner.deadline_ms(), None);
    };
    inviter(inviter_for(INVITER, JOINER, 10), "Hello");
    let (start, hello) = joiner_for(JOINER, INVITER, 20);
    joiner(start, "Offer");
    let mut offered = inviter_for(INVITER, JOINER, 10);
    sent(&offered.on_message(&mut [testing::invitation(0)], &hello, 1));
    inviter(offered, "Reveal");
    let pair = Pair::agreed();
    inviter(pair.inviter, "Confirm");
    joiner(pair.joiner, "the user's confirmation");
    let mut pair = Pair::agreed();
    let before = pair.inviter.deadline_ms();
    assert!(pair.tell_inviter(&confirm()).is_empty());
    assert_eq!(
        pair.inviter.deadline_ms(),
        before,
        "no more time for the other"
    );
    inviter(pair.inviter, "the user's confirmation");
    let mut pair = Pair::confirmed();
    joiner(pair.joiner, "Grant");
    sent(&pair.inviter.on_grant(&SecretBytes::new(vec![1]), 5));
    inviter(pair.inviter, "Joined");
    inviter(Pair::confirmed().inviter, "the grant");
}

#[test]
fn what_comes_too_late_does_not_count() {
    let timeout = |waiting_for| PairingError::Timeout { waiting_for };
    let mut pair = Pair::agreed();
    let end = pair.inviter.deadline_ms().unwrap();
    let actions = pair.inviter.on_confirmation(true, end);
    assert_eq!(failed(&actions), timeout("Confirm"));
    let (mut joiner, _) = joiner_for(JOINER, INVITER, 20);
    assert_eq!(
        failed(&joiner.on_message(&pair.offer, 30_000)),
        timeout("Offer")
    );
}

#[test]
fn device_keys_are_two_of_ed25519() {
    let name = || "phone".parse().unwrap();
    let (a, b) = (testing::key(1), testing::key(2));
    let k256 = ues_repo::crypto::SigningKey::from_bytes(KeyKind::K256, &[1; 32]).unwrap();
    let k256 = k256.verifying_key().clone();
    let found = KeyKind::K256;
    for (local, remote) in [(a.clone(), k256.clone()), (k256, b)] {
        let error = Device::new(local, remote, name()).unwrap_err();
        assert_eq!(error, PairingError::KeyKind { found });
    }
    assert_eq!(
        Device::new(a.clone(), a, name()).unwrap_err(),
        PairingError::SameKey
    );
}

#[test]
fn debug_shows_no_secret() {
    let (joiner, _) = joiner_for(JOINER, INVITER, 77);
    let shown = format!("{joiner:?}");
    assert!(
        shown.contains("Nonce(…)") && !shown.contains("77, 77"),
        "{shown}"
    );
    let shown = format!("{:?}", Action::Complete(SecretBytes::new(vec![77; 9])));
    assert_eq!(shown, "Complete(SecretBytes(9 bytes))");
}
