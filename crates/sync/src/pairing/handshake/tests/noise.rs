//! Messages of random bytes, and messages with a wrong bit.

use proptest::prelude::*;

use super::*;

/// Bytes that get past the outer layer more often than noise does.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    (noise, 0u8..8, any::<bool>()).prop_map(|(noise, tag, framed)| {
        if !framed || noise.len() > 127 {
            return noise;
        }
        let mut bytes = vec![(tag << 3) | 2, noise.len() as u8];
        bytes.extend(noise);
        bytes
    })
}

proptest! {
    #[test]
    fn noise_never_completes(
        messages in proptest::collection::vec(messages(), 1..6),
        state in 0..5,
    ) {
        let mut invitations = vec![testing::invitation(0)];
        let (mut inviter, mut joiner) = match state {
            0 => (inviter_for(INVITER, JOINER, 10), joiner_for(JOINER, INVITER, 20).0),
            1 => {
                let pair = Pair::agreed();
                (pair.inviter, pair.joiner)
            }
            2 => {
                let mut pair = Pair::agreed();
                pair.inviter.on_confirmation(true, 4);
                (pair.inviter, pair.joiner)
            }
            _ => {
                let pair = Pair::confirmed();
                (pair.inviter, pair.joiner)
            }
        };
        for bytes in messages {
            // the empty messages Confirm and Joined are no secret; only those may move the inviter on
            let plain = matches!(Body::read(&bytes), Ok(Body::Confirm(_) | Body::Joined(_)));
            for action in inviter.on_message(&mut invitations, &bytes, 5) {
                prop_assert!(plain || matches!(action, Action::Send(_) | Action::Failed(_)));
                prop_assert!(!matches!(action, Action::Complete(_)));
            }
            for action in joiner.on_message(&bytes, 5) {
                prop_assert!(matches!(action, Action::Send(_) | Action::Failed(_)));
            }
        }
    }
}

/// Runs a handshake in which one bit of one message is flipped on the way, and gives what the inviter does last.
fn with_flipped(message: usize, byte: usize, bit: u8) -> Option<Vec<Action>> {
    let flip = |number: usize, bytes: &mut Vec<u8>| {
        if number == message {
            bytes[byte] ^= 1 << bit;
        }
    };
    let mut invitations = vec![testing::invitation(0)];
    let mut inviter = inviter_for(INVITER, JOINER, 10);
    let (mut joiner, mut hello) = joiner_for(JOINER, INVITER, 20);
    flip(0, &mut hello);
    let actions = inviter.on_message(&mut invitations, &hello, 1);
    let [Action::Send(offer)] = &actions[..] else {
        return Some(actions);
    };
    let mut offer = offer.to_vec();
    flip(1, &mut offer);
    let actions = joiner.on_message(&offer, 2);
    let [Action::Send(reveal), Action::ShowWords(_), _] = &actions[..] else {
        return None;
    };
    let mut reveal = reveal.to_vec();
    flip(2, &mut reveal);
    Some(inviter.on_message(&mut invitations, &reveal, 3))
}

#[test]
fn every_flipped_bit_is_noticed_before_the_inviter_shows_words() {
    let pair = Pair::agreed();
    for (message, bytes) in [&pair.hello, &pair.offer, &pair.reveal].iter().enumerate() {
        for byte in 0..bytes.len() {
            for bit in 0..8 {
                // none: the joiner has already refused the offer
                if let Some(actions) = with_flipped(message, byte, bit) {
                    failed(&actions);
                }
            }
        }
    }
}
