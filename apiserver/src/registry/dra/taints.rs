//! Devices that are not to be used, and who uses them in spite of that.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::registry::check;
use crate::registry::defaults::fill;
use crate::registry::path::Path;

pub const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const TOLERATIONS_MAX: usize = 16;

/// A taint has its effect from when it was first written.
pub fn date(taint: &mut DeviceTaint, now: &Time) {
    taint.time_added.get_or_insert_with(|| now.clone());
}
pub fn tolerate(tolerations: Option<&mut Vec<DeviceToleration>>) {
    for toleration in tolerations.into_iter().flatten() {
        fill(&mut toleration.operator, "Equal");
    }
}

pub fn validate(taint: &DeviceTaint, at: &Path<'_>, problems: &mut Problems) {
    check::qualified_name(problems, &at.field("key"), &taint.key);
    check::label_value(problems, &at.field("value"), check::text(taint.value.as_ref()));
    check::word(problems, &at.field("effect"), Some(&taint.effect), EFFECTS);
}

pub fn tolerations(list: Option<&Vec<DeviceToleration>>, at: &Path<'_>, problems: &mut Problems) {
    for (i, one) in super::lists::bounded(list, TOLERATIONS_MAX, at, problems).iter().enumerate() {
        toleration(one, &at.index(i), problems);
    }
}

fn toleration(one: &DeviceToleration, at: &Path<'_>, problems: &mut Problems) {
    let (key, value) = (check::text(one.key.as_ref()), check::text(one.value.as_ref()));
    if !key.is_empty() {
        check::qualified_name(problems, &at.field("key"), key);
    }
    match check::text(one.operator.as_ref()) {
        "Exists" if !value.is_empty() => {
            problems.invalid(at.field("value"), value, "must be empty for operator `Exists`");
        }
        "Exists" => {}
        "Equal" => check::label_value(problems, &at.field("value"), value),
        "" => problems.required(at.field("operator"), ""),
        other => problems.unsupported(at.field("operator"), other, &["Equal", "Exists"]),
    }
    let effect = check::text(one.effect.as_ref());
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        problems.unsupported(at.field("effect"), effect, EFFECTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn tolerations_and_taints() {
        let tolerations = |json: &str| {
            let list: Vec<DeviceToleration> = serde_json::from_str(json).unwrap();
            let mut problems = Problems::default();
            tolerations(Some(&list), &Path::root("t"), &mut problems);
            texts(&problems).join("\n")
        };
        for (json, expected) in [
            (r#"[{"key":"a/b","operator":"Equal","value":"x","effect":"None"},{"operator":"Exists"}]"#, ""),
            (
                r#"[{"operator":"Exists","value":"x"}]"#,
                r#"t[0].value: Invalid value: "x": must be empty for operator `Exists`"#,
            ),
            (r#"[{"key":"a"}]"#, "t[0].operator: Required value"),
            (
                r#"[{"operator":"In"}]"#,
                r#"t[0].operator: Unsupported value: "In": supported values: "Equal", "Exists""#,
            ),
            (
                r#"[{"operator":"Exists","effect":"PreferNoSchedule"}]"#,
                r#"t[0].effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None""#,
            ),
        ] {
            assert_eq!(tolerations(json), expected, "{json}");
        }
        assert!(tolerations(r#"[{"operator":"Equal","value":"-"}]"#).starts_with("t[0].value: Invalid value"));
        assert!(tolerations(r#"[{"operator":"Exists","key":"-"}]"#).starts_with("t[0].key: Invalid value"));
        let many = format!("[{}]", [r#"{"operator":"Exists"}"#; 17].join(","));
        assert_eq!(tolerations(&many), "t: Too many: 17: must have at most 16 items");
    }
}
