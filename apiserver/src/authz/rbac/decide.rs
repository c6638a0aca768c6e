//! Whether somebody's rules allow what he asks, by which binding, and which rules he has.

use std::collections::HashSet;
use std::fmt;

use k8s_openapi::api::authorization::v1::{NonResourceRule, ResourceRule, SubjectRulesReviewStatus};
use k8s_openapi::api::rbac::v1::PolicyRule;

use super::index::{Binding, Index, RoleError};
use super::rule;
use crate::authz::Attributes;
use crate::request::User;

/// Roles that bindings refer to and that are not there, told of at most. Distinct ones.
const ERRORS_MAX: usize = 100;

/// It is allowed. Shown, it says by what: `RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "y" to User "z"`.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    binding: &'a Binding,
    user: &'a User,
}

/// No rule allows it; nothing else was looked at. Shown, it says what might have: empty, or
/// `RBAC: clusterrole.rbac.authorization.k8s.io "x" not found`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotAllowed {
    pub errors: Errors,
}

/// The rules of somebody in a namespace, or for the cluster alone. One may come more than once.
#[derive(Clone, Debug, Default)]
pub struct Held<'a> {
    pub rules: Vec<&'a PolicyRule>,
    pub errors: Errors,
}

/// Roles that could not be found, each once. Shown as upstream shows many errors in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<RoleError>);

/// Costs the rules of the user's bindings up to the first that allows it.
pub fn decide<'a>(index: &'a Index, user: &'a User, asked: Attributes<'_>) -> Result<Allowed<'a>, NotAllowed> {
    let namespace = match asked {
        Attributes::Resource { target, .. } => target.namespace.as_str(),
        Attributes::Path { .. } => "",
    };
    let mut errors = Errors::default();
    for binding in index.bindings(user, namespace) {
        match index.rules(binding) {
            Ok(rules) if rules.iter().any(|own| rule::allows(own, asked)) => return Ok(Allowed { binding, user }),
            Ok(_) => {}
            Err(err) => errors.add(err),
        }
    }
    Err(NotAllowed { errors })
}

/// All rules that somebody has in a namespace, those of the cluster included; `""`: those of the cluster alone.
pub fn held<'a>(index: &'a Index, user: &'a User, namespace: &str) -> Held<'a> {
    let (mut held, mut seen) = (Held::default(), HashSet::new());
    for binding in index.bindings(user, namespace) {
        if !seen.insert(std::ptr::from_ref(binding)) {
            continue;
        }
        match index.rules(binding) {
            Ok(rules) => held.rules.extend(rules),
            Err(err) => held.errors.add(err),
        }
    }
    held
}

