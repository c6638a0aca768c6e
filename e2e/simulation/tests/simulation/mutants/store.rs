//! Bugs between an apiserver and its store.

use bytes::Bytes;
use corten_apiserver::storage::{Change, Changes, Write};
use serde_json::{Value, json};

use super::Mutant;

const PODS: &str = "/registry/pods/";
/// One change in so many is missed.
const MISSED_EVERY: i64 = 7;

/// Writes the key whatever it holds: it is at `now`.
pub(super) fn replace(writes: &mut [Write], key: &str, now: Option<i64>) {
    for write in writes {
        let (Write::Create { key: of, value, ttl_secs } | Write::Update { key: of, value, ttl_secs, .. }) = &*write
        else {
            continue;
        };
        if of == key
            && let Some(expected) = now
        {
            *write = Write::Update { key: of.clone(), value: value.clone(), expected, ttl_secs: *ttl_secs };
        }
    }
}

fn is_written(write: &Write) -> bool {
    !matches!(write, Write::Expect { .. })
}

fn is_pods_deletion(write: &Write) -> bool {
    matches!(write, Write::Delete { key, .. } if key.starts_with(PODS))
}

pub(super) fn changed(mutant: Mutant, mut writes: Vec<Write>) -> Vec<Write> {
    match mutant {
        Mutant::ConditionsAreIgnored => writes.retain(is_written),
        Mutant::LastWriteIsForgotten => {
            let written: Vec<usize> = (0..writes.len()).filter(|index| is_written(&writes[*index])).collect();
            if let [_, .., last] = written[..] {
                writes.remove(last);
            }
        }
        Mutant::DeletionsAreNotCounted if writes.iter().any(is_pods_deletion) => {
            writes.retain(|write| !write.key().starts_with("/registry/resourcequotas/"));
        }
        Mutant::FinalizersDoNotHold => writes.iter_mut().for_each(|write| {
            if let Write::Update { key, value, expected, .. } = write
                && read(value)["metadata"]["deletionTimestamp"].is_string()
                && ["/registry/pods/", "/registry/deployments/", "/registry/jobs/"].iter().any(|p| key.starts_with(p))
            {
                *write = Write::Delete { key: key.clone(), expected: *expected };
            }
        }),
        Mutant::AllOnOneNode => edit(&mut writes, PODS, |pod| {
            if pod["spec"]["nodeName"].is_string() {
                pod["spec"]["nodeName"] = json!("n1");
            }
        }),
        Mutant::PlacedPodsMove => edit(&mut writes, PODS, |pod| {
            if pod["status"]["phase"] == "Running" && pod["spec"]["nodeName"] == "n2" {
                pod["spec"]["nodeName"] = json!("n3");
            }
        }),
        Mutant::TransitionsStandStill => edit(&mut writes, "/registry/leases/kube-system/", |lease| {
            lease["spec"]["leaseTransitions"] = json!(0);
        }),
        _ => {}
    }
    writes
}

fn read(value: &Bytes) -> Value {
    serde_json::from_slice(value).unwrap_or_default()
}

fn edit(writes: &mut [Write], prefix: &str, edit: impl Fn(&mut Value)) {
    for write in writes {
        if let Write::Update { key, value, .. } | Write::Create { key, value, .. } = write
            && key.starts_with(prefix)
        {
            let mut object = read(value);
            edit(&mut object);
            *value = object.to_string().into();
        }
    }
}

pub(super) fn told(mutant: Mutant, mut changes: Changes) -> Changes {
    changes.changes.retain(|change| match (mutant, change) {
        (Mutant::ChangesAreMissed, Change::Put { key, revision, .. }) => {
            !key.starts_with(PODS) || revision % MISSED_EVERY != 0
        }
        (Mutant::DeletionsAreMissed, Change::Deleted { key, .. }) => !key.starts_with(PODS),
        _ => true,
    });
    changes
}
