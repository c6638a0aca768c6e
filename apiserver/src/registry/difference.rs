//! What differs between an object as it is and as it should be, so that the author of a refused update finds it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// One line for each field that differs.
pub fn fields(new: &impl Serialize, old: &impl Serialize) -> String {
    let (new, old) = (json(new), json(old));
    let names: BTreeSet<&String> =
        [&new, &old].into_iter().filter_map(Value::as_object).flat_map(|o| o.keys()).collect();
    let differs = names.into_iter().map(|name| (name, new.get(name), old.get(name))).filter(|(_, new, old)| new != old);
    let shown = |value: Option<&Value>| value.map_or("nothing".into(), ToString::to_string);
    let lines: Vec<String> =
        differs.map(|(name, new, old)| format!("  {name}: {} → {}", shown(old), shown(new))).collect();
    lines.join("\n")
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn each_field_that_differs_is_told() {
        let text = super::fields(&json!({"a": 1, "b": 2, "d": {"e": []}}), &json!({"a": 1, "b": 3, "c": "x"}));
        assert_eq!(text, "  b: 3 → 2\n  c: \"x\" → nothing\n  d: nothing → {\"e\":[]}");
    }
}
