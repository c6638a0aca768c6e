//! DeviceTaintRule: an administrator's taint on devices, wherever drivers publish them.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::DeviceTaintRule;

use super::{names, taints};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, check, conditions};

const CONDITIONS_MAX: usize = 8;
const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Key", "Of the taint"),
    cells::text("Value", "Of the taint"),
    cells::text("Effect", "What becomes of pods that do not tolerate it"),
    cells::text("TimeAdded", "Since when the taint has its effect"),
    cells::AGE,
];

impl Kind for DeviceTaintRule {
    const SINGULAR: &'static str = "devicetaintrule";
    const STORE_PREFIX: &'static str = "devicetaintrules";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn prepare_create(&mut self, context: &WriteContext<'_>) {
        taints::date(&mut self.spec.taint, &context.now);
    }
    fn prepare_update(&mut self, old: &Self, context: &WriteContext<'_>) {
        taints::date(&mut self.spec.taint, &context.now);
        // How long pods may tolerate it is counted from here.
        let (new, old) = (&mut self.spec.taint, &old.spec.taint);
        if new.effect != old.effect && new.time_added == old.time_added {
            new.time_added = Some(context.now.clone());
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        if let Some(selector) = &self.spec.device_selector {
            let at = at.field("deviceSelector");
            if let Some(driver) = &selector.driver {
                names::driver(driver, &at.field("driver"), problems);
            }
            if let Some(pool) = &selector.pool {
                names::pool(pool, &at.field("pool"), problems);
            }
            if let Some(device) = &selector.device {
                check::dns_label(problems, &at.field("device"), device);
            }
        }
        taints::validate(&self.spec.taint, &at.field("taint"), problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let list = Path::root("status.conditions");
        let all = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions::validate(super::lists::bounded(all, CONDITIONS_MAX, &list, problems), &list, problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let taint = &self.spec.taint;
        let added = taint.time_added.as_ref();
        vec![
            cells::name(&self.metadata),
            Cell::text(taint.key.clone()),
            Cell::text(check::text(taint.value.as_ref()).to_owned()),
            Cell::text(taint.effect.clone()),
            added.map_or(Cell::text(""), |added| cells::since(Some(added), now_secs)),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{created, defaulted, found, now, prepare, row, texts};

    fn rule(field: &str, value: Value) -> String {
        let mut rule = json!({"metadata": {"name": "r"}, "spec": {"taint": {"key": "a/b", "effect": "NoExecute"}}});
        rule["spec"][field] = value;
        rule.to_string()
    }

    #[test]
    fn bad_rules() {
        let selector = |field: &str, value: &str| rule("deviceSelector", json!({ field: value }));
        for (rule, expected) in [
            (rule("deviceSelector", json!({"driver": "d.example.com", "pool": "n1/a", "device": "gpu-0"})), ""),
            (rule("deviceSelector", json!({})), ""),
            (selector("driver", ""), "spec.deviceSelector.driver: Required value"),
            (selector("pool", "A"), "spec.deviceSelector.pool: Invalid value: \"A\": segment 0: a lowercase RFC 1123"),
            (
                selector("device", "a.b"),
                "spec.deviceSelector.device: Invalid value: \"a.b\": a lowercase RFC 1123 label",
            ),
            (rule("taint", json!({"key": "", "effect": "None"})), "spec.taint.key: Invalid value: \"\": name part"),
            (
                rule("taint", json!({"key": "a", "value": "-", "effect": "None"})),
                "spec.taint.value: Invalid value: \"-\": a valid label",
            ),
            (rule("taint", json!({"key": "a"})), "spec.taint.effect: Required value"),
            (
                rule("taint", json!({"key": "a", "effect": "PreferNoSchedule"})),
                r#"spec.taint.effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None""#,
            ),
        ] {
            let found = found::<DeviceTaintRule>(&rule).join("\n");
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{rule}: {found}");
        }
    }

    #[test]
    fn the_time_is_that_of_the_effect() {
        let of = |effect: &str, added: &str| -> DeviceTaintRule {
            defaulted(&rule("taint", json!({"key": "a", "effect": effect, "timeAdded": added})))
        };
        let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let old = of("None", first);
        assert_eq!(created::<DeviceTaintRule>(&rule("taint", json!({}))).spec.taint.time_added, Some(now()));
        for (new, expected) in [
            (of("None", first), Some(first)),
            (of("None", second), Some(second)),
            (of("NoExecute", second), Some(second)),
            (of("NoExecute", first), None),
        ] {
            let mut new = new;
            prepare(Strategy::Update(&old), &mut new);
            let expected = expected.map_or_else(|| now().0.to_string(), str::to_owned);
            assert_eq!(new.spec.taint.time_added.map(|time| time.0.to_string()), Some(expected));
        }
    }

    #[test]
    fn a_status_has_few_conditions() {
        let with = |count: usize| -> DeviceTaintRule {
            let conditions: Vec<Value> = (0..count)
                .map(|i| json!({"type": format!("C{i}"), "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
                .collect();
            serde_json::from_value(json!({"status": {"conditions": conditions}})).unwrap()
        };
        let found = |rule: &DeviceTaintRule| {
            let mut problems = Problems::default();
            rule.validate_status(rule, &mut problems);
            texts(&problems)
        };
        assert!(found(&with(8)).is_empty());
        assert_eq!(found(&with(9)), ["status.conditions: Too many: 9: must have at most 8 items"]);
    }

    #[test]
    fn columns() {
        let json =
            rule("taint", json!({"key": "a", "value": "v", "effect": "None", "timeAdded": "1970-01-01T00:00:00Z"}));
        assert_eq!(row::<DeviceTaintRule>(&json, 60), "r|a|v|None|60s|<unknown>");
        assert_eq!(
            row::<DeviceTaintRule>(&rule("taint", json!({"key": "a", "effect": "None"})), 0),
            "r|a||None||<unknown>"
        );
    }
}
