//! Whether one rule allows what is asked.

use corten_api::rbac::{ALL, Lists};
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::authz::Attributes;

pub fn allows(rule: &PolicyRule, asked: Attributes<'_>) -> bool {
    let rule = Lists::of(rule);
    match asked {
        Attributes::Path { verb, path } => has(rule.verbs, verb) && rule.urls.iter().any(|url| url_covers(url, path)),
        Attributes::Resource { verb, target } => {
            has(rule.verbs, verb)
                && has(rule.groups, &target.group)
                && rule.resources.iter().any(|own| resource_covers(own, &target.resource, &target.subresource))
                // A request without a name (list, create, deletecollection) is for all names.
                && (rule.names.is_empty() || rule.names.contains(&target.name))
        }
    }
}

fn has(list: &[String], one: &str) -> bool {
    list.iter().any(|own| own == ALL || own == one)
}

/// `*` stands for all resources and all their subresources, `*/scale` for this subresource of all, `pods` for pods without
/// their subresources.
fn resource_covers(own: &str, resource: &str, subresource: &str) -> bool {
    if own == ALL || (subresource.is_empty() && own == resource) {
        return true;
    }
    let of = own.strip_suffix(subresource).and_then(|own| own.strip_suffix('/'));
    !subresource.is_empty() && of.is_some_and(|of| of == ALL || of == resource)
}

/// A path as it is, or with `*` at its end: `/healthz/*` covers what is below `/healthz`, and not that itself.
pub(super) fn url_covers(own: &str, path: &str) -> bool {
    own == path || (own.ends_with('*') && path.starts_with(own.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::rbac::testing::{rule, target};

    #[test]
    fn a_rule_allows_what_it_lists() {
        let cases: [(&str, &str, &[&str], &[&str]); 10] = [
            ("a verb", "get on pods in core", &["get /pods n/web", "get /pods n/"], &["list /pods n/"]),
            ("all verbs", "* on pods in core", &["fly /pods n/web"], &["fly /nodes n1"]),
            ("a group", "get on things in a.io", &["get a.io/things x"], &["get b.io/things x", "get /things x"]),
            ("all groups", "get on things in *", &["get b.io/things x", "get /things x"], &["get b.io/others x"]),
            (
                "a resource is not its subresources",
                "get on pods in core",
                &["get /pods n/web"],
                &["get /pods/log n/web"],
            ),
            (
                "a subresource is not its resource",
                "get on pods/log in core",
                &["get /pods/log n/web"],
                &["get /pods n/web"],
            ),
            (
                "a subresource of all",
                "get on */scale in *",
                &["get apps/deployments/scale n/web", "get a.io/any/scale n/x"],
                &["get apps/deployments n/web", "get apps/deployments/status n/web", "get a.io/scale n/x"],
            ),
            (
                "all resources, and their subresources",
                "get on * in core",
                &["get /pods n/web", "get /pods/exec n/web"],
                &["get apps/deployments n/web"],
            ),
            (
                "names",
                "get,list,create on leases in core named a,b",
                &["get /leases n/a", "get /leases n/b", "list /leases n/a"],
                &["get /leases n/c", "list /leases n/", "create /leases n/"],
            ),
            ("paths are no resources", "get at /pods,*", &[], &["get /pods n/web"]),
        ];
        for (why, text, allowed, refused) in cases {
            for (asked, expected) in allowed.iter().map(|a| (a, true)).chain(refused.iter().map(|r| (r, false))) {
                let (verb, what) = asked.split_once(' ').unwrap();
                let target = target(what);
                assert_eq!(
                    allows(&rule(text), Attributes::Resource { verb, target: &target }),
                    expected,
                    "{why}: {asked}"
                );
            }
        }
    }

    #[test]
    fn a_rule_allows_the_paths_it_lists() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("get at /apis", &["/apis"], &["/apis/apps", "/api"]),
            ("get at /apis/*", &["/apis/apps", "/apis/apps/v1", "/apis/"], &["/apis"]),
            ("get at /a*,/b", &["/a", "/abc", "/b"], &["/bc"]),
            ("get at *", &["/", "/any/thing"], &[]),
            ("list at *", &[], &["/"]),
        ];
        for (text, allowed, refused) in cases {
            for (path, expected) in allowed.iter().map(|a| (a, true)).chain(refused.iter().map(|r| (r, false))) {
                assert_eq!(allows(&rule(text), Attributes::Path { verb: "get", path }), expected, "{text}: {path}");
            }
        }
        assert!(!allows(&rule("* on * in *"), Attributes::Path { verb: "get", path: "/" }), "resources are no paths");
    }
}
