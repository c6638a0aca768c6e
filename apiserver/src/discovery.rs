//! What is served, told to clients: API groups, versions, resources; in the old form and in the aggregated one.
//!
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>. Made from the registry, anew when kinds come
//! or go.

pub mod groups;
pub mod remote;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::registry::apiregistration::routes::Routes;
use crate::registry::{Registry, Table};
use crate::rest::accept;
use crate::rest::body::Body;
use crate::rest::respond;
use groups::{Group, Resource, Served, Told, Version};
use remote::Described;

/// The aggregated form's versions; both have the same shape. kubectl before 1.30 knows only the second.
const AGGREGATED: [&str; 2] = ["v2", "v2beta1"];

/// All discovery documents.
#[derive(Debug)]
pub struct Discovery {
    registry: Registry,
    /// What `/api` tells clients, `host:port`.
    server: String,
    /// What other servers say of what they answer, by the names of APIServices. Several tasks change it.
    described: ArcSwap<HashMap<String, Arc<Described>>>,
    documents: ArcSwap<Documents>,
}

/// The documents of one table of kinds.
#[derive(Debug)]
struct Documents {
    /// Of the table.
    generation: u64,
    routes: Arc<Routes>,
    described: Arc<HashMap<String, Arc<Described>>>,
    /// By path: `/api`, `/apis`, `/apis/apps`, `/apis/apps/v1`, …
    plain: BTreeMap<String, Bytes>,
    /// By (path, version): `/api` and `/apis`.
    aggregated: BTreeMap<(&'static str, &'static str), Aggregated>,
}

#[derive(Debug)]
struct Aggregated {
    body: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
}

impl Discovery {
    /// `server`: the address that `/api` tells clients, `host:port`.
    pub fn new(registry: Registry, server: &str) -> Self {
        let documents = Documents::new(&registry.table(), registry.routes(), Arc::default(), server);
        let (described, documents) = (ArcSwap::default(), ArcSwap::from_pointee(documents));
        Self { registry, server: server.to_owned(), described, documents }
    }

    /// Of what is served now.
    fn documents(&self) -> Arc<Documents> {
        let (documents, table) = (self.documents.load_full(), self.registry.table());
        let (routes, described) = (self.registry.routes(), self.described.load_full());
        let is_same = documents.generation == table.generation()
            && Arc::ptr_eq(&documents.routes, &routes)
            && Arc::ptr_eq(&documents.described, &described);
        if is_same {
            return documents;
        }
        let documents = Arc::new(Documents::new(&table, routes, described, &self.server));
        self.documents.store(documents.clone());
        documents
    }
    /// What another server says of a group version, by the name of its APIService. `None`: it could not be asked, and what it has
    /// said before is stale.
    pub fn learn(&self, name: &str, resources: Option<remote::Resources>) {
        self.described.rcu(|all| {
            let before = all.get(name);
            let same = || before.map(|before| before.resources.clone()).unwrap_or_default();
            let now = Described { resources: resources.clone().unwrap_or_else(same), is_stale: resources.is_none() };
            if before.is_some_and(|before| **before == now) {
                return all.clone();
            }
            let mut all = (**all).clone();
            all.insert(name.to_owned(), Arc::new(now));
            Arc::new(all)
        });
    }
    /// Forgets all that other servers do not answer any more.
    pub fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.described.rcu(|all| {
            if all.keys().all(|name| is_there(name)) {
                return all.clone();
            }
            let kept = all.iter().filter(|(name, _)| is_there(name)).map(|(name, of)| (name.clone(), of.clone()));
            Arc::new(kept.collect())
        });
    }
    pub fn serve(&self, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        self.documents().serve(path, headers)
    }
    /// Paths of all documents, for `/`.
    pub fn paths(&self) -> Vec<String> {
        let documents = self.documents();
        let remotes = documents.routes.iter().map(|remote| remote.path());
        documents.plain.keys().cloned().chain(remotes).collect()
    }
}

impl Documents {
    fn new(table: &Table, routes: Arc<Routes>, described: Arc<HashMap<String, Arc<Described>>>, server: &str) -> Self {
        let groups = groups::of(Told { table, routes: &routes, described: &described });
        let mut documents = BTreeMap::new();
        let mut put = |path: String, doc: Value| documents.insert(path, Bytes::from(doc.to_string()));
        put(
            "/api".into(),
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs":
                [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}]}),
        );
        let named: Vec<Value> = groups.iter().filter(|g| !g.name.is_empty()).map(group_document).collect();
        put("/apis".into(), json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named}));
        for group in &groups {
            if !group.name.is_empty() {
                let mut doc = group_document(group);
                doc["kind"] = "APIGroup".into();
                doc["apiVersion"] = "v1".into();
                put(format!("/apis/{}", group.name), doc);
            }
            for Version { name: version, served, .. } in &group.versions {
                // What others serve they tell of themselves.
                let Served::Here(resources) = served else { continue };
                let root = if group.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", group.name) };
                let list: Vec<Value> = resources.iter().flat_map(resource_documents).collect();
                let doc = json!({"kind": "APIResourceList", "apiVersion": "v1",
                    "groupVersion": group.group_version(version), "resources": list});
                put(format!("{root}/{version}"), doc);
            }
        }
        let aggregated = aggregated(&groups);
        Self {
            generation: table.generation(),
            plain: documents,
            aggregated,
            routes: routes.clone(),
            described: described.clone(),
        }
    }

    fn serve(&self, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        if matches!(path, "/api" | "/apis")
            && let Some(document) = self.wanted_aggregate(path, headers)
        {
            return Some(document.serve(headers));
        }
        self.plain.get(path).map(|doc| respond::json(StatusCode::OK, doc.clone()))
    }
    fn wanted_aggregate(&self, path: &str, headers: &HeaderMap) -> Option<&Aggregated> {
        for range in accept::ranges(headers) {
            let version =
                AGGREGATED.into_iter().find(|v| range.asks_for("APIGroupDiscoveryList", "apidiscovery.k8s.io", v));
            if let Some(version) = version {
                return self.aggregated.iter().find(|((p, v), _)| *p == path && *v == version).map(|(_, doc)| doc);
            }
            if matches!(range.media, "application/json" | "*/*" | "application/*") && range.param("as").is_none() {
                return None;
            }
        }
        None
    }
}

