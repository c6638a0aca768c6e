//! Rules in CEL that values keep (`x-kubernetes-validations`), as upstream has them.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>
//!
//! Design:
//!
//! - When a definition is written, [`judge`] compiles each rule and its message, and estimates what they cost: one at most
//!   [`PER_EXPRESSION_LIMIT`](corten_cel::PER_EXPRESSION_LIMIT), all of a schema [`PER_CRD_LIMIT`](corten_cel::PER_CRD_LIMIT), each
//!   times the number of values that it may be asked of. A schema that has not changed is not judged again, so that what was
//!   accepted once stays.
//! - When a kind is served, [`ValidationRules`] are compiled once for each version: a tree beside the schema, of the parts that have rules
//!   or parts with rules. Flaws that were accepted once are told of each object, as upstream does.
//! - When an object is written and has the shape that its schema wants, `run` walks the tree and the object together, within
//!   [`RUNTIME_BUDGET`](corten_cel::RUNTIME_BUDGET) for all rules, and for as long as its caller says; what is left of it stops the
//!   rest.
//! - The value before is found by name in objects, atomic maps too, and by keys in lists that are maps. Rules that name `oldSelf` are
//!   asked only where there is one, or if they say `optionalOldSelf`.
//! - Ratcheting: a rule that does not name `oldSelf` is not asked of a value that has not changed, nor of one that cannot be found
//!   in the object before when the nearest that can has not changed. Upstream asks it and makes its fault a warning.
//! - Expressions see the schema of the value that they stand at, and of an object (also an embedded one) its type and names.
//!   Rules within `allOf`, `anyOf`, `oneOf` and `not` are refused when they are written, as upstream refuses them.

mod field_path;
pub mod judge;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_cel::{Environment, Program, Type, compile, list_problems};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

use super::list_kind;
use crate::bounded_text::bounded;
use crate::schema::ListKind;

const SELF: &str = "self";
const OLD_SELF: &str = "oldSelf";
const TYPE_NAME: &str = "selfType";

/// Of a schema that has some.
#[derive(Debug)]
pub struct ValidationRules(Node);

/// So many parts are thought to be where nothing bounds them: a guess for how costly rules are, no bound.
const UNBOUNDED_PARTS: u64 = 10_000;
/// Of one text that is told of a rule. What its author has to say, or an expression, may be as long as a definition.
const TEXT_BYTES_MAX: usize = 5 * 1024;

/// Of a part of a schema.
#[derive(Debug)]
struct Node {
    here: Vec<Rule>,
    /// How expressions see a value; `None` where nothing is said.
    seen: Option<Arc<corten_cel::Schema>>,
    /// As messages name it.
    kind: String,
    list: Option<ListKind>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// A rule here names the value before: those of others may, in their messages.
    binds_old: bool,
    /// A rule here or further in names the value before.
    names_old: bool,
    /// The most that those here and further in are thought to cost for one value.
    cost_max: u64,
}

/// Its texts are those that are told, and no longer than that.
#[derive(Debug)]
struct Rule {
    expressions: Expressions,
    optional_old: bool,
    /// What its faults are told in place of the value that it stands at, below it.
    field_path: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    text: String,
    message_text: String,
}

/// What a rule says, compiled; or why it cannot be.
#[derive(Debug)]
struct Expressions {
    rule: Result<Program, String>,
    /// `None`: none.
    message: Option<Result<Program, String>>,
}

impl Expressions {
    fn of(rule: &ValidationRule, seen: &Seen) -> Self {
        let environment = if rule.optional_old_self == Some(true) { &seen.with_optional_old } else { &seen.with_old };
        let compiled =
            compile(&rule.rule, environment).map_err(|why| format!("compilation failed: {}", list_problems(&why)));
        let compiled = compiled.and_then(|program| match program.output() {
            Type::Bool => Ok(program),
            _ => Err("cel expression must evaluate to a bool".to_owned()),
        });
        let message = rule.message_expression.as_deref().filter(|text| !text.is_empty()).map(|text| {
            let compiled = compile(text, environment);
            let compiled =
                compiled.map_err(|why| format!("messageExpression compilation failed: {}", list_problems(&why)));
            compiled.and_then(|program| match program.output() {
                Type::String => Ok(program),
                _ => Err("messageExpression must evaluate to a string".to_owned()),
            })
        });
        Self { rule: compiled, message }
    }
    fn cost_max(&self) -> u64 {
        let programs = [self.rule.as_ref().ok(), self.message.as_ref().and_then(|message| message.as_ref().ok())];
        let costs = programs.into_iter().flatten().map(|program| program.estimated_cost().max);
        costs.fold(0, u64::saturating_add)
    }
    fn names_old(&self) -> bool {
        self.rule.as_ref().is_ok_and(|program| program.uses(OLD_SELF))
    }
}