/// What SelfSubjectRulesReview answers.
pub fn review(index: &Index, user: &User, namespace: &str) -> SubjectRulesReviewStatus {
    let held = held(index, user, namespace);
    let has_some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let resource_rules = held.rules.iter().filter(|rule| has_some(&rule.resources)).map(|rule| ResourceRule {
        verbs: rule.verbs.clone(),
        api_groups: rule.api_groups.clone(),
        resources: rule.resources.clone(),
        resource_names: rule.resource_names.clone(),
    });
    let path_rules = held
        .rules
        .iter()
        .filter(|rule| has_some(&rule.non_resource_urls))
        .map(|rule| NonResourceRule { verbs: rule.verbs.clone(), non_resource_urls: rule.non_resource_urls.clone() });
    SubjectRulesReviewStatus {
        resource_rules: resource_rules.collect(),
        non_resource_rules: path_rules.collect(),
        // Rules only add: those that are found hold, whatever is missing.
        incomplete: false,
        evaluation_error: (!held.errors.is_empty()).then(|| held.errors.to_string()),
    }
}

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn add(&mut self, err: RoleError) {
        if self.0.len() < ERRORS_MAX && !self.0.contains(&err) {
            self.0.push(err);
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            [one] => one.fmt(f),
            many => {
                let texts: Vec<String> = many.iter().map(RoleError::to_string).collect();
                write!(f, "[{}]", texts.join(", "))
            }
        }
    }
}

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RBAC: allowed by {}", self.binding.describe(self.user))
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() { Ok(()) } else { write!(f, "RBAC: {}", self.errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::rbac::testing::{index, target, user};

    /// `verb group/resource namespace/name`, or `verb path`.
    fn decided(index: &Index, who: &str, asked: &str) -> Result<String, String> {
        let (user, (verb, what)) = (user(who), asked.split_once(' ').unwrap());
        let target = target(what);
        let asked = match what.strip_prefix("path:") {
            Some(path) => Attributes::Path { verb, path },
            None => Attributes::Resource { verb, target: &target },
        };
        decide(index, &user, asked).map(|allowed| allowed.to_string()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn who_may_what() {
        let index = index(&[
            "clusterrole admin * on * in *",
            "clusterrole lister list,watch on pods in core",
            "clusterrole scaler get on */scale in *",
            "clusterrole paths get at /apis,/apis/*",
            "role ns1/named get on secrets in core named one",
            "binding ns1/admins clusterrole admin User:admin Group:admins",
            "binding ns1/scalers clusterrole scaler User:joe",
            "binding ns1/readers role named ServiceAccount:ns2:robot",
            "clusterbinding listers lister Group:system:serviceaccounts",
            "clusterbinding apis paths Group:system:authenticated",
        ]);
        let robot = "system:serviceaccount:ns2:robot system:serviceaccounts,system:serviceaccounts:ns2";
        let yes = [
            ("admin", "get /Pods ns1/", r#"RoleBinding "admins/ns1" of ClusterRole "admin" to User "admin""#),
            (
                "joe group1,admins",
                "fly /birds ns1/x",
                r#"RoleBinding "admins/ns1" of ClusterRole "admin" to Group "admins""#,
            ),
            (
                "joe",
                "get any.io/things/scale ns1/x",
                r#"RoleBinding "scalers/ns1" of ClusterRole "scaler" to User "joe""#,
            ),
            (
                robot,
                "list /pods",
                r#"ClusterRoleBinding "listers" of ClusterRole "lister" to Group "system:serviceaccounts""#,
            ),
            (
                robot,
                "get /secrets ns1/one",
                r#"RoleBinding "readers/ns1" of Role "named" to ServiceAccount "robot/ns2""#,
            ),
            (
                "jane system:authenticated",
                "get path:/apis/apps",
                r#"ClusterRoleBinding "apis" of ClusterRole "paths" to Group "system:authenticated""#,
            ),
        ];
        for (who, asked, by) in yes {
            assert_eq!(decided(&index, who, asked), Ok(format!("RBAC: allowed by {by}")), "{who} {asked}");
        }
        let no = [
            ("admin", "get /pods ns2/"),
            ("admin", "get /nodes"),
            ("admin", "get path:/metrics"),
            ("joe", "get any.io/things ns1/x"),
            (robot, "get /pods ns1/web"),
            (robot, "get /secrets ns1/two"),
            (robot, "get /secrets ns2/one"),
            ("system:serviceaccount:ns2:other", "get /secrets ns1/one"),
            ("system:serviceaccount:ns2:robot2", "get /secrets ns1/one"),
            ("jane", "get path:/apis"),
            ("jane system:authenticated", "post path:/apis"),
        ];
        for (who, asked) in no {
            assert_eq!(decided(&index, who, asked), Err(String::new()), "{who} {asked}");
        }
    }

    #[test]
    fn a_missing_role_is_told_of_and_stops_nobody() {
        let index = index(&[
            "clusterbinding a gone User:jane",
            "clusterbinding b gone Group:devs",
            "clusterbinding c also-gone User:jane",
            "binding n/a role local User:jane",
            "binding n/b role there User:jane",
            "role n/there get on pods in core",
        ]);
        assert!(decided(&index, "jane", "get /pods n/web").is_ok());
        let one = r#"RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#;
        assert_eq!(decided(&index, "x devs", "get /pods n/web"), Err(one.into()));
        let three = r#"RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, clusterrole.rbac.authorization.k8s.io "also-gone" not found, role.rbac.authorization.k8s.io "local" not found]"#;
        assert_eq!(decided(&index, "jane devs", "list /pods n/"), Err(three.into()));
    }

    #[test]
    fn somebodys_rules_are_those_of_all_his_bindings() {
        let index = index(&[
            "clusterrole pods get,list on pods in core",
            "clusterrole paths get at /healthz",
            "role n/named get on secrets in core named one",
            "clusterbinding a pods User:jane Group:devs",
            "clusterbinding b paths Group:devs",
            "clusterbinding c gone Group:devs",
            "binding n/d role named User:jane",
        ]);
        let count = |who: &str, namespace: &str| {
            let (status, user) = (review(&index, &user(who), namespace), user(who));
            assert_eq!(
                held(&index, &user, namespace).rules.len(),
                status.resource_rules.len() + status.non_resource_rules.len()
            );
            (status.resource_rules.len(), status.non_resource_rules.len(), status.evaluation_error)
        };
        let gone = Some(r#"clusterrole.rbac.authorization.k8s.io "gone" not found"#.to_owned());
        assert_eq!(count("jane devs", "n"), (2, 1, gone.clone()), "one by name and by group counts once");
        assert_eq!(count("jane devs", ""), (1, 1, gone));
        assert_eq!(count("jane", "n"), (2, 0, None));
        assert_eq!(count("john", "n"), (0, 0, None));
        let status = review(&index, &user("jane"), "n");
        assert_eq!(status.resource_rules[1].resource_names, Some(vec!["one".to_owned()]));
        assert!(!status.incomplete);
    }
}
