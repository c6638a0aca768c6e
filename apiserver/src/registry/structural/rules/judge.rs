//! Whether the rules of a definition's schema can be asked, and what they cost, in upstream's words.

use corten_api::Problems;
use corten_cel::{PER_CRD_LIMIT, PER_EXPRESSION_LIMIT, Program};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

use super::{Expressions, Seen, field_path, seen};
use crate::registry::path::Path;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
const RULES: &str = "x-kubernetes-validations";
/// In one schema. Each is compiled and kept.
const MAX_RULES: usize = 1000;
/// Of the most expensive rules, so many are told of.
const MAX_EXPENSIVE: usize = 4;

/// Looks through the rules of a schema at `at`, which is good in all else.
pub fn judge(schema: &JSONSchemaProps, at: &Path<'_>, problems: &mut Problems) {
    let mut judging = Judging { problems, rules: 0, total: 0, expensive: Vec::new() };
    judging.look(schema, Place { is_resource: true, times: Some(1), uncorrelatable: None }, at);
    if judging.rules > MAX_RULES {
        return judging.problems.too_many(at.field(RULES), judging.rules, MAX_RULES);
    }
    judging.tell_total(at);
}

/// Where rules stand.
#[derive(Clone, Copy)]
struct Place<'p> {
    is_resource: bool,
    /// How many values there may be in an object; `None`: nothing bounds it.
    times: Option<u64>,
    /// The part of the schema within which values before cannot be found.
    uncorrelatable: Option<&'p str>,
}

struct Judging<'p> {
    problems: &'p mut Problems,
    rules: usize,
    total: u64,
    /// Dearest first.
    expensive: Vec<(u64, String)>,
}

