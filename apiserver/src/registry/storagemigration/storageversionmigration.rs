//! StorageVersionMigration: the wish that all objects of a resource are written anew, and how far that is.

use corten_api::conditions::is_true;
use corten_api::{Problems, names};
use k8s_openapi::api::storagemigration::v1::{
    StorageVersionMigration, StorageVersionMigrationSpec, StorageVersionMigrationStatus,
};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check, conditions};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Resource", "What is written anew")];

impl Kind for StorageVersionMigration {
    const SINGULAR: &'static str = "storageversionmigration";
    const STORE_PREFIX: &'static str = "storageversionmigrations";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const UNCONDITIONAL_UPDATE: bool = false;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn validate(&self, problems: &mut Problems) {
        let none = StorageVersionMigrationSpec::default();
        let resource = &self.spec.as_ref().unwrap_or(&none).resource;
        let at = Path::root("spec.resource");
        match resource.resource.as_str() {
            "" => problems.required(at.field("resource"), "resource is required to be set"),
            plural if !names::is_dns1035_label(plural) => {
                problems.invalid(at.field("resource"), plural, names::DNS1035_LABEL_WHY);
            }
            _ => {}
        }
        if !resource.group.is_empty() {
            check::dns_subdomain(problems, &at.field("group"), &resource.group);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec"), &self.spec, &old.spec);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        let none = StorageVersionMigrationStatus::default();
        let (status, old) = (self.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
        validate_version(status, old, problems);
        validate_progress(status, old, problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let resource = self.spec.as_ref().map(|spec| &spec.resource);
        let resource = resource.map(|of| corten_api::error::qualified(&of.resource, &of.group));
        vec![cells::name(&self.metadata), Cell::text(resource.unwrap_or_default())]
    }
}

/// The version up to which objects are written anew: chosen once.
fn validate_version(
    status: &StorageVersionMigrationStatus,
    old: &StorageVersionMigrationStatus,
    problems: &mut Problems,
) {
    const AT: &str = "status.resourceVersion";
    let (version, was) = (check::text(status.resource_version.as_ref()), check::text(old.resource_version.as_ref()));
    let is_well_formed =
        !version.is_empty() && !version.starts_with('0') && version.bytes().all(|c| c.is_ascii_digit());
    if !is_well_formed {
        problems.invalid(AT, version, &format!("resource version is not well formed: {version}"));
    }
    if !was.is_empty() && was != version {
        problems.invalid(AT, version, check::IMMUTABLE);
    }
}

/// It runs, then it has succeeded or failed, for good.
fn validate_progress(
    status: &StorageVersionMigrationStatus,
    old: &StorageVersionMigrationStatus,
    problems: &mut Problems,
) {
    let at = Path::root("status.conditions");
    let list = status.conditions.as_deref().unwrap_or_default();
    conditions::validate(list, &at, problems);
    let is = |of: &StorageVersionMigrationStatus, kind: &str| is_true(of.conditions.as_ref(), kind);
    let [succeeded, failed, running] = ["Succeeded", "Failed", "Running"].map(|kind| is(status, kind));
    let wrong = [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (is(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (is(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ];
    for (_, why) in wrong.iter().filter(|(is_so, _)| *is_so) {
        problems.invalid(at, list, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{found, found_on_update, object, prepare, row, texts};

    const GOOD: &str = r#"{"metadata":{"name":"m"},"spec":{"resource":{"group":"apps","resource":"deployments"}}}"#;

    #[test]
    fn bad_migrations() {
        let cases = [
            (GOOD.to_owned(), vec![]),
            (GOOD.replace(r#""group":"apps","#, ""), vec![]),
            ("{}".into(), vec!["spec.resource.resource: Required value: resource is required to be set"]),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<StorageVersionMigration>(&json), expected, "{json}");
        }
        for (json, expected) in [
            (GOOD.replace("deployments", "1x"), r#"spec.resource.resource: Invalid value: "1x": a DNS-1035 label"#),
            (GOOD.replace("apps", "A"), r#"spec.resource.group: Invalid value: "A": a lowercase RFC 1123 subdomain"#),
        ] {
            let found = found::<StorageVersionMigration>(&json);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{json}: {found:?}");
        }
        let other = GOOD.replace("deployments", "replicasets");
        assert_eq!(
            found_on_update::<StorageVersionMigration>(GOOD, &other),
            [r#"spec: Invalid value: {"resource":{"group":"apps","resource":"replicasets"}}: field is immutable"#]
        );
    }

    /// `version [condition…]`, all of which are True.
    fn status(text: &str) -> StorageVersionMigration {
        let mut words = text.split(' ');
        let version = words.next().unwrap_or_default();
        let conditions: Vec<String> = words
            .map(|kind| {
                format!(
                    r#"{{"type":"{kind}","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}}"#
                )
            })
            .collect();
        object(&format!(r#"{{"status":{{"resourceVersion":"{version}","conditions":[{}]}}}}"#, conditions.join(",")))
    }

    #[test]
    fn a_migration_goes_forward_only() {
        let cases: [(&str, &str, &[&str]); 10] = [
            ("", "7 Running", &[]),
            ("7 Running", "7 Succeeded", &[]),
            ("7 Running", "7 Failed", &[]),
            ("", "007", &["resource version is not well formed: 007"]),
            ("", "x", &["resource version is not well formed: x"]),
            ("7", "8 Running", &["field is immutable"]),
            ("7", "7 Succeeded Failed", &["Both success and failed conditions cannot be true at the same time"]),
            ("7", "7 Succeeded Running", &["Running condition cannot be true when success condition is true"]),
            ("7 Succeeded", "7 Running", &["Success condition cannot be set to false once it is true"]),
            (
                "7 Failed",
                "7 Succeeded Running",
                &[
                    "Running condition cannot be true when success condition is true",
                    "Failed condition cannot be set to false once it is true",
                ],
            ),
        ];
        for (old, new, expected) in cases {
            let mut problems = Problems::default();
            status(new).validate_status(&status(old), &mut problems);
            let found = texts(&problems);
            assert_eq!(found.len(), expected.len(), "{old} → {new}: {found:?}");
            assert!(found.iter().zip(expected).all(|(have, why)| have.ends_with(why)), "{old} → {new}: {found:?}");
        }
    }

    #[test]
    fn the_status_is_the_controllers() {
        let mut new: StorageVersionMigration = object(GOOD);
        new.status = status("7 Running").status;
        prepare(Strategy::Create, &mut new);
        assert_eq!(new.status, Some(StorageVersionMigrationStatus::default()));
        let mut written = status("7 Running");
        prepare(Strategy::Status(&new), &mut written);
        assert_eq!((&written.spec, &written.metadata), (&new.spec, &new.metadata));
        prepare(Strategy::Update(&written), &mut new);
        assert_eq!(new.status, written.status);
    }

    #[test]
    fn columns() {
        assert_eq!(row::<StorageVersionMigration>(GOOD, 0), "m|deployments.apps");
    }
}
