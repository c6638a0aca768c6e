//! Which flow a request belongs to: the first flow schema, by precedence, that matches who asks for what.

use super::configuration::{
    CATCH_ALL, Configuration, Distinguisher, FlowSchema, NonResourceRule, PolicyRules, ResourceRule, Subject,
};
use crate::authn::account::USER_PREFIX;
use crate::authz::Attributes;
use crate::request::User;

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow<'a> {
    /// The index of its schema.
    pub(super) schema: usize,
    /// What tells it from other flows of the schema; empty where all are one.
    pub(super) distinguisher: &'a str,
}

/// Every request has a flow: what no schema matches goes where catch-all says.
pub(super) fn classify<'a>(configuration: &Configuration, user: &'a User, asked: Attributes<'a>) -> Flow<'a> {
    let schemas = configuration.schemas();
    let matching = schemas.iter().position(|s| matches(s, user, asked));
    let index = matching.or_else(|| schemas.iter().position(|s| &*s.name == CATCH_ALL)).unwrap_or(0);
    let distinguisher = match schemas.get(index).and_then(|s| s.distinguisher) {
        None => "",
        Some(Distinguisher::ByUser) => user.name.as_str(),
        Some(Distinguisher::ByNamespace) => match asked {
            Attributes::Resource { target, .. } => target.namespace.as_str(),
            Attributes::Path { .. } => "",
        },
    };
    Flow { schema: index, distinguisher }
}

fn matches(schema: &FlowSchema, user: &User, asked: Attributes<'_>) -> bool {
    schema.rules.iter().any(|rules| rules_hold(rules, user, asked))
}

fn rules_hold(rules: &PolicyRules, user: &User, asked: Attributes<'_>) -> bool {
    rules.subjects.iter().any(|s| is_subject(s, user))
        && match asked {
            Attributes::Resource { .. } => rules.resource_rules.iter().any(|r| resource_holds(r, asked)),
            Attributes::Path { verb, path } => rules.non_resource_rules.iter().any(|r| path_holds(r, verb, path)),
        }
}

fn is_subject(subject: &Subject, user: &User) -> bool {
    match subject {
        Subject::User(name) => name == "*" || *name == user.name,
        Subject::Group(name) => name == "*" || user.in_group(name),
        Subject::ServiceAccount { namespace, name } => {
            let account = user.name.strip_prefix(USER_PREFIX).and_then(|rest| rest.split_once(':'));
            account.is_some_and(|(ns, is)| ns == namespace && (name == "*" || name == is))
        }
    }
}

fn resource_holds(rule: &ResourceRule, asked: Attributes<'_>) -> bool {
    let Attributes::Resource { verb, target } = asked else { return false };
    let resource_is = |wanted: &str| match wanted.split_once('/') {
        None => target.subresource.is_empty() && wanted == target.resource,
        Some((resource, subresource)) => resource == target.resource && subresource == target.subresource,
    };
    let has_resource = matches!(rule.resources.as_slice(), [all] if all == "*");
    contains(&rule.verbs, verb)
        && (has_resource || rule.resources.iter().any(|r| resource_is(r)))
        && contains(&rule.api_groups, &target.group)
        && if target.namespace.is_empty() { rule.cluster_scope } else { contains(&rule.namespaces, &target.namespace) }
}

fn path_holds(rule: &NonResourceRule, verb: &str, path: &str) -> bool {
    let is_below = |url: &str| {
        let prefix = url.strip_suffix('*').unwrap_or(url);
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
    };
    contains(&rule.verbs, verb) && rule.urls.iter().any(|url| url == "*" || url == path || is_below(url))
}

