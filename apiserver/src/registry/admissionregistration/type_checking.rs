//! What is wrong with a policy's expressions by the types of the objects that it is about: warnings for its author, which change nothing
//! of what the policy does. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_cel::{Type, escape};
use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec,
};
use serde_json::{Map, Value};

use super::environment::Typed;
use super::expressions::{Composer, Wanted};
use super::params::group_version;
use crate::bounded_text::bounded;
use crate::registry::{ApiResource, Table};

/// Of one rule.
const KINDS_MAX: usize = 10;
/// Of all warnings of a policy together, in bytes: each is told of each kind.
const WARNINGS_BYTES_MAX: usize = 64 * 1024;
/// Of one of them.
const WARNING_BYTES_MAX: usize = 4 * 1024;

/// A kind that a policy is about, by which its warnings are told apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    group: String,
    version: String,
    kind: String,
}

/// What is told of a policy, by the kinds that are served now.
pub fn check(policy: &ValidatingAdmissionPolicy, table: &Table) -> Vec<ExpressionWarning> {
    let none = ValidatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    let params = spec.param_kind.as_ref().map(|kind| {
        let (group, version) = group_version(kind.api_version.as_deref().unwrap_or_default()).unwrap_or_default();
        let is_it = |resource: &&Arc<ApiResource>| {
            resource.group() == group && resource.version() == version && Some(resource.kind()) == kind.kind.as_deref()
        };
        table.iter().find(is_it).map(|resource| type_of(resource))
    });
    // Nobody knows `params` of a kind that is not served.
    let params = params.flatten();
    let mut composers = Vec::new();
    for (named, object) in kinds(spec, table) {
        let typed = Typed { object, params: params.clone().unwrap_or(Type::Dyn) };
        let mut composer = Composer::typed(params.is_some(), typed);
        for variable in spec.variables.iter().flatten() {
            // What is wrong with it is told where it is used.
            composer.add(&variable.name, &variable.expression).ok();
        }
        composers.push((named, composer));
    }
    let (mut warnings, mut bytes) = (Vec::new(), 0);
    let mut look = |field_ref: String, text: &str| {
        let told = |(named, composer): &(Named, Composer)| {
            let why = composer.compile(text, Wanted::Anything).err()?;
            let why = why.strip_prefix("compilation failed: ").unwrap_or(&why).to_owned();
            let Named { group, version, kind } = named;
            Some(format!("{group}/{version}, Kind={kind}: {}\n", bounded(why, WARNING_BYTES_MAX)))
        };
        let all: Vec<String> = composers.iter().filter_map(told).collect();
        let warning = all.join("\n");
        bytes += warning.len();
        if !warning.is_empty() && bytes <= WARNINGS_BYTES_MAX {
            warnings.push(ExpressionWarning { field_ref, warning });
        }
    };
    for (i, validation) in spec.validations.iter().flatten().enumerate() {
        look(format!("spec.validations[{i}].expression"), &validation.expression);
        if let Some(text) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
            look(format!("spec.validations[{i}].messageExpression"), text);
        }
    }
    warnings
}

