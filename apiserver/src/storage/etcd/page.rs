//! How many keys the next page of a list asks for: pages follow bytes, as keys may hold a few bytes or a megabyte.

/// Small enough that so many of the largest values that etcd takes (1.5 MiB) fit one message.
const FIRST_KEYS: usize = 32;
/// More in one page is no quicker.
const KEYS_MAX: usize = 500;
/// What a page should hold: far below the bound of a message, as the next values may be larger than those seen.
const TARGET_BYTES: usize = 8 << 20;
/// A page is so many times larger than the one before at most, and so many times smaller after a refusal.
const STEP: usize = 4;

#[derive(Debug)]
pub(super) struct PageSize {
    keys: usize,
}

impl Default for PageSize {
    fn default() -> Self {
        Self { keys: FIRST_KEYS }
    }
}

impl PageSize {
    pub(super) fn keys(&self) -> i64 {
        self.keys as i64
    }
    /// A page came with so many keys and bytes: the next one aims at the bytes a page should have.
    pub(super) fn taken(&mut self, keys: usize, bytes: usize) {
        let fitting = (keys * TARGET_BYTES).checked_div(bytes).unwrap_or(KEYS_MAX);
        self.keys = fitting.clamp(1, KEYS_MAX.min(self.keys * STEP));
    }
    /// A page was too large to be sent or taken. False: it was of one key.
    pub(super) fn refused(&mut self) -> bool {
        let was = self.keys;
        self.keys = (was / STEP).max(1);
        was > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_bytes() {
        const MIB: usize = 1 << 20;
        let steps = [
            ("small objects: more keys, step by step", Some((32, 32 * 2_000)), 128),
            ("and more, up to the bound", Some((128, 128 * 2_000)), 500),
            ("never more than that", Some((500, 500 * 2_000)), 500),
            ("a page of large ones was refused", None, 125),
            ("again", None, 31),
            ("large ones came: as many as make a page", Some((31, 31 * MIB)), 8),
            ("small ones again", Some((8, 8 * 1_000)), 32),
            ("nothing came", Some((0, 0)), 128),
            ("one is larger than a page", Some((1, 20 * MIB)), 1),
        ];
        let mut size = PageSize::default();
        for (why, answer, next) in steps {
            match answer {
                Some((keys, bytes)) => size.taken(keys, bytes),
                None => assert!(size.refused(), "{why}"),
            }
            assert_eq!(size.keys(), next, "{why}");
        }
        assert!(!size.refused(), "fewer than one key cannot be asked for");
    }
}
