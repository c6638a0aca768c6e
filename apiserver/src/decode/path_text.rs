//! Paths of fields in messages: long enough to find a field by, however long a body's keys are.

use std::fmt;

/// Longer ones are cut, and end in [`CUT`].
const PATH_BYTES_MAX: usize = 256;
const CUT: &str = "...";

/// A path being written. Whatever comes after the bound is an error, so that its writer stops.
#[derive(Debug, Default)]
pub(super) struct PathText(String);

impl PathText {
    pub(super) fn of(path: impl fmt::Display) -> String {
        let mut text = Self::default();
        // The only error is that it was cut.
        let _cut = fmt::write(&mut text, format_args!("{path}"));
        text.0
    }
}

impl fmt::Write for PathText {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = PATH_BYTES_MAX.saturating_sub(self.0.len());
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
    fn long_paths_are_cut_between_characters() {
        for (why, path, expected) in [
            ("short", "spec.a[0]".to_owned(), "spec.a[0]".to_owned()),
            ("at the bound", "x".repeat(256), "x".repeat(256)),
            ("over it", "x".repeat(257), format!("{}...", "x".repeat(256))),
            ("within a character", format!("x{}", "é".repeat(200)), format!("x{}...", "é".repeat(127))),
        ] {
            assert_eq!(PathText::of(&path), expected, "{why}");
        }
    }
}
