//! The next step of a migration, and what its status says. Pure.

use std::time::Duration;

use corten_api::conditions::{self, is_true};
use corten_api::k8s_openapi::api::storagemigration::v1::{StorageVersionMigration, StorageVersionMigrationStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, GroupResource, Time};
use corten_api::{Object, error};
use jiff::Timestamp;

const RUNNING: &str = "Running";
const SUCCEEDED: &str = "Succeeded";
const FAILED: &str = "Failed";

/// So long after it was seen that a definition is as it is, every apiserver stores its kind in the version that it names.
const SETTLES: Duration = Duration::from_secs(5);
/// By then a kind that was defined just before is served.
const SERVED_BY: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Everything the decision may look at.
pub struct Observed<'a> {
    /// For how long it is known here that the migration is asked for.
    pub known_for: Duration,
    /// For how long that, and that its kind is defined as it is now.
    pub settled_for: Duration,
    pub migration: &'a StorageVersionMigration,
    /// `None`: nobody has told yet what is served.
    pub is_served: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait(Duration),
    Fail(String),
    /// Its status names the revision up to which objects are written anew.
    Begin,
    Migrate,
}

/// For good.
pub fn is_over(migration: &StorageVersionMigration) -> bool {
    let conditions = migration.status.as_ref().and_then(|status| status.conditions.as_ref());
    migration.is_deleting() || is_true(conditions, SUCCEEDED) || is_true(conditions, FAILED)
}

pub fn resource(migration: &StorageVersionMigration) -> GroupResource {
    migration.spec.as_ref().map(|spec| spec.resource.clone()).unwrap_or_default()
}

pub fn name(migration: &StorageVersionMigration) -> String {
    let of = resource(migration);
    error::qualified(&of.resource, &of.group)
}

pub fn decide(seen: &Observed<'_>) -> Step {
    match seen.is_served {
        Some(true) => {}
        Some(false) if seen.known_for >= SERVED_BY => return Step::Fail("resource not found".into()),
        _ => return Step::Wait(LOOK_AGAIN),
    }
    if seen.settled_for < SETTLES {
        return Step::Wait(SETTLES - seen.settled_for);
    }
    let status = seen.migration.status.as_ref();
    let revision = status.and_then(|status| status.resource_version.as_deref()).unwrap_or_default();
    let runs = is_true(status.and_then(|status| status.conditions.as_ref()), RUNNING);
    if runs && revision.parse::<i64>().is_ok() { Step::Migrate } else { Step::Begin }
}

/// The revision is chosen once: one that is there stays.
pub fn begun(migration: &StorageVersionMigration, revision: i64, now: Timestamp) -> StorageVersionMigrationStatus {
    let mut status = running(migration, "", now);
    status.resource_version.get_or_insert_with(|| revision.to_string());
    status
}

pub fn running(migration: &StorageVersionMigration, progress: &str, now: Timestamp) -> StorageVersionMigrationStatus {
    with(migration, &[(RUNNING, true, "StorageVersionMigrationInProgress", progress)], now)
}

pub fn succeeded(migration: &StorageVersionMigration, progress: &str, now: Timestamp) -> StorageVersionMigrationStatus {
    ended(migration, (SUCCEEDED, true, "StorageVersionMigrationSucceeded", progress), now)
}

pub fn failed(migration: &StorageVersionMigration, why: &str, now: Timestamp) -> StorageVersionMigrationStatus {
    let mut status = ended(migration, (FAILED, true, "StorageVersionMigrationFailed", why), now);
    // No status is without one, also of what never began.
    status.resource_version.get_or_insert_with(|| migration.revision().to_string());
    status
}

type Said<'a> = (&'a str, bool, &'a str, &'a str);

fn ended(migration: &StorageVersionMigration, said: Said<'_>, now: Timestamp) -> StorageVersionMigrationStatus {
    let had = migration.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ran = (RUNNING, false, said.2, "");
    let all = [ran, said];
    with(migration, if is_true(had, RUNNING) { &all } else { &all[1..] }, now)
}

