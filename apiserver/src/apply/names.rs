//! The names of managers: where they come from, and which are good. And whether given managed fields can be stored.

use corten_api::Problems;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

const MANAGER_BYTES_MAX: usize = 128;
const SUBRESOURCE_BYTES_MAX: usize = 256;

/// The manager of a request that names none: what its `User-Agent` says before the first `/`, as far as it can be printed
/// and stored.
pub fn manager_of_agent(user_agent: &str) -> String {
    let mut name = String::new();
    for letter in user_agent.split('/').next().unwrap_or_default().chars().filter(|letter| is_printable(*letter)) {
        if name.len() + letter.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        name.push(letter);
    }
    name
}

/// Checks a `fieldManager`, of which `field` is the path. An empty one is as good as none.
pub fn check_manager(name: &str, field: &str, problems: &mut Problems) {
    if name.len() > MANAGER_BYTES_MAX {
        return problems.too_long(field, MANAGER_BYTES_MAX);
    }
    for (at, letter) in name.char_indices().filter(|(_, letter)| !is_printable(*letter)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        problems.invalid(field, name, &why);
    }
}

/// Checks the fieldManager of an apply, and that only an apply is forced.
pub fn check_apply_options(is_apply: bool, manager: &str, force: Option<bool>, problems: &mut Problems) {
    if is_apply && manager.is_empty() {
        problems.required("fieldManager", "is required for apply patch");
    }
    if !is_apply && force.is_some() {
        problems.forbidden("force", "may not be specified for non-apply patch");
    }
}

/// Checks `metadata.managedFields` of an object that is to be stored.
pub fn check_managed_fields(entries: &[ManagedFieldsEntry], problems: &mut Problems) {
    for (nth, entry) in entries.iter().enumerate() {
        let at = |field: &str| format!("metadata.managedFields[{nth}].{field}");
        let operation = entry.operation.as_deref().unwrap_or_default();
        if !matches!(operation, "Apply" | "Update") {
            problems.invalid(at("operation"), operation, "must be `Apply` or `Update`");
        }
        let fields_type = entry.fields_type.as_deref().unwrap_or_default();
        if !matches!(fields_type, "" | "FieldsV1") {
            problems.invalid(at("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        check_manager(entry.manager.as_deref().unwrap_or_default(), &at("manager"), problems);
        if entry.subresource.as_ref().is_some_and(|subresource| subresource.len() > SUBRESOURCE_BYTES_MAX) {
            problems.too_long(at("subresource"), SUBRESOURCE_BYTES_MAX);
        }
    }
}

/// Letters, marks, numbers, punctuation, symbols, and the plain space: what Go's `unicode.IsPrint` says yes to, and what
/// Rust's debug format does not escape.
fn is_printable(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        letter if letter.is_ascii() => false,
        // Behind another letter a mark, too, is shown as it is.
        letter => ['a', letter].iter().collect::<String>().escape_debug().nth(1) == Some(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: impl FnOnce(&mut Problems)) -> Vec<String> {
        let mut problems = Problems::default();
        check(&mut problems);
        problems.causes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_agent_names_the_manager() {
        let long = "é".repeat(100);
        for (why, agent, expected) in [
            ("what is before the slash", "kubectl/v1.37.0 (linux/amd64) kubernetes/abc", "kubectl"),
            ("all of it without one", "curl", "curl"),
            ("nothing", "", ""),
            ("nothing before the slash", "/v1", ""),
            (
                "what cannot be printed is left out",
                "a\u{7}b\u{200b}\u{ad}c\u{a0}d e\u{301}\u{fffd}",
                "abcd e\u{301}\u{fffd}",
            ),
            ("letters that fit", &format!("{long}/1"), &"é".repeat(64)),
        ] {
            assert_eq!(manager_of_agent(agent), expected, "{why}");
        }
    }

    #[test]
    fn managers_have_names_that_can_be_printed() {
        for (name, expected) in [
            ("kubectl", &[][..]),
            ("", &[]),
            ("a/b c é 你", &[]),
            ("a\u{0}b", &["fieldManager: Invalid value: \"a\\u0000b\": invalid character U+0000 (at position 1)"]),
            (
                "é\n\u{1f}",
                &[
                    "fieldManager: Invalid value: \"é\\n\\u001f\": invalid character U+000A (at position 2)",
                    "fieldManager: Invalid value: \"é\\n\\u001f\": invalid character U+001F (at position 3)",
                ],
            ),
            (&"x".repeat(129), &["fieldManager: Too long: may not be more than 128 bytes"]),
            (&"x".repeat(128), &[]),
        ] {
            assert_eq!(found(|problems| check_manager(name, "fieldManager", problems)), expected, "{name:?}");
        }
    }

    #[test]
    fn an_apply_names_its_manager_and_nothing_else_is_forced() {
        for (is_apply, manager, force, expected) in [
            (true, "a", Some(true), &[][..]),
            (true, "", None, &["fieldManager: Required value: is required for apply patch"]),
            (false, "", None, &[]),
            (false, "", Some(false), &["force: Forbidden: may not be specified for non-apply patch"]),
        ] {
            let found = found(|problems| check_apply_options(is_apply, manager, force, problems));
            assert_eq!(found, expected, "{is_apply} {manager} {force:?}");
        }
    }

    #[test]
    fn given_managed_fields_are_checked_entry_by_entry() {
        let entry = |json: serde_json::Value| serde_json::from_value::<ManagedFieldsEntry>(json).unwrap();
        let entries = [
            entry(
                serde_json::json!({"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}),
            ),
            entry(serde_json::json!({"operation": "Update"})),
            entry(serde_json::json!({"operation": "apply", "fieldsType": "FieldsV2", "manager": "\t"})),
            entry(serde_json::json!({"subresource": "x".repeat(257), "operation": "Update"})),
        ];
        assert_eq!(
            found(|problems| check_managed_fields(&entries, problems)),
            [
                "metadata.managedFields[2].operation: Invalid value: \"apply\": must be `Apply` or `Update`",
                "metadata.managedFields[2].fieldsType: Invalid value: \"FieldsV2\": must be `FieldsV1`",
                "metadata.managedFields[2].manager: Invalid value: \"\\t\": invalid character U+0009 (at position 0)",
                "metadata.managedFields[3].subresource: Too long: may not be more than 256 bytes",
            ]
        );
    }
}
