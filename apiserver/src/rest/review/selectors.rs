//! The selectors of a question about rights: what is wrong with them, and what of them can be asked with.
//!
//! A part that cannot be read is left out: what is asked is then more than what was meant, so that nobody is told of a right that
//! he has not. <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use corten_api::Problems;
use corten_api::selector::{FieldSelector, FieldTerm, Selector};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldSelectorRequirement, LabelSelector, LabelSelectorRequirement,
};

use crate::registry::check;
use crate::registry::path::Path;

/// What can be asked with, and what there is to say about the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Asked {
    pub(super) fields: FieldSelector,
    pub(super) evaluation_error: Option<String>,
}

pub(super) fn validate(asked: &ResourceAttributes, problems: &mut Problems) {
    let root = Path::root("spec.resourceAttributes");
    if let Some(selector) = &asked.field_selector {
        let at = root.field("fieldSelector");
        let requirements = selector.requirements.as_deref().unwrap_or_default();
        one_of_two(selector.raw_selector.as_ref(), requirements.len(), &at, problems);
        let list = at.field("requirements");
        for (i, requirement) in requirements.iter().enumerate() {
            let at = list.index(i);
            if requirement.key.is_empty() {
                problems.required(at.field("key"), "must be specified");
            }
            values(&requirement.operator, requirement.values.as_deref(), &at, problems);
        }
    }
    if let Some(selector) = &asked.label_selector {
        let at = root.field("labelSelector");
        let requirements = selector.requirements.as_deref().unwrap_or_default();
        one_of_two(selector.raw_selector.as_ref(), requirements.len(), &at, problems);
        let list = at.field("requirements");
        for (i, requirement) in requirements.iter().enumerate() {
            let at = list.index(i);
            values(&requirement.operator, requirement.values.as_deref(), &at, problems);
            check::qualified_name(problems, &at.field("key"), &requirement.key);
        }
    }
}

fn one_of_two(raw: Option<&String>, requirements: usize, at: &Path<'_>, problems: &mut Problems) {
    match (check::text(raw), requirements) {
        ("", 0) => {
            let why = format!("when {at} is specified, requirements or rawSelector is required");
            problems.required(at.field("requirements"), &why);
        }
        ("", _) | (_, 0) => {}
        (raw, _) => {
            problems.invalid(at.field("rawSelector"), raw, "may not specified at the same time as requirements")
        }
    }
}

