//! Whom a front proxy names: who shows a certificate of the front proxies' CA is believed what his headers say of the user. Pure.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy>

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP};
use crate::request::User;

/// What the names of the usual headers begin with: `X-Remote-User`, `-Uid`, `-Group`, `-Extra-…`.
const USUAL_PREFIX: &str = "x-remote-";

/// What a front proxy's requests are read by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Common names of its certificates; empty: any.
    pub allowed_names: Vec<String>,
    /// The first that has a value counts.
    pub username_headers: Vec<HeaderName>,
    pub uid_headers: Vec<HeaderName>,
    /// All values of all of them.
    pub group_headers: Vec<HeaderName>,
    /// In lower case.
    pub extra_prefixes: Vec<String>,
}

/// Who is believed what he says of the users of his requests: a PEM file, read by whom it concerns.
#[derive(Clone, Debug)]
pub struct FrontProxyTrust {
    pub ca: PathBuf,
    pub rules: Arc<Rules>,
}

impl Rules {
    /// Whether certificates with this name are a front proxy's.
    pub fn allows(&self, common_name: &str) -> bool {
        self.allowed_names.is_empty() || self.allowed_names.iter().any(|name| name == common_name)
    }

    /// The user that a front proxy's request is of. `None`: it names none.
    pub fn user(&self, headers: &HeaderMap) -> Option<User> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let first = |names: &[HeaderName]| {
            let mut values = names.iter().filter_map(|name| headers.get(name)).map(text);
            values.find(|value| !value.is_empty())
        };
        let name = first(&self.username_headers)?;
        let groups = self.group_headers.iter().flat_map(|name| headers.get_all(name)).map(text);
        let mut user = User {
            name,
            uid: first(&self.uid_headers).unwrap_or_default(),
            groups: groups.filter(|group| !group.is_empty()).collect(),
            ..User::default()
        };
        for prefix in &self.extra_prefixes {
            for (name, value) in headers {
                let Some(key) = name.as_str().strip_prefix(prefix.as_str()) else { continue };
                let key = percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.into_owned());
                user.extra.entry(key).or_default().push(text(value));
            }
        }
        // Who is known is one of those who are, whatever the proxy says of his groups.
        if user.name != ANONYMOUS && !user.in_group(AUTHENTICATED_GROUP) && !user.in_group(UNAUTHENTICATED_GROUP) {
            user.groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        Some(user)
    }

    fn names(&self, header: &HeaderName) -> bool {
        [&self.username_headers, &self.uid_headers, &self.group_headers].iter().any(|names| names.contains(header))
            || self.extra_prefixes.iter().any(|prefix| header.as_str().starts_with(prefix.as_str()))
    }
}

/// Takes out what names users, whoever has sent it: nobody behind us is to believe of a client what we have not. `rules`: by which
/// we read it ourselves. The usual headers go as well, since others may read those.
pub fn take_out(rules: Option<&Rules>, headers: &mut HeaderMap) {
    let is_named = |header: &&HeaderName| {
        header.as_str().starts_with(USUAL_PREFIX) || rules.is_some_and(|rules| rules.names(header))
    };
    let named: Vec<HeaderName> = headers.keys().filter(is_named).cloned().collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
pub(crate) fn rules(allowed: &[&str]) -> Rules {
    let headers = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect();
    Rules {
        allowed_names: allowed.iter().map(|&name| name.into()).collect(),
        username_headers: headers(&["x-remote-user", "x-other-user"]),
        uid_headers: headers(&["x-remote-uid"]),
        group_headers: headers(&["x-remote-group"]),
        extra_prefixes: vec!["x-remote-extra-".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn whom_headers_name() {
        let found = |lines: &[&str]| {
            let user = rules(&[]).user(&headers(lines))?;
            Some(format!("{} {} {:?} {:?}", user.name, user.uid, user.groups, user.extra))
        };
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("nobody", &["x-remote-group: system:masters"], None),
            ("an empty name", &["x-remote-user: "], None),
            ("a name", &["x-remote-user: jane"], Some(r#"jane  ["system:authenticated"] {}"#)),
            ("in the second header", &["x-other-user: jane"], Some(r#"jane  ["system:authenticated"] {}"#)),
            (
                "the first counts",
                &["x-other-user: eve", "x-remote-user: jane"],
                Some(r#"jane  ["system:authenticated"] {}"#),
            ),
            (
                "all there is",
                &[
                    "x-remote-user: jane",
                    "x-remote-uid: 7",
                    "x-remote-group: dev",
                    "x-remote-group: system:authenticated",
                    "X-Remote-Extra-a.b%2Fc: 1",
                    "x-remote-extra-a.b%2fc: 2",
                ],
                Some(r#"jane 7 ["dev", "system:authenticated"] {"a.b/c": ["1", "2"]}"#),
            ),
            (
                "nobody in particular",
                &["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"],
                Some(r#"system:anonymous  ["system:unauthenticated"] {}"#),
            ),
        ];
        for (why, lines, expected) in cases {
            assert_eq!(found(lines).as_deref(), *expected, "{why}");
        }
    }

    #[test]
    fn what_has_been_read_goes_no_further() {
        let left = |rules: Option<&Rules>| {
            let mut all = headers(&[
                "x-remote-user: a",
                "X-Remote-Extra-b: c",
                "x-remote-group: d",
                "x-remote-uid: e",
                "accept: f",
                "x-other-user: g",
                "x-corp-uid: h",
                "X-Corp-Group: i",
                "X-Corp-Extra-a: j",
                "x-corp: k",
            ]);
            take_out(rules, &mut all);
            let mut left: Vec<String> = all.keys().map(ToString::to_string).collect();
            left.sort();
            left.join(" ")
        };
        assert_eq!(left(None), "accept x-corp x-corp-extra-a x-corp-group x-corp-uid x-other-user");
        let own = Rules {
            uid_headers: vec![HeaderName::from_static("x-corp-uid")],
            group_headers: vec![HeaderName::from_static("x-corp-group")],
            extra_prefixes: vec!["x-corp-extra-".into()],
            ..rules(&[])
        };
        assert_eq!(left(Some(&own)), "accept x-corp");
    }

    #[test]
    fn certificates_of_some_names_are_a_proxys() {
        assert!(rules(&[]).allows("x") && rules(&["x"]).allows("x") && !rules(&["y"]).allows("x"));
    }
}
