//! `kubectl --as`: whom a request is to count as, and what its sender must be allowed for that. Pure: what has to be asked of
//! the authorizer is data.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>. The constrained modes come first: they
//! allow others' names for named actions alone. The old verb `impersonate` allows them for everything.

use std::collections::{BTreeMap, BTreeSet};

use corten_api::{ApiError, names};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::account::{self, NODE_NAME};
use super::{ANONYMOUS, AUTHENTICATED_GROUP, MASTERS_GROUP, NODE_PREFIX, NODES_GROUP, UNAUTHENTICATED_GROUP};
use crate::request::{Target, User};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom the headers name, as they name him. `None`: nobody.
pub fn wish(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let text = |value: &HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes());
        text.map(str::to_owned).map_err(|_| ApiError::bad_request("an Impersonate- header is not text"))
    };
    let one = |name| headers.get(name).map(text).transpose().map(Option::unwrap_or_default);
    let mut wish = User { name: one(USER)?, uid: one(UID)?, ..User::default() };
    wish.groups = headers.get_all(GROUP).iter().map(text).collect::<Result<_, _>>()?;
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) else { continue };
        // Header names have few letters: others are written as in URLs. What cannot be read stays as it is.
        let key = percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.into_owned());
        let values = headers.get_all(name).iter().map(text).collect::<Result<Vec<_>, _>>()?;
        wish.extra.entry(key).or_default().extend(values);
    }
    let is_named = !wish.name.is_empty();
    let has_more = !wish.uid.is_empty() || !wish.groups.is_empty() || !wish.extra.is_empty();
    match (is_named, has_more) {
        (true, _) => Ok(Some(wish)),
        (false, false) => Ok(None),
        (false, true) => Err(ApiError::bad_request("requested impersonation without impersonating a user name")),
    }
}

/// Whether a request has such headers.
pub fn is_wished(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("impersonate-"))
}

/// One way of becoming another: all of it must be allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// `None`: the old verb, for whatever the request does.
    constrained: Option<&'static str>,
    /// On which the verb must be allowed.
    pub checks: Vec<Target>,
    /// What is never allowed in this way: on what, and why.
    pub never: Option<(Target, String)>,
    /// Whom the request then counts as.
    pub user: User,
}

impl Mode {
    /// What must be allowed on whom.
    pub fn verb(&self) -> String {
        self.constrained.map_or_else(|| "impersonate".to_owned(), |mode| format!("impersonate:{mode}"))
    }
    /// What must be allowed on that which the request itself is about; `None`: nothing.
    pub fn verb_on(&self, verb: &str) -> Option<String> {
        Some(format!("impersonate-on:{}:{verb}", self.constrained?))
    }
}

/// The ways in which `sender` may become the one he wishes to be, in the order of trying.
pub fn modes(wish: &User, sender: &User) -> Vec<Mode> {
    let only_named = wish.uid.is_empty() && wish.groups.is_empty() && wish.extra.is_empty();
    let node = wish.name.strip_prefix(NODE_PREFIX).filter(|name| names::is_dns1123_subdomain(name));
    let account = account::split_user_name(&wish.name);
    let mut modes = Vec::new();
    match (node, account) {
        (Some(node), _) if only_named => {
            let as_node = |name: &str, mode| {
                let user = with_everybody(User { groups: vec![NODES_GROUP.into()], ..wish.clone() });
                let checks = vec![on(AUTHENTICATION, "nodes", name)];
                Mode { constrained: Some(mode), checks, never: None, user }
            };
            if is_on_node(sender, node) {
                // An agent of all nodes has one right, whichever node it is on.
                modes.push(as_node("*", "associated-node"));
            }
            modes.push(as_node(node, "arbitrary-node"));
        }
        (None, Some(account)) if only_named => modes.push(as_account(wish, account, AUTHENTICATION, "serviceaccount")),
        (None, None) => modes.push(as_anybody(wish)),
        _ => {}
    }
    modes.push(as_before(wish, account));
    modes
}

/// A service account whose token tells that its pod is on the node.
fn is_on_node(sender: &User, node: &str) -> bool {
    let told = sender.extra.get(NODE_NAME).map(Vec::as_slice);
    account::split_user_name(&sender.name).is_some() && matches!(told, Some([name]) if name == node)
}

fn on(group: &str, resource: &str, name: &str) -> Target {
    Target {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        name: name.into(),
        ..Target::default()
    }
}

fn as_account(wish: &User, (namespace, name): (&str, &str), group: &str, mode: &'static str) -> Mode {
    let check = Target { namespace: namespace.into(), ..on(group, "serviceaccounts", name) };
    let user = with_everybody(User { groups: account::groups(namespace), ..wish.clone() });
    Mode { constrained: Some(mode), checks: vec![check], never: None, user }
}

fn as_anybody(wish: &User) -> Mode {
    let mut checks = vec![on(AUTHENTICATION, "users", &wish.name)];
    checks.extend(rest_of(wish, AUTHENTICATION));
    let user = with_everybody(wish.clone());
    Mode { constrained: Some("user-info"), checks, never: never_as_anybody(wish), user }
}

