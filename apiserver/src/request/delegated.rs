//! Requests below a group version that another server answers for: read as upstream reads them for roles, whatever the other server
//! makes of the rest of the path and of the method.

use http::Method;

use super::Target;

/// Verbs of long requests, and subresources that are such.
const LONG_VERB: &str = "proxy";
const LONG_SUBRESOURCES: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// What roles are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Resource(Target),
    /// The group version itself.
    Path(String),
}

/// A request for another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegated {
    /// As roles name it; of a path the method in lower case; empty where there is no word for it.
    pub verb: &'static str,
    pub about: About,
    /// What roles are asked about is read of it, and it is what goes on: decoded once, so that no other server reads it otherwise.
    pub path: String,
    /// Whether it is one of many objects by its field selector, if that names one.
    pub reads_selector: bool,
}

impl Delegated {
    /// Whether it lasts as long as its client likes, and is no watch.
    pub fn is_long(&self) -> bool {
        match &self.about {
            About::Resource(target) => {
                self.verb == LONG_VERB || LONG_SUBRESOURCES.contains(&target.subresource.as_str())
            }
            About::Path(_) => false,
        }
    }
}

/// The group and version that a path lies below, or that it names; the path has been decoded. `None` for all that is below no
/// group's.
pub fn group_version(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.trim_start_matches('/').split('/');
    if parts.next()? != "apis" {
        return None;
    }
    let (group, version) = (parts.next()?, parts.next()?);
    if group.is_empty() || version.is_empty() {
        return None;
    }
    Some((group, version))
}

/// `path`: one that [`group_version`] reads. `watch`: the query option of that name.
pub fn parse(method: &Method, path: String, watch: bool) -> Option<Delegated> {
    let trimmed = path.trim_matches('/');
    let mut parts = trimmed.split('/').skip(1);
    let (group, version) = (parts.next()?, parts.next()?);
    let rest: Vec<&str> = parts.collect();
    let by_method = verb(method);
    if rest.is_empty() {
        let about = About::Path(format!("/{trimmed}"));
        return Some(Delegated { verb: of_path(method), about, path, reads_selector: false });
    }
    let (special, rest) = match rest.as_slice() {
        [word @ ("watch" | "proxy"), rest @ ..] if !rest.is_empty() => {
            (Some(if *word == "watch" { "watch" } else { LONG_VERB }), rest)
        }
        _ => (None, rest.as_slice()),
    };
    let (namespace, parts) = match rest {
        ["namespaces", namespace, inside @ ..] if !matches!(inside, [] | ["status" | "finalize", ..]) => {
            (*namespace, inside)
        }
        ["namespaces", namespace, ..] => (*namespace, rest),
        _ => ("", rest),
    };
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    let is_proxied = special == Some(LONG_VERB);
    let target = Target {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: part(0),
        name: part(1),
        // Of what is behind a proxy there is none.
        subresource: if is_proxied { String::new() } else { part(2) },
        namespace: namespace.to_owned(),
    };
    let verb = special.unwrap_or(match (by_method, target.name.is_empty()) {
        ("get", true) if watch => "watch",
        ("get", true) => "list",
        ("delete", true) => "deletecollection",
        (verb, _) => verb,
    });
    let reads_selector = special.is_none() && matches!(verb, "list" | "watch");
    Some(Delegated { verb, about: About::Resource(target), path, reads_selector })
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn of_path(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let (method, path) = line.split_once(' ').unwrap();
        let (path, watch) = path.strip_suffix("?watch=1").map_or((path, false), |path| (path, true));
        let Some(found) = parse(&method.parse().unwrap(), path.to_owned(), watch) else { return "none".into() };
        let long = if found.is_long() { " long" } else { "" };
        let selects = if found.reads_selector { " selects" } else { "" };
        match found.about {
            About::Path(path) => format!("{} {path}", found.verb),
            About::Resource(t) => format!(
                "{} {}/{}/{}/{} ns={} name={}{long}{selects}",
                found.verb, t.group, t.version, t.resource, t.subresource, t.namespace, t.name
            ),
        }
    }

    #[test]
    fn what_roles_are_asked_about() {
        let cases = [
            ("GET /apis/a.b/v1", "get /apis/a.b/v1"),
            ("HEAD /apis/a.b/v1/", "head /apis/a.b/v1"),
            ("OPTIONS /apis/a.b/v1", "options /apis/a.b/v1"),
            ("GET /apis/a.b/v1/tabs", "list a.b/v1/tabs/ ns= name= selects"),
            ("GET /apis/a.b/v1/tabs?watch=1", "watch a.b/v1/tabs/ ns= name= selects"),
            ("GET /apis/a.b/v1/watch/tabs", "watch a.b/v1/tabs/ ns= name="),
            ("GET /apis/a.b/v1/tabs/x?watch=1", "get a.b/v1/tabs/ ns= name=x"),
            ("GET /apis/a.b/v1/watch/namespaces/n/tabs/x", "watch a.b/v1/tabs/ ns=n name=x"),
            ("GET /apis/a.b/v1/watch", "list a.b/v1/watch/ ns= name= selects"),
            ("POST /apis/a.b/v1/namespaces/n/tabs", "create a.b/v1/tabs/ ns=n name="),
            ("PUT /apis/a.b/v1/namespaces/n/tabs/x/status", "update a.b/v1/tabs/status ns=n name=x"),
            ("GET /apis/a.b/v1/namespaces/n/tabs/x/exec", "get a.b/v1/tabs/exec ns=n name=x long"),
            ("GET /apis/a.b/v1/namespaces/n/tabs/x/sub/more/still", "get a.b/v1/tabs/sub ns=n name=x"),
            ("DELETE /apis/a.b/v1/namespaces/n/tabs", "deletecollection a.b/v1/tabs/ ns=n name="),
            ("DELETE /apis/a.b/v1/namespaces/n/tabs/x", "delete a.b/v1/tabs/ ns=n name=x"),
            ("PATCH /apis/a.b/v1/namespaces/n", "patch a.b/v1/namespaces/ ns=n name=n"),
            ("PUT /apis/a.b/v1/namespaces/n/finalize", "update a.b/v1/namespaces/finalize ns=n name=n"),
            ("GET /apis/a.b/v1/proxy/tabs/x/y/z", "proxy a.b/v1/tabs/ ns= name=x long"),
            ("OPTIONS /apis/a.b/v1/tabs", " a.b/v1/tabs/ ns= name="),
            ("GET /apis/a.b/v1/tabs//x", "list a.b/v1/tabs/x ns= name= selects"),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn which_group_version_a_path_lies_below() {
        let read = |path| group_version(path).map(|(group, version)| format!("{group} {version}"));
        for (path, expected) in [
            ("/apis/a.b/v1", Some("a.b v1")),
            ("/apis/a.b/v1/", Some("a.b v1")),
            ("/apis/a.b/v1/tabs/x", Some("a.b v1")),
            ("/apis/a.b", None),
            ("/apis/a.b/", None),
            ("/apis//v1", None),
            ("/api/v1/pods", None),
            ("/", None),
        ] {
            assert_eq!(read(path).as_deref(), expected, "{path}");
        }
    }
}
