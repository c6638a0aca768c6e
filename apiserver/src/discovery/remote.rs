//! What other servers say of the group versions that they answer for. Pure.
//!
//! Only what discovery knows is taken over, as it is known here: no server can write into the documents what else it likes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A group version of another server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub resources: Vec<Resource>,
    /// Whether this is as it was, and nobody could be asked since.
    pub is_stale: bool,
}

/// A resource in the aggregated form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    pub resource: String,
    pub response_kind: Option<GroupVersionKind>,
    pub scope: String,
    pub singular_resource: String,
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subresources: Vec<Subresource>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subresource {
    pub subresource: String,
    pub response_kind: Option<GroupVersionKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted_types: Vec<GroupVersionKind>,
    pub verbs: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupList {
    items: Vec<Group>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    metadata: Named,
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Version {
    version: String,
    resources: Vec<Resource>,
}

/// By group and version: an `APIGroupDiscoveryList`.
pub fn aggregated(json: &[u8]) -> Result<HashMap<(String, String), Vec<Resource>>, serde_json::Error> {
    let list: GroupList = serde_json::from_slice(json)?;
    let mut all = HashMap::new();
    for group in list.items {
        for mut version in group.versions {
            // Some clients fall over a kind that is not there.
            for resource in &mut version.resources {
                resource.response_kind.get_or_insert_default();
                for subresource in &mut resource.subresources {
                    subresource.response_kind.get_or_insert_default();
                }
            }
            all.insert((group.metadata.name.clone(), version.version), version.resources);
        }
    }
    Ok(all)
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Row>,
}

/// A row of the old form: of a resource, or of `resource/subresource`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Row {
    name: String,
    singular_name: String,
    namespaced: bool,
    group: String,
    version: String,
    kind: String,
    verbs: Vec<String>,
    short_names: Vec<String>,
    categories: Vec<String>,
}

/// Of one group version: an `APIResourceList`, in the aggregated form.
pub fn legacy(json: &[u8], group: &str, version: &str) -> Result<Vec<Resource>, serde_json::Error> {
    let list: ResourceList = serde_json::from_slice(json)?;
    let or = |own: String, otherwise: &str| if own.is_empty() { otherwise.to_owned() } else { own };
    let (subs, mains): (Vec<Row>, Vec<Row>) = list.resources.into_iter().partition(|row| row.name.contains('/'));
    let kind = |row: &mut Row| GroupVersionKind {
        group: or(std::mem::take(&mut row.group), group),
        version: or(std::mem::take(&mut row.version), version),
        kind: std::mem::take(&mut row.kind),
    };
    let mut resources: Vec<Resource> = Vec::with_capacity(mains.len());
    for mut row in mains {
        resources.push(Resource {
            response_kind: Some(kind(&mut row)),
            resource: row.name,
            scope: if row.namespaced { "Namespaced".into() } else { "Cluster".into() },
            singular_resource: row.singular_name,
            verbs: row.verbs,
            short_names: row.short_names,
            categories: row.categories,
            subresources: Vec::new(),
        });
    }
    for mut row in subs {
        let response_kind = Some(kind(&mut row));
        let Some((name, sub)) = row.name.split_once('/') else { continue };
        let sub =
            Subresource { subresource: sub.to_owned(), response_kind, accepted_types: Vec::new(), verbs: row.verbs };
        match resources.iter_mut().find(|resource| resource.resource == name) {
            Some(resource) => resource.subresources.push(sub),
            None => resources.push(Resource {
                resource: name.to_owned(),
                scope: if row.namespaced { "Namespaced".into() } else { "Cluster".into() },
                response_kind: Some(GroupVersionKind::default()),
                subresources: vec![sub],
                ..Resource::default()
            }),
        }
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let new = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "a.example"}, "versions": [
            {"version": "v1", "freshness": "Current", "unknown": 1, "resources": [{"resource": "tabs",
                "responseKind": {"group": "a.example", "version": "v1", "kind": "Tab"}, "scope": "Namespaced",
                "singularResource": "tab", "verbs": ["get", "list"], "shortNames": ["t"], "categories": ["all"],
                "unknown": "x", "subresources": [{"subresource": "scale", "verbs": ["get"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}]}]},
            {"version": "v2"}]}]});
        let old = json!({"kind": "APIResourceList", "groupVersion": "a.example/v1", "resources": [
            {"name": "tabs", "singularName": "tab", "namespaced": true, "kind": "Tab", "verbs": ["get", "list"],
                "shortNames": ["t"], "categories": ["all"]},
            {"name": "tabs/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1",
                "kind": "Scale", "verbs": ["get"]}]});
        let all = aggregated(new.to_string().as_bytes()).unwrap();
        let of = |version: &str| &all[&("a.example".to_owned(), version.to_owned())];
        assert_eq!(*of("v1"), legacy(old.to_string().as_bytes(), "a.example", "v1").unwrap());
        assert!(of("v2").is_empty());
        assert!(!serde_json::to_string(of("v1")).unwrap().contains("unknown"));
    }

    #[test]
    fn what_a_server_leaves_out_breaks_no_client() {
        let bare =
            br#"{"items": [{"metadata": {"name": "a"}, "versions": [{"version": "v1", "resources": [{"resource": "x",
            "subresources": [{"subresource": "y"}]}]}]}]}"#;
        let shown = serde_json::to_value(&aggregated(bare).unwrap()[&("a".to_owned(), "v1".to_owned())]).unwrap();
        let kind = json!({"group": "", "version": "", "kind": ""});
        assert_eq!((&shown[0]["responseKind"], &shown[0]["subresources"][0]["responseKind"]), (&kind, &kind));
        let alone = legacy(br#"{"resources": [{"name": "x/y", "kind": "Y", "verbs": ["get"]}]}"#, "a", "v1").unwrap();
        assert_eq!((alone[0].resource.as_str(), alone[0].subresources.len()), ("x", 1));
        assert!(aggregated(b"<html>").is_err() && legacy(b"<html>", "a", "v1").is_err());
    }
}
