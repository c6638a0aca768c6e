//! What is still to be done for a namespace that is being deleted, and what its conditions say meanwhile.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>

use std::collections::BTreeMap;

use corten_api::conditions;
use corten_api::k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{Key, Object};
use jiff::Timestamp;

use crate::metadata::SeenMeta;

/// The finalizer that stands for "not empty yet".
pub const FINALIZER: &str = "kubernetes";
const PODS: &str = "pods";

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub now: Timestamp,
    pub namespace: &'a Namespace,
    /// What is in it, by resource name.
    pub content: BTreeMap<String, Vec<SeenMeta>>,
    /// What could not be deleted, in words.
    pub failures: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Objects whose deletion has not begun.
    pub delete: Vec<(String, Key, String)>,
    /// The status, if it has to be written.
    pub status: Option<NamespaceStatus>,
    /// Empty: the finalizer may go.
    pub is_empty: bool,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    if !seen.namespace.is_deleting() || !has_finalizer(seen.namespace) {
        return Decision { delete: Vec::new(), status: None, is_empty: false };
    }
    let of_kind = |(resource, objects): (&String, &Vec<SeenMeta>)| -> Vec<(String, Key, String)> {
        let fresh = objects.iter().filter(|o| !o.deleting);
        fresh.map(|o| (resource.clone(), o.key.clone(), o.uid.clone())).collect()
    };
    // What pods need, and what guards them, must not go before them.
    let has_pods = seen.content.get(PODS).is_some_and(|pods| !pods.is_empty());
    let now = seen.content.iter().filter(|(resource, _)| !has_pods || *resource == PODS);
    let status = status(seen);
    Decision {
        delete: now.flat_map(of_kind).collect(),
        status: (seen.namespace.status.as_ref() != Some(&status)).then_some(status),
        is_empty: seen.failures.is_empty() && seen.content.values().all(Vec::is_empty),
    }
}

pub fn has_finalizer(namespace: &Namespace) -> bool {
    namespace.spec.iter().flat_map(|s| s.finalizers.iter().flatten()).any(|f| f == FINALIZER)
}

fn status(seen: &Observed<'_>) -> NamespaceStatus {
    let mut status = seen.namespace.status.clone().unwrap_or_default();
    let list = status.conditions.get_or_insert_default();
    let mut put = |kind: &str, problem: Option<(&str, String)>, fine: (&str, &str)| {
        let (value, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine.0, fine.1.to_owned()),
        };
        let new = NamespaceCondition {
            type_: kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: None,
        };
        conditions::set(list, new, &Time(seen.now));
    };
    put("NamespaceDeletionDiscoveryFailure", None, ("ResourcesDiscovered", "All resources successfully discovered"));
    put(
        "NamespaceDeletionGroupVersionParsingFailure",
        None,
        ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    );
    let failed = (!seen.failures.is_empty()).then(|| {
        let list = seen.failures.join(", ");
        (
            "ContentDeletionFailed",
            format!("Failed to delete all resource types, {} remaining: {list}", seen.failures.len()),
        )
    });
    let deleted = "All content successfully deleted, may be waiting on finalization";
    put("NamespaceDeletionContentFailure", failed, ("ContentDeleted", deleted));
    put("NamespaceContentRemaining", remaining(seen), ("ContentRemoved", "All content successfully removed"));
    let fine = ("ContentHasNoFinalizers", "All content-preserving finalizers finished");
    put("NamespaceFinalizersRemaining", finalizers(seen), fine);
    status.phase = Some("Terminating".into());
    status
}

fn remaining(seen: &Observed<'_>) -> Option<(&'static str, String)> {
    let left = seen.content.iter().filter(|(_, objects)| !objects.is_empty());
    let parts: Vec<String> = left.map(|(r, objects)| format!("{r} has {} resource instances", objects.len())).collect();
    let message = format!("Some resources are remaining: {}", parts.join(", "));
    (!parts.is_empty()).then_some(("SomeResourcesRemain", message))
}

