//! PriorityClass: a name for how much a pod matters. Admission puts its number into pods.

use corten_api::Problems;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

pub const PREEMPT: &str = "PreemptLowerPriority";
const POLICIES: &[&str] = &[PREEMPT, "Never"];
/// Above it are the system's own classes.
const USER_VALUE_MAX: i32 = 1_000_000_000;
const SYSTEM_PREFIX: &str = "system-";
/// Name, value and description of the classes that every cluster has.
const SYSTEM: [(&str, i32, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::integer("Value", "The pods' priority: the higher, the more they matter"),
    cells::boolean("Global-Default", "Whether pods without a class are of this one"),
    cells::AGE,
    cells::text("PreemptionPolicy", "Whether its pods may take the place of others"),
];

/// The classes that every cluster has, as they are created.
pub fn system_classes() -> impl Iterator<Item = PriorityClass> {
    SYSTEM.into_iter().map(|(name, value, description)| PriorityClass {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        value: Some(value),
        description: Some(description.into()),
        preemption_policy: Some(PREEMPT.into()),
        global_default: None,
    })
}

/// They cannot be deleted.
pub fn is_system_class(name: &str) -> bool {
    SYSTEM.iter().any(|(system, ..)| *system == name)
}

impl Kind for PriorityClass {
    const SINGULAR: &'static str = "priorityclass";
    const SHORT_NAMES: &'static [&'static str] = &["pc"];
    const STORE_PREFIX: &'static str = "priorityclasses";
    /// 1 for good: what matters of it never changes.
    const HAS_GENERATION: bool = true;

    strategy!();
    fn fill_defaults(&mut self) {
        self.value.get_or_insert(0);
        self.preemption_policy.get_or_insert_with(|| PREEMPT.into());
        // On the wire an absent one is no default.
        self.global_default.take_if(|is| !*is);
    }
    fn validate(&self, problems: &mut Problems) {
        let name = check::text(self.metadata.name.as_ref());
        let value = self.value.unwrap_or(0);
        if name.starts_with(SYSTEM_PREFIX) {
            if let Some(why) = not_of_the_system(name, value, self.global_default == Some(true)) {
                let why = format!(
                    "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
                );
                problems.forbidden("metadata.name", &why);
            }
        } else if value > USER_VALUE_MAX {
            let why = format!("maximum allowed value of a user defined priority is {USER_VALUE_MAX}");
            problems.forbidden("value", &why);
        }
        if self.preemption_policy.is_some() {
            check::word(problems, &Path::root("preemptionPolicy"), self.preemption_policy.as_ref(), POLICIES);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        if self.value != old.value {
            problems.forbidden("value", "may not be changed in an update.");
        }
        let (policy, was) = (&self.preemption_policy, &old.preemption_policy);
        check::immutable(problems, &Path::root("preemptionPolicy"), policy, was);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![
            cells::name(&self.metadata),
            Cell::Int(self.value.unwrap_or(0).into()),
            Cell::boolean(self.global_default == Some(true)),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(self.preemption_policy.as_deref(), ""),
        ]
    }
}

fn not_of_the_system(name: &str, value: i32, is_default: bool) -> Option<String> {
    match SYSTEM.iter().find(|(system, ..)| *system == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, fixed, _)) if *fixed != value => Some(format!("value of {name} PriorityClass must be {fixed}")),
        Some(_) if is_default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row, texts};

    fn class(name: &str, fields: &str) -> String {
        format!(r#"{{"metadata":{{"name":"{name}"}},{fields}}}"#)
    }

    #[test]
    fn bad_classes() {
        const RESERVED: &str = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
        let cases = [
            (class("high", r#""value":1000000000,"preemptionPolicy":"Never""#), String::new()),
            (class("low", r#""value":-2147483648"#), String::new()),
            (
                class("high", r#""value":1000000001"#),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000".into(),
            ),
            (
                class("system-mine", r#""value":1"#),
                format!("{RESERVED}system-mine is not a known system priority class"),
            ),
            (
                class("system-node-critical", r#""value":1"#),
                format!("{RESERVED}value of system-node-critical PriorityClass must be 2000001000"),
            ),
            (
                class("system-node-critical", r#""value":2000001000,"globalDefault":true"#),
                format!("{RESERVED}globalDefault of system-node-critical PriorityClass must be false"),
            ),
            (class("system-node-critical", r#""value":2000001000"#), String::new()),
            (class("a", r#""value":1,"preemptionPolicy":"""#), "preemptionPolicy: Required value".into()),
            (
                class("a", r#""value":1,"preemptionPolicy":"Always""#),
                r#"preemptionPolicy: Unsupported value: "Always": supported values: "PreemptLowerPriority", "Never""#
                    .into(),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<PriorityClass>(&json).join("; "), expected, "{json}");
        }
    }

    #[test]
    fn defaults_and_the_classes_of_the_system() {
        let class: PriorityClass = defaulted(&class("a", r#""globalDefault":false"#));
        assert_eq!((class.value, class.global_default), (Some(0), None));
        assert_eq!(class.preemption_policy.as_deref(), Some("PreemptLowerPriority"));
        for class in system_classes() {
            let mut problems = Problems::default();
            class.validate(&mut problems);
            assert_eq!(texts(&problems), [""; 0]);
            assert!(class.metadata.name.as_deref().is_some_and(is_system_class));
        }
    }

    #[test]
    fn what_pods_have_of_it_stays() {
        let old = class("a", r#""value":1"#);
        let described = class("a", r#""value":1,"description":"x","globalDefault":true"#);
        assert!(found_on_update::<PriorityClass>(&old, &described).is_empty());
        assert_eq!(
            found_on_update::<PriorityClass>(&old, &class("a", r#""value":2,"preemptionPolicy":"Never""#)),
            [
                "value: Forbidden: may not be changed in an update.",
                r#"preemptionPolicy: Invalid value: "Never": field is immutable"#,
            ]
        );
    }

    #[test]
    fn columns() {
        let json = class("a", r#""value":7,"globalDefault":true,"preemptionPolicy":"Never""#);
        assert_eq!(row::<PriorityClass>(&json, 0), "a|7|true|<unknown>|Never");
    }
}
