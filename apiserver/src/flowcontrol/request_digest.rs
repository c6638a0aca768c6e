//! What is remembered of a request while it is here, for those who look at the queues.

use std::sync::Arc;

use crate::authz::Attributes;
use crate::request::{Target, User};

/// One for each request; its size is bounded by the request's own head.
#[derive(Debug)]
pub(super) struct RequestDigest {
    pub(super) schema: Arc<str>,
    /// What tells its flow from others of its schema; empty where all are one.
    pub(super) distinguisher: String,
    pub(super) user: String,
    pub(super) verb: String,
    pub(super) about: About,
}

#[derive(Debug)]
pub(super) enum About {
    Resource(Target),
    Path(String),
}

impl RequestDigest {
    pub(super) fn new(schema: &Arc<str>, distinguisher: &str, user: &User, asked: Attributes<'_>) -> Self {
        let (verb, about) = match asked {
            Attributes::Resource { verb, target } => (verb, About::Resource(target.clone())),
            Attributes::Path { verb, path } => (verb, About::Path(path.to_owned())),
        };
        let distinguisher = distinguisher.to_owned();
        Self { schema: schema.clone(), distinguisher, user: user.name.clone(), verb: verb.to_owned(), about }
    }
}

impl About {
    /// The path that leads there.
    pub(super) fn path(&self) -> String {
        let target = match self {
            Self::Path(path) => return path.clone(),
            Self::Resource(target) => target,
        };
        let mut path = match target.group.as_str() {
            "" => format!("/api/{}", target.version),
            group => format!("/apis/{group}/{}", target.version),
        };
        if !target.namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(&target.namespace);
        }
        for part in [&target.resource, &target.name, &target.subresource] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            (["", "v1", "pods", "ns", "web", "status"], "/api/v1/namespaces/ns/pods/web/status"),
            (["apps", "v1", "deployments", "", "", ""], "/apis/apps/v1/deployments"),
            (["", "v1", "nodes", "", "n1", ""], "/api/v1/nodes/n1"),
        ];
        for ([group, version, resource, namespace, name, subresource], expected) in cases {
            let target = Target {
                group: group.into(),
                version: version.into(),
                resource: resource.into(),
                subresource: subresource.into(),
                namespace: namespace.into(),
                name: name.into(),
            };
            assert_eq!(About::Resource(target).path(), expected);
        }
        assert_eq!(About::Path("/version".into()).path(), "/version");
    }
}
