//! What all policies are told of one write: each part made when the first asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::ApiError;
use corten_cel::Value;
use serde_json::{Map, Value as Json};

use crate::admission::asking::Asking;
use crate::admission::expressions::{Host, Seen, values};
use crate::admission::question;
use crate::admission::versions::Texts;
use crate::registry::{AnyObject, ApiResource};

/// Of a namespace's metadata.
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "name",
    "resourceVersion",
    "uid",
];

/// Whose expressions look.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Policy,
    /// Its match conditions, which know the request as it was made, and no namespace.
    Conditions,
}

/// Why a write cannot be told of.
pub(super) enum Untold {
    /// In the version that the policy is about: it says itself what becomes of that.
    Conversion(String),
    /// No policy's fault.
    Refused(ApiError),
}

impl Untold {
    fn conversion(err: ApiError) -> Self {
        Self::Conversion(format!("failed to convert object version: {}", err.message()))
    }
}

#[derive(Default)]
pub(super) struct Told {
    /// The object as it is to be, and as it was, in each version that is asked for.
    new: Texts,
    old: Texts,
    requests: Vec<(Arc<ApiResource>, Json)>,
    /// Once it has been looked for.
    namespace: Option<Option<Json>>,
}

impl Told {
    /// As expressions know them. `params`: `None` where the policy knows none, and `Some(None)` where it is asked with none.
    pub(super) async fn values<'t>(
        &'t mut self,
        asking: &'t Asking<'_>,
        object: Option<&dyn AnyObject>,
        (resource, of): (&Arc<ApiResource>, Of),
        params: Option<Option<&'t Json>>,
        host: &'t Host<'_>,
    ) -> Result<BTreeMap<&'static str, Value<'t>>, Untold> {
        let Self { new, old, requests, namespace } = self;
        let object = match object {
            Some(object) => Some(new.value(asking, object, resource).await.map_err(Untold::conversion)?),
            None => asking.connection.as_ref(),
        };
        let old = match asking.old {
            Some(before) => Some(old.value(asking, before, resource).await.map_err(Untold::conversion)?),
            None => None,
        };
        let (requested, namespace) = match of {
            Of::Conditions => (asking.resource, None),
            Of::Policy => {
                let namespace = match namespace {
                    Some(namespace) => namespace,
                    None => namespace.insert(namespace_object(asking).map_err(Untold::Refused)?),
                };
                (resource, namespace.as_ref())
            }
        };
        let at = match requests.iter().position(|(of, _)| Arc::ptr_eq(of, requested)) {
            Some(at) => at,
            None => {
                let request = question::request(asking, requested);
                requests.push((requested.clone(), request.map_err(|err| Untold::Refused(ApiError::internal(err)))?));
                requests.len() - 1
            }
        };
        let seen = Seen { object, old, namespace, params, request: &requests[at].1 };
        Ok(values(asking, &seen, host))
    }
    /// The object in a version, as it is to be.
    pub(super) async fn object(
        &mut self,
        asking: &Asking<'_>,
        object: &dyn AnyObject,
        resource: &Arc<ApiResource>,
    ) -> Result<&Json, Untold> {
        self.new.value(asking, object, resource).await.map_err(Untold::conversion)
    }
    /// The object is another now.
    pub(super) fn forget(&mut self) {
        self.new.forget();
    }
}

/// Of what is in a namespace. A namespace is in none.
fn namespace_object(asking: &Asking<'_>) -> Result<Option<Json>, ApiError> {
    let name = asking.namespace();
    if name.is_empty() || asking.is_namespaces() {
        return Ok(None);
    }
    let not_found = || ApiError::not_found("", "namespaces", name);
    let stored = asking.view.get("", "namespaces", "", name).ok_or_else(not_found)?;
    let mut whole: Json = serde_json::from_slice(&stored).map_err(ApiError::internal)?;
    let mut metadata = Map::new();
    for field in METADATA {
        if let Some(value) = whole["metadata"].get_mut(*field) {
            metadata.insert((*field).to_owned(), value.take());
        }
    }
    let mut part = |field: &str| whole.get_mut(field).map(Json::take).unwrap_or_default();
    Ok(Some(serde_json::json!({"metadata": metadata, "spec": part("spec"), "status": part("status")})))
}
