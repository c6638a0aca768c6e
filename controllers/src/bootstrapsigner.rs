//! Signs the ConfigMap cluster-info of kube-public with each bootstrap token.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::ConfigMap;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, Next, Patch, Watch};
use jiff::Timestamp;
use serde_json::json;

use crate::bootstraptokens::{SeenToken, watch};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use decide::{Observed, decide};

const WORKERS: usize = 1;
const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";

/// It has one item: the ConfigMap.
pub fn controller(setup: &Setup) -> Loop {
    let tokens = setup.caches.own(watch, SeenToken::of);
    let infos = setup.caches.own(
        |client| Watch::<ConfigMap>::all(client).namespace(NAMESPACE).fields(&format!("metadata.name={NAME}")),
        crate::caches::slim,
    );
    let item = Key::new(NAMESPACE, NAME);
    Controller::new(setup).workers(WORKERS).reconciles(&infos).watches(&tokens, maps::always(item)).run(
        move |context, key| {
            let (infos, tokens) = (Cache::clone(&infos), Cache::clone(&tokens));
            async move { sync(&context, &infos, &tokens, &key).await }
        },
    )
}

async fn sync(
    context: &Context,
    infos: &Cache<ConfigMap>,
    tokens: &Cache<SeenToken>,
    key: &Key,
) -> Result<Next, ApiError> {
    let Some(map) = infos.get(key).filter(|map| !map.is_deleting()) else { return Ok(Next::Done) };
    let data = map.data.clone().unwrap_or_default();
    let decision = decide(&Observed { now: Timestamp::now(), data: &data, tokens: &tokens.list() });
    if !decision.changes.is_empty() {
        let body = json!({
            "metadata": {"uid": map.uid(), "resourceVersion": map.metadata.resource_version},
            "data": decision.changes,
        });
        match context.client.patch::<ConfigMap>(key, "", Patch::Merge(body)).await {
            Ok(written) => context.caught_up(infos, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
            Err(err) => return Err(err),
        }
    }
    Ok(decision.wake_after.map_or(Next::Done, Next::After))
}
