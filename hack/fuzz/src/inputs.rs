//! Inputs for a target: valid ones, changed a little, so that they get past the first check.

use crate::Random;

/// An input is made no longer than this by repeating its parts.
const BYTES_MAX: usize = 64 * 1024;
/// Changes made to one input, at most.
const CHANGES_MAX: usize = 6;

/// What inputs are made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Good inputs, of every shape that the target tells apart.
    pub valid: &'a [&'a [u8]],
    /// Pieces that mean something to the target: separators, keywords, extreme numbers.
    pub tokens: &'a [&'a [u8]],
}

impl Inputs<'_> {
    /// A valid input, or one with a few changes: bytes flipped, cut, repeated, put in from another one or from the tokens.
    pub fn mutate(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = random.pick(self.valid).unwrap_or_default().to_vec();
        for _ in 0..random.below(CHANGES_MAX + 1) {
            self.change(random, &mut bytes);
        }
        bytes
    }

    fn change(&self, random: &mut Random, bytes: &mut Vec<u8>) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below(bytes.len() - at + 1);
        match random.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => bytes.insert(at, random.number() as u8),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..end].to_vec();
                let many = if random.one_in(8) { 2000 } else { 4 };
                let times = (1 + random.below(many)).min(BYTES_MAX.saturating_sub(bytes.len()) / piece.len().max(1));
                insert(bytes, at, &piece.repeat(times));
            }
            5 => {
                let other = random.pick(self.valid).unwrap_or_default();
                let from = random.below(other.len() + 1);
                bytes.splice(at..end, other[from..].iter().copied());
            }
            _ => insert(bytes, at, random.pick(self.tokens).unwrap_or_default()),
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
