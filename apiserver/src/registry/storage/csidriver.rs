//! CSIDriver: what a volume driver needs of Kubernetes. Its name is the driver's.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

const PERSISTENT: &str = "Persistent";
const LIFECYCLE_MODES: &[&str] = &[PERSISTENT, "Ephemeral"];
const BY_FS_TYPE: &str = "ReadWriteOnceWithFSType";
const FS_GROUP_POLICIES: &[&str] = &["File", "None", BY_FS_TYPE];
const UPDATE_PERIOD_SECS_MIN: i64 = 10;
/// Under this name messages speak of `spec.attachRequired`.
const ATTACH_REQUIRED: &str = "attachedRequired";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::boolean("AttachRequired", "Whether volumes are attached before they are mounted"),
    cells::boolean("PodInfoOnMount", "Whether the driver is told of the pod"),
    cells::boolean("StorageCapacity", "Whether the scheduler asks for room first"),
    cells::text("TokenRequests", "Audiences of the tokens that the driver gets"),
    cells::boolean("RequiresRepublish", "Whether volumes are mounted again and again"),
    cells::text("Modes", "What sorts of volumes it has"),
    cells::AGE,
];

impl Kind for CSIDriver {
    const SINGULAR: &'static str = "csidriver";
    const STORE_PREFIX: &'static str = "csidrivers";
    const DELETE_RETURNS_OBJECT: bool = true;
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.fs_group_policy.get_or_insert_with(|| BY_FS_TYPE.into());
        let modes = spec.volume_lifecycle_modes.get_or_insert_default();
        if modes.is_empty() {
            modes.push(PERSISTENT.into());
        }
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
    }
    fn validate(&self, problems: &mut Problems) {
        validate_spec(&self.spec, &Path::root("spec"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let (at, new, old) = (Path::root("spec"), &self.spec, &old.spec);
        check::immutable(problems, &at.field(ATTACH_REQUIRED), &new.attach_required, &old.attach_required);
        let modes_at = at.field("volumeLifecycleModes");
        check::immutable(problems, &modes_at, &new.volume_lifecycle_modes, &old.volume_lifecycle_modes);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = &self.spec;
        let audiences = spec.token_requests.as_ref().map(|all| {
            let audiences: Vec<&str> = all.iter().map(|request| request.audience.as_str()).collect();
            audiences.join(",")
        });
        let modes = spec.volume_lifecycle_modes.as_deref().unwrap_or_default().join(",");
        vec![
            cells::name(&self.metadata),
            Cell::boolean(spec.attach_required != Some(false)),
            Cell::boolean(spec.pod_info_on_mount == Some(true)),
            Cell::boolean(spec.storage_capacity == Some(true)),
            Cell::text(audiences.unwrap_or_else(|| "<unset>".into())),
            Cell::boolean(spec.requires_republish == Some(true)),
            Cell::text_or(Some(&modes), cells::NONE),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn validate_spec(spec: &CSIDriverSpec, at: &Path<'_>, problems: &mut Problems) {
    let required = [
        (ATTACH_REQUIRED, spec.attach_required),
        ("podInfoOnMount", spec.pod_info_on_mount),
        ("storageCapacity", spec.storage_capacity),
        ("seLinuxMount", spec.se_linux_mount),
    ];
    for (field, _) in required.iter().filter(|(_, value)| value.is_none()) {
        problems.required(at.field(field), "");
    }
    check::optional_word(problems, &at.field("fsGroupPolicy"), spec.fs_group_policy.as_ref(), FS_GROUP_POLICIES);
    let requests = spec.token_requests.as_deref().unwrap_or_default();
    validate_token_requests(requests, &at.field("tokenRequests"), problems);
    for mode in spec.volume_lifecycle_modes.iter().flatten() {
        check::optional_word(problems, &at.field("volumeLifecycleModes"), Some(mode), LIFECYCLE_MODES);
    }
    if let Some(secs) = spec.node_allocatable_update_period_seconds.filter(|secs| *secs < UPDATE_PERIOD_SECS_MIN) {
        let why = format!("must be greater than or equal to {UPDATE_PERIOD_SECS_MIN} seconds");
        problems.invalid(at.field("nodeAllocatableUpdatePeriodSeconds"), secs, &why);
    }
    if let Some(secret) = spec.service_account_token_in_secrets.filter(|_| requests.is_empty()) {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        problems.invalid(at.field("serviceAccountTokenInSecrets"), secret, why);
    }
}

fn validate_token_requests(requests: &[TokenRequest], list: &Path<'_>, problems: &mut Problems) {
    let mut audiences = HashSet::new();
    for (i, request) in requests.iter().enumerate() {
        let at = list.index(i);
        if !audiences.insert(&request.audience) {
            problems.duplicate(at.field("audience"), &request.audience);
            continue;
        }
        if let Some(secs) = request.expiration_seconds {
            check::token_life(problems, &at.field("expirationSeconds"), secs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, object, row, texts};

    fn with(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"csi.example.com"}},"spec":{{{spec}}}}}"#)
    }

    #[test]
    fn defaults() {
        let spec = defaulted::<CSIDriver>(&with("")).spec;
        let modes = vec!["Persistent".to_owned()];
        assert_eq!((spec.attach_required, spec.pod_info_on_mount), (Some(true), Some(false)));
        assert_eq!((spec.storage_capacity, spec.requires_republish), (Some(false), Some(false)));
        assert_eq!((spec.se_linux_mount, spec.volume_lifecycle_modes), (Some(false), Some(modes)));
        assert_eq!(spec.fs_group_policy.as_deref(), Some("ReadWriteOnceWithFSType"));
        let given = defaulted::<CSIDriver>(&with(r#""attachRequired":false,"volumeLifecycleModes":["Ephemeral"]"#));
        assert_eq!(given.spec.attach_required, Some(false));
        assert_eq!(given.spec.volume_lifecycle_modes, Some(vec!["Ephemeral".to_owned()]));
    }

    #[test]
    fn bad_drivers() {
        let cases = [
            ("", vec![]),
            (r#""fsGroupPolicy":"File","nodeAllocatableUpdatePeriodSeconds":10"#, vec![]),
            (
                r#""tokenRequests":[{"audience":""},{"audience":"a","expirationSeconds":600}],"serviceAccountTokenInSecrets":true"#,
                vec![],
            ),
            (
                r#""fsGroupPolicy":"Odd""#,
                vec![
                    r#"spec.fsGroupPolicy: Unsupported value: "Odd": supported values: "File", "None", "ReadWriteOnceWithFSType""#,
                ],
            ),
            (
                r#""volumeLifecycleModes":["Persistent","Odd"]"#,
                vec![
                    r#"spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Persistent", "Ephemeral""#,
                ],
            ),
            (
                r#""nodeAllocatableUpdatePeriodSeconds":9"#,
                vec![
                    "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
                ],
            ),
            (
                r#""serviceAccountTokenInSecrets":false"#,
                vec![
                    "spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
                ],
            ),
            (
                r#""tokenRequests":[{"audience":"a","expirationSeconds":599},{"audience":"a"},{"audience":"b","expirationSeconds":4294967297}]"#,
                vec![
                    "spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
                    r#"spec.tokenRequests[1].audience: Duplicate value: "a""#,
                    "spec.tokenRequests[2].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
                ],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(found::<CSIDriver>(&with(spec)), expected, "{spec}");
        }
        let mut problems = Problems::default();
        object::<CSIDriver>(&with("")).validate(&mut problems);
        let required = ["attachedRequired", "podInfoOnMount", "storageCapacity", "seLinuxMount"];
        assert_eq!(texts(&problems), required.map(|field| format!("spec.{field}: Required value")));
    }

    #[test]
    fn how_volumes_are_attached_stays_and_the_rest_may_change() {
        let changed = with(r#""attachRequired":false,"volumeLifecycleModes":["Ephemeral"]"#);
        let expected = [
            "spec.attachedRequired: Invalid value: false: field is immutable",
            r#"spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable"#,
        ];
        assert_eq!(found_on_update::<CSIDriver>(&with(""), &changed), expected);
        let other = with(r#""podInfoOnMount":true,"storageCapacity":true"#);
        assert!(found_on_update::<CSIDriver>(&with(""), &other).is_empty());
        assert!(object::<CSIDriver>(&other).spec_changed(&object(&with(""))));
    }

    #[test]
    fn columns() {
        let json = with(
            r#""attachRequired":false,"tokenRequests":[{"audience":"a"},{"audience":"b"}],"volumeLifecycleModes":["Persistent","Ephemeral"]"#,
        );
        assert_eq!(
            row::<CSIDriver>(&json, 0),
            "csi.example.com|false|false|false|a,b|false|Persistent,Ephemeral|<unknown>"
        );
        assert_eq!(row::<CSIDriver>("{}", 0), "|true|false|false|<unset>|false|<none>|<unknown>");
    }
}
