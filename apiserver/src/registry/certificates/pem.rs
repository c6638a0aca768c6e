//! PEM blocks: found in a text, told apart, decoded. What stands between them counts for nothing.
//!
//! Whoever signs reads the same text with another program. Programs differ in what they take for a block and in what they
//! leave out, so a text in which anything else begins or ends like a block is refused whole: what is looked at here is what
//! everybody reads. <https://www.rfc-editor.org/rfc/rfc7468>

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

/// A text that others may read in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a PEM block that does not decode")]
pub struct NotPem {
    /// The first line is 1.
    pub line: usize,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The blocks of a text, in their order. Takes time in proportion to the text, whatever is in it.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, NotPem> {
    let mut blocks = Vec::new();
    let mut open: Option<Open<'_>> = None;
    let mut last = 0;
    for (i, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let not_pem = NotPem { line: i + 1 };
        last = i + 1;
        let line = trimmed(line);
        let (begins, ends) = (boundary(line, BEGIN), boundary(line, END));
        match (open.take(), begins, ends) {
            (None, Some(label), _) => open = Some(Open::new(label)),
            (Some(block), _, Some(label)) if block.label == label => blocks.push(block.close().ok_or(not_pem)?),
            (_, Some(_), _) | (_, _, Some(_)) => return Err(not_pem),
            _ if has_boundary(line) => return Err(not_pem),
            (Some(mut block), ..) => {
                block.take(line).ok_or(not_pem)?;
                open = Some(block);
            }
            (None, ..) => {}
        }
    }
    if open.is_some() { Err(NotPem { line: last }) } else { Ok(blocks) }
}

/// A line without its end, and without blanks before that. A carriage return that no newline follows ends no line.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    };
    let end = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |at| at + 1);
    &line[..end]
}

/// The label in a line that begins or ends a block.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'-';
    label.iter().all(is_plain).then_some(label)
}

/// Whether something in the line looks like a boundary to somebody.
fn has_boundary(line: &[u8]) -> bool {
    [BEGIN, END].iter().any(|mark| {
        let mark = mark.trim_ascii_end();
        line.windows(mark.len()).any(|part| part == mark)
    })
}

/// A block whose end has not come yet.
struct Open<'a> {
    label: &'a [u8],
    has_headers: bool,
    /// The blank line that ends the headers may be missing.
    in_headers: bool,
    base64: Vec<u8>,
}

