//! What a path names behind the proxy: `name`, `name:port` or `scheme:name:port`; and which IP addresses may be connected to.
//! Pure.

use std::net::IpAddr;

/// How what is behind the proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Where a server of that scheme listens unless something else is said.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A name as the path has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub scheme: Scheme,
    pub name: &'a str,
    /// A number or a name; empty: none is said.
    pub port: &'a str,
}

impl<'a> Named<'a> {
    /// `None` for what has none of the three forms, another scheme or no name.
    pub fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let scheme = match scheme {
            "" | "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }
}

/// Whether anything may be connected to there at somebody's wish. Statuses are written by nodes: one that claims an address of
/// this machine or its link must not make the apiserver speak to what trusts whoever reaches it.
pub fn is_allowed(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_schemes_and_ports() {
        type Case = (&'static str, Option<(Scheme, &'static str, &'static str)>);
        let cases: [Case; 14] = [
            ("web", Some((Scheme::Http, "web", ""))),
            ("web:80", Some((Scheme::Http, "web", "80"))),
            ("web:metrics", Some((Scheme::Http, "web", "metrics"))),
            ("web:", Some((Scheme::Http, "web", ""))),
            ("http:web:80", Some((Scheme::Http, "web", "80"))),
            ("https:web:443", Some((Scheme::Https, "web", "443"))),
            ("https:web:", Some((Scheme::Https, "web", ""))),
            (":web:80", Some((Scheme::Http, "web", "80"))),
            ("", None),
            (":80", None),
            ("https::443", None),
            ("ftp:web:21", None),
            ("HTTPS:web:443", None),
            ("https:web:443:1", None),
        ];
        for (text, expected) in cases {
            let have = Named::parse(text).map(|named| (named.scheme, named.name, named.port));
            assert_eq!(have, expected, "{text:?}");
        }
    }

    #[test]
    fn only_global_addresses_may_be_reached() {
        let cases = [
            ("10.244.1.5", true),
            ("192.168.0.1", true),
            ("8.8.8.8", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("127.0.0.1", false),
            ("127.8.9.10", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("224.0.0.1", false),
            ("239.1.2.3", false),
            ("ff02::1", false),
            ("ff05::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("255.255.255.255", false),
        ];
        for (ip, expected) in cases {
            assert_eq!(is_allowed(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
