//! The ConfigMap `kube-root-ca.crt` in every namespace: by it pods trust the apiserver.

pub mod decide;

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, Next, Patch, Watch};
use serde_json::json;

use crate::context::{Context, is_terminating_namespace};
use crate::controller::{Controller, Loop, Setup, maps};
use decide::{Action, Observed, decide};

const WORKERS: usize = 2;
const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";

struct RootCa {
    context: Context,
    root_ca: Arc<str>,
    /// Whether each of these ConfigMaps has the right content.
    right: Cache<bool>,
}

/// Its items are namespaces.
pub fn controller(setup: &Setup) -> Loop {
    let root_ca: Arc<str> = setup.settings.root_ca.as_str().into();
    let wanted = Arc::clone(&root_ca);
    let right = setup.caches.own(
        |client| Watch::<ConfigMap>::all(client).fields(&format!("metadata.name={NAME}")),
        move |map| map.data.as_ref().and_then(|d| d.get(FILE)).is_some_and(|file| **file == *wanted),
    );
    Controller::new(setup)
        .workers(WORKERS)
        .reconciles(&setup.caches.of::<Namespace>())
        .watches(&right, maps::namespace)
        .run(move |context, namespace| {
            let this = RootCa { context, root_ca: Arc::clone(&root_ca), right: Cache::clone(&right) };
            async move { this.sync(&namespace).await }
        })
}

impl RootCa {
    async fn sync(&self, namespace: &Key) -> Result<Next, ApiError> {
        let key = Key::new(namespace.name.as_str(), NAME);
        let seen = Observed {
            namespace: self.context.caches.of::<Namespace>().get(namespace).map(|n| n.is_deleting()),
            is_right: self.right.get(&key).as_deref().copied(),
        };
        let data = json!({FILE: *self.root_ca});
        let written = match decide(seen) {
            Action::Keep => return Ok(Next::Done),
            Action::Create => self.context.client.create(&self.config_map(&key)).await,
            Action::Repair => {
                self.context.client.patch::<ConfigMap>(&key, "", Patch::Merge(json!({"data": data}))).await
            }
        };
        match written {
            Ok(map) => self.context.caught_up(&self.right, map.revision()).await,
            Err(err) if err.is(Reason::AlreadyExists) || is_terminating_namespace(&err) => {}
            // Gone meanwhile, alone or with its namespace; the watch tells which.
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Next::Done)
    }

    fn config_map(&self, key: &Key) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            data: Some([(FILE.to_owned(), self.root_ca.to_string())].into()),
            ..ConfigMap::default()
        }
    }
}
