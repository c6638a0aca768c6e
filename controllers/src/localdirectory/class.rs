//! The StorageClass `local-directory`: made once in a cluster's life, and its users' from then on.
//!
//! It is the default one only where nobody has storage yet: in a cluster that was upgraded, claims without a class wait for whom
//! they waited for. That it was made is said on the namespace `kube-system`, which nobody deletes: who deletes or changes the class is obeyed.

use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use corten_api::k8s_openapi::api::storage::v1::StorageClass;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::volumes::LOCAL_DIRECTORY;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Patch;
use serde_json::json;
use tracing::warn;

use crate::context::Context;
use crate::persistentvolume::claims::IS_DEFAULT;

const NAME: &str = "local-directory";
const NAMESPACE: &str = "kube-system";
const MADE: &str = "corten.io/local-directory-class";
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Returns when the class was made, now or ever before.
pub async fn made(context: Context) {
    let make = async {
        while let Err(err) = make_once(&context).await {
            warn!(%err, "cannot make the StorageClass {NAME} yet");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    context.stop.run_until_cancelled(make).await;
}

async fn make_once(context: &Context) -> Result<(), ApiError> {
    let key = Key::cluster(NAMESPACE);
    let namespace = context.client.get::<Namespace>(&key).await?;
    if namespace.annotation(MADE).is_some() {
        return Ok(());
    }
    let (classes, claims) = (context.caches.of::<StorageClass>(), context.caches.of::<PersistentVolumeClaim>());
    match context.client.create(&class(is_new(classes.len(), claims.len()))).await {
        Err(err) if !err.is(Reason::AlreadyExists) => return Err(err),
        _ => {}
    }
    // If this fails the class is made again, unless it is there.
    let patch = json!({"metadata": {"uid": namespace.uid(), "annotations": {MADE: "made"}}});
    context.client.patch::<Namespace>(&key, "", Patch::Merge(patch)).await.map(drop)
}

/// Whether nobody has storage in this cluster yet. `classes`, `claims`: how many there are.
fn is_new(classes: usize, claims: usize) -> bool {
    classes == 0 && claims == 0
}

fn class(is_default: bool) -> StorageClass {
    let annotations = is_default.then(|| [(IS_DEFAULT[0].to_owned(), "true".to_owned())].into());
    StorageClass {
        metadata: ObjectMeta { name: Some(NAME.into()), annotations, ..ObjectMeta::default() },
        provisioner: LOCAL_DIRECTORY.into(),
        reclaim_policy: Some("Delete".into()),
        volume_binding_mode: Some("WaitForFirstConsumer".into()),
        ..StorageClass::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_nobody_has_storage_is_it_the_default_class() {
        // classes, claims, whether it is the default
        let cases = [(0, 0, true), (1, 0, false), (0, 1, false), (2, 3, false)];
        for (classes, claims, expected) in cases {
            let class = class(is_new(classes, claims));
            let is_default = class.annotation(IS_DEFAULT[0]) == Some("true");
            assert_eq!(is_default, expected, "{classes} classes, {claims} claims");
        }
    }
}
