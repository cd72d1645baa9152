//! What somebody tries who is not the other device.

use super::*;

#[test]
fn a_man_in_the_middle_who_knows_the_code_gets_other_words() {
    for nonce in 0..50 {
        let mut invitations = vec![testing::invitation(0)];
        let mut inviter = inviter_for(INVITER, ATTACKER, 10);
        let (mut joiner, hello) = joiner_for(JOINER, ATTACKER, 20);
        let mut as_inviter = inviter_for(ATTACKER, JOINER, nonce);
        let mut copied = vec![testing::invitation(0)];
        let (mut as_joiner, forged) = joiner_for(ATTACKER, INVITER, nonce);
        let offer = sent(&inviter.on_message(&mut invitations, &forged, 1));
        let forged = sent(&as_inviter.on_message(&mut copied, &hello, 1));
        let at_joiner = joiner.on_message(&forged, 2);
        let reveal = sent(&as_joiner.on_message(&offer, 2));
        let at_inviter = inviter.on_message(&mut invitations, &reveal, 3);
        assert_ne!(words(&at_joiner), words(&at_inviter));
    }
}

#[test]
fn a_man_in_the_middle_who_passes_messages_on_gets_nowhere() {
    let mut invitations = vec![testing::invitation(0)];
    let mut inviter = inviter_for(INVITER, ATTACKER, 10);
    let (mut joiner, hello) = joiner_for(JOINER, ATTACKER, 20);
    let offer = sent(&inviter.on_message(&mut invitations, &hello, 1));
    let actions = joiner.on_message(&offer, 2);
    let actions = inviter.on_message(&mut invitations, &sent(&actions), 3);
    assert_eq!(failed(&actions), PairingError::Commitment);
}

#[test]
fn nobody_changes_the_nonce_after_the_offer() {
    let mut invitations = vec![testing::invitation(0)];
    let mut inviter = inviter_for(INVITER, JOINER, 10);
    let (mut joiner, hello) = joiner_for(JOINER, INVITER, 20);
    let offer = sent(&inviter.on_message(&mut invitations, &hello, 1));
    let reveal = sent(&joiner.on_message(&offer, 2));
    let Body::Reveal(mut reveal) = Body::read(&reveal).unwrap() else {
        panic!("a reveal");
    };
    reveal.nonce[31] ^= 1;
    let actions = inviter.on_message(&mut invitations, &Body::Reveal(reveal).write(), 3);
    assert_eq!(failed(&actions), PairingError::Commitment);
    assert_eq!(invitations[0].wrong_proofs(), 0);
}

#[test]
fn a_changed_message_spoils_the_proof() {
    for which in ["hello", "offer"] {
        let mut invitations = vec![testing::invitation(0)];
        let mut inviter = inviter_for(INVITER, JOINER, 10);
        let (mut joiner, mut hello) = joiner_for(JOINER, INVITER, 20);
        if which == "hello" {
            // an unknown field, which everybody skips
            hello.extend([0x78, 0x01]);
        }
        let mut offer = sent(&inviter.on_message(&mut invitations, &hello, 1));
        if which == "offer" {
            offer.extend([0x78, 0x01]);
        }
        let theirs = joiner.on_message(&offer, 2);
        let actions = inviter.on_message(&mut invitations, &sent(&theirs), 3);
        let wrong = PairingError::Invitation(InvitationError::WrongProof);
        assert_eq!(failed(&actions), wrong, "{which}");
        assert_eq!(invitations[0].wrong_proofs(), 1);
    }
}

#[test]
fn a_wrong_code_is_refused() {
    let keys = "01AZ9-KVT0Y".parse::<crate::pairing::Code>().unwrap();
    let keys = keys.derive().unwrap();
    let mut invitations = vec![testing::invitation(0)];
    let mut inviter = inviter_for(INVITER, JOINER, 10);
    let (_, actions) = Joiner::new(keys, device(JOINER, INVITER), None, [20; 32], 0).unwrap();
    let actions = inviter.on_message(&mut invitations, &sent(&actions), 1);
    let unknown = PairingError::Invitation(InvitationError::Unknown);
    assert_eq!(failed(&actions), unknown);
}