/// An operator that is not known here may be a newer client's.
fn values(operator: &str, values: Option<&[String]>, at: &Path<'_>, problems: &mut Problems) {
    match (operator, values.unwrap_or_default().is_empty()) {
        ("In" | "NotIn", true) => {
            problems.required(at.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        ("Exists" | "DoesNotExist", false) => {
            problems
                .forbidden(at.field("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        _ => {}
    }
}

/// Of a question that is valid.
pub(super) fn read(asked: &ResourceAttributes) -> Asked {
    let (fields, unread_fields) = fields(asked);
    let mut errors = Vec::new();
    if unread_fields {
        errors.push(ignored("fieldSelector", !fields.0.is_empty()));
    }
    if let Some(some_are_read) = unread_labels(asked) {
        errors.push(ignored("labelSelector", some_are_read));
    }
    Asked { fields, evaluation_error: (!errors.is_empty()).then(|| errors.join("; ")) }
}

fn ignored(selector: &str, partially: bool) -> String {
    let partially = if partially { "partially " } else { "" };
    format!("spec.resourceAttributes.{selector} {partially}ignored due to parse error")
}

/// The terms that can be read, and whether others cannot.
fn fields(asked: &ResourceAttributes) -> (FieldSelector, bool) {
    let Some(selector) = &asked.field_selector else { return (FieldSelector::default(), false) };
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    if requirements.is_empty() {
        let parsed = FieldSelector::parse(check::text(selector.raw_selector.as_ref()));
        return parsed.map_or_else(|_| (FieldSelector::default(), true), |selector| (selector, false));
    }
    let terms: Vec<FieldTerm> = requirements.iter().filter_map(term).collect();
    let unread = terms.len() < requirements.len();
    (FieldSelector(terms), unread)
}

/// Field selectors compare one field with one value.
fn term(requirement: &FieldSelectorRequirement) -> Option<FieldTerm> {
    let FieldSelectorRequirement { key, operator, values } = requirement;
    let negated = match operator.as_str() {
        "In" => false,
        "NotIn" => true,
        _ => return None,
    };
    match values.as_deref().unwrap_or_default() {
        [value] => Some(FieldTerm { field: key.clone(), value: value.clone(), negated }),
        _ => None,
    }
}

/// Whether labels cannot be read, and then whether some of them can. Nobody's rights depend on labels so far.
fn unread_labels(asked: &ResourceAttributes) -> Option<bool> {
    let selector = asked.label_selector.as_ref()?;
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    if requirements.is_empty() {
        let raw = check::text(selector.raw_selector.as_ref());
        return Selector::parse(raw).is_err().then_some(false);
    }
    let is_read = |requirement: &&LabelSelectorRequirement| {
        let alone = LabelSelector { match_expressions: Some(vec![(*requirement).clone()]), match_labels: None };
        Selector::from_label_selector(Some(&alone)).is_ok()
    };
    let read = requirements.iter().filter(is_read).count();
    (read < requirements.len()).then_some(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> ResourceAttributes {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_can_be_asked_with() {
        let (field, label) = ("spec.resourceAttributes.fieldSelector", "spec.resourceAttributes.labelSelector");
        for (json, fields, error) in [
            ("{}", "", String::new()),
            (r#"{"fieldSelector":{"rawSelector":"spec.nodeName=n1,a!=b"}}"#, "spec.nodeName=n1 a!=b", String::new()),
            (r#"{"fieldSelector":{"rawSelector":"x"}}"#, "", format!("{field} ignored due to parse error")),
            (
                r#"{"fieldSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]}]}}"#,
                "a=b",
                String::new(),
            ),
            (
                r#"{"fieldSelector":{"requirements":[{"key":"a","operator":"NotIn","values":["b"]},
                    {"key":"a","operator":"In","values":["b","c"]},{"key":"a","operator":"Exists"}]}}"#,
                "a!=b",
                format!("{field} partially ignored due to parse error"),
            ),
            (
                r#"{"fieldSelector":{"requirements":[{"key":"a","operator":"Near"}]},"labelSelector":{"rawSelector":"a in"}}"#,
                "",
                format!("{field} ignored due to parse error; {label} ignored due to parse error"),
            ),
            (r#"{"labelSelector":{"rawSelector":"a in (b)"}}"#, "", String::new()),
            (
                r#"{"labelSelector":{"requirements":[{"key":"a","operator":"Exists"},{"key":"a","operator":"Near"}]}}"#,
                "",
                format!("{label} partially ignored due to parse error"),
            ),
        ] {
            let Asked { fields: read, evaluation_error } = read(&asked(json));
            let term = |t: &FieldTerm| format!("{}{}{}", t.field, if t.negated { "!=" } else { "=" }, t.value);
            assert_eq!(read.0.iter().map(term).collect::<Vec<_>>().join(" "), fields, "{json}");
            assert_eq!(evaluation_error.unwrap_or_default(), error, "{json}");
        }
    }

    #[test]
    fn what_is_wrong_with_them() {
        let at = "spec.resourceAttributes";
        for (json, expected) in [
            (r#"{"fieldSelector":{"rawSelector":"a=b"}}"#, vec![]),
            (r#"{"fieldSelector":{"requirements":[{"key":"a","operator":"Near"}]}}"#, vec![]),
            (
                r#"{"fieldSelector":{},"labelSelector":{}}"#,
                vec![
                    format!(
                        "{at}.fieldSelector.requirements: Required value: when {at}.fieldSelector is specified, requirements or rawSelector is required"
                    ),
                    format!(
                        "{at}.labelSelector.requirements: Required value: when {at}.labelSelector is specified, requirements or rawSelector is required"
                    ),
                ],
            ),
            (
                r#"{"fieldSelector":{"rawSelector":"a=b","requirements":[{"key":"","operator":"In"}]}}"#,
                vec![
                    format!(
                        r#"{at}.fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements"#
                    ),
                    format!("{at}.fieldSelector.requirements[0].key: Required value: must be specified"),
                    format!(
                        "{at}.fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
                    ),
                ],
            ),
            (
                r#"{"labelSelector":{"requirements":[{"key":"a","operator":"Exists","values":["b"]}]}}"#,
                vec![format!(
                    "{at}.labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )],
            ),
        ] {
            let mut problems = Problems::default();
            validate(&asked(json), &mut problems);
            let found: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{json}");
        }
    }
}
