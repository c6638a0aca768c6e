//! What a pod may ask that this scheduler cannot give yet. Such a pod waits and is told why: placed without regard to it, it
//! would run where its owner said that it must not. Pure.

use k8s_openapi::api::core::v1::PodSpec;

/// Every demand of the pod that nobody here could see to, in words that follow `0/3 nodes are available: `.
pub fn demands(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(claims(spec));
    if spec.resource_claims.iter().flatten().next().is_some() {
        found.push("resource claims are not supported by this scheduler yet".into());
    }
    if spec.scheduling_group.is_some() {
        found.push("scheduling groups are not supported by this scheduler yet".into());
    }
    found
}

/// The API has no claims of volumes yet, so none that a pod names can be there. In the words that upstream's scheduler has
/// for a claim that is missing.
fn claims(spec: &PodSpec) -> impl Iterator<Item = String> {
    spec.volumes.iter().flatten().filter_map(|volume| {
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(format!("persistentvolumeclaim \"{}\" not found", claim.claim_name));
        }
        let ephemeral = volume.ephemeral.is_some();
        ephemeral.then(|| {
            format!("waiting for ephemeral volume controller to create the claim of volume \"{}\"", volume.name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn demands_table() {
        let cases = [
            ("a plain pod", json!({}), ""),
            (
                "a claim",
                json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}),
                "persistentvolumeclaim \"data\" not found",
            ),
            (
                "a claim of its own",
                json!({"volumes": [{"name": "v", "ephemeral": {}}]}),
                "waiting for ephemeral volume controller to create the claim of volume \"v\"",
            ),
            ("a device", json!({"resourceClaims": [{"name": "gpu"}]}), "resource claims"),
        ];
        for (why, mut spec, expected) in cases {
            spec["containers"] = json!([]);
            let found = demands(&serde_json::from_value(spec).unwrap());
            assert_eq!(found.len(), usize::from(!expected.is_empty()), "{why}: {found:?}");
            assert!(found.iter().all(|text| text.starts_with(expected)), "{why}: {found:?}");
        }
    }
}
