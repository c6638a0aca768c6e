//! The objects that parametrize a policy, as the cache has them.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::selector::Selector;
use corten_api::{ApiError, Scope};
use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use serde_json::Value;

use super::parsed::Parsed;
use crate::admission::asking::Asking;
use crate::registry::admissionregistration::params::group_version;
use crate::registry::{ApiResource, Conversion};

/// Of one binding. Each is asked about on its own.
const PARAMS_MAX: usize = 1000;
/// Of one binding whose params a webhook converts: others are the cache's own, which takes no more for them.
const CONVERTED_BYTES_MAX: usize = 16 * 1024 * 1024;

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
    pub(super) fn resource(&self, asking: &Asking<'_>) -> Result<Arc<ApiResource>, String> {
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

/// One object, as a policy is asked with it.
#[derive(Clone, Debug)]
pub(super) struct Param {
    resource: Arc<ApiResource>,
    json: Bytes,
    /// By its webhook; else `json` is as it is stored.
    is_converted: bool,
}

impl Param {
    /// What expressions know of it.
    pub(super) fn value(&self, parsed: &Parsed) -> Result<Arc<Value>, String> {
        // What was converted nobody has again.
        if self.is_converted {
            return self.parse().map(Arc::new);
        }
        parsed.get(&self.resource, &self.json, || self.parse())
    }
    fn parse(&self) -> Result<Value, String> {
        let unread = |why: serde_json::Error| format!("a param cannot be read: {why}");
        let resource = &*self.resource;
        let mut value: Value = match resource.conversion() {
            Some(Conversion::Local(conversion)) => {
                (conversion.from_stored)(&self.json).and_then(|json| serde_json::from_slice(&json))
            }
            _ => serde_json::from_slice(&self.json),
        }
        .map_err(unread)?;
        if !value.is_object() {
            return Err("a param is no object".into());
        }
        value["apiVersion"] = Value::String(resource.api_version());
        value["kind"] = Value::String(resource.kind().to_owned());
        Ok(value)
    }
}

/// `namespace/name`
pub(super) fn key(of: &Value) -> String {
    let text = |field: &str| of["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

/// Why there are no params to ask with.
#[derive(Debug)]
pub(super) enum Missing {
    /// The binding is not as it should be, or means nothing that is there: the policy fails as it says.
    Misconfigured(String),
    /// There are more than this server takes. No policy is passed over for that, whatever it says of its failures.
    TooMany(ApiError),
}

impl From<String> for Missing {
    fn from(why: String) -> Self {
        Self::Misconfigured(why)
    }
}

/// What the policy is asked with, each on its own; `None`: with none.
pub(super) async fn collect(
    resource: Option<&Arc<ApiResource>>,
    reference: Option<&Reference>,
    asking: &Asking<'_>,
) -> Result<Vec<Option<Param>>, Missing> {
    let (Some(resource), Some(reference)) = (resource, reference) else { return Ok(vec![None]) };
    let namespace = namespace(resource, reference, asking)?;
    let (group, plural) = (resource.group(), resource.plural());
    let stored: Vec<Bytes> = match &reference.which {
        Which::Named(name) => asking.view.get(group, plural, namespace, name).into_iter().collect(),
        Which::Selected(selector) => {
            asking.view.selected(group, plural, namespace, selector.as_ref().map_err(Clone::clone)?)
        }
    };
    if stored.is_empty() && reference.denies {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned().into());
    }
    if stored.len() > PARAMS_MAX {
        let why = format!(
            "{} params are selected by the binding of an admission policy, of which this server takes {PARAMS_MAX}",
            stored.len()
        );
        return Err(Missing::TooMany(ApiError::internal(why)));
    }
    let is_converted = matches!(resource.conversion(), Some(Conversion::Webhook(_)));
    let served = if is_converted { converted(stored, resource, asking).await? } else { stored };
    let param = |json| Some(Param { resource: resource.clone(), json, is_converted });
    Ok(served.into_iter().map(param).collect())
}

/// By their webhook, all together.
async fn converted(stored: Vec<Bytes>, resource: &ApiResource, asking: &Asking<'_>) -> Result<Vec<Bytes>, Missing> {
    let bytes: usize = stored.iter().map(Bytes::len).sum();
    if bytes > CONVERTED_BYTES_MAX {
        let why = format!(
            "params of {bytes} bytes are selected by the binding of an admission policy, of which this server has {CONVERTED_BYTES_MAX} converted"
        );
        return Err(Missing::TooMany(ApiError::internal(why)));
    }
    let served = asking.convert.served(stored, resource).await;
    let served = served.map_err(|err| format!("a param cannot be read: {}", err.message()))?;
    Ok(served.into_iter().map(Bytes::from).collect())
}

/// Where they are looked for.
fn namespace<'a>(resource: &ApiResource, reference: &'a Reference, asking: &'a Asking<'_>) -> Result<&'a str, String> {
    match resource.scope() {
        Scope::Cluster if !reference.namespace.is_empty() => {
            Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into())
        }
        Scope::Cluster => Ok(""),
        Scope::Namespaced if !reference.namespace.is_empty() => Ok(&reference.namespace),
        Scope::Namespaced if !asking.namespace().is_empty() => Ok(asking.namespace()),
        Scope::Namespaced => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into())
        }
    }
}