/// One who has seen the lookup id but does not know the code.
fn with_wrong_proof(invitations: &mut [Invitation]) -> Vec<Action> {
    let mut inviter = inviter_for(INVITER, JOINER, 10);
    let (mut joiner, hello) = joiner_for(JOINER, INVITER, 20);
    let actions = inviter.on_message(invitations, &hello, 1);
    if matches!(actions[..], [Action::Send(_), Action::Failed(_)]) {
        return actions;
    }
    let reveal = sent(&joiner.on_message(&sent(&actions), 2));
    let Body::Reveal(Reveal { nonce, .. }) = Body::read(&reveal).unwrap() else {
        panic!("a reveal");
    };
    let proof = vec![0; 32];
    inviter.on_message(
        invitations,
        &Body::Reveal(Reveal { nonce, proof }).write(),
        3,
    )
}

#[test]
fn wrong_proofs_are_counted_until_the_invitation_is_void() {
    let mut invitations = vec![testing::invitation(0)];
    for found in 1..=5 {
        let wrong = PairingError::Invitation(InvitationError::WrongProof);
        assert_eq!(failed(&with_wrong_proof(&mut invitations)), wrong);
        assert_eq!(invitations[0].wrong_proofs(), found);
    }
    let void = PairingError::Invitation(InvitationError::Void { found: 5 });
    assert_eq!(failed(&with_wrong_proof(&mut invitations)), void);
}

#[test]
fn nobody_draws_words_until_they_suit() {
    let mut invitations = vec![testing::invitation(0)];
    let (_, hello) = joiner_for(JOINER, INVITER, 20);
    for _ in 0..8 {
        sent(&inviter_for(INVITER, JOINER, 10).on_message(&mut invitations, &hello, 1));
    }
    let actions = inviter_for(INVITER, JOINER, 10).on_message(&mut invitations, &hello, 1);
    let attempts = PairingError::Invitation(InvitationError::Attempts { found: 8 });
    assert_eq!(failed(&actions), attempts);
}

#[test]
fn an_expired_invitation_is_refused_at_each_step() {
    let expired = PairingError::Invitation(InvitationError::Expired);
    let mut invitations = vec![testing::invitation(0)];
    let (mut joiner, hello) = joiner_for(JOINER, INVITER, 20);
    let mut late = Inviter::new(device(INVITER, JOINER), [10; 32], 599_990);
    assert_eq!(
        failed(&late.on_message(&mut invitations, &hello, 600_000)),
        expired
    );
    let mut late = Inviter::new(device(INVITER, JOINER), [10; 32], 599_990);
    let offer = sent(&late.on_message(&mut invitations, &hello, 599_999));
    let reveal = sent(&joiner.on_message(&offer, 1));
    assert_eq!(
        failed(&late.on_message(&mut invitations, &reveal, 600_000)),
        expired
    );
    let mut dropped = inviter_for(INVITER, JOINER, 10);
    invitations = vec![testing::invitation(0)];
    sent(&dropped.on_message(&mut invitations, &hello, 1));
    let unknown = PairingError::Invitation(InvitationError::Unknown);
    assert_eq!(failed(&dropped.on_message(&mut [], &reveal, 2)), unknown);
}

#[test]
fn a_code_pairs_one_device_only() {
    let mut pair = Pair::agreed();
    let used = PairingError::Invitation(InvitationError::Used);
    let mut second = inviter_for(INVITER, ATTACKER, 11);
    let (_, hello) = joiner_for(ATTACKER, INVITER, 21);
    assert_eq!(
        failed(&second.on_message(&mut pair.invitations, &hello, 5)),
        used
    );
    // nor once the users have said no
    failed(&pair.inviter.on_confirmation(false, 5));
    let mut third = inviter_for(INVITER, JOINER, 12);
    assert_eq!(
        failed(&third.on_message(&mut pair.invitations, &pair.hello, 6)),
        used
    );
}

