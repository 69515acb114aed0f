extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const KEY: [u64; 2] = [7, 11];

fn flow(is_v4: bool) -> impl Strategy<Value = FlowKey> {
    let address = move || {
        any::<[u8; 16]>().prop_map(move |octets| {
            if is_v4 {
                Address::v4([octets[0], octets[1], octets[2], octets[3]])
            } else {
                Address::v6(octets)
            }
        })
    };
    (address(), any::<u16>(), address(), any::<u16>())
        .prop_map(|(source, from, destination, to)| FlowKey::tcp(source, from, destination, to))
}

/// RFC 1071, over bytes, as it is written there; a checked range of bytes sums up to all ones.
fn sums_up(bytes: &[u8]) -> bool {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum == 0xffff
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

proptest! {
    #[test]
    fn checksums_are_right(
        is_v4: bool,
        v4 in flow(true),
        v6 in flow(false),
        sequence: u32,
        acknowledgement: u32,
    ) {
        let flow = if is_v4 { &v4 } else { &v6 };
        let answer = SynAck { flow, sequence, acknowledgement };
        let segment = bytes(&answer.tcp(is_v4));
        let mut pseudo = Vec::new();
        if is_v4 {
            prop_assert!(sums_up(&bytes(&answer.ipv4())));
            pseudo.extend_from_slice(&flow.destination.octets[12..]);
            pseudo.extend_from_slice(&flow.source.octets[12..]);
            pseudo.extend_from_slice(&[0, 6, 0, 20]);
        } else {
            pseudo.extend_from_slice(&flow.destination.octets);
            pseudo.extend_from_slice(&flow.source.octets);
            pseudo.extend_from_slice(&[0, 0, 0, 20, 0, 0, 0, 6]);
        }
        pseudo.extend_from_slice(&segment);
        prop_assert!(sums_up(&pseudo));
    }

    #[test]
    fn no_challenge_is_acceptable_and_each_is_answered(word: u64, syn: u32, data in 0..1500_u32) {
        // The hash is what an adversary may hope for: near the SYN's own number.
        for cookie in [Cookie::from_word(word), Cookie::from_word(u64::from(syn.wrapping_add(data)))] {
            let number = cookie.acknowledgement(syn);
            // Acceptable is what lies behind the SYN's number, up to all that was sent with it.
            prop_assert!(number.wrapping_sub(syn).wrapping_sub(1) > data);
            prop_assert!(cookie.is_answered_by(number));
        }
    }

    #[test]
    fn a_cookie_is_of_its_flow_its_time_and_its_key(one in flow(true), other in flow(true), slot: u32, reset: u32) {
        let cookie = Cookie::new(KEY, &one, slot);
        prop_assert_eq!(cookie, Cookie::new(KEY, &one, slot));
        prop_assert_ne!(cookie, Cookie::new(KEY, &one, slot ^ 1));
        prop_assert_ne!(cookie, Cookie::new([7, 12], &one, slot));
        prop_assert_ne!(cookie, Cookie::new(KEY, &one.reversed(), slot));
        if one != other {
            prop_assert_ne!(cookie, Cookie::new(KEY, &other, slot));
        }
        prop_assert_eq!(cookie.is_answered_by(reset), [0, FLIP].contains(&(reset ^ cookie.to_word() as u32)));
    }
}

#[test]
fn slots_are_some_seconds() {
    assert_eq!(Cookie::slot(0), Cookie::slot(4_000_000_000));
    assert_eq!(Cookie::slot(0) + 1, Cookie::slot(5_000_000_000));
}
