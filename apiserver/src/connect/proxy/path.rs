//! Paths behind the proxy: what of the request's path goes on, and how it is written on the wire. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in a path as it is: as upstream writes them, so that what is behind sees the same.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A decoded path as a URL has it.
pub fn escape(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The path without `.`, `..` and empty segments; none of them leads above `/`. A slash at the end stays.
pub fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut cleaned = String::with_capacity(path.len() + 1);
    for segment in &kept {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    if cleaned.is_empty() || path.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// `before`, which has no slash at its end, and a path behind it.
pub fn join(before: &str, path: &str) -> String {
    clean(&format!("{before}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        let cases = [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a/..", "/"),
            ("/a b", "/a b"),
        ];
        for (path, expected) in cases {
            assert_eq!(clean(path), expected, "{path}");
        }
        assert_eq!(join("/api/proxy", "/a/"), "/api/proxy/a/");
        assert_eq!(join("/api/proxy", "a"), "/api/proxy/a");
    }

    #[test]
    fn paths_are_escaped() {
        let cases = [
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
            ("/a b?c#d%e", "/a%20b%3Fc%23d%25e"),
            ("/log\0<script>alert(1)</script>", "/log%00%3Cscript%3Ealert%281%29%3C/script%3E"),
            ("/x=1&y=$2,3;4:5@6+7", "/x=1&y=$2,3;4:5@6+7"),
            ("/é", "/%C3%A9"),
        ];
        for (path, expected) in cases {
            assert_eq!(escape(path), expected, "{path}");
        }
    }
}