#[test]
fn a_recorded_handshake_is_worth_nothing() {
    let mut pair = Pair::agreed();
    let mut invitations = vec![testing::invitation(0)];
    // on a new stream of the same device the inviter has another nonce
    let mut inviter = inviter_for(INVITER, JOINER, 11);
    sent(&inviter.on_message(&mut invitations, &pair.hello, 1));
    let wrong = PairingError::Invitation(InvitationError::WrongProof);
    assert_eq!(
        failed(&inviter.on_message(&mut invitations, &pair.reveal, 2)),
        wrong
    );
    // and another device is not the one that committed
    let mut inviter = inviter_for(INVITER, ATTACKER, 10);
    sent(&inviter.on_message(&mut invitations, &pair.hello, 1));
    let actions = inviter.on_message(&mut invitations, &pair.reveal, 2);
    assert_eq!(failed(&actions), PairingError::Commitment);
    // nor does a message count twice in its own handshake
    let again = pair.reveal.clone();
    assert!(matches!(
        failed(&pair.tell_inviter(&again)),
        PairingError::Unexpected {
            expected: "Confirm",
            found: "Reveal"
        }
    ));
    let again = pair.offer.clone();
    assert!(matches!(
        failed(&pair.joiner.on_message(&again, 4)),
        PairingError::Unexpected {
            expected: "Grant",
            found: "Offer"
        }
    ));
}

#[test]
fn a_grant_of_one_who_does_not_know_the_code_is_refused() {
    let grant = |payload: Vec<u8>, proof: Vec<u8>| Body::Grant(Grant { payload, proof }).write();
    let mut pair = Pair::confirmed();
    let actions = pair.joiner.on_message(&grant(vec![1], vec![0; 32]), 5);
    assert_eq!(failed(&actions), PairingError::GrantProof);
    let mut pair = Pair::confirmed();
    let good = sent(&pair.inviter.on_grant(&SecretBytes::new(vec![1]), 5));
    let Ok(Body::Grant(mut good)) = Body::read(&good) else {
        panic!("a grant");
    };
    good.payload[0] = 2;
    let actions = pair.joiner.on_message(&Body::Grant(good).write(), 5);
    assert_eq!(failed(&actions), PairingError::GrantProof);
}

#[test]
fn only_the_peer_of_the_link_is_spoken_to() {
    let begin = |peer| {
        let peer = testing::key(peer);
        let device = device(JOINER, INVITER);
        Joiner::new(testing::keys(), device, Some(&peer), [1; 32], 0).map(|_| ())
    };
    assert_eq!(begin(INVITER), Ok(()));
    assert!(matches!(
        begin(ATTACKER),
        Err(PairingError::OtherPeer { .. })
    ));
}

#[test]
fn every_field_changes_the_words() {
    use crate::pairing::transcript::{Transcript, words_of};

    let pair = Pair::agreed();
    let Ok(Body::Hello(hello)) = Body::read(&pair.hello) else {
        panic!("a hello");
    };
    let Ok(Body::Offer(offer)) = Body::read(&pair.offer) else {
        panic!("an offer");
    };
    let mut hellos = vec![hello; 5];
    hellos[1].version = 2;
    hellos[2].lookup_id[0] ^= 1;
    hellos[3].device_name.push('x');
    hellos[4].commitment[31] ^= 1;
    let mut offers = vec![offer; 5];
    offers[1].nonce[0] ^= 1;
    offers[2].device_name.push('x');
    offers[3].did = "did:plc:ewvi7nxzyoun6zhxrhs64oia".into();
    offers[4].handle.clear();
    let (a, b, c) = (testing::key(1), testing::key(2), testing::key(3));
    let mut seen = std::collections::BTreeSet::new();
    let mut count = 0;
    for hello in &hellos {
        for offer in &offers {
            for nonce in [[20; 32], [21; 32]] {
                for (joiner, inviter) in [(&a, &b), (&a, &c), (&c, &b), (&b, &a)] {
                    let transcript = Transcript {
                        hello: &Body::Hello(hello.clone()).write(),
                        offer: &Body::Offer(offer.clone()).write(),
                        nonce: &nonce,
                        joiner,
                        inviter,
                    };
                    seen.insert(words_of(&transcript.hash()));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 200);
    assert_eq!(seen.len(), count);
}
