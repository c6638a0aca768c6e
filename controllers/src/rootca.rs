//! The ConfigMap `kube-root-ca.crt` in every namespace: by it pods trust the apiserver.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::ConfigMap;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, Next, Patch, Watch, WorkQueue, run_workers};
use serde_json::json;

use crate::context::{Context, is_terminating_namespace};
use crate::replicas::QueueChanges;
use decide::{Action, Observed, decide};

const WORKERS: usize = 2;
const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";

struct Controller {
    context: Context,
    root_ca: String,
    /// Whether each of these ConfigMaps has the right content.
    right: Cache<bool>,
}

/// Its queue holds namespaces.
pub async fn run(context: Context, root_ca: String) {
    let queue = WorkQueue::new();
    let (own, wanted) = (queue.clone(), root_ca.clone());
    let right = Watch::<ConfigMap>::all(&context.client).fields(&format!("metadata.name={NAME}")).start_reduced(
        &context.stop,
        move |map| map.data.as_ref().and_then(|d| d.get(FILE)) == Some(&wanted),
        move |change| {
            if let Some(key) = change.key() {
                own.add(Key::cluster(key.namespace.as_str()));
            }
        },
    );
    if context.stop.run_until_cancelled(right.synced()).await.is_none() {
        return;
    }
    let own = queue.clone();
    context.caches.namespaces.subscribe(move |change| own.extend_from(change));
    let stop = context.stop.clone();
    let controller = std::sync::Arc::new(Controller { context, root_ca, right });
    run_workers("rootca", &queue, WORKERS, &stop, move |key| {
        let controller = std::sync::Arc::clone(&controller);
        async move { controller.sync(&key).await }
    })
    .await;
}

impl Controller {
    async fn sync(&self, namespace: &Key) -> Result<Next, ApiError> {
        let key = Key::new(namespace.name.as_str(), NAME);
        let seen = Observed {
            namespace: self.context.caches.namespaces.get(namespace).map(|n| n.is_deleting()),
            is_right: self.right.get(&key).as_deref().copied(),
        };
        let data = json!({FILE: self.root_ca});
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
            data: Some([(FILE.to_owned(), self.root_ca.clone())].into()),
            ..ConfigMap::default()
        }
    }
}
