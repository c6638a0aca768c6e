//! PEM blocks: found in a text, told apart, decoded. What stands between them counts for nothing.
//!
//! <https://www.rfc-editor.org/rfc/rfc7468>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// `CERTIFICATE`, `CERTIFICATE REQUEST`, …
    pub label: String,
    /// Whether `Name: value` lines stand before the contents, as in the PEM of old.
    pub has_headers: bool,
    pub contents: Vec<u8>,
}

/// The blocks of a text, in their order. What does not end with its own label, or is not base64, is no block. Takes time in
/// proportion to the text, whatever is in it.
pub fn blocks(text: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            open = Some(Open { label, lines: Vec::new() });
        } else if let Some(label) = boundary(line, b"-----END ") {
            blocks.extend(open.take().filter(|open| open.label == label).and_then(Open::close));
        } else if let Some(open) = &mut open {
            open.lines.push(line);
        }
    }
    blocks
}

/// The label in a line that begins or ends a block.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"-----")
}

/// A block whose end has not come yet.
struct Open<'a> {
    label: &'a [u8],
    lines: Vec<&'a [u8]>,
}

impl Open<'_> {
    fn close(self) -> Option<Block> {
        let headers = self.lines.iter().take_while(|line| line.contains(&b':')).count();
        let base64: Vec<u8> = self
            .lines
            .into_iter()
            .skip(headers)
            .flatten()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        Some(Block {
            label: String::from_utf8_lossy(self.label).into_owned(),
            has_headers: headers > 0,
            contents: STANDARD.decode(base64).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_from_what_stands_around_them() {
        let cases = [
            ("nothing", "", ""),
            ("text alone", "hello\nworld", ""),
            ("one", "-----BEGIN A-----\naGk=\n-----END A-----\n", "A hi"),
            (
                "no newline at the end, CR before others",
                "-----BEGIN A B-----\r\naG\r\nk=\r\n-----END A B-----",
                "A B hi",
            ),
            (
                "two, with text around",
                "x\n-----BEGIN A-----\naGk=\n-----END A-----\ny\n-----BEGIN B-----\neW8=\n-----END B-----\nz",
                "A hi, B yo",
            ),
            ("headers", "-----BEGIN A-----\nProc-Type: 4\n\naGk=\n-----END A-----", "A(headers) hi"),
            ("another's end", "-----BEGIN A-----\naGk=\n-----END B-----\n", ""),
            ("no end", "-----BEGIN A-----\naGk=\n", ""),
            ("no end, then a good one", "-----BEGIN A-----\naGk=\n-----BEGIN B-----\neW8=\n-----END B-----", "B yo"),
            (
                "not base64, then a good one",
                "-----BEGIN A-----\n!\n-----END A-----\n-----BEGIN B-----\neW8=\n-----END B-----",
                "B yo",
            ),
            ("not at the beginning of a line", "x-----BEGIN A-----\naGk=\n-----END A-----", ""),
        ];
        for (why, text, expected) in cases {
            let shown: Vec<String> = blocks(text.as_bytes())
                .iter()
                .map(|b| {
                    let headers = if b.has_headers { "(headers)" } else { "" };
                    format!("{}{headers} {}", b.label, String::from_utf8_lossy(&b.contents))
                })
                .collect();
            assert_eq!(shown.join(", "), expected, "{why}");
        }
    }

    #[test]
    fn a_text_of_beginnings_takes_no_longer_than_another_of_its_length() {
        let began = std::time::Instant::now();
        assert!(blocks("-----BEGIN A-----\nx\n".repeat(100_000).as_bytes()).is_empty());
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