fn never_as_anybody(wish: &User) -> Option<(Target, String)> {
    let group = |name: &str, why: &str| Some((on(AUTHENTICATION, "groups", name), why.to_owned()));
    if wish.groups.iter().any(String::is_empty) {
        return group("", "impersonating the empty string group is not allowed");
    }
    if wish.in_group(MASTERS_GROUP) {
        return group(MASTERS_GROUP, "impersonating the system:masters group is not allowed");
    }
    let why = wish.extra.iter().find_map(|(key, values)| bad_extra(key, values))?;
    Some((on(AUTHENTICATION, "userextras", ""), why))
}

fn bad_extra(key: &str, values: &[String]) -> Option<String> {
    let (domain, path) = key.split_once('/').unwrap_or((key, ""));
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if key.is_empty() {
        Some("impersonating the empty string key in extra is not allowed".into())
    } else if !names::is_dns1123_subdomain(domain) || path.is_empty() || !path.bytes().all(is_path) {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        Some(format!("impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: {why}"))
    } else if key != key.to_lowercase() {
        Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"))
    } else if values.iter().any(String::is_empty) {
        Some("impersonating the empty string value in extra is not allowed".into())
    } else {
        None
    }
}

/// With the verb `impersonate`, as it has always been.
fn as_before(wish: &User, account: Option<(&str, &str)>) -> Mode {
    let (first, groups) = match account {
        Some((namespace, name)) => {
            let check = Target { namespace: namespace.into(), ..on("", "serviceaccounts", name) };
            (check, if wish.groups.is_empty() { account::groups(namespace) } else { wish.groups.clone() })
        }
        None => (on("", "users", &wish.name), wish.groups.clone()),
    };
    let mut checks = vec![first];
    checks.extend(rest_of(wish, ""));
    let user = with_everybody(User { groups, ..wish.clone() });
    Mode { constrained: None, checks, never: None, user }
}

/// The uid, the groups and the rest of whom is wished for. `group`: the API group that groups count to.
fn rest_of(wish: &User, group: &str) -> Vec<Target> {
    let uid = Some(&wish.uid).filter(|uid| !uid.is_empty()).map(|uid| on(AUTHENTICATION, "uids", uid));
    let named: BTreeSet<&String> = wish.groups.iter().collect();
    let groups = named.into_iter().map(|name| on(group, "groups", name));
    let extra = |(key, values): (&String, &Vec<String>)| {
        let one = |value: &String| Target { subresource: key.clone(), ..on(AUTHENTICATION, "userextras", value) };
        values.iter().map(one).collect::<Vec<_>>()
    };
    let extras: &BTreeMap<String, Vec<String>> = &wish.extra;
    uid.into_iter().chain(groups).chain(extras.iter().flat_map(extra)).collect()
}