fn finalizers(seen: &Observed<'_>) -> Option<(&'static str, String)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in seen.content.values().flatten().flat_map(|o| &o.finalizers) {
        *counts.entry(finalizer).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let message = format!("Some content in the namespace has finalizers remaining: {}", parts.join(", "));
    (!parts.is_empty()).then_some(("SomeFinalizersRemain", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::k8s_openapi::api::core::v1::NamespaceSpec;
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn namespace(deleting: bool, finalizer: bool) -> Namespace {
        let time = Some(Time(Timestamp::UNIX_EPOCH));
        Namespace {
            metadata: ObjectMeta { deletion_timestamp: time.filter(|_| deleting), ..ObjectMeta::default() },
            spec: Some(NamespaceSpec { finalizers: finalizer.then(|| vec![FINALIZER.into()]) }),
            status: None,
        }
    }
    fn pod(name: &str, deleting: bool, finalizers: &[&str]) -> SeenMeta {
        let finalizers = finalizers.iter().map(|f| (*f).to_owned()).collect();
        SeenMeta { key: Key::new("ns", name), uid: name.into(), deleting, finalizers, ..SeenMeta::default() }
    }

    #[test]
    fn deletion_table() {
        // why, namespace, pods in it, failures, (to delete, is empty)
        let cases = [
            ("not deleted: nothing", namespace(false, true), vec![pod("a", false, &[])], 0, (0, false)),
            ("finalized already: nothing", namespace(true, false), vec![], 0, (0, false)),
            (
                "its pods are deleted",
                namespace(true, true),
                vec![pod("a", false, &[]), pod("b", true, &[])],
                0,
                (1, false),
            ),
            ("waits for a pod that ends", namespace(true, true), vec![pod("b", true, &[])], 0, (0, false)),
            ("empty", namespace(true, true), vec![], 0, (0, true)),
            ("nobody knows whether it is empty", namespace(true, true), vec![], 1, (0, false)),
        ];
        for (why, namespace, pods, failures, expected) in cases {
            let failures = vec!["pods: no answer".to_owned(); failures];
            let content = [("pods".to_owned(), pods)].into();
            let got = decide(&Observed { now: Timestamp::UNIX_EPOCH, namespace: &namespace, content, failures });
            assert_eq!((got.delete.len(), got.is_empty), expected, "{why}");
        }
    }

    #[test]
    fn pods_go_before_all_else() {
        let namespace = namespace(true, true);
        let names = |content: BTreeMap<String, Vec<SeenMeta>>| -> Vec<String> {
            let seen = Observed { now: Timestamp::UNIX_EPOCH, namespace: &namespace, content, failures: vec![] };
            decide(&seen).delete.into_iter().map(|(resource, ..)| resource).collect()
        };
        let of = |resource: &str, deleting| (resource.to_owned(), vec![pod("a", deleting, &[])]);
        assert_eq!(names([of("configmaps", false), of("pods", false)].into()), ["pods"]);
        assert_eq!(names([of("configmaps", false), of("pods", true)].into()), [""; 0], "until they are gone");
        assert_eq!(names([of("configmaps", false), ("pods".into(), vec![])].into()), ["configmaps"]);
    }

    #[test]
    fn conditions_say_what_is_waited_for() {
        let namespace = namespace(true, true);
        let content = [("pods".to_owned(), vec![pod("a", true, &["x/y"])])].into();
        let seen = Observed { now: Timestamp::UNIX_EPOCH, namespace: &namespace, content, failures: vec![] };
        let status = decide(&seen).status.unwrap();
        let message = |kind: &str| conditions::find(status.conditions.as_ref(), kind).unwrap().message.clone().unwrap();
        assert_eq!(message("NamespaceContentRemaining"), "Some resources are remaining: pods has 1 resource instances");
        assert!(message("NamespaceFinalizersRemaining").ends_with("x/y in 1 resource instances"));
    }

    #[test]
    fn conditions_table() {
        let full =
            || BTreeMap::from([("pods".to_owned(), vec![pod("a", true, &["x/y", "z"]), pod("b", true, &["z"])])]);
        // why, content, failures, (condition, its status, its reason)
        let cases = [
            ("could not be deleted", full(), 1, ("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed")),
            ("could", full(), 0, ("NamespaceDeletionContentFailure", "False", "ContentDeleted")),
            ("is left", full(), 0, ("NamespaceContentRemaining", "True", "SomeResourcesRemain")),
            ("is gone", [("pods".into(), vec![])].into(), 0, ("NamespaceContentRemaining", "False", "ContentRemoved")),
            ("is held", full(), 0, ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain")),
            (
                "is not held",
                [("pods".to_owned(), vec![pod("a", true, &[])])].into(),
                0,
                ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers"),
            ),
            ("was found", full(), 0, ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered")),
            ("was read", full(), 0, ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions")),
        ];
        for (why, content, failures, (kind, status_of, reason)) in cases {
            let mut namespace = namespace(true, true);
            let failures = vec!["pods: no answer".to_owned(); failures];
            let status = |namespace: &Namespace| {
                let (content, failures) = (content.clone(), failures.clone());
                decide(&Observed { now: Timestamp::UNIX_EPOCH, namespace, content, failures }).status
            };
            let got = status(&namespace).unwrap();
            let c = conditions::find(got.conditions.as_ref(), kind).unwrap();
            assert_eq!((c.status.as_str(), c.reason.as_deref()), (status_of, Some(reason)), "{why}");
            assert_eq!(got.phase.as_deref(), Some("Terminating"));
            namespace.status = Some(got);
            assert_eq!(status(&namespace), None, "{why}: it is written once");
        }
        let namespace = namespace(true, true);
        let seen = Observed { now: Timestamp::UNIX_EPOCH, namespace: &namespace, content: full(), failures: vec![] };
        let got = finalizers(&seen).unwrap().1;
        assert!(got.ends_with(": x/y in 1 resource instances, z in 2 resource instances"), "{got}");
    }

    #[test]
    fn only_our_finalizer_is_ours() {
        let mut namespace = namespace(true, false);
        assert!(!has_finalizer(&namespace));
        namespace.spec = Some(NamespaceSpec { finalizers: Some(vec!["others".into()]) });
        assert!(!has_finalizer(&namespace));
    }
}
