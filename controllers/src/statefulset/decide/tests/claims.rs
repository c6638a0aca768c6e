//! Claims: made before their pods, waited for when they go, given to whom the retention policy says.

use super::*;
use crate::pods::UsedClaim;

fn with_claims(more: &Value) -> Value {
    let mut changes = json!({"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
    changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    changes
}

fn policy(deleted: &str, scaled: &str) -> Value {
    json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}})
}

/// `NAME`, `NAME going`, or `NAME of UID`, which is the uid of a pod `db-0`.
fn claim(text: &str) -> Arc<PersistentVolumeClaim> {
    let mut words = text.split(' ');
    let mut meta = json!({"name": words.next().unwrap(), "namespace": "ns", "uid": format!("uid-{text}")});
    match (words.next(), words.next()) {
        (Some("going"), None) => meta["deletionTimestamp"] = json!("2030-01-01T00:00:00Z"),
        (Some("of"), Some(uid)) => {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": uid, "controller": true});
            meta["ownerReferences"] = json!([owner]);
        }
        _ => {}
    }
    Arc::new(serde_json::from_value(json!({"metadata": meta})).unwrap())
}

#[test]
fn claims_table() {
    let holding = |text: &str| {
        let mut pod = pod(text);
        pod.claims = vec![UsedClaim { name: format!("data-{}", pod.key.name), ephemeral: false }];
        pod
    };
    let kept = || with_claims(&json!({}));
    let (scaled, both) = (|| with_claims(&policy("Retain", "Delete")), || with_claims(&policy("Delete", "Delete")));
    type Row<'a> = (&'a str, Value, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    // why, changes, pods, claims, what is done
    let cases: &[Row<'_>] = &[
        ("a claim, then its pod", kept(), &[], &[], &["claim data-db-0 for db-0", "create db-0 of a"]),
        ("it is there from before", kept(), &[], &["data-db-0"], &["create db-0 of a"]),
        ("it goes: the pod waits", kept(), &[], &["data-db-0 going"], &["Create db-0: pvc data-db-0 is being deleted"]),
        ("of a pod that was scaled away: the pod waits", scaled(), &[], &["data-db-0 of old"], &[]),
        ("of a pod before, and kept", kept(), &[], &["data-db-0 of old"], &["create db-0 of a"]),
        ("lost while the pod waits", kept(), &["0 a pending"], &[], &["claim data-db-0 for db-0"]),
        ("lost while it runs: the pod has it still", kept(), &["0 a serves"], &[], &[]),
        ("goes with the set", both(), &["0 a serves"], &["data-db-0"], &["own data-db-0 by [set]"]),
        ("though the pod is broken", both(), &["0 a broken"], &["data-db-0"], &["own data-db-0 by [set]"]),
        (
            "goes with the pod, before the pod does",
            both(),
            &["0 a serves", "1 a serves"],
            &["data-db-1"],
            &["own data-db-1 by [uid-1]", "delete db-1"],
        ),
        (
            "goes with the pod that goes already",
            scaled(),
            &["0 a serves", "1 a going"],
            &["data-db-1"],
            &["own data-db-1 by [uid-1]"],
        ),
    ];
    for (why, changes, pods, claims, expected) in cases {
        let mut seen = observed(set("a", changes), &["a"], &[]);
        seen.pods = pods.iter().map(|text| Arc::new(holding(text))).collect();
        seen.claims = claims.iter().map(|text| (claim(text).name().to_owned(), claim(text))).collect();
        assert_eq!(said(&seen, &decide(&seen)), *expected, "{why}");
    }
}
