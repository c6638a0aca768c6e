//! Texts that are told in messages, of bounded length: names and values come from objects, and may be as long as these.

use std::fmt::{self, Write};

/// Longer ones are cut, and end in [`CUT`]. Paths of built-in kinds are shorter.
const BYTES_MAX: usize = 1024;
const CUT: &str = "...";

/// What `shown` shows, cut if it is long. Stops writing there.
pub(super) fn told(shown: impl fmt::Display) -> String {
    let mut text = Told(String::new());
    // The only error is that it was cut.
    let _cut = write!(text, "{shown}");
    text.0
}

struct Told(String);

impl Write for Told {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = BYTES_MAX.saturating_sub(self.0.len());
        if piece.len() <= room {
            self.0.push_str(piece);
            return Ok(());
        }
        self.0.push_str(&piece[..piece.floor_char_boundary(room)]);
        self.0.push_str(CUT);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(told(format_args!("{}.{}", "spec", 1)), "spec.1");
        let cut = told(["é"; 1000].concat());
        assert_eq!((cut.len(), cut.ends_with("é...")), (BYTES_MAX + CUT.len(), true));
        let cut = told(format_args!("a{}", ["é"; 1000].concat()));
        assert_eq!((cut.len(), cut.ends_with("é...")), (BYTES_MAX - 1 + CUT.len(), true));
        assert_eq!(told("x".repeat(BYTES_MAX)).len(), BYTES_MAX);
    }
}