/// Everybody is authenticated, or not: one of the two groups is his.
fn with_everybody(mut user: User) -> User {
    let group = match user.name.as_str() {
        ANONYMOUS => UNAUTHENTICATED_GROUP,
        _ if user.in_group(UNAUTHENTICATED_GROUP) => return user,
        _ => AUTHENTICATED_GROUP,
    };
    if !user.in_group(group) {
        user.groups.push(group.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn whom_headers_name() {
        let named = |lines: &[&str]| wish(&headers(lines)).map_err(|err| err.code());
        let jane = User { name: "jane".into(), ..User::default() };
        assert_eq!(named(&["accept: */*"]), Ok(None));
        assert_eq!(named(&["Impersonate-User: jane"]), Ok(Some(jane.clone())));
        let whole = named(&[
            "Impersonate-User: jane",
            "Impersonate-Group: dev",
            "Impersonate-Group: ops",
            "Impersonate-Uid: 7",
            "Impersonate-Extra-acme.com%2Fproject: a",
            "Impersonate-Extra-acme.com%2Fproject: b",
            "Impersonate-Extra-Odd%zz: c",
        ]);
        let extra = [("acme.com/project", vec!["a", "b"]), ("odd%zz", vec!["c"])];
        let extra = extra.into_iter().map(|(k, v)| (k.to_owned(), v.into_iter().map(str::to_owned).collect()));
        let groups = vec!["dev".to_owned(), "ops".to_owned()];
        assert_eq!(whole, Ok(Some(User { uid: "7".into(), groups, extra: extra.collect(), ..jane })));
        for line in ["Impersonate-Group: dev", "Impersonate-Uid: 7", "Impersonate-Extra-a: b"] {
            assert_eq!(named(&[line]), Err(400), "{line}");
        }
        let mut no_text = HeaderMap::new();
        no_text.insert(USER, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(wish(&no_text).map_err(|err| err.code()), Err(400));
    }

    /// `verb group/resource[/subresource] [namespace/]name`, for each check of each mode, and whom it leads to.
    fn ways(wish: &User, sender: &User) -> Vec<String> {
        let shown = |target: &Target| {
            let sub = if target.subresource.is_empty() { String::new() } else { format!("/{}", target.subresource) };
            let at = if target.namespace.is_empty() { String::new() } else { format!("{}/", target.namespace) };
            format!("{}/{}{sub} {at}{}", target.group, target.resource, target.name)
        };
        let line = |mode: &Mode| {
            let checks: Vec<String> = mode.checks.iter().map(shown).collect();
            let never = mode.never.as_ref().map(|(_, why)| format!(" never: {why}")).unwrap_or_default();
            format!("{} {} -> {}{never}", mode.verb(), checks.join(", "), mode.user.groups.join(" "))
        };
        modes(wish, sender).iter().map(line).collect()
    }

    #[test]
    fn what_must_be_allowed() {
        let sender = User { name: "bob".into(), ..User::default() };
        let named = |name: &str, groups: &[&str]| User {
            name: name.into(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..User::default()
        };
        let a = "authentication.k8s.io";
        assert_eq!(
            ways(&named("jane", &[]), &sender),
            [
                format!("impersonate:user-info {a}/users jane -> system:authenticated"),
                "impersonate /users jane -> system:authenticated".to_owned(),
            ]
        );
        let mut whole = named("jane", &["dev", "dev"]);
        whole.uid = "7".into();
        whole.extra = [("acme.com/p".to_owned(), vec!["x".to_owned()])].into();
        assert_eq!(
            ways(&whole, &sender),
            [
                format!(
                    "impersonate:user-info {a}/users jane, {a}/uids 7, {a}/groups dev, {a}/userextras/acme.com/p x -> dev dev system:authenticated"
                ),
                format!(
                    "impersonate /users jane, {a}/uids 7, /groups dev, {a}/userextras/acme.com/p x -> dev dev system:authenticated"
                ),
            ]
        );
        assert_eq!(
            ways(&named("system:serviceaccount:ns:sa", &[]), &sender),
            [
                format!(
                    "impersonate:serviceaccount {a}/serviceaccounts ns/sa -> system:serviceaccounts system:serviceaccounts:ns system:authenticated"
                ),
                "impersonate /serviceaccounts ns/sa -> system:serviceaccounts system:serviceaccounts:ns system:authenticated"
                    .to_owned(),
            ]
        );
        assert_eq!(
            ways(&named("system:serviceaccount:ns:sa", &["dev"]), &sender),
            ["impersonate /serviceaccounts ns/sa, /groups dev -> dev system:authenticated"]
        );
        assert_eq!(
            ways(&named("system:node:n1", &[]), &sender),
            [
                format!("impersonate:arbitrary-node {a}/nodes n1 -> system:nodes system:authenticated"),
                "impersonate /users system:node:n1 -> system:authenticated".to_owned(),
            ]
        );
        let told = [(NODE_NAME.to_owned(), vec!["n1".to_owned()])].into();
        let agent = User { name: "system:serviceaccount:ns:agent".into(), extra: told, ..User::default() };
        assert_eq!(
            ways(&named("system:node:n1", &[]), &agent)[0],
            format!("impersonate:associated-node {a}/nodes * -> system:nodes system:authenticated")
        );
        assert_eq!(ways(&named("system:node:n2", &[]), &agent).len(), 2, "of its own node alone");
        let told = [(NODE_NAME.to_owned(), vec!["n1".to_owned()])].into();
        assert_eq!(ways(&named("system:node:n1", &[]), &User { extra: told, ..sender.clone() }).len(), 2, "no account");
    }

    #[test]
    fn groups_of_everybody_and_what_no_mode_allows() {
        let sender = User::default();
        let groups = |name: &str, groups: &[&str]| {
            let groups = groups.iter().map(|g| (*g).to_owned()).collect();
            modes(&User { name: name.into(), groups, ..User::default() }, &sender).pop().unwrap().user.groups.join(" ")
        };
        assert_eq!(groups(ANONYMOUS, &[]), "system:unauthenticated");
        assert_eq!(groups(ANONYMOUS, &["system:unauthenticated"]), "system:unauthenticated");
        assert_eq!(groups("jane", &["system:unauthenticated"]), "system:unauthenticated");
        assert_eq!(groups("jane", &["system:authenticated"]), "system:authenticated");
        let never = |wish: User| modes(&wish, &sender)[0].never.clone().map(|(_, why)| why).unwrap_or_default();
        let jane = || User { name: "jane".into(), ..User::default() };
        let with = |key: &str, value: &str| User { extra: [(key.to_owned(), vec![value.to_owned()])].into(), ..jane() };
        for (wish, expected) in [
            (jane(), ""),
            (
                User { groups: vec![MASTERS_GROUP.into()], ..jane() },
                "impersonating the system:masters group is not allowed",
            ),
            (User { groups: vec![String::new()], ..jane() }, "impersonating the empty string group is not allowed"),
            (with("acme.com/p", "x"), ""),
            (with("acme.com/p", ""), "impersonating the empty string value in extra is not allowed"),
            (with("", "x"), "impersonating the empty string key in extra is not allowed"),
            (with("acme.com/P", "x"), "impersonating a non-lowercase key in extra is not allowed: \"acme.com/P\""),
        ] {
            assert_eq!(never(wish), expected);
        }
        assert!(never(with("p", "x")).starts_with("impersonating an invalid key in extra is not allowed"));
    }
}
