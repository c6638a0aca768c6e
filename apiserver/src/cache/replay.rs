//! How far back a cache begins when its server starts, so that watchers of the server before resume: as far as a ring
//! keeps changes, and no further than the store remembers.
//!
//! A store tells no times. The leaders' Leases do: what they were at a revision says when that was, by the clock of who
//! renews them, twice within a few seconds. Where none is renewed, a number of revisions has to do.

use k8s_openapi::api::coordination::v1::Lease;

use super::ROOT;
use super::ring::KEPT_FOR;
use crate::storage::{Storage, StorageError};

/// So many revisions are replayed however old they are: a quiet cluster's are few.
const REVISIONS_MIN: i64 = 1 << 11;
/// More are never replayed: for more than 75 s of them a cluster would have to write 1,700 times a second.
const REVISIONS_MAX: i64 = 1 << 17;
/// The Leases of the scheduler and the controllers: two small objects.
const LEADERS: &str = "leases/kube-system/kube-";

/// A revision that the store still has, from which on all is replayed. Asks the store for a few small objects, no more
/// than about twenty times.
pub(super) async fn beginning(storage: &dyn Storage, newest: i64) -> Result<i64, StorageError> {
    let mut back = REVISIONS_MIN;
    let mut seen = loop {
        match renewed_at(storage, newest, back).await {
            Ok(seen) => break seen,
            // The store keeps minutes. What a quiet cluster wrote in them may be little.
            Err(StorageError::Compacted { .. }) if back > 1 => back /= 2,
            Err(StorageError::Compacted { .. }) => return Ok(newest),
            Err(err) => return Err(err),
        }
    };
    let now = renewed_at(storage, newest, 0).await?;
    let is_young =
        |seen: Option<i64>| now.zip(seen).is_some_and(|(now, seen)| now - seen <= KEPT_FOR.as_micros() as i64);
    while (REVISIONS_MIN..REVISIONS_MAX).contains(&back) && back < newest && is_young(seen) {
        seen = match renewed_at(storage, newest, 2 * back).await {
            Ok(seen) => seen,
            Err(StorageError::Compacted { .. }) => break,
            Err(err) => return Err(err),
        };
        back *= 2;
    }
    Ok(at(newest, back))
}

fn at(newest: i64, back: i64) -> i64 {
    (newest - back).max(1)
}

/// When a leader's Lease had last been renewed, in microseconds; `None`: there was none.
async fn renewed_at(storage: &dyn Storage, newest: i64, back: i64) -> Result<Option<i64>, StorageError> {
    let listed = storage.list(&format!("{ROOT}{LEADERS}"), Some(at(newest, back))).await?;
    let renewed = listed.items.iter().filter_map(|stored| {
        // What is no Lease tells no time.
        let lease: Lease = serde_json::from_slice(&stored.value).ok()?;
        Some(lease.spec?.renew_time?.0.as_microsecond())
    });
    Ok(renewed.max())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::{Cache, Filter};
    use crate::registry::Registry;
    use crate::storage::memory::Memory;
    use crate::storage::{Outcome, Write};

    /// A cluster that has written so often in each second, with the leader's renewal of that second.
    async fn after(secs: i64, writes: i64) -> (Memory, i64) {
        let store = Memory::default();
        let (key, mut expected) = (format!("{ROOT}{LEADERS}scheduler"), None);
        let (mut revision, begun) = (1, 1_800_000_000);
        for second in 0..secs {
            let time = k8s_openapi::jiff::Timestamp::from_second(begun + second).unwrap();
            let value = format!(r#"{{"metadata":{{}},"spec":{{"renewTime":"{time:.6}"}}}}"#).into();
            let lease = match expected {
                None => Write::Create { key: key.clone(), value, ttl_secs: None },
                Some(expected) => Write::Update { key: key.clone(), value, expected, ttl_secs: None },
            };
            for i in 0..writes {
                let (key, value) = (format!("{ROOT}configmaps/n/{second}-{i}"), r#"{"metadata":{}}"#.into());
                let write = if i == 0 { lease.clone() } else { Write::Create { key, value, ttl_secs: None } };
                let Outcome::Committed { revision: done } = store.commit(vec![write]).await.unwrap() else { panic!() };
                revision = done;
                if i == 0 {
                    expected = Some(done);
                }
            }
        }
        (store, revision)
    }

    #[tokio::test]
    async fn how_far_back_table() {
        // Why; seconds; writes in each; seconds that are forgotten; seconds back at least, and at most.
        for (why, secs, writes, forgotten, least, most) in [
            ("a busy cluster: as long as a ring keeps changes", 300, 100, 0, 75, 170),
            ("a quiet cluster: what the store has, or half", 2_000, 1, 1_700, 150, 300),
            ("a quiet cluster whose store has forgotten nothing", 3_000, 1, 0, 2_000, 2_100),
            ("a young cluster: all of it", 10, 10, 0, 10, 10),
            ("the store has forgotten what was a minute ago", 300, 100, 270, 15, 30),
        ] {
            let (store, newest) = after(secs, writes).await;
            if forgotten > 0 {
                store.compact(forgotten * writes).await.unwrap();
            }
            let from = beginning(&store, newest).await.unwrap();
            let back = (newest - from) as f64 / writes as f64;
            assert!(back.ceil() as i64 >= least && back.floor() as i64 <= most, "{why}: {back} s");
            store.list(ROOT, Some(from)).await.expect("it can be read");
        }
    }

    #[tokio::test]
    async fn a_watcher_resumes_after_a_restart_with_every_change_once_and_in_order() {
        for (why, secs, writes, forgotten) in
            [("a busy cluster", 100, 60, 0), ("a quiet cluster, compacted", 600, 1, 300)]
        {
            let (store, newest) = after(secs, writes).await;
            if forgotten > 0 {
                store.compact(forgotten * writes).await.unwrap();
            }
            let cache = Cache::start(Arc::new(store), &Registry::default()).await.unwrap();
            for kind in ["configmaps", "leases"] {
                let kind = cache.kind(kind).unwrap();
                let seen = newest - 74 * writes;
                let mut resumed = kind
                    .subscribe_after(seen, &Filter::default())
                    .unwrap()
                    .unwrap_or_else(|err| panic!("{why}: {err}"));
                let (steps, _) = resumed.read(usize::MAX, seen).unwrap();
                let got: Vec<i64> = steps.iter().map(|step| step.item.revision).collect();
                // The first write of each second is the renewal.
                let is_wanted = |r: &i64| (r - 2) % writes == 0;
                let is_lease = kind.prefix().contains("leases");
                let expected: Vec<i64> = (seen + 1..=newest).filter(|r| is_wanted(r) == is_lease).collect();
                assert_eq!(got, expected, "{why}: {}", kind.prefix());
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_has_forgotten_all_is_begun_at_its_newest() {
        let (store, newest) = after(10, 10).await;
        store.compact(newest).await.unwrap();
        assert_eq!(beginning(&store, newest).await.unwrap(), newest);
    }
}