/// Those that a policy names one by one.
fn kinds(spec: &ValidatingAdmissionPolicySpec, table: &Table) -> Vec<(Named, Type)> {
    let rules = spec.match_constraints.iter().filter_map(|about| about.resource_rules.as_ref()).flatten();
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for rule in rules {
        let (groups, versions, plurals) = names(rule);
        let is_named = |resource: &&Arc<ApiResource>| {
            groups.contains(resource.group())
                && versions.contains(resource.version())
                && plurals.contains(resource.plural())
        };
        for resource in table.iter().filter(is_named).take(KINDS_MAX) {
            let text = |text: &str| text.to_owned();
            let (group, version) = (text(resource.group()), text(resource.version()));
            if seen.insert((group.clone(), version.clone(), text(resource.kind()))) && found.len() < KINDS_MAX {
                found.push((Named { group, version, kind: text(resource.kind()) }, type_of(resource)));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

type Names<'a> = BTreeSet<&'a str>;

/// None where a rule says "all". Subresources have kinds of their own.
fn names(rule: &NamedRuleWithOperations) -> (Names<'_>, Names<'_>, Names<'_>) {
    let all = |list: &Option<Vec<String>>| list.iter().flatten().any(|name| name.contains('*'));
    if all(&rule.api_groups) || all(&rule.api_versions) {
        return Default::default();
    }
    fn of(list: &Option<Vec<String>>) -> Names<'_> {
        list.iter().flatten().map(String::as_str).filter(|name| !name.contains(['*', '/'])).collect()
    }
    (of(&rule.api_groups), of(&rule.api_versions), of(&rule.resources))
}

/// Of a kind's objects, as it is described.
fn type_of(resource: &ApiResource) -> Type {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = resource.rules().schema(&mut generator).to_value();
    let described = Described { definitions: generator.definitions(), open: Vec::new() };
    described.of(&schema, resource.kind())
}

/// A walk down a schema.
struct Described<'s> {
    definitions: &'s Map<String, Value>,
    /// References that were followed to where the walk is. Nothing is known of what holds itself.
    open: Vec<&'s str>,
}

impl<'s> Described<'s> {
    fn of(&self, schema: &'s Value, name: &str) -> Type {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.referred(reference, name);
        }
        if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice)
            && schema["type"].is_null()
        {
            return self.of(only, name);
        }
        let is_either = schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string";
        let is_quantity = schema["format"] == "quantity";
        match schema["type"].as_str() {
            _ if is_either || is_quantity => Type::Dyn,
            Some("object") => self.object(schema, name),
            Some("array") => Type::list(self.of(&schema["items"], &format!("{name}.@idx"))),
            Some("string") => match schema["format"].as_str() {
                Some("date" | "date-time") => Type::Timestamp,
                Some("duration") => Type::Duration,
                Some("byte") => Type::Bytes,
                _ => Type::String,
            },
            Some("integer") => Type::Int,
            Some("number") => Type::Double,
            Some("boolean") => Type::Bool,
            _ => Type::Dyn,
        }
    }
    fn object(&self, schema: &'s Value, name: &str) -> Type {
        let values = &schema["additionalProperties"];
        match schema["properties"].as_object() {
            Some(properties) if !properties.is_empty() => {
                let field = |(field, of): (&'s String, &'s Value)| {
                    let known = Arc::from(escape(field)?);
                    Some((known, self.of(of, &format!("{name}.{field}"))))
                };
                Type::object(name, properties.iter().filter_map(field))
            }
            _ if values.is_object() => Type::map(Type::String, self.of(values, &format!("{name}.@elem"))),
            _ => Type::Dyn,
        }
    }
    fn referred(&self, reference: &str, name: &str) -> Type {
        let short = reference.rsplit('/').next().unwrap_or(reference);
        // Its form is a text's, and its type is not.
        if short.ends_with("Quantity") {
            return Type::Dyn;
        }
        match self.definitions.get_key_value(short) {
            Some((known, schema)) if !self.open.contains(&known.as_str()) => {
                let mut open = self.open.clone();
                open.push(known);
                Self { definitions: self.definitions, open }.of(schema, name)
            }
            Some(_) | None => Type::Dyn,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    /// Where something is told, and what.
    fn told(resources: &[&str], group: &str, version: &str, spec: Value) -> Vec<(String, String)> {
        let rule = json!({"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": resources});
        let mut policy = json!({"metadata": {"name": "x"}, "spec": spec});
        policy["spec"]["matchConstraints"] = json!({"resourceRules": [rule]});
        let policy = serde_json::from_value(policy).unwrap();
        let warnings = check(&policy, &Registry::default().table());
        warnings.into_iter().map(|warning| (warning.field_ref, warning.warning)).collect()
    }

    #[test]
    fn expressions_are_held_against_the_types_of_what_they_are_about() {
        let of = |expression: &str| {
            told(&["deployments"], "apps", "v1", json!({"validations": [{"expression": expression}]}))
        };
        for good in [
            "object.spec.replicas > 1",
            "object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z')",
            "object.metadata.labels['a'] == 'b' && oldObject == null",
            "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && quantity(c.resources.limits['cpu']).isGreaterThan(quantity('1')))",
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '25%'",
        ] {
            assert!(of(good).is_empty(), "{good}: {:?}", of(good));
        }
        let warnings = of("object.spec.replicas > '1'");
        assert_eq!(warnings[0].0, "spec.validations[0].expression");
        assert_eq!(
            warnings[0].1,
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n"
        );
        assert!(of("object.spec.nope == 1")[0].1.contains("undefined field 'nope'"));
    }

    #[test]
    fn messages_variables_and_params_are_too() {
        let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": [{"expression": "variables.replicas > 1", "messageExpression": "'got ' + variables.replicas"},
                {"expression": "params.data['a'] == 1"}]});
        let warnings = told(&["deployments"], "apps", "v1", spec);
        let places: Vec<&str> = warnings.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["spec.validations[0].messageExpression", "spec.validations[1].expression"]);
        assert!(
            warnings[0].1.contains("found no matching overload for '_+_' applied to '(string, int)'"),
            "{warnings:?}"
        );
        assert!(warnings[1].1.contains("applied to '(string, int)'"), "{warnings:?}");
    }

    #[test]
    fn kinds_are_told_apart_and_what_is_not_named_is_not_checked() {
        let spec = || json!({"validations": [{"expression": "object.spec.replicas == ''"}]});
        let warnings = told(&["statefulsets", "deployments", "deployments/scale"], "apps", "v1", spec());
        let (first, second) = warnings[0].1.split_once("\n\n").unwrap();
        assert!(first.starts_with("apps/v1, Kind=Deployment: ERROR"), "{first}");
        assert!(second.starts_with("apps/v1, Kind=StatefulSet: ERROR"), "{second}");
        for (resources, group, version) in
            [(&["*"][..], "apps", "v1"), (&["deployments"], "*", "v1"), (&["deployments"], "apps", "v2")]
        {
            let warnings = told(resources, group, version, spec());
            assert!(warnings.is_empty(), "{resources:?} {group} {version}: {warnings:?}");
        }
    }
}
