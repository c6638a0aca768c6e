//! Devices that a pod claims, and which of its containers get them.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/>

use std::collections::{BTreeSet, HashSet};

use corten_api::{Problems, pod};
use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim};

use super::Of;
use crate::registry::check;
use crate::registry::path::Path;

/// The names by which containers can refer to the pod's claims.
pub(super) type Names<'a> = BTreeSet<&'a str>;

/// `list` is the path of the claims. Gives their names.
pub(super) fn of_pod<'a>(spec: &'a PodSpec, of: Of<'_>, list: &Path<'_>, problems: &mut Problems) -> Names<'a> {
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    let mirrored = of.annotations().is_some_and(|all| all.contains_key(pod::MIRROR_ANNOTATION));
    let mut names = Names::new();
    for (i, claim) in claims.iter().enumerate() {
        if mirrored {
            problems.forbidden(list, "static pods do not support resource claims");
        } else {
            one(claim, &names, &list.index(i), problems);
        }
        if !claim.name.is_empty() {
            names.insert(&claim.name);
        }
    }
    names
}

fn one(claim: &PodResourceClaim, before: &Names<'_>, at: &Path<'_>, problems: &mut Problems) {
    match claim.name.as_str() {
        "" => problems.required(at.field("name"), ""),
        name if before.contains(name) => problems.duplicate(at.field("name"), name),
        name => check::dns_label(problems, &at.field("name"), name),
    }
    match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
        (Some(_), Some(_)) => {
            let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
            problems.invalid(at, claim, why);
        }
        (None, None) => {
            let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
            problems.invalid(at, claim, why);
        }
        _ => {}
    }
    for (field, name) in [
        ("resourceClaimName", &claim.resource_claim_name),
        ("resourceClaimTemplateName", &claim.resource_claim_template_name),
    ] {
        if let Some(name) = name {
            check::dns_subdomain(problems, &at.field(field), name);
        }
    }
}

/// What a container has of the pod's claims: each as a whole, or requests of it, once.
pub(super) fn of_container(claims: &[ResourceClaim], of_pod: &Names<'_>, list: &Path<'_>, problems: &mut Problems) {
    let mut whole = HashSet::new();
    let mut requests = HashSet::new();
    let mut in_part = HashSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let at = list.index(i);
        let (name, request) = (claim.name.as_str(), check::text(claim.request.as_ref()));
        if name.is_empty() {
            problems.required(at, "");
            continue;
        }
        if !request.is_empty() && !whole.contains(name) {
            check::dns_label(problems, &at.field("request"), request);
        }
        let is_new = match request {
            "" => whole.insert(name) && !in_part.contains(name),
            _ => !whole.contains(name) && requests.insert((name, request)),
        };
        if !is_new {
            let key =
                if request.is_empty() || whole.contains(name) { name.into() } else { format!("{name}/{request}") };
            problems.duplicate(at, key);
        }
        if !request.is_empty() {
            in_part.insert(name);
        }
        if !of_pod.contains(name) {
            problems.not_found_because(at, name, &not_claimed(of_pod));
        }
    }
}

fn not_claimed(of_pod: &Names<'_>) -> String {
    let known: Vec<&str> = of_pod.iter().copied().collect();
    let which = if known.is_empty() { " which is empty".into() } else { format!(": {}", known.join(", ")) };
    format!("must be one of the names in pod.spec.resourceClaims{which}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, found, pod};

    #[test]
    fn a_pods_claims() {
        let claims = |list: Value| pod(json!({ "resourceClaims": list }));
        let of = |name: &str| json!({"name": name, "resourceClaimName": "c"});
        check(vec![
            (claims(json!([of("a"), {"name": "b", "resourceClaimTemplateName": "t"}])), ""),
            (claims(json!([of("")])), "spec.resourceClaims[0].name: Required value"),
            (claims(json!([of("a"), of("a")])), r#"spec.resourceClaims[1].name: Duplicate value: "a""#),
            (
                claims(json!([{"name": "a"}])),
                r#"spec.resourceClaims[0]: Invalid value: {"name":"a"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"#,
            ),
            (
                claims(json!([{"name": "a", "resourceClaimName": "c", "resourceClaimTemplateName": "t"}])),
                r#"spec.resourceClaims[0]: Invalid value: {"name":"a","resourceClaimName":"c","resourceClaimTemplateName":"t"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"#,
            ),
        ]);
        for (list, at) in [
            (json!([{"name": "A", "resourceClaimName": "c"}]), "[0].name: Invalid"),
            (json!([{"name": "a", "resourceClaimName": "C"}]), "[0].resourceClaimName: Invalid"),
            (json!([{"name": "a", "resourceClaimTemplateName": ""}]), "[0].resourceClaimTemplateName: Invalid"),
        ] {
            let found = found(claims(list));
            assert!(found.len() == 1 && found[0].contains(at), "{found:?}");
        }
    }

    #[test]
    fn a_container_has_what_the_pod_claims_and_all_of_it_once() {
        let of = |claims: Value, list: Value| {
            let container = json!({"name": "c", "image": "i", "resources": {"claims": list}});
            json!({"containers": [container], "resourceClaims": claims})
        };
        let two = json!([{"name": "b", "resourceClaimName": "c"}, {"name": "a", "resourceClaimName": "c"}]);
        const AT: &str = "spec.containers[0].resources.claims";
        check(vec![
            (of(two.clone(), json!([{"name": "a"}, {"name": "b", "request": "r"}, {"name": "b", "request": "s"}])), ""),
            (of(two.clone(), json!([{"name": ""}])), &format!("{AT}[0]: Required value")),
            (
                of(two.clone(), json!([{"name": "typo"}])),
                &format!(r#"{AT}[0]: Not found: "typo": must be one of the names in pod.spec.resourceClaims: a, b"#),
            ),
            (
                of(json!([]), json!([{"name": "a"}])),
                &format!(
                    r#"{AT}[0]: Not found: "a": must be one of the names in pod.spec.resourceClaims which is empty"#
                ),
            ),
            (of(two.clone(), json!([{"name": "a"}, {"name": "a"}])), &format!(r#"{AT}[1]: Duplicate value: "a""#)),
            (
                of(two.clone(), json!([{"name": "a"}, {"name": "a", "request": "r"}])),
                &format!(r#"{AT}[1]: Duplicate value: "a""#),
            ),
            (
                of(two.clone(), json!([{"name": "a", "request": "r"}, {"name": "a"}])),
                &format!(r#"{AT}[1]: Duplicate value: "a""#),
            ),
            (
                of(two, json!([{"name": "a", "request": "r"}, {"name": "a", "request": "r"}])),
                &format!(r#"{AT}[1]: Duplicate value: "a/r""#),
            ),
        ]);
    }
}
