//! Seeded changes of bytes: flips, numbers where things break, cuts, repetitions, splices.

use crate::chance::Chance;

const BOUNDARIES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    u64::MAX,
];

/// Inputs stay below this: what is longer was refused for its length.
const BYTES_MAX: usize = 8 << 10;

/// `bytes` with one to four changes, perhaps with a part of `other` in it.
pub(crate) fn mutated(bytes: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=chance.below(4) {
        change(&mut out, other, chance);
    }
    out.truncate(BYTES_MAX.max(bytes.len()));
    out
}

fn change(out: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = chance.below(out.len() as u64 + 1) as usize;
    match chance.below(8) {
        0 => out.truncate(at),
        1 => out.insert(at, chance.number() as u8),
        2 => {
            let end = (at + 1 + chance.below(32) as usize).min(out.len());
            let part = out[at..end].to_vec();
            out.splice(at..at, part);
        }
        3 => {
            let end = (at + 1 + chance.below(8) as usize).min(out.len());
            out.drain(at..end);
        }
        4 => {
            let from = chance.below(other.len() as u64 + 1) as usize;
            let end = (from + chance.below(64) as usize).min(other.len());
            out.splice(at..at, other[from..end].iter().copied());
        }
        5 | 6 => {
            let number = BOUNDARIES[chance.below(BOUNDARIES.len() as u64) as usize];
            let number = number.wrapping_add(chance.below(3)).wrapping_sub(1);
            let width = 1 << chance.below(4);
            for (slot, byte) in out.iter_mut().skip(at).zip(&number.to_le_bytes()[..width]) {
                *slot = *byte;
            }
        }
        _ => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
    }
}

#[test]
fn the_same_seed_changes_the_same() {
    let _turn = crate::replay::turn();
    let bytes: Vec<u8> = (0..100).collect();
    let all = || {
        let mut chance = Chance::new(7);
        let one = |_| mutated(&bytes, &[9; 50], &mut chance);
        (0..50).map(one).collect::<Vec<_>>()
    };
    assert_eq!(all(), all());
    assert!(all().iter().filter(|it| **it != bytes).count() > 40);
}
