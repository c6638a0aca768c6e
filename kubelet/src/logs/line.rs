//! One line of a log: made and taken apart. Pure.

use jiff::Timestamp;

/// Longer lines are written in parts of this size, so that no reader needs an unbounded buffer.
pub(super) const CONTENT_MAX_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Timestamp,
    /// As it stands in the file.
    pub at_text: &'a str,
    pub stream: Stream,
    /// The content goes on in the next line of this stream.
    pub partial: bool,
    pub content: &'a [u8],
}

impl<'a> Line<'a> {
    /// `text` without its newline. `None`: not a line of this format (a torn write); readers pass over it.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = text.splitn(4, |b| *b == b' ');
        let at_text = std::str::from_utf8(parts.next()?).ok()?;
        let at = at_text.parse().ok()?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        // Tags are separated by colons; the first says whether the line is whole.
        let partial = match parts.next()?.split(|b| *b == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { at, at_text, stream, partial, content: parts.next().unwrap_or_default() })
    }
}

/// Appends one line to `out`.
pub(super) fn write(out: &mut Vec<u8>, at: Timestamp, stream: Stream, partial: bool, content: &[u8]) {
    let tag = if partial { "P" } else { "F" };
    out.extend_from_slice(format!("{at:.9} {} {tag} ", stream.as_str()).as_bytes());
    out.extend_from_slice(content);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let at = Timestamp::new(1_700_000_000, 5_000_000).unwrap();
        let cases: [(Stream, bool, &[u8]); 4] = [
            (Stream::Stdout, false, b"hello  world "),
            (Stream::Stderr, true, b""),
            (Stream::Stdout, false, b"\xff\xfe not text"),
            (Stream::Stdout, true, b"a"),
        ];
        for (stream, partial, content) in cases {
            let mut out = Vec::new();
            write(&mut out, at, stream, partial, content);
            assert_eq!(out.pop(), Some(b'\n'));
            let line = Line::parse(&out).unwrap();
            assert_eq!((line.at, line.stream, line.partial, line.content), (at, stream, partial, content));
            assert_eq!(line.at_text, "2023-11-14T22:13:20.005000000Z", "nine digits, so that lines sort as text");
        }
    }

    #[test]
    fn torn_lines_are_not_lines() {
        for text in
            ["", "x", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z stdin F a", "2023-11-14T22:13:20Z stdout X a"]
        {
            assert!(Line::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
