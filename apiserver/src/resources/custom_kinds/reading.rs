//! What of a definition matters to how its stored objects are read: a change of anything else reads none of them anew, and cuts off
//! nobody who watches.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinitionVersion,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::registry::structural::Structural;

/// Of what prunes, fills in, converts, or is selected by.
pub(super) fn digest(
    versions: &[CustomResourceDefinitionVersion],
    conversion: Option<&CustomResourceConversion>,
) -> Result<[u8; 32], serde_json::Error> {
    let mut digest = Sha256::new();
    let conversion = serde_json::to_vec(&conversion)?;
    digest.update(conversion.len().to_le_bytes());
    digest.update(conversion);
    for CustomResourceDefinitionVersion { name, served, storage, selectable_fields, schema, .. } in versions {
        let beside = json!([name, served, storage, selectable_fields]).to_string();
        digest.update(beside.len().to_le_bytes());
        digest.update(beside);
        let schema = schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        match schema.map(|schema| (schema, Structural::of(schema))) {
            None => digest.update([0]),
            Some((_, Ok(structural))) => {
                digest.update([1]);
                structural.reading_digest(&mut digest);
            }
            // It is read by none: any other may be one.
            Some((schema, Err(_))) => {
                digest.update([2]);
                digest.update(serde_json::to_vec(schema)?);
            }
        }
    }
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_makes_a_difference_to_who_reads() {
        let of = |field: Value, more: Value| {
            let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"color": field}}},
            }}});
            version.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            digest(&[serde_json::from_value(version).unwrap()], None).unwrap()
        };
        let plain = of(json!({"type": "string"}), json!({}));
        for (why, field, more, differs) in [
            ("nothing", json!({"type": "string"}), json!({}), false),
            ("a description", json!({"type": "string", "description": "a"}), json!({}), false),
            (
                "columns",
                json!({"type": "string"}),
                json!({"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".a"}]}),
                false,
            ),
            ("subresources", json!({"type": "string"}), json!({"subresources": {"status": {}}}), false),
            ("a default", json!({"type": "string", "default": "a"}), json!({}), true),
            ("what is no schema", json!({"$ref": "#/a"}), json!({}), true),
            (
                "selectable fields",
                json!({"type": "string"}),
                json!({"selectableFields": [{"jsonPath": ".spec.color"}]}),
                true,
            ),
            ("which version is stored", json!({"type": "string"}), json!({"storage": false}), true),
        ] {
            assert_eq!(of(field, more) != plain, differs, "{why}");
        }
        let by = |strategy: &str| CustomResourceConversion { strategy: strategy.into(), webhook: None };
        assert_ne!(digest(&[], Some(&by("None"))).unwrap(), digest(&[], Some(&by("Webhook"))).unwrap(), "who converts");
    }
}
