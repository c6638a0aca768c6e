//! What a request asks, read from its method and path, and who asks it: the same for REST and gRPC.
//!
//! Shape: <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#request-attributes>.

pub mod delegated;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Method;
use percent_encoding::percent_decode_str;

/// Who asks, once authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    /// What else is known of him, by keys such as `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// The address that a request came from: stands in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
    /// Whether the request can change state.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// What a resource request is about. Empty strings where a part is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub group: String,
    pub version: String,
    /// The plural.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

/// A method and a path, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Resource {
        verb: Verb,
        target: Target,
    },
    /// What is behind a pod, a Service or a node: `/api/v1/namespaces/x/services/web:80/proxy/a/b`.
    Proxied {
        /// As authorization names it; empty for OPTIONS, for which it has no word.
        verb: &'static str,
        target: Target,
        /// Decoded, with a slash before it; empty where the request's path ends in `proxy`.
        path: String,
    },
    /// Discovery, health, metrics, OpenAPI: anything that is not below a group and version. The path is decoded and
    /// has no trailing slash, except for `/` itself.
    Path(String),
}

/// Why a request line makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the path is not UTF-8 once its escapes are decoded")]
    NotUtf8,
    #[error("the server does not allow this method on the requested resource")]
    Method,
    #[error("the server could not find the requested resource")]
    NoSuchPath,
}

/// Below a name, at most this: `pods/web/log`.
const SUBRESOURCE_DEPTH: usize = 1;

/// Reads method, path and the two query options that choose the verb. `watch` is the query option of that name.
pub fn parse(method: &Method, path: &str, watch: bool) -> Result<Asked, RequestError> {
    let path = if path.contains('%') {
        percent_decode_str(path).decode_utf8().map_err(|_| RequestError::NotUtf8)?
    } else {
        Cow::Borrowed(path)
    };
    let mut parts = path.trim_matches('/').split('/');
    let (group, version) = match (parts.next(), parts.next()) {
        (Some("api"), Some(version)) => ("", version),
        (Some("apis"), Some(group)) => match parts.next() {
            Some(version) => (group, version),
            None => return Ok(plain(&path)),
        },
        _ => return Ok(plain(&path)),
    };
    let rest: Vec<&str> = parts.collect();
    if rest.is_empty() {
        return Ok(plain(&path));
    }
    if let Some((target, behind)) = proxied(group, version, &rest) {
        let slash = if path.ends_with('/') { "/" } else { "" };
        let path = if behind.is_empty() { slash.to_owned() } else { format!("/{}{slash}", behind.join("/")) };
        return Ok(Asked::Proxied { verb: proxied_verb(method)?, target, path });
    }
    if rest.iter().any(|part| part.is_empty()) {
        return Err(RequestError::NoSuchPath);
    }
    // The old way to ask for a watch, of many or of one: /api/v1/watch/pods, /api/v1/watch/namespaces/x/pods/web.
    if let ["watch", watched @ ..] = rest.as_slice()
        && !watched.is_empty()
    {
        let target = target_of(group, version, watched)?;
        return match method.as_str() {
            _ if !target.subresource.is_empty() => Err(RequestError::NoSuchPath),
            "GET" | "HEAD" => Ok(Asked::Resource { verb: Verb::Watch, target }),
            _ => Err(RequestError::Method),
        };
    }
    let target = target_of(group, version, &rest)?;
    let verb = verb_of(method, !target.name.is_empty(), watch)?;
    Ok(Asked::Resource { verb, target })
}

