//! What other servers say of the group versions that they answer for. Pure.
//!
//! Only what discovery knows is taken over, as it is known here: no server can write into the documents what else it likes.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub const NO_RESOURCES: &str = "[]";
/// Of one answer, with all that they consist of: some thousand resources. Each takes more room here than the two bytes that it may
/// have come in.
const OBJECTS_MAX: usize = 20_000;
/// A group or version that is longer has no APIService.
const NAME_BYTES_MAX: usize = 253;
/// Of one answer, once all is said that it has left out.
const BYTES_MAX: usize = 2 << 20;

/// A group version of another server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub resources: Resources,
    /// Whether this is as it was, and nobody could be asked since.
    pub is_stale: bool,
}

/// The resources of a group version, as the JSON that aggregated discovery tells of them: a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Option<Arc<str>>);

impl Resources {
    fn new(all: &[Resource]) -> Result<Self, serde_json::Error> {
        if all.is_empty() { Ok(Self(None)) } else { Ok(Self(Some(serde_json::to_string(all)?.into()))) }
    }
    pub fn json(&self) -> &str {
        self.0.as_deref().unwrap_or(NO_RESOURCES)
    }
}

/// Why what a server says is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it tells of too much: {OBJECTS_MAX} objects are taken, and {BYTES_MAX} bytes")]
    TooMuch,
}

/// A resource in the aggregated form.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    resource: String,
    response_kind: Option<GroupVersionKind>,
    scope: String,
    singular_resource: String,
    verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<Subresource>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Subresource {
    subresource: String,
    response_kind: Option<GroupVersionKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepted_types: Vec<GroupVersionKind>,
    verbs: Vec<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
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

/// Refuses what would take much more room here than it took on its way.
fn check_size(json: &[u8]) -> Result<(), Refused> {
    let is_too_much = json.iter().filter(|byte| **byte == b'{').nth(OBJECTS_MAX).is_some();
    if is_too_much { Err(Refused::TooMuch) } else { Ok(()) }
}

/// By group and version: an `APIGroupDiscoveryList`.
pub fn aggregated(json: &[u8]) -> Result<HashMap<(String, String), Resources>, Refused> {
    check_size(json)?;
    let list: GroupList = serde_json::from_slice(json)?;
    let (mut all, mut bytes) = (HashMap::new(), 0);
    for group in list.items.into_iter().filter(|group| group.metadata.name.len() <= NAME_BYTES_MAX) {
        for version in group.versions.into_iter().filter(|version| version.version.len() <= NAME_BYTES_MAX) {
            let resources = Resources::new(&whole(version.resources))?;
            bytes += resources.json().len();
            if bytes > BYTES_MAX {
                return Err(Refused::TooMuch);
            }
            all.insert((group.metadata.name.clone(), version.version), resources);
        }
    }
    Ok(all)
}

/// Clients fall over a kind that is not there, and nobody can ask for what has no name.
fn whole(mut resources: Vec<Resource>) -> Vec<Resource> {
    resources.retain(|resource| !resource.resource.is_empty());
    for resource in &mut resources {
        resource.response_kind.get_or_insert_default();
        resource.subresources.retain(|subresource| !subresource.subresource.is_empty());
        for subresource in &mut resource.subresources {
            subresource.response_kind.get_or_insert_default();
        }
    }
    resources
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
pub fn legacy(json: &[u8], group: &str, version: &str) -> Result<Resources, Refused> {
    check_size(json)?;
    let list: ResourceList = serde_json::from_slice(json)?;
    let or = |own: String, otherwise: &str| if own.is_empty() { otherwise.to_owned() } else { own };
    let (subs, mains): (Vec<Row>, Vec<Row>) = list.resources.into_iter().partition(|row| row.name.contains('/'));
    let kind = |row: &mut Row| GroupVersionKind {
        group: or(std::mem::take(&mut row.group), group),
        version: or(std::mem::take(&mut row.version), version),
        kind: std::mem::take(&mut row.kind),
    };
    let mut resources: Vec<Resource> = Vec::with_capacity(mains.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(mains.len());
    for mut row in mains {
        places.entry(row.name.clone()).or_insert(resources.len());
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
        match places.get(name).and_then(|at| resources.get_mut(*at)) {
            Some(resource) => resource.subresources.push(sub),
            None => {
                places.insert(name.to_owned(), resources.len());
                resources.push(Resource {
                    resource: name.to_owned(),
                    scope: if row.namespaced { "Namespaced".into() } else { "Cluster".into() },
                    response_kind: Some(GroupVersionKind::default()),
                    subresources: vec![sub],
                    ..Resource::default()
                });
            }
        }
    }
    let resources = Resources::new(&whole(resources))?;
    if resources.json().len() > BYTES_MAX { Err(Refused::TooMuch) } else { Ok(resources) }
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
        assert_eq!(of("v2").json(), NO_RESOURCES);
        assert!(!of("v1").json().contains("unknown"));
    }

    #[test]
    fn what_a_server_leaves_out_breaks_no_client() {
        let bare =
            br#"{"items": [{"metadata": {"name": "a"}, "versions": [{"version": "v1", "resources": [{}, {"resource": "x",
            "subresources": [{}, {"subresource": "y"}]}]}]}]}"#;
        let read = |resources: &Resources| serde_json::from_str::<serde_json::Value>(resources.json()).unwrap();
        let shown = read(&aggregated(bare).unwrap()[&("a".to_owned(), "v1".to_owned())]);
        assert_eq!((shown.as_array().unwrap().len(), shown[0]["subresources"].as_array().unwrap().len()), (1, 1));
        let kind = json!({"group": "", "version": "", "kind": ""});
        assert_eq!((&shown[0]["responseKind"], &shown[0]["subresources"][0]["responseKind"]), (&kind, &kind));
        let alone = br#"{"resources": [{"name": "x/y", "kind": "Y", "verbs": ["get"]}, {"name": "/z"}]}"#;
        let alone = read(&legacy(alone, "a", "v1").unwrap());
        assert_eq!(alone.as_array().unwrap().len(), 1);
        assert_eq!((&alone[0]["resource"], alone[0]["subresources"].as_array().unwrap().len()), (&json!("x"), 1));
        assert!(aggregated(b"<html>").is_err() && legacy(b"<html>", "a", "v1").is_err());
    }

    #[test]
    fn what_would_take_more_room_here_than_on_its_way_is_refused() {
        let list = |resources: String| {
            let versions = format!(r#"[{{"version": "v1", "resources": [{resources}]}}]"#);
            format!(r#"{{"items": [{{"metadata": {{"name": "a"}}, "versions": {versions}}}]}}"#)
        };
        let many = |one: &str, count: usize| vec![one; count].join(",");
        for (why, list, taken) in [
            ("some", list(many(r#"{"resource":"x"}"#, 4000)), true),
            ("nothing, often", list(many("{}", OBJECTS_MAX)), false),
            ("what grows", list(many(r#"{"resource":"x"}"#, OBJECTS_MAX - 10)), false),
        ] {
            let found = aggregated(list.as_bytes());
            assert_eq!(found.is_ok(), taken, "{why}");
            assert!(taken || matches!(found, Err(Refused::TooMuch)), "{why}");
        }
        let rows = format!(r#"{{"resources": [{}]}}"#, many("{}", OBJECTS_MAX));
        assert!(matches!(legacy(rows.as_bytes(), "a", "v1"), Err(Refused::TooMuch)));
    }
}