impl Judging<'_> {
    /// Tells whether all that is said of rules here and further in makes sense, whatever their expressions are.
    fn look(&mut self, schema: &JSONSchemaProps, place: Place<'_>, at: &Path<'_>) -> bool {
        let times = match (place.times, most_parts(schema)) {
            (Some(times), Some(most)) => Some(times.saturating_mul(most)),
            _ => None,
        };
        let here = at.to_string();
        let mut is_sound = true;
        let is_resource = |schema: &JSONSchemaProps| schema.x_kubernetes_embedded_resource == Some(true);
        let below = |schema: &JSONSchemaProps, correlates: bool| Place {
            is_resource: is_resource(schema),
            times,
            uncorrelatable: if correlates { place.uncorrelatable } else { place.uncorrelatable.or(Some(&here)) },
        };
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            is_sound &= self.look(values, below(values, true), &at.field("additionalProperties"));
        }
        for (name, property) in schema.properties.iter().flatten() {
            is_sound &= self.look(property, below(property, true), &at.field("properties").key(name));
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            let is_map = schema.x_kubernetes_list_type.as_deref() == Some("map");
            is_sound &= self.look(items, below(items, is_map), &at.field("items"));
        }
        let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
        let list = at.field(RULES);
        for (index, rule) in rules.iter().enumerate() {
            is_sound &= self.words(rule, schema, &list.index(index));
        }
        self.rules += rules.len();
        if rules.is_empty() || !is_sound || self.rules > MAX_RULES {
            return is_sound;
        }
        let Some(seen) = seen(schema, place.is_resource) else {
            let why = "internal error: failed to retrieve type information for x-kubernetes-validations";
            self.problems.invalid_unshown(list, why);
            return is_sound;
        };
        for (index, rule) in rules.iter().enumerate() {
            self.expressions(rule, &seen, place, &list.index(index));
        }
        is_sound
    }

    fn words(&mut self, rule: &ValidationRule, schema: &JSONSchemaProps, at: &Path<'_>) -> bool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (message, message_expression, path) =
            (text(&rule.message), text(&rule.message_expression), text(&rule.field_path));
        let has_lines = |text: &str| text.contains(['\n', '\r']);
        let mut found = Problems::default();
        if rule.rule.trim().is_empty() {
            found.required(at.field("rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            found.invalid(at.field("message"), &message, "must be non-empty if specified");
        } else if has_lines(message.trim()) {
            found.invalid(at.field("message"), &message, "must not contain line breaks");
        } else if has_lines(rule.rule.trim()) && message.trim().is_empty() {
            found.required(at.field("message"), "message must be specified if rule contains line breaks");
        }
        if !message_expression.is_empty() && message_expression.trim().is_empty() {
            found.required(at.field("messageExpression"), "messageExpression must be non-empty if specified");
        }
        if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            found.unsupported(at.field("reason"), reason, &REASONS);
        }
        if !path.is_empty() {
            let mut bad = |why: &str| found.invalid(at.field("fieldPath"), &path, why);
            if path.trim().is_empty() {
                bad("must be non-empty if specified");
            }
            if has_lines(&path) {
                bad("must not contain line breaks");
            }
            if field_path::normal(schema, &path).is_err() {
                bad("must be a valid path");
            }
        }
        let is_sound = found.is_empty();
        self.problems.append(found);
        is_sound
    }

    fn expressions(&mut self, rule: &ValidationRule, seen: &Seen, place: Place<'_>, at: &Path<'_>) {
        let expressions = Expressions::of(rule, seen);
        let times = place.times.unwrap_or_else(|| seen.schema.cardinality_max());
        match &expressions.rule {
            Ok(program) => self.cost(program, times, "rule", &at.field("rule")),
            Err(why) => self.problems.invalid(at.field("rule"), rule, why),
        }
        match &expressions.message {
            Some(Ok(program)) => self.cost(program, 1, "messageExpression", &at.field("messageExpression")),
            Some(Err(why)) => self.problems.invalid(at.field("messageExpression"), rule, why),
            None => {}
        }
        if expressions.names_old() {
            if let Some(within) = place.uncorrelatable {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
                self.problems.invalid(at.field("rule"), &rule.rule, &why);
            }
        } else if let (Some(optional), true) = (rule.optional_old_self, expressions.rule.is_ok()) {
            let why = "may not be set if oldSelf is not used in rule";
            self.problems.invalid(at.field("optionalOldSelf"), optional, why);
        }
    }

    fn cost(&mut self, program: &Program, times: u64, what: &str, at: &Path<'_>) {
        let cost = program.estimated_cost().max.saturating_mul(times);
        if cost > PER_EXPRESSION_LIMIT {
            let why = too_dear(&format!("estimated {what} cost"), cost, PER_EXPRESSION_LIMIT);
            self.problems.forbidden(at, &why);
        }
        self.total = self.total.saturating_add(cost);
        if cost >= PER_CRD_LIMIT / 100 {
            self.expensive.push((cost, at.to_string()));
            self.expensive.sort_by(|(one, _), (other, _)| other.cmp(one));
            self.expensive.truncate(MAX_EXPENSIVE);
        }
    }

    fn tell_total(self, at: &Path<'_>) {
        if self.total <= PER_CRD_LIMIT {
            return;
        }
        for (_, at) in self.expensive {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.problems.forbidden(at, why);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.problems.forbidden(at, &too_dear(what, self.total, PER_CRD_LIMIT));
    }
}

/// How many parts of one kind a value may have; `None`: nothing bounds it.
pub(super) fn most_parts(schema: &JSONSchemaProps) -> Option<u64> {
    let bound = |most: Option<i64>| most.map(|most| u64::try_from(most).unwrap_or(0));
    match schema.type_.as_deref() {
        Some("object") if schema.additional_properties.is_some() => bound(schema.max_properties),
        Some("array") => bound(schema.max_items),
        _ => Some(1),
    }
}

fn too_dear(what: &str, cost: u64, most: u64) -> String {
    let times = cost as f64 / most as f64;
    let factor = if times > 100.0 {
        "more than 100x".to_owned()
    } else if times < 1.5 {
        format!("{times:.6}x")
    } else {
        format!("{times:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::testing::props;
    use super::*;

    fn found(schema: Value) -> Vec<String> {
        let mut problems = Problems::default();
        let spec = Path::root("s");
        judge(&props(schema), &spec, &mut problems);
        problems.causes().iter().map(ToString::to_string).collect()
    }
    fn of_rule(rule: Value) -> Vec<String> {
        found(json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {
            "n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}},
        }}))
    }

    #[test]
    fn what_is_said_of_rules() {
        for (rule, expected) in [
            (json!({"rule": "self.n > 1"}), ""),
            (json!({"rule": "self.n > oldSelf.n", "fieldPath": ".n", "reason": "FieldValueForbidden"}), ""),
            (json!({"rule": "self.n > 1", "messageExpression": "self.n > 0 ? 'n is small' : 'n is negative'"}), ""),
            (json!({"rule": " "}), "s.x-kubernetes-validations[0].rule: Required value: rule is not specified"),
            (
                json!({"rule": "self.n\n> 1"}),
                "s.x-kubernetes-validations[0].message: Required value: message must be specified if rule contains line breaks",
            ),
            (
                json!({"rule": "true", "reason": "Other"}),
                r#"s.x-kubernetes-validations[0].reason: Unsupported value: "Other": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired""#,
            ),
            (
                json!({"rule": "true", "fieldPath": ".m"}),
                r#"s.x-kubernetes-validations[0].fieldPath: Invalid value: ".m": must be a valid path"#,
            ),
            (
                json!({"rule": "self.n"}),
                r#"s.x-kubernetes-validations[0].rule: Invalid value: {"rule":"self.n"}: cel expression must evaluate to a bool"#,
            ),
            (
                json!({"rule": "true", "messageExpression": "1"}),
                r#"s.x-kubernetes-validations[0].messageExpression: Invalid value: {"messageExpression":"1","rule":"true"}: messageExpression must evaluate to a string"#,
            ),
            (
                json!({"rule": "true", "optionalOldSelf": true}),
                "s.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
            ),
        ] {
            assert_eq!(of_rule(rule.clone()).join("; "), expected, "{rule}");
        }
        // Nobody knows how long the text of a number is, upstream neither.
        let told = of_rule(json!({"rule": "self.n > 1", "messageExpression": "'n is ' + string(self.n)"}));
        let at = "s.x-kubernetes-validations[0].messageExpression: Forbidden: ";
        let why = "estimated messageExpression cost exceeds budget by factor of more than 100x";
        assert!(told.len() == 3 && told[0].starts_with(&format!("{at}{why}")), "{told:?}");
        let told = of_rule(json!({"rule": "self.x > 1"}));
        assert!(told.len() == 1 && told[0].contains("compilation failed: ERROR: <input>:1:"), "{told:?}");
    }

    #[test]
    fn rules_that_may_cost_too_much_are_refused() {
        let told = of_rule(json!({"rule": "self.list.all(x, self.list.all(y, x == y))"}));
        assert!(told[0].starts_with(
            "s.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try"
        ), "{told:?}");
        assert!(told.last().unwrap().starts_with(
            "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget"
        ), "{told:?}");
        let many: Vec<Value> = (0..1001).map(|_| json!({"rule": "true"})).collect();
        assert_eq!(
            found(json!({"type": "object", "x-kubernetes-validations": many})),
            ["s.x-kubernetes-validations: Too many: 1001: must have at most 1000 items"]
        );
    }

    #[test]
    fn what_was_before_is_found_everywhere_but_in_lists_that_are_no_maps() {
        let items = json!({"type": "object", "properties": {"k": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": "self.k == oldSelf.k"}]});
        let of = |kind: &str| {
            found(json!({"type": "object", "properties": {"list": {"type": "array", "maxItems": 2, "items": items,
                "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"]}}}))
        };
        assert!(of("map").is_empty(), "{:?}", of("map"));
        assert_eq!(
            of("atomic"),
            [
                r#"s.properties[list].items.x-kubernetes-validations[0].rule: Invalid value: "self.k == oldSelf.k": oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[list]"#
            ]
        );
        for map in ["atomic", "granular"] {
            let told = found(json!({"type": "object", "properties": {
                "struct": {"type": "object", "x-kubernetes-map-type": map, "properties": {"one": items}},
                "map": {"type": "object", "x-kubernetes-map-type": map, "maxProperties": 2, "additionalProperties": items},
            }}));
            assert!(told.is_empty(), "{map}: {told:?}");
        }
    }
}
