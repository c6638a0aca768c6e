//! The objects that parametrize a policy, as the cache has them.

use bytes::Bytes;
use corten_api::Scope;
use corten_api::selector::Selector;
use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use serde_json::Value;

use crate::admission::asking::Asking;
use crate::registry::admissionregistration::params::group_version;
use crate::registry::{ApiResource, Conversion};

/// Of one binding. Each is asked about on its own.
const PARAMS_MAX: usize = 1000;

/// A kind as a policy names it, whether it is served yet or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    group: String,
    version: String,
    kind: String,
}

impl From<&ParamKind> for Kind {
    fn from(of: &ParamKind) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let api_version = text(&of.api_version);
        let (group, version) = group_version(&api_version).unwrap_or(("", &api_version));
        Self { group: group.into(), version: version.into(), kind: text(&of.kind) }
    }
}

impl Kind {
    /// As it is served now.
    pub(super) fn resource(&self, asking: &Asking<'_>) -> Result<std::sync::Arc<ApiResource>, String> {
        let table = asking.registry.table();
        let is_it = |resource: &ApiResource| {
            resource.group() == self.group && resource.version() == self.version && resource.kind() == self.kind
        };
        let found = table.iter().find(|resource| is_it(resource)).cloned();
        let Self { group, version, kind } = self;
        let name = || format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'");
        found.ok_or_else(name)
    }
}

/// Which objects a binding means.
#[derive(Debug)]
pub(super) struct Reference {
    namespace: String,
    which: Which,
    /// Whether everything is refused where there are none.
    denies: bool,
}

#[derive(Debug)]
enum Which {
    Named(String),
    Selected(Result<Selector, String>),
}

impl From<&ParamRef> for Reference {
    fn from(of: &ParamRef) -> Self {
        let which = match (&of.name, &of.selector) {
            (Some(name), _) if !name.is_empty() => Which::Named(name.clone()),
            (_, selector) => {
                let selector = Selector::from_label_selector(selector.as_ref()).map_err(|err| err.to_string());
                Which::Selected(selector)
            }
        };
        let denies = of.parameter_not_found_action.as_deref() == Some("Deny");
        Self { namespace: of.namespace.clone().unwrap_or_default(), which, denies }
    }
}

/// One object.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) value: Value,
    /// `namespace/name`
    pub(super) key: String,
}

/// What the policy is asked with, each on its own; `None`: with none. The error is the binding's.
pub(super) async fn collect(
    resource: Option<&ApiResource>,
    reference: Option<&Reference>,
    asking: &Asking<'_>,
) -> Result<Vec<Option<Param>>, String> {
    let (Some(resource), Some(reference)) = (resource, reference) else { return Ok(vec![None]) };
    let namespace = match resource.scope() {
        Scope::Cluster if !reference.namespace.is_empty() => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        Scope::Cluster => "",
        Scope::Namespaced if !reference.namespace.is_empty() => &reference.namespace,
        Scope::Namespaced if !asking.namespace().is_empty() => asking.namespace(),
        Scope::Namespaced => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
    };
    let (group, plural) = (resource.group(), resource.plural());
    let stored: Vec<Bytes> = match &reference.which {
        Which::Named(name) => asking.view.get(group, plural, namespace, name).into_iter().collect(),
        Which::Selected(selector) => {
            asking.view.selected(group, plural, namespace, selector.as_ref().map_err(Clone::clone)?)
        }
    };
    if stored.is_empty() && reference.denies {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    if stored.len() > PARAMS_MAX {
        return Err(format!("{} params are selected, and a policy binding may select {PARAMS_MAX}", stored.len()));
    }
    let mut params = Vec::with_capacity(stored.len());
    for stored in &stored {
        params.push(Some(read(resource, stored, asking).await?));
    }
    Ok(params)
}

async fn read(resource: &ApiResource, stored: &[u8], asking: &Asking<'_>) -> Result<Param, String> {
    let unread = |why: &dyn std::fmt::Display| format!("a param cannot be read: {why}");
    let converted = match resource.conversion() {
        Some(Conversion::AtOnce(conversion)) => {
            (conversion.from_stored)(stored).and_then(|json| serde_json::from_slice(&json))
        }
        // Its webhook sees by what is stored which version that is.
        Some(Conversion::Webhook(_)) => {
            let converted = asking.convert.convert(stored.to_vec(), resource, resource).await;
            serde_json::from_slice(&converted.map_err(|err| unread(&err.message()))?)
        }
        None => serde_json::from_slice(stored),
    };
    let mut value: Value = converted.map_err(|err| unread(&err))?;
    if !value.is_object() {
        return Err("a param is no object".into());
    }
    value["apiVersion"] = Value::String(resource.api_version());
    value["kind"] = Value::String(resource.kind().to_owned());
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let key = format!("{}/{}", text("namespace"), text("name"));
    Ok(Param { value, key })
}