impl<'a> Open<'a> {
    fn new(label: &'a [u8]) -> Self {
        Self { label, has_headers: false, in_headers: true, base64: Vec::new() }
    }
    /// `None`: the line is neither a header nor base64.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        if self.in_headers && line.contains(&b':') {
            self.has_headers = true;
            return Some(());
        }
        self.in_headers = false;
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        line.iter().all(is_base64).then(|| self.base64.extend_from_slice(line))
    }
    fn close(self) -> Option<Block> {
        // Where the block of a header alone ends, nobody agrees on.
        if self.has_headers && self.in_headers {
            return None;
        }
        Some(Block {
            label: String::from_utf8_lossy(self.label).into_owned(),
            has_headers: self.has_headers,
            // Strict: no padding is missing, and no bits are left over.
            contents: STANDARD.decode(self.base64).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks, or the line that is refused.
    fn read(text: &str) -> String {
        let shown = |b: &Block| {
            let headers = if b.has_headers { "(headers)" } else { "" };
            format!("{}{headers} {}", b.label, String::from_utf8_lossy(&b.contents))
        };
        match blocks(text.as_bytes()) {
            Ok(blocks) => blocks.iter().map(shown).collect::<Vec<_>>().join(", "),
            Err(NotPem { line }) => format!("!{line}"),
        }
    }

    #[test]
    fn blocks_are_told_from_what_stands_around_them() {
        for (why, text, expected) in [
            ("nothing", "", ""),
            ("text alone", "hello\nworld", ""),
            ("one", "-----BEGIN A-----\naGk=\n-----END A-----\n", "A hi"),
            (
                "no newline at the end, CR before others",
                "-----BEGIN A B-----\r\naG\r\nk=\r\n-----END A B-----",
                "A B hi",
            ),
            ("blanks at the ends of lines", "-----BEGIN A----- \t\naGk= \n-----END A-----\t\n", "A hi"),
            (
                "two, with text around",
                "x\n-----BEGIN A-----\naGk=\n-----END A-----\ny\n-----BEGIN B-----\neW8=\n-----END B-----\nz",
                "A hi, B yo",
            ),
            ("headers", "-----BEGIN A-----\nProc-Type: 4\n\naGk=\n-----END A-----", "A(headers) hi"),
            ("headers and no blank line", "-----BEGIN A-----\nProc-Type: 4\naGk=\n-----END A-----", "A(headers) hi"),
            ("empty", "-----BEGIN A-----\n-----END A-----\n", "A "),
        ] {
            assert_eq!(read(text), expected, "{why}");
        }
    }

    #[test]
    fn what_programs_read_in_different_ways_is_refused_whole() {
        const GOOD: &str = "-----BEGIN B-----\neW8=\n-----END B-----\n";
        for (why, text, line) in [
            // Go's decoder takes this one; a strict one leaves it out, and takes the next.
            ("bits left over", "-----BEGIN A-----\naGl=\n-----END A-----\n", 3),
            ("no padding", "-----BEGIN A-----\naGk\n-----END A-----\n", 3),
            ("more after the padding", "-----BEGIN A-----\naGk=aGk=\n-----END A-----\n", 3),
            ("not base64", "-----BEGIN A-----\n!\n-----END A-----\n", 2),
            ("base64 with blanks in it", "-----BEGIN A-----\naG k=\n-----END A-----\n", 2),
            ("another vertical blank", "-----BEGIN A-----\naGk=\u{b}\n-----END A-----\n", 2),
            ("a header after the contents", "-----BEGIN A-----\naG\nA: b\nk=\n-----END A-----\n", 3),
            ("a header alone", "-----BEGIN A-----\nA: b\n-----END A-----\n", 3),
            ("a boundary in a header", "-----BEGIN A-----\nA: -----BEGIN B-----\n\naGk=\n-----END A-----\n", 2),
            ("another's end", "-----BEGIN A-----\naGk=\n-----END B-----\n", 3),
            ("an end alone", "-----END A-----\n", 1),
            ("begun twice", "-----BEGIN A-----\n-----BEGIN A-----\naGk=\n-----END A-----\n", 2),
            ("not at the beginning of a line", "x-----BEGIN A-----\naGk=\n-----END A-----\n", 1),
            ("not at the end of a line", "-----BEGIN A-----x\naGk=\n-----END A-----\n", 1),
            ("text after the end", "-----BEGIN A-----\naGk=\n-----END A-----x\n", 3),
            ("a line that a carriage return alone ends", "x\r-----BEGIN A-----\naGk=\n-----END A-----\n", 1),
            ("a dash in the label", "-----BEGIN A-B-----\naGk=\n-----END A-B-----\n", 1),
            ("no label", "-----BEGIN-----\naGk=\n-----END-----\n", 1),
        ] {
            for (around, text, line) in [
                ("alone", text.to_owned(), line),
                ("before a good one", format!("{text}{GOOD}"), line),
                ("after a good one", format!("{GOOD}{text}"), line + 3),
            ] {
                assert_eq!(read(&text), format!("!{line}"), "{why}, {around}");
            }
        }
        for (why, text, line) in [
            ("no end", "-----BEGIN A-----\naGk=\n", 2),
            ("no end, then a good one", "-----BEGIN A-----\naGk=\n-----BEGIN B-----\neW8=\n-----END B-----", 3),
            ("a carriage return at the end of all", "-----BEGIN A-----\naGk=\n-----END A-----\r", 3),
        ] {
            assert_eq!(read(text), format!("!{line}"), "{why}");
        }
    }

    #[test]
    fn a_text_of_many_blocks_takes_no_longer_than_another_of_its_length() {
        let began = std::time::Instant::now();
        let text = "-----BEGIN A-----\naGk=\n-----END A-----\n".repeat(50_000);
        assert_eq!(blocks(text.as_bytes()).map(|blocks| blocks.len()), Ok(50_000));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
