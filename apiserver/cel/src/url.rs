//! URLs as upstream's language takes them apart.

use std::fmt::Write as _;

use crate::escape::quoted;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(crate) scheme: String,
    /// With the port.
    pub(crate) host: String,
    /// As it is written.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) rest: String,
}

/// An absolute URL, or an absolute path.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let failed = |why: &str| format!("parse {}: {why}", quoted(text));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(format!("parse {}: net/url: invalid control character in URL", quoted(text)));
    }
    if text.is_empty() {
        return Err(failed("empty url"));
    }
    if text == "*" {
        let path = text.to_owned();
        return Ok(Url { scheme: String::new(), host: String::new(), path, query: String::new(), rest: String::new() });
    }
    let (scheme, after) = split_scheme(text).map_err(failed)?;
    let (after, fragment) = after.split_once('#').unwrap_or((after, ""));
    let (after, query) = after.split_once('?').unwrap_or((after, ""));
    let scheme = scheme.to_ascii_lowercase();
    let whole = |host: &str, path: &str, rest: &str| Url {
        scheme: scheme.clone(),
        host: host.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        rest: format!("{rest}#{fragment}"),
    };
    if !after.starts_with('/') {
        if scheme.is_empty() {
            return Err(failed("invalid URI for request"));
        }
        return Ok(whole("", "", after));
    }
    let (host, user, path) = match after.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        Some(authority) => {
            let end = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(end);
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            (checked_host(host).map_err(|why| failed(&why))?, user, path)
        }
        None => (String::new(), "", after),
    };
    if let Some(bad) = bad_escape(path) {
        return Err(failed(&format!("invalid URL escape {}", quoted(bad))));
    }
    Ok(whole(&host, path, user))
}

fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    // Before a colon in the first segment there may be nothing else.
    let first = text.split(['/', '?', '#']).next().unwrap_or("");
    if first.contains(':') && !text.starts_with('/') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok(("", text))
}

fn checked_host(host: &str) -> Result<String, String> {
    let after = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    let is_port = after.is_empty() || after.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if !is_port {
        return Err(format!("invalid port {} after host", quoted(after)));
    }
    if let Some(bad) = host.chars().find(|c| matches!(c, ' ' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err(format!("invalid character {} in host name", quoted(&bad.to_string())));
    }
    if let Some(bad) = bad_escape(host) {
        return Err(format!("invalid URL escape {}", quoted(bad)));
    }
    Ok(unescape(host, false))
}

/// The first `%` that two hexadecimal digits do not follow, with what does.
pub(crate) fn bad_escape(text: &str) -> Option<&str> {
    text.match_indices('%').find_map(|(at, _)| {
        let is_good = text.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        let end = (at + 1..=text.len()).take(3).filter(|end| text.is_char_boundary(*end)).last().unwrap_or(text.len());
        (!is_good).then(|| &text[at..end])
    })
}

pub(crate) fn unescape(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let hex = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        (rest, _) = match (first, hex) {
            (b'%', Some(byte)) => (&after[2..], bytes.push(byte)),
            (b'+', _) if plus_is_space => (after, bytes.push(b' ')),
            _ => (after, bytes.push(*first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn hostname(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or(inner),
        None => host.split(':').next().unwrap_or(host),
    }
}

pub(crate) fn port(host: &str) -> &str {
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    after.rsplit_once(':').map_or("", |(_, port)| port)
}

/// As it is written, if that may stand in a URL.
pub(crate) fn escaped_path(path: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b);
    if path.bytes().all(|b| is_plain(b) || b"!'()*[]%".contains(&b)) {
        return path.to_owned();
    }
    let mut escaped = String::new();
    for b in unescape(path, false).bytes() {
        if is_plain(b) {
            escaped.push(char::from(b));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(escaped, "%{b:02X}");
        }
    }
    escaped
}
