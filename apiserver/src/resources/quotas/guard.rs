//! The guard of a namespace's quotas: while it stands at one revision, the namespace has the same quotas, which allow the
//! same, and whose sums are as of the same time.

use bytes::Bytes;
use corten_api::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, QUOTAS, ROOT};
use crate::registry::clock;
use crate::storage::Write;

/// As its key holds it. It looks like an object, as all that the cache reads does.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    metadata: ObjectMeta,
    as_of_secs: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counting: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) revision: i64,
    /// Unix time: what had ended by then is not counted.
    pub(super) as_of_secs: i64,
    /// Who counts the namespace just now: nothing that counts is written meanwhile.
    pub(super) counting: Option<String>,
}

fn key(namespace: &str) -> String {
    format!("{ROOT}{QUOTAS}/{namespace}")
}

impl Guard {
    /// As the cache has it. Which quotas it guards can be read once the cache has reached its revision.
    pub(super) fn of(cache: &Cache, namespace: &str) -> Result<Option<Self>, ApiError> {
        let Some(item) = cache.kind(QUOTAS).and_then(|guards| guards.get(namespace)) else { return Ok(None) };
        let Stored { as_of_secs, counting, .. } = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
        Ok(Some(Self { revision: item.revision, as_of_secs, counting }))
    }
    /// That nothing has changed.
    pub(super) fn condition(guard: Option<&Self>, namespace: &str) -> Write {
        Write::Expect { key: key(namespace), expected: guard.map_or(0, |guard| guard.revision) }
    }
    /// The quotas have changed. `counting`: somebody counts them from now on.
    pub(super) fn changed(
        guard: Option<&Self>,
        namespace: &str,
        as_of_secs: i64,
        counting: Option<&str>,
    ) -> Result<Write, ApiError> {
        let (key, value) = (key(namespace), value(namespace, as_of_secs, counting)?);
        Ok(match guard {
            Some(guard) => Write::Update { key, value, expected: guard.revision, ttl_secs: None },
            None => Write::Create { key, value, ttl_secs: None },
        })
    }
    /// There are no quotas any more.
    pub(super) fn removed(&self, namespace: &str) -> Write {
        Write::Delete { key: key(namespace), expected: self.revision }
    }
}

fn value(namespace: &str, as_of_secs: i64, counting: Option<&str>) -> Result<Bytes, ApiError> {
    let metadata = ObjectMeta {
        name: Some(namespace.to_owned()),
        // No two writes are equal: the store may have to tell whose was done.
        uid: Some(uuid::Uuid::new_v4().to_string()),
        creation_timestamp: Some(clock::now()),
        ..ObjectMeta::default()
    };
    let stored = Stored { metadata, as_of_secs, counting: counting.map(str::to_owned) };
    Ok(serde_json::to_vec(&stored).map_err(ApiError::internal)?.into())
}
