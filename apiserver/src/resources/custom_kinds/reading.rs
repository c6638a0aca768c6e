//! What of a definition matters to how its stored objects are read: a change of anything else reads none of them anew, and cuts off
//! nobody who watches.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionVersion, CustomResourceValidation, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};

/// The versions without all that neither prunes, nor fills in, nor is selected by.
pub(super) fn of(versions: &[CustomResourceDefinitionVersion]) -> Vec<CustomResourceDefinitionVersion> {
    let version = |of: &CustomResourceDefinitionVersion| CustomResourceDefinitionVersion {
        name: of.name.clone(),
        served: of.served,
        storage: of.storage,
        selectable_fields: of.selectable_fields.clone(),
        schema: of.schema.as_ref().map(|schema| CustomResourceValidation {
            open_api_v3_schema: schema.open_api_v3_schema.as_ref().map(schema_of),
        }),
        ..CustomResourceDefinitionVersion::default()
    };
    versions.iter().map(version).collect()
}

fn schema_of(of: &JSONSchemaProps) -> JSONSchemaProps {
    let all = |schemas: &Vec<JSONSchemaProps>| schemas.iter().map(schema_of).collect();
    JSONSchemaProps {
        type_: of.type_.clone(),
        nullable: of.nullable,
        default: of.default.clone(),
        properties: of
            .properties
            .as_ref()
            .map(|properties| properties.iter().map(|(name, schema)| (name.clone(), schema_of(schema))).collect()),
        items: of.items.as_ref().map(|items| match items {
            JSONSchemaPropsOrArray::Schema(schema) => JSONSchemaPropsOrArray::Schema(Box::new(schema_of(schema))),
            JSONSchemaPropsOrArray::Schemas(schemas) => JSONSchemaPropsOrArray::Schemas(all(schemas)),
        }),
        additional_properties: of.additional_properties.as_ref().map(|additional| match additional {
            JSONSchemaPropsOrBool::Schema(schema) => JSONSchemaPropsOrBool::Schema(Box::new(schema_of(schema))),
            JSONSchemaPropsOrBool::Bool(bool) => JSONSchemaPropsOrBool::Bool(*bool),
        }),
        x_kubernetes_preserve_unknown_fields: of.x_kubernetes_preserve_unknown_fields,
        x_kubernetes_embedded_resource: of.x_kubernetes_embedded_resource,
        x_kubernetes_int_or_string: of.x_kubernetes_int_or_string,
        ..JSONSchemaProps::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_makes_a_difference_to_who_reads() {
        let version = |color: Value, more: Value| -> CustomResourceDefinitionVersion {
            let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"color": color}}},
            }}});
            version.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(version).unwrap()
        };
        let plain = of(&[version(json!({"type": "string"}), json!({}))]);
        for (why, color, more, differs) in [
            ("nothing", json!({"type": "string"}), json!({}), false),
            ("a description", json!({"type": "string", "description": "a"}), json!({}), false),
            ("a rule for writes", json!({"type": "string", "pattern": "a", "enum": ["a"]}), json!({}), false),
            (
                "columns",
                json!({"type": "string"}),
                json!({"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".a"}]}),
                false,
            ),
            ("subresources", json!({"type": "string"}), json!({"subresources": {"status": {}}}), false),
            ("a default", json!({"type": "string", "default": "a"}), json!({}), true),
            ("null", json!({"type": "string", "nullable": true}), json!({}), true),
            (
                "a field within",
                json!({"type": "object", "properties": {"description": {"type": "string"}}}),
                json!({}),
                true,
            ),
            (
                "what is not named",
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
                json!({}),
                true,
            ),
            (
                "selectable fields",
                json!({"type": "string"}),
                json!({"selectableFields": [{"jsonPath": ".spec.color"}]}),
                true,
            ),
            ("which version is stored", json!({"type": "string"}), json!({"storage": false}), true),
        ] {
            assert_eq!(of(&[version(color, more)]) != plain, differs, "{why}");
        }
    }
}
