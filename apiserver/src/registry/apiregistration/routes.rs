//! Which group versions are answered by other servers, as APIServices say, and how those stand that are answered here. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

use super::GROUP;
use super::apiservice::{SERVICE_PORT, is_available};
use super::priority::Priority;
use crate::registry::check;

/// A Service that answers for group versions, and whose certificates count there: servers that are the same share what is known of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub namespace: String,
    pub service: String,
    pub port: u16,
    /// PEM; empty: whom the system trusts.
    pub ca_bundle: Vec<u8>,
    /// Whether it may be anybody.
    pub is_insecure: bool,
}

impl Server {
    /// The name that its certificate must have.
    pub fn name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// What there is of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceState {
    NoService,
    /// It is not listening on the port.
    NoPort,
    NoSlices,
    NoEndpoints {
        port_name: String,
    },
    /// There is something to ask.
    There,
}

/// A group version that another server answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Of the APIService. One that is made again is another.
    pub name: String,
    pub uid: String,
    pub group: String,
    pub version: String,
    pub priority: Priority,
    pub server: Arc<Server>,
    /// Whether it is known to answer.
    pub is_available: bool,
}

impl Remote {
    /// `None` for what this server answers itself. It keeps the core and the group of APIServices whatever they say: otherwise
    /// one of them could lock everybody out of mending it.
    fn of(service: &APIService) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let at = spec.service.as_ref()?;
        let (group, version) = (check::text(spec.group.as_ref()), check::text(spec.version.as_ref()));
        if group.is_empty() || group == GROUP || version.is_empty() {
            return None;
        }
        let server = Server {
            namespace: at.namespace.clone().unwrap_or_default(),
            service: at.name.clone().unwrap_or_default(),
            port: u16::try_from(at.port.unwrap_or(SERVICE_PORT)).ok()?,
            ca_bundle: spec.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).unwrap_or_default(),
            is_insecure: spec.insecure_skip_tls_verify == Some(true),
        };
        Some(Self {
            name: service.metadata.name.clone().unwrap_or_default(),
            uid: service.metadata.uid.clone().unwrap_or_default(),
            group: group.to_owned(),
            version: version.to_owned(),
            priority: priority_of(spec),
            server: Arc::new(server),
            is_available: is_available(service),
        })
    }
    /// `/apis/group/version`.
    pub fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

fn priority_of(spec: &APIServiceSpec) -> Priority {
    Priority { group: spec.group_priority_minimum, version: spec.version_priority }
}

/// All of them at one moment.
#[derive(Debug, Default)]
pub struct Routes {
    by_group: HashMap<String, Vec<Arc<Remote>>>,
    /// Of what has no Service: by group, then by version.
    here: HashMap<String, HashMap<String, Priority>>,
}

impl Routes {
    /// `before`: what has not changed stays the same value.
    pub fn new<'a>(services: impl Iterator<Item = &'a APIService>, before: &Self) -> Self {
        let mut by_group: HashMap<String, Vec<Arc<Remote>>> = HashMap::new();
        let mut here: HashMap<String, HashMap<String, Priority>> = HashMap::new();
        for service in services {
            let Some(remote) = Remote::of(service) else {
                if let Some(spec) = service.spec.as_ref().filter(|spec| spec.service.is_none()) {
                    let (group, version) = (check::text(spec.group.as_ref()), check::text(spec.version.as_ref()));
                    let versions = here.entry(group.to_owned()).or_default();
                    versions.insert(version.to_owned(), priority_of(spec));
                }
                continue;
            };
            let known = before.find(&remote.group, &remote.version).filter(|known| ***known == remote);
            let remote = known.cloned().unwrap_or_else(|| Arc::new(remote));
            by_group.entry(remote.group.clone()).or_default().push(remote);
        }
        Self { by_group, here }
    }
    /// How what is answered here stands among others, if somebody says so.
    pub fn priority_here(&self, group: &str, version: &str) -> Option<Priority> {
        self.here.get(group)?.get(version).copied()
    }
    pub fn is_empty(&self) -> bool {
        self.by_group.is_empty()
    }
    pub fn find(&self, group: &str, version: &str) -> Option<&Arc<Remote>> {
        self.by_group.get(group)?.iter().find(|remote| remote.version == version)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.by_group.values().flatten()
    }
    /// Whether all of them are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.here == other.here
            && self.iter().count() == other.iter().count()
            && self.iter().all(|remote| other.find(&remote.group, &remote.version) == Some(remote))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(group: &str, version: &str, service: Value, available: &str) -> APIService {
        let spec = json!({"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": service, "caBundle": "eA=="});
        let conditions = json!([{"type": "Available", "status": available}]);
        serde_json::from_value(json!({"metadata": {"name": format!("{version}.{group}")}, "spec": spec,
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    #[test]
    fn what_is_answered_by_others() {
        let at = json!({"name": "s", "namespace": "n", "port": 8443});
        let all = [
            service("a.example", "v1", at.clone(), "True"),
            service("a.example", "v2", Value::Null, "True"),
            service("b.example", "v1", at.clone(), "False"),
            service("", "v1", at.clone(), "True"),
            service(GROUP, "v1", at.clone(), "True"),
            service("apps", "v1", at, "True"),
        ];
        let routes = Routes::new(all.iter(), &Routes::default());
        let found = |group, version| routes.find(group, version).map(|remote| remote.is_available);
        for (group, version, expected) in [
            ("a.example", "v1", Some(true)),
            ("a.example", "v2", None),
            ("a.example", "v3", None),
            ("b.example", "v1", Some(false)),
            ("", "v1", None),
            (GROUP, "v1", None),
            ("apps", "v1", Some(true)),
        ] {
            assert_eq!(found(group, version), expected, "{group}/{version}");
        }
        let here = Some(Priority { group: 100, version: 10 });
        assert_eq!((routes.priority_here("a.example", "v2"), routes.priority_here("a.example", "v1")), (here, None));
        let remote = routes.find("a.example", "v1").unwrap();
        assert_eq!((remote.path().as_str(), remote.server.name().as_str()), ("/apis/a.example/v1", "s.n.svc"));
        assert_eq!(remote.server.ca_bundle, b"x");
    }

    #[test]
    fn what_has_not_changed_is_the_same() {
        let at = json!({"name": "s", "namespace": "n", "port": 443});
        let (one, other) = (service("a", "v1", at.clone(), "True"), service("b", "v1", at.clone(), "False"));
        let before = Routes::new([&one, &other].into_iter(), &Routes::default());
        let same = Routes::new([&one, &other].into_iter(), &before);
        assert!(before.is_same(&same));
        let changed = service("b", "v1", at, "True");
        let after = Routes::new([&one, &changed].into_iter(), &before);
        assert!(!before.is_same(&after) && !before.is_same(&Routes::default()));
        assert!(Arc::ptr_eq(before.find("a", "v1").unwrap(), after.find("a", "v1").unwrap()));
        assert!(!Arc::ptr_eq(before.find("b", "v1").unwrap(), after.find("b", "v1").unwrap()));
    }
}
