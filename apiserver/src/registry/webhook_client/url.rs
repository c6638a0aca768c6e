//! The parts of a webhook's URL, as Go's net/url takes them apart.

/// `https://user@host:port/path?query#fragment`; what is not there is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Url<'a> {
    pub scheme: &'a str,
    pub user: Option<&'a str>,
    /// With its port, if it says one.
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub fragment: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("parse {0:?}: net/url: invalid control character in URL")]
    Control(String),
    #[error("parse {0:?}: missing protocol scheme")]
    NoScheme(String),
    #[error("parse {0:?}: first path segment in URL cannot contain colon")]
    Colon(String),
    #[error("parse {url:?}: invalid port {port:?} after host")]
    Port { url: String, port: String },
    #[error("parse {url:?}: invalid character {character:?} in host name")]
    Host { url: String, character: String },
    #[error("parse {0:?}: missing ']' in host")]
    Bracket(String),
    #[error("address {0}: invalid port")]
    NoSuchPort(String),
}

impl<'a> Url<'a> {
    pub fn parse(text: &'a str) -> Result<Self, UrlError> {
        if text.chars().any(char::is_control) {
            return Err(UrlError::Control(text.into()));
        }
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(rest).ok_or_else(|| UrlError::NoScheme(text.into()))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self { scheme, query, fragment, path: rest, ..Self::default() };
        let Some(rest) = rest.strip_prefix("//") else {
            let first = rest.split('/').next().unwrap_or_default();
            return if scheme.is_empty() && first.contains(':') { Err(UrlError::Colon(text.into())) } else { Ok(url) };
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        url.path = path;
        (url.user, url.host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        check_host(text, url.host)?;
        Ok(url)
    }

    /// Without brackets around an address.
    pub fn hostname(&self) -> &'a str {
        let name = &self.host[..self.host.len() - self.port_suffix().len()];
        name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
    }
    /// `None`: none is said. Go takes any number for one until it connects there.
    pub fn port(&self) -> Result<Option<u16>, UrlError> {
        match self.port_suffix().trim_start_matches(':') {
            "" => Ok(None),
            port => port.parse().map(Some).map_err(|_| UrlError::NoSuchPort(port.into())),
        }
    }
    /// `:443`, or empty.
    fn port_suffix(&self) -> &'a str {
        port_suffix(self.host)
    }
}

fn port_suffix(host: &str) -> &str {
    let from = host.rfind(']').map_or(0, |at| at + 1);
    host[from..].find(':').map_or("", |at| &host[from + at..])
}

/// `None`: a colon without a scheme before it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return None,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Some(("", text))
}

fn check_host(url: &str, host: &str) -> Result<(), UrlError> {
    if host.starts_with('[') && !host.contains(']') {
        return Err(UrlError::Bracket(url.into()));
    }
    let port = port_suffix(host);
    if !port.bytes().skip(1).all(|c| c.is_ascii_digit()) {
        return Err(UrlError::Port { url: url.into(), port: port.into() });
    }
    let is_bad = |c: char| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    match host.chars().find(|c| is_bad(*c)) {
        Some(c) => Err(UrlError::Host { url: url.into(), character: c.into() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_parts() {
        let parts = |text: &'static str| {
            let url = Url::parse(text).unwrap();
            let user = url.user.unwrap_or("-");
            format!(
                "{} {user} {} {} {} {} {} {:?}",
                url.scheme,
                url.host,
                url.path,
                url.query,
                url.fragment,
                url.hostname(),
                url.port().unwrap()
            )
        };
        assert_eq!(parts("https://a.b/c/d"), "https - a.b /c/d   a.b None");
        assert_eq!(parts("https://u:p@a.b:8443/?q=1#f"), "https u:p a.b:8443 / q=1 f a.b Some(8443)");
        assert_eq!(parts("https://[fd00::1]:443"), "https - [fd00::1]:443    fd00::1 Some(443)");
        assert_eq!(parts("https://[fd00::1]/x"), "https - [fd00::1] /x   fd00::1 None");
        assert_eq!(parts("a.b/c"), " -  a.b/c    None");
        assert_eq!(parts("https:a"), "https -  a    None");
        let far = Url::parse("https://a:65536/").unwrap();
        assert_eq!(far.port().unwrap_err().to_string(), "address 65536: invalid port");
        assert_eq!(Url::parse("https://a:/").unwrap().port(), Ok(None));
        for (text, expected) in [
            (":x", r#"parse ":x": missing protocol scheme"#),
            ("1a:x/y", r#"parse "1a:x/y": first path segment in URL cannot contain colon"#),
            ("https://a:b/", r#"parse "https://a:b/": invalid port ":b" after host"#),
            ("https://a b/", r#"parse "https://a b/": invalid character " " in host name"#),
            ("https://[::1/", r#"parse "https://[::1/": missing ']' in host"#),
            ("https://a\n", r#"parse "https://a\n": net/url: invalid control character in URL"#),
        ] {
            assert_eq!(Url::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
