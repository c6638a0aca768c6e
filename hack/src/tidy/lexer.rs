//! Rust text with the insides of strings, characters and comments blanked out; lines stay where they are.

/// Replaces what is not code by spaces. Raw strings, nested comments and lifetimes are understood.
pub(super) fn blank_out(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if !is_word_byte(previous(bytes, at)) || previous(bytes, at) == Some(b'b') => {
                match raw_string_end(bytes, at) {
                    Some(end) => end,
                    None => at + 1,
                }
            }
            b'\'' => char_end(bytes, at).unwrap_or(at + 1),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    // Whole characters are blanked, byte by byte, to ASCII: what is left is valid.
    String::from_utf8_lossy(&out).into_owned()
}

fn previous(bytes: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|before| bytes[before])
}

fn is_word_byte(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"` or `r##"…"##`; nothing when this `r` starts a word.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close)?;
    Some(open + 1 + length + close.len())
}

/// `'x'`, `'\n'`, `'\u{1F}'`; nothing for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 12;
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().take(LONGEST).position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let text = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 5)]);
    let length = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) => error.valid_up_to().clamp(1, 4),
    };
    (bytes.get(at + 1 + length) == Some(&b'\'')).then_some(at + length + 2)
}

#[cfg(test)]
mod tests {
    use super::blank_out;

    #[test]
    fn only_code_is_left() {
        let cases = [
            ("a string", "let a = \"{ fn x\";", "let a =         ;"),
            ("an escaped quote", r#"f("\"{")+1"#, "f(     )+1"),
            ("a raw string", "x(r#\"\"{\"#)", "x(       )"),
            ("a line comment", "a // fn b {\nc", "a          \nc"),
            ("nested comments", "a /* /* { */ } */ b", "a                 b"),
            ("a character", "a == '{' && b", "a ==     && b"),
            ("an escaped character", r"a == '\'' && b", "a ==      && b"),
            ("a lifetime", "fn a<'a>(b: &'a str) {}", "fn a<'a>(b: &'a str) {}"),
            ("a word that ends in r", "for \"x\"", "for    "),
        ];
        for (why, text, expected) in cases {
            assert_eq!(blank_out(text), expected, "{why}");
        }
    }
}
