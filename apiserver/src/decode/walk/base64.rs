//! Where a text stops being base64.

/// The byte that Go's decoder names; `None` if all is well. The text has no ends of lines.
pub(super) fn first_fault(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let digits = bytes.iter().take_while(|b| is_digit(b)).count();
    let padding = bytes.get(digits..).unwrap_or_default();
    match (digits % 4, padding) {
        (0, []) | (2, b"==") | (3, b"=") => None,
        // The text ends within four digits, which begin there.
        (over, []) => Some(digits - over),
        (2, [b'=']) => Some(bytes.len()),
        (2, [b'=', b'=', ..]) => Some(digits + 2),
        (3, [b'=', ..]) => Some(digits + 1),
        _ => Some(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_where_go_finds_them() {
        for (text, expected) in [
            ("", None),
            ("aGk=", None),
            ("aA==", None),
            ("aGtr", None),
            ("aGk", Some(0)),
            ("aGtraG", Some(4)),
            ("a*k=", Some(1)),
            ("=", Some(0)),
            ("a===", Some(1)),
            ("aA=", Some(3)),
            ("aA=x", Some(2)),
            ("aA==x", Some(4)),
            ("aGk=x", Some(4)),
            ("aGtr====", Some(4)),
        ] {
            assert_eq!(first_fault(text), expected, "{text}");
        }
    }
}
