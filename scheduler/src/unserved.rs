//! What a pod may ask that this scheduler cannot give yet. Such a pod waits and is told why: placed without regard to it, it
//! would run where its owner said that it must not. Pure.

use k8s_openapi::api::core::v1::PodSpec;

/// Every demand of the pod that nobody here could see to, in words that follow `0/3 nodes are available: `.
pub fn demands(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    if spec.resource_claims.iter().flatten().next().is_some() {
        found.push("resource claims are not supported by this scheduler yet".into());
    }
    if spec.scheduling_group.is_some() {
        found.push("scheduling groups are not supported by this scheduler yet".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn demands_table() {
        let cases = [
            ("a plain pod", json!({}), ""),
            ("a claim", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}), ""),
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