fn told(text: &str) -> String {
    bounded(text, TEXT_BYTES_MAX)
}

impl Rule {
    fn of(rule: &ValidationRule, schema: &JSONSchemaProps, seen: &Seen) -> Self {
        let field_path = rule.field_path.as_deref().and_then(|path| field_path::normal(schema, path).ok());
        Self {
            expressions: Expressions::of(rule, seen),
            optional_old: rule.optional_old_self == Some(true),
            field_path: field_path.filter(|path| !path.is_empty()),
            reason: rule.reason.clone(),
            message: rule.message.as_ref().filter(|text| !text.is_empty()).map(|text| told(text.trim())),
            text: told(rule.rule.trim()),
            message_text: told(rule.message_expression.as_deref().unwrap_or_default()),
        }
    }
    /// As it is told when it could not be asked.
    fn shown(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text)
    }
}

impl ValidationRules {
    /// `None`: the schema has none.
    pub fn of(schema: &JSONSchemaProps) -> Option<Self> {
        Self::of_part(schema, true)
    }
    /// Of a part of a schema. `is_resource`: its values are objects with a type and metadata.
    pub fn of_part(schema: &JSONSchemaProps, is_resource: bool) -> Option<Self> {
        node(schema, is_resource).map(Self)
    }
    /// The most that asking all of them is thought to cost for one object, as large as it may be.
    pub fn cost_max(&self) -> u64 {
        self.0.cost_max
    }
}

fn node(schema: &JSONSchemaProps, is_resource: bool) -> Option<Node> {
    let below = |schema: &JSONSchemaProps| node(schema, schema.x_kubernetes_embedded_resource == Some(true));
    let properties: BTreeMap<String, Node> = schema
        .properties
        .iter()
        .flatten()
        .filter_map(|(name, property)| Some((name.clone(), below(property)?)))
        .collect();
    let additional = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => below(values).map(Box::new),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    };
    let items = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => below(items).map(Box::new),
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
    };
    let said = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
    let seen = if said.is_empty() { None } else { seen(schema, is_resource) };
    let here: Vec<Rule> = match &seen {
        Some(seen) => {
            let said = said.iter().filter(|rule| !rule.rule.trim().is_empty());
            said.map(|rule| Rule::of(rule, schema, seen)).collect()
        }
        None => Vec::new(),
    };
    if here.is_empty() && properties.is_empty() && additional.is_none() && items.is_none() {
        return None;
    }
    let parts = || properties.values().chain(additional.as_deref()).chain(items.as_deref());
    let binds_old = here.iter().any(|rule| rule.expressions.names_old());
    let below = parts().map(|part| part.cost_max).fold(0, u64::saturating_add);
    let below = below.saturating_mul(judge::most_parts(schema).unwrap_or(UNBOUNDED_PARTS));
    let cost_max = here.iter().map(|rule| rule.expressions.cost_max()).fold(below, u64::saturating_add);
    Some(Node {
        cost_max,
        binds_old,
        names_old: binds_old || parts().any(|part| part.names_old),
        here,
        seen: seen.map(|seen| seen.schema),
        kind: schema.type_.clone().unwrap_or_default(),
        list: list_kind(schema),
        properties,
        additional,
        items,
    })
}

/// How expressions see values of a schema: made once for all that stand at it, as it takes as long as the schema is large.
struct Seen {
    schema: Arc<corten_cel::Schema>,
    with_old: Environment,
    with_optional_old: Environment,
}

/// `None`: they do not see them.
fn seen(schema: &JSONSchemaProps, is_resource: bool) -> Option<Seen> {
    let json = serde_json::to_value(schema).ok()?;
    let schema = Arc::new(corten_cel::Schema::of_openapi(&json, is_resource)?);
    let plain = Environment::default().with_schema(SELF, TYPE_NAME, schema.clone());
    Some(Seen {
        with_old: plain.clone().with_schema(OLD_SELF, TYPE_NAME, schema.clone()),
        with_optional_old: plain.with_optional_schema(OLD_SELF, TYPE_NAME, schema.clone()),
        schema,
    })
}