/// What is asked of something behind the server, and of what: the rest of the path is none of ours.
fn proxied<'p>(group: &str, version: &str, rest: &'p [&'p str]) -> Option<(Target, &'p [&'p str])> {
    let (namespace, resource, name, behind) = match rest {
        ["namespaces", namespace, resource @ ("pods" | "services"), name, "proxy", behind @ ..] => {
            (*namespace, *resource, *name, behind)
        }
        ["nodes", name, "proxy", behind @ ..] => ("", "nodes", *name, behind),
        _ => return None,
    };
    if (group, version) != ("", "v1") || name.is_empty() || (namespace.is_empty() && resource != "nodes") {
        return None;
    }
    let target = Target {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        subresource: "proxy".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Some((target, behind))
}

fn proxied_verb(method: &Method) -> Result<&'static str, RequestError> {
    Ok(match method.as_str() {
        "GET" | "HEAD" => Verb::Get.as_str(),
        "POST" => Verb::Create.as_str(),
        "PUT" => Verb::Update.as_str(),
        "PATCH" => Verb::Patch.as_str(),
        "DELETE" => Verb::Delete.as_str(),
        "OPTIONS" => "",
        _ => return Err(RequestError::Method),
    })
}

fn plain(path: &str) -> Asked {
    let trimmed = path.trim_end_matches('/');
    Asked::Path(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

fn target_of(group: &str, version: &str, rest: &[&str]) -> Result<Target, RequestError> {
    let (namespace, rest) = match rest {
        // A Namespace and its own subresources, and what is inside a namespace, share a prefix.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, inside @ ..] if !inside.is_empty() => (*namespace, inside),
        _ => ("", rest),
    };
    let (resource, rest) = rest.split_first().ok_or(RequestError::NoSuchPath)?;
    let (name, below) = rest.split_first().map_or(("", rest), |(name, below)| (*name, below));
    if below.len() > SUBRESOURCE_DEPTH {
        return Err(RequestError::NoSuchPath);
    }
    Ok(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: (*resource).to_owned(),
        subresource: below.first().copied().unwrap_or_default().to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn verb_of(method: &Method, named: bool, watch: bool) -> Result<Verb, RequestError> {
    Ok(match (method.as_str(), named) {
        ("GET" | "HEAD", true) => Verb::Get,
        ("GET" | "HEAD", false) if watch => Verb::Watch,
        ("GET" | "HEAD", false) => Verb::List,
        ("POST", _) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return Err(RequestError::Method),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb group/version/resource/subresource ns=… name=…`, or the plain path, or the error.
    fn read(line: &str) -> String {
        let (method, path) = line.split_once(' ').unwrap();
        let (path, watch) = path.strip_suffix("?watch=1").map_or((path, false), |p| (p, true));
        match parse(&method.parse().unwrap(), path, watch) {
            Ok(Asked::Resource { verb, target: t }) => format!(
                "{} {}/{}/{}/{} ns={} name={}",
                verb.as_str(),
                t.group,
                t.version,
                t.resource,
                t.subresource,
                t.namespace,
                t.name
            ),
            Ok(Asked::Proxied { verb, target: t, path }) => {
                format!("proxy {verb:?} {} ns={} name={} path={path}", t.resource, t.namespace, t.name)
            }
            Ok(Asked::Path(path)) => path,
            Err(err) => format!("{err:?}"),
        }
    }

    #[test]
    fn request_lines() {
        let cases = [
            ("GET /api/v1/pods", "list /v1/pods/ ns= name="),
            ("GET /api/v1/pods?watch=1", "watch /v1/pods/ ns= name="),
            ("GET /api/v1/watch/namespaces/x/pods", "watch /v1/pods/ ns=x name="),
            ("GET /api/v1/watch/namespaces/x/pods/web", "watch /v1/pods/ ns=x name=web"),
            ("GET /api/v1/watch/namespaces/x", "watch /v1/namespaces/ ns= name=x"),
            ("GET /api/v1/watch/nodes/n1", "watch /v1/nodes/ ns= name=n1"),
            ("GET /apis/apps/v1/watch/namespaces/x/deployments/d", "watch apps/v1/deployments/ ns=x name=d"),
            ("GET /api/v1/watch/namespaces/x/pods/web/log", "NoSuchPath"),
            ("DELETE /api/v1/watch/namespaces/x/pods/web", "Method"),
            ("GET /api/v1/watch", "list /v1/watch/ ns= name="),
            ("GET /api/v1/namespaces/x/pods/web", "get /v1/pods/ ns=x name=web"),
            ("GET /api/v1/namespaces/x/pods/web?watch=1", "get /v1/pods/ ns=x name=web"),
            ("GET /api/v1/namespaces/x/pods/web/log", "get /v1/pods/log ns=x name=web"),
            ("POST /api/v1/namespaces/x/pods/web/exec", "create /v1/pods/exec ns=x name=web"),
            ("POST /api/v1/namespaces/x/pods/", "create /v1/pods/ ns=x name="),
            ("GET /api/v1/namespaces/x", "get /v1/namespaces/ ns= name=x"),
            ("PUT /api/v1/namespaces/x/finalize", "update /v1/namespaces/finalize ns= name=x"),
            ("PATCH /api/v1/namespaces/x/status", "patch /v1/namespaces/status ns= name=x"),
            ("DELETE /apis/apps/v1/namespaces/x/deployments", "deletecollection apps/v1/deployments/ ns=x name="),
            ("DELETE /apis/apps/v1/namespaces/x/deployments/d", "delete apps/v1/deployments/ ns=x name=d"),
            ("GET /api/v1/namespaces/x/pods/a%20b", "get /v1/pods/ ns=x name=a b"),
            ("GET /api/v1/namespaces/x/pods/a%2Flog", "get /v1/pods/log ns=x name=a"),
            ("GET /api/v1/namespaces/x/pods/%FF", "NotUtf8"),
            ("GET /api/v1/namespaces//pods", "NoSuchPath"),
            ("GET /api/v1/namespaces/x/pods/a/b/c/d", "NoSuchPath"),
            ("GET /api/v1/namespaces/x/services/web:80/proxy/a/b", "proxy \"get\" services ns=x name=web:80 path=/a/b"),
            ("GET /api/v1/namespaces/x/services/web/proxy", "proxy \"get\" services ns=x name=web path="),
            ("HEAD /api/v1/namespaces/x/services/web/proxy/", "proxy \"get\" services ns=x name=web path=/"),
            (
                "POST /api/v1/namespaces/x/pods/https:web:443/proxy//a/../b/",
                "proxy \"create\" pods ns=x name=https:web:443 path=//a/../b/",
            ),
            ("PUT /api/v1/nodes/n1:10250/proxy/pods", "proxy \"update\" nodes ns= name=n1:10250 path=/pods"),
            ("DELETE /api/v1/nodes/n1/proxy/a%20b", "proxy \"delete\" nodes ns= name=n1 path=/a b"),
            ("OPTIONS /api/v1/nodes/n1/proxy", "proxy \"\" nodes ns= name=n1 path="),
            ("TRACE /api/v1/nodes/n1/proxy", "Method"),
            ("GET /api/v1/pods/web/proxy/a", "NoSuchPath"),
            ("GET /api/v1/namespaces/x/configmaps/c/proxy/a", "NoSuchPath"),
            ("GET /apis/apps/v1/namespaces/x/pods/c/proxy/a", "NoSuchPath"),
            ("GET /api/v1/proxy/namespaces/x/pods/c", "NoSuchPath"),
            ("PUT /api/v1/namespaces/x/pods", "Method"),
            ("OPTIONS /api/v1/pods", "Method"),
            ("GET /", "/"),
            ("GET /api", "/api"),
            ("GET /api/v1/", "/api/v1"),
            ("GET /apis/apps", "/apis/apps"),
            ("GET /apis/apps/v1", "/apis/apps/v1"),
            ("GET /healthz", "/healthz"),
            ("GET /healthz/etcd/", "/healthz/etcd"),
            ("GET /../etc/passwd", "/../etc/passwd"),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