fn with(migration: &StorageVersionMigration, said: &[Said<'_>], now: Timestamp) -> StorageVersionMigrationStatus {
    let mut status = migration.status.clone().unwrap_or_default();
    for (kind, is, reason, message) in said {
        let condition = Condition {
            type_: (*kind).to_owned(),
            status: if *is { "True" } else { "False" }.to_owned(),
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
            observed_generation: None,
            last_transition_time: Time(now),
        };
        conditions::set(status.conditions.get_or_insert_default(), condition, &Time(now));
    }
    status
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn migration(status: Value) -> StorageVersionMigration {
        let metadata =
            json!({"name": "m", "uid": "m-uid", "resourceVersion": "7", "creationTimestamp": "2030-01-01T00:00:00Z"});
        let spec = json!({"resource": {"group": "shop.example.com", "resource": "orders"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    fn condition(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z"})
    }

    fn at(secs: i64) -> Timestamp {
        "2030-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(secs)
    }

    #[test]
    fn steps_table() {
        let runs = json!({"resourceVersion": "42", "conditions": [condition("Running", "True")]});
        let told = json!({"resourceVersion": "42"});
        let secs = Duration::from_secs;
        // why, its status, for how long it is known, and settled, whether it is served, what is done
        let cases = [
            ("just seen", json!({}), 0, 0, true, Step::Wait(secs(5))),
            ("a while ago", json!({}), 3, 3, true, Step::Wait(secs(2))),
            ("all servers know", json!({}), 5, 5, true, Step::Begin),
            ("it has a revision, and does not say that it runs", told, 5, 5, true, Step::Begin),
            ("it runs", runs.clone(), 5, 5, true, Step::Migrate),
            ("its kind is another since a moment ago", runs.clone(), 600, 1, true, Step::Wait(secs(4))),
            ("not served yet", json!({}), 30, 30, false, Step::Wait(LOOK_AGAIN)),
            ("not served", json!({}), 60, 60, false, Step::Fail("resource not found".into())),
            ("not served any more", runs, 600, 600, false, Step::Fail("resource not found".into())),
        ];
        for (why, status, known, settled, is_served, expected) in cases {
            let migration = migration(status);
            let (known_for, settled_for) = (secs(known), secs(settled));
            let seen = Observed { known_for, settled_for, migration: &migration, is_served: Some(is_served) };
            assert_eq!(decide(&seen), expected, "{why}");
            let untold = Observed { is_served: None, ..seen };
            assert_eq!(decide(&untold), Step::Wait(LOOK_AGAIN), "{why}, as we have just begun");
        }
    }

    #[test]
    fn what_has_ended_stays_so() {
        let cases = [
            (json!({}), false),
            (json!({"conditions": [condition("Running", "True")]}), false),
            (json!({"conditions": [condition("Failed", "False")]}), false),
            (json!({"conditions": [condition("Failed", "True")]}), true),
            (json!({"conditions": [condition("Running", "False"), condition("Succeeded", "True")]}), true),
        ];
        for (status, expected) in cases {
            assert_eq!(is_over(&migration(status.clone())), expected, "{status}");
        }
    }

    /// `revision type=status(reason: message)…`
    fn shown(status: &StorageVersionMigrationStatus) -> String {
        let mut words = vec![status.resource_version.clone().unwrap_or_default()];
        for condition in status.conditions.iter().flatten() {
            let reason = condition.reason.trim_start_matches("StorageVersionMigration");
            words.push(format!("{}={}({reason}: {})", condition.type_, condition.status, condition.message));
        }
        words.join(" ")
    }

    #[test]
    fn statuses_table() {
        let step = |status: &StorageVersionMigrationStatus| migration(serde_json::to_value(status).unwrap());
        let new = migration(json!({}));
        let first = begun(&new, 42, at(0));
        assert_eq!(shown(&first), "42 Running=True(InProgress: )");
        assert_eq!(shown(&begun(&step(&first), 50, at(1))), "42 Running=True(InProgress: )", "chosen once");
        let second = running(&step(&first), "5 of 9", at(9));
        assert_eq!(shown(&second), "42 Running=True(InProgress: 5 of 9)");
        assert_eq!(second.conditions.as_ref().unwrap()[0].last_transition_time, Time(at(0)), "it runs since then");
        assert_eq!(
            shown(&succeeded(&step(&second), "9 of 9", at(9))),
            "42 Running=False(Succeeded: ) Succeeded=True(Succeeded: 9 of 9)"
        );
        assert_eq!(shown(&failed(&step(&second), "why", at(9))), "42 Running=False(Failed: ) Failed=True(Failed: why)");
        assert_eq!(shown(&failed(&new, "why", at(9))), "7 Failed=True(Failed: why)", "a status has a revision");
    }
}
