//! The hash in the names of EnvoyFilters (Admiral, docs/admiral-behaviour.md#envoyfilter-names): 20 hex digits of
//! the SHA-1 of a text as Go's `encoding/gob` writes it.
//!
//! It only has to give Admiral's names, so that its filters are found and replaced; nothing rests on SHA-1 being safe.

use std::fmt::Write as _;

/// Hex digits that are kept.
const DIGITS: usize = 20;
/// Type of a string in a gob stream, and that it is no struct.
const STRING: [u8; 2] = [0x0c, 0x00];

/// The first 20 hex digits of the SHA-1 over the gob encoding of a text.
pub(super) fn gob_hash(text: &str) -> String {
    let length = unsigned(text.len());
    let mut bytes = unsigned(STRING.len() + length.len() + text.len());
    bytes.extend(STRING);
    bytes.extend(length);
    bytes.extend(text.as_bytes());
    let mut digits = String::with_capacity(40);
    for word in sha1(&bytes) {
        let _ = write!(digits, "{word:08x}");
    }
    digits.truncate(DIGITS);
    digits
}

/// An unsigned number of gob: itself below 128, else the negated count of its bytes and the bytes, highest first.
fn unsigned(number: usize) -> Vec<u8> {
    match u8::try_from(number) {
        Ok(small) if small < 128 => vec![small],
        _ => {
            let bytes = number.to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            let count = u8::try_from(significant.len()).expect("a number has at most eight bytes");
            [vec![0_u8.wrapping_sub(count)], significant].concat()
        }
    }
}

/// SHA-1 (RFC 3174).
fn sha1(message: &[u8]) -> [u32; 5] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (of, more) in state.iter_mut().zip([a, b, c, d, e]) {
            *of = of.wrapping_add(more);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_references() {
        assert_eq!(gob_hash("bar"), "f6ce3712830af1b15625");
    }

    #[test]
    fn sha1_is_that_of_rfc_3174() {
        let hex = |text: &str| sha1(text.as_bytes()).map(|word| format!("{word:08x}")).concat();
        assert_eq!(hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&"a".repeat(1_000_000)), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn numbers_of_gob_grow_with_their_bytes() {
        assert_eq!(unsigned(127), [127]);
        assert_eq!(unsigned(128), [0xff, 128]);
        assert_eq!(unsigned(256), [0xfe, 1, 0]);
    }
}
