//! Links of what is behind the proxy, made to lead back through it. Pure.
//!
//! A page that a pod serves links to itself as if it were at the root of its host. Through the proxy it is below a path, and
//! the host is the apiserver's: `/login` becomes `/api/v1/namespaces/x/services/web/proxy/login`. Relative links are right as
//! they are, and links to other hosts are none of ours.

use percent_encoding::percent_decode_str;

use super::path;

/// What stands unescaped in a path that is well written already. RFC 3986, 3.3, with brackets as browsers write them.
const OF_PATHS: &[u8] = b"-_.~!$&'()*+,;=:@[]%/";

/// How links of one page are to be changed.
#[derive(Clone, Debug)]
pub struct Links {
    /// Below which path the root of what is behind the proxy is had of the apiserver; no slash at its end.
    prefix: String,
    /// The host and port that the page was got from.
    behind: String,
    /// The host (and port) that the client asked: through `kubectl proxy` it is that one's.
    asked: String,
}

/// A URL or a reference to one, in pieces of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference<'a> {
    /// `https://user@host:80`, or a part of it, or nothing.
    origin: &'a str,
    host: &'a str,
    path: &'a str,
    /// The query and the fragment, with what they begin with.
    rest: &'a str,
}

impl<'a> Reference<'a> {
    /// `None` for what is no URL.
    fn parse(text: &'a str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let (before, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
        let scheme = scheme_len(before);
        let hierarchy = &before[scheme..];
        let (origin, host, path) = match hierarchy.strip_prefix("//") {
            Some(authority) => {
                let end = authority.find('/').unwrap_or(authority.len());
                let host = authority[..end].rsplit('@').next().unwrap_or_default();
                (&before[..scheme + 2 + end], host, &authority[end..])
            }
            None => (&before[..scheme], "", hierarchy),
        };
        is_escaped_well(path).then_some(Self { origin, host, path, rest })
    }
}

/// Of `https:` with its colon; 0 if there is none.
fn scheme_len(text: &str) -> usize {
    let Some(colon) = text.find(':') else { return 0 };
    let mut letters = text[..colon].bytes();
    let starts = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = letters.all(|letter| letter.is_ascii_alphanumeric() || b"+-.".contains(&letter));
    if starts && goes_on { colon + 1 } else { 0 }
}

/// Each `%` has two hexadecimal digits behind it.
fn is_escaped_well(path: &str) -> bool {
    let mut pieces = path.split('%');
    pieces.next();
    pieces.all(|piece| piece.len() >= 2 && piece.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()))
}

/// A path with nothing unescaped in it that would end a header or an attribute.
fn well_written(raw: &str) -> String {
    if raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || OF_PATHS.contains(&byte)) {
        return raw.to_owned();
    }
    percent_decode_str(raw).decode_utf8().map_or_else(|_| raw.to_owned(), |decoded| path::escape(&decoded))
}

impl Links {
    pub fn new(prefix: &str, behind: &str, asked: &str) -> Self {
        Self { prefix: prefix.to_owned(), behind: behind.to_owned(), asked: asked.to_owned() }
    }

    /// The `Location` of a redirect, as the client is to have it; `None`: it is no URL.
    pub fn location(&self, text: &str) -> Option<String> {
        let reference = Reference::parse(text)?;
        let Reference { origin, path, rest, .. } = reference;
        Some(self.back(reference).unwrap_or_else(|| format!("{origin}{}{rest}", well_written(path))))
    }

    /// A link of a page, as the client is to have it; `None`: as it is. Escapes of HTML stay what they are.
    pub fn link(&self, text: &str) -> Option<String> {
        let text = text.trim_ascii_start();
        self.back(Reference::parse(text)?).filter(|there| there != text)
    }

    /// The same place, through the proxy; `None` if it is elsewhere or relative.
    fn back(&self, to: Reference<'_>) -> Option<String> {
        let is_elsewhere = !to.host.is_empty() && to.host != self.behind && to.host != self.asked;
        if is_elsewhere || !to.path.starts_with('/') {
            return None;
        }
        let origin = if to.host == self.asked { to.origin } else { "" };
        let decoded = percent_decode_str(to.path).decode_utf8();
        let there = match &decoded {
            // It leads through the proxy already: what is behind may know of it by X-Forwarded-Uri.
            Ok(path) if path.starts_with(&self.prefix) => well_written(to.path),
            Ok(path) => path::escape(&path::join(&self.prefix, path)),
            Err(_) => format!("{}{}", self.prefix, to.path),
        };
        Some(format!("{origin}{there}{}", to.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/x/services/web:80/proxy";

    fn links() -> Links {
        Links::new(PREFIX, "10.0.0.5:8080", "localhost:8001")
    }

    #[test]
    fn links_lead_back_through_the_proxy() {
        let through = |rest: &str| Some(format!("{PREFIX}{rest}"));
        let cases: [(&str, Option<String>); 24] = [
            ("kubelet.log", None),
            ("./a", None),
            ("../a", None),
            ("#top", None),
            ("?page=2", None),
            ("", None),
            ("mailto:a@b", None),
            ("javascript:alert(1)", None),
            ("data:text/html,/x", None),
            ("http://example.com/a", None),
            ("//example.com/a", None),
            ("http://10.0.0.5:8080", None),
            ("/a%zz", None),
            ("/a\u{1}b", None),
            ("/", through("/")),
            ("/a/b/", through("/a/b/")),
            ("  /a", through("/a")),
            ("/a?x=1&amp;y=/b#c", through("/a?x=1&amp;y=/b#c")),
            ("http://10.0.0.5:8080/a", through("/a")),
            ("//10.0.0.5:8080/a", through("/a")),
            ("http://localhost:8001/a", Some(format!("http://localhost:8001{PREFIX}/a"))),
            ("/a\"><script>", through("/a%22%3E%3Cscript%3E")),
            ("http://10.0.0.5:8080/api/v1/namespaces/x/services/web:80/proxy/a", through("/a")),
            ("/api/v1/namespaces/x/services/web:80/proxy/a", None),
        ];
        for (text, expected) in cases {
            assert_eq!(links().link(text), expected, "{text:?}");
        }
    }

    #[test]
    fn redirects_lead_back_through_the_proxy() {
        let cases = [
            ("/a/", Some(format!("{PREFIX}/a/"))),
            ("a", Some("a".to_owned())),
            ("http://example.com/a?b", Some("http://example.com/a?b".to_owned())),
            ("http://example.com/%00<script>/", Some("http://example.com/%00%3Cscript%3E/".to_owned())),
            ("/%00<script>/", Some(format!("{PREFIX}/%00%3Cscript%3E/"))),
            ("/a%2Fb", Some(format!("{PREFIX}/a/b"))),
            ("https://u@10.0.0.5:8080/a", Some(format!("{PREFIX}/a"))),
            ("/%FF", Some(format!("{PREFIX}/%FF"))),
            ("/%f", None),
        ];
        for (text, expected) in cases {
            assert_eq!(links().location(text), expected, "{text:?}");
        }
    }
}
