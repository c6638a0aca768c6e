//! As whom a request is passed on: headers that a server believes of whoever shows the front proxy's certificate. Pure.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#original-request-username-and-group>

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::request::User;

pub const USER: HeaderName = HeaderName::from_static("x-remote-user");
pub const UID: HeaderName = HeaderName::from_static("x-remote-uid");
pub const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
pub const EXTRA_PREFIX: &str = "x-remote-extra-";

/// Something of a user that no header can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user cannot be told to another server: {0:?} is no header's value")]
pub struct Untellable(String);

/// Says who asks. What the client said of itself has been taken out before.
pub fn say(user: &User, headers: &mut HeaderMap) -> Result<(), Untellable> {
    let value = |text: &str| {
        // Who reads a header takes blanks from its ends: what is left may be somebody else.
        let is_whole = !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']);
        let value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| is_whole);
        value.ok_or_else(|| Untellable(text.to_owned()))
    };
    headers.insert(USER, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA_PREFIX}{}", escape(key));
        let name = HeaderName::try_from(&name).map_err(|_| Untellable(name))?;
        for one in values {
            headers.append(name.clone(), value(one)?);
        }
    }
    Ok(())
}

/// A key as a header's name has it: what may not stand there is written as in URLs.
fn escape(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        if is_plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_stands_in_headers() {
        let user = User {
            name: "jane".into(),
            uid: "7".into(),
            groups: vec!["dev".into(), "system:authenticated".into()],
            extra: [("authentication.kubernetes.io/pod-name".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
        };
        let mut headers = HeaderMap::new();
        say(&user, &mut headers).unwrap();
        let all = |name: &str| -> Vec<&str> { headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect() };
        assert_eq!((all("x-remote-user"), all("x-remote-uid")), (vec!["jane"], vec!["7"]));
        assert_eq!(all("x-remote-group"), ["dev", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-authentication.kubernetes.io%2fpod-name"), ["a", "b"]);
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn what_no_header_says_is_refused() {
        for (name, is_told) in [
            ("a\nx-remote-group: system:masters", false),
            ("admin ", false),
            ("\tadmin", false),
            ("an admin", true),
            ("jörg", true),
        ] {
            let user = User { name: name.into(), ..User::default() };
            assert_eq!(say(&user, &mut HeaderMap::new()).is_ok(), is_told, "{name:?}");
            let user = User { name: "a".into(), groups: vec![name.into()], ..User::default() };
            assert_eq!(say(&user, &mut HeaderMap::new()).is_ok(), is_told, "{name:?}");
        }
    }
}