/// `*` alone stands for all.
fn contains(list: &[String], one: &str) -> bool {
    matches!(list, [all] if all == "*") || list.iter().any(|x| x == one)
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap::configuration;
    use super::*;
    use crate::request::Target;

    fn target(text: &str) -> Target {
        let mut parts = text.split(' ');
        let (what, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut parts = what.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (group, resource, subresource) = (next(), next(), next());
        Target { group, resource, subresource, namespace: namespace.into(), version: "v1".into(), name: String::new() }
    }

    /// `asked`: `path /…`, or `group/resource[/subresource] [namespace]`; the answer: schema, level, distinguisher.
    #[test]
    fn every_request_has_its_flow() {
        const NODE: (&str, &[&str]) = ("system:node:n1", &["system:nodes"]);
        const ADMIN: (&str, &[&str]) = ("kubernetes-admin", &["system:masters"]);
        const MANAGER: (&str, &[&str]) = ("system:kube-controller-manager", &[]);
        const SCHEDULER: (&str, &[&str]) = ("system:kube-scheduler", &[]);
        const PROXY: (&str, &[&str]) = ("system:kube-proxy:n1", &["system:node-proxiers"]);
        const DNS: (&str, &[&str]) = ("system:serviceaccount:kube-system:dns", &["system:serviceaccounts"]);
        const ROBOT: (&str, &[&str]) = ("system:serviceaccount:prod:robot", &["system:serviceaccounts"]);
        const ODD: (&str, &[&str]) = ("system:serviceaccount:kube-system-2:x", &["system:serviceaccounts"]);
        const JANE: (&str, &[&str]) = ("jane", &[]);
        const NOBODY: (&str, &[&str]) = ("system:anonymous", &["system:unauthenticated"]);
        let cases = [
            (ADMIN, "delete", "apps/deployments prod", "exempt exempt "),
            (ADMIN, "get", "path /metrics", "exempt exempt "),
            (NOBODY, "get", "path /healthz", "probes exempt "),
            (NOBODY, "get", "path /readyz/etcd", "probes exempt "),
            (NOBODY, "get", "path /healthzx", "global-default global-default system:anonymous"),
            (NOBODY, "post", "path /healthz", "global-default global-default system:anonymous"),
            (
                SCHEDULER,
                "update",
                "coordination.k8s.io/leases kube-system",
                "system-leader-election leader-election system:kube-scheduler",
            ),
            (
                MANAGER,
                "get",
                "coordination.k8s.io/leases kube-system",
                "system-leader-election leader-election system:kube-controller-manager",
            ),
            (MANAGER, "list", "coordination.k8s.io/leases", "kube-controller-manager workload-high "),
            (NODE, "update", "coordination.k8s.io/leases kube-node-lease", "system-node-high node-high system:node:n1"),
            (NODE, "patch", "/nodes/status", "system-node-high node-high system:node:n1"),
            (NODE, "patch", "/pods/status prod", "system-nodes system system:node:n1"),
            (NODE, "get", "path /version", "system-nodes system system:node:n1"),
            (MANAGER, "create", "/pods prod", "kube-controller-manager workload-high prod"),
            (SCHEDULER, "create", "/pods/binding prod", "kube-scheduler workload-high prod"),
            (PROXY, "watch", "discovery.k8s.io/endpointslices", "kube-proxy workload-high system:kube-proxy:n1"),
            (DNS, "list", "/services", "kube-system-service-accounts workload-high "),
            (ROBOT, "list", "/pods prod", "service-accounts workload-low system:serviceaccount:prod:robot"),
            (ODD, "list", "/pods prod", "service-accounts workload-low system:serviceaccount:kube-system-2:x"),
            (JANE, "create", "/pods prod", "global-default global-default jane"),
        ];
        let configuration = configuration();
        for ((name, groups), verb, asked, expected) in cases {
            let known = if name == "system:anonymous" { None } else { Some("system:authenticated") };
            let groups = groups.iter().copied().chain(known).map(str::to_owned).collect();
            let user = User { name: name.into(), groups, ..User::default() };
            let target = target(asked);
            let attributes = match asked.strip_prefix("path ") {
                Some(path) => Attributes::Path { verb, path },
                None => Attributes::Resource { verb, target: &target },
            };
            let flow = classify(&configuration, &user, attributes);
            let schema = &configuration.schemas()[flow.schema];
            let have = format!("{} {} {}", schema.name, schema.priority_level, flow.distinguisher);
            assert_eq!(have, expected, "{name} {verb} {asked}");
        }
    }

    #[test]
    fn who_matches_nothing_is_caught() {
        let user = User { name: "ghost".into(), ..User::default() };
        let configuration = configuration();
        let flow = classify(&configuration, &user, Attributes::Path { verb: "get", path: "/x" });
        assert_eq!(&*configuration.schemas()[flow.schema].name, "catch-all");
        assert_eq!(flow.distinguisher, "ghost");
    }
}