impl Aggregated {
    fn serve(&self, headers: &HeaderMap) -> Response<Body> {
        let unchanged = headers.get(IF_NONE_MATCH).is_some_and(|have| *have == self.etag);
        let (code, body) = if unchanged {
            (StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            (StatusCode::OK, Body::whole(self.body.clone()))
        };
        let mut response = respond::with_type(code, self.content_type.clone(), body);
        response.headers_mut().insert(ETAG, self.etag.clone());
        response
    }
}

fn group_document(group: &Group<'_>) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group.group_version(v.name), "version": v.name}))
        .collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions[0]})
}

/// A resource and its subresources, each a row of the old form.
fn resource_documents(resource: &Resource<'_>) -> Vec<Value> {
    let mut own = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        own["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        own["categories"] = json!(resource.categories);
    }
    let mut rows = vec![own];
    for sub in &resource.subresources {
        let mut row = json!({
            "name": format!("{}/{}", resource.plural, sub.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": sub.kind.2,
            "verbs": sub.verbs,
        });
        if sub.foreign {
            row["group"] = sub.kind.0.into();
            row["version"] = sub.kind.1.into();
        }
        rows.push(row);
    }
    rows
}

fn aggregated(groups: &[Group<'_>]) -> BTreeMap<(&'static str, &'static str), Aggregated> {
    let mut out = BTreeMap::new();
    let items: Vec<(bool, String)> = groups.iter().map(|g| (g.name.is_empty(), aggregated_group(g))).collect();
    for version in AGGREGATED {
        for (path, core) in [("/api", true), ("/apis", false)] {
            let items: Vec<&str> =
                items.iter().filter(|(is_core, _)| *is_core == core).map(|(_, item)| &**item).collect();
            let body = Bytes::from(format!(
                r#"{{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/{version}","metadata":{{}},"items":[{}]}}"#,
                items.join(",")
            ));
            let digest: String = Sha256::digest(&body).iter().take(16).map(|b| format!("{b:02X}")).collect();
            let header = |text: String| HeaderValue::try_from(text).unwrap_or(respond::JSON);
            out.insert(
                (path, version),
                Aggregated {
                    etag: header(format!("\"{digest}\"")),
                    content_type: header(format!(
                        "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                    )),
                    body,
                },
            );
        }
    }
    out
}

/// JSON. What others have said is copied as it is: it may be long, and is told anew whenever a kind comes or goes.
fn aggregated_group(group: &Group<'_>) -> String {
    let version = |Version { name, served, .. }: &Version<'_>| {
        let own;
        let (resources, freshness) = match served {
            Served::Here(resources) => {
                let list: Vec<Value> = resources.iter().map(|r| aggregated_resource(group, name, r)).collect();
                own = json!(list).to_string();
                (own.as_str(), "Current")
            }
            Served::There(Some(described)) => {
                (described.resources.json(), if described.is_stale { "Stale" } else { "Current" })
            }
            Served::There(None) => (remote::NO_RESOURCES, "Stale"),
        };
        format!(r#"{{"version":{},"resources":{resources},"freshness":"{freshness}"}}"#, json!(name))
    };
    let versions: Vec<String> = group.versions.iter().map(version).collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    format!(r#"{{"metadata":{metadata},"versions":[{}]}}"#, versions.join(","))
}

fn aggregated_resource(group: &Group<'_>, version: &str, resource: &Resource<'_>) -> Value {
    let kind = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let mut doc = json!({
        "resource": resource.plural,
        "responseKind": kind((group.name, version, resource.kind)),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        doc["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        doc["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let subs = resource.subresources.iter();
        let subs: Vec<Value> =
            subs.map(|s| json!({"subresource": s.name, "responseKind": kind(s.kind), "verbs": s.verbs})).collect();
        doc["subresources"] = json!(subs);
    }
    doc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_at_the_same_time_is_all_known() {
        let discovery = Discovery::new(Registry::default(), "");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let discovery = &discovery;
                scope.spawn(move || (0..100).for_each(|n| discovery.learn(&format!("v{n}.{thread}"), None)));
            }
        });
        assert_eq!(discovery.described.load().len(), 400);
        discovery.forget(|name| name.ends_with(".0"));
        assert_eq!(discovery.described.load().len(), 100);
    }
}
