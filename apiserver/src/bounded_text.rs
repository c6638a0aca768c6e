//! Texts that are told in messages, of bounded length: names, values and paths come from clients, and may be as long as a body.

use std::fmt::{self, Write};

const CUT: &str = "...";

/// What `shown` shows; what is longer than `bytes_max` is cut there, between characters, and ends in "...". Stops writing then.
pub(crate) fn bounded(shown: impl fmt::Display, bytes_max: usize) -> String {
    let mut text = Bounded { text: String::new(), bytes_max };
    // The only error is that it was cut.
    let _cut = write!(text, "{shown}");
    text.text
}

struct Bounded {
    text: String,
    bytes_max: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.bytes_max.saturating_sub(self.text.len());
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        self.text.push_str(&piece[..piece.floor_char_boundary(room)]);
        self.text.push_str(CUT);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (why, text, expected) in [
            ("short", "spec.a[0]".to_owned(), "spec.a[0]".to_owned()),
            ("at the bound", "x".repeat(256), "x".repeat(256)),
            ("over it", "x".repeat(257), format!("{}...", "x".repeat(256))),
            ("within a character", format!("x{}", "é".repeat(200)), format!("x{}...", "é".repeat(127))),
        ] {
            assert_eq!(bounded(&text, 256), expected, "{why}");
        }
        assert_eq!(bounded(format_args!("{}{}", "a".repeat(7), "é".repeat(9)), 8), "aaaaaaa...", "in pieces");
    }
}
