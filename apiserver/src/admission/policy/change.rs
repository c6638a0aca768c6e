//! What a mutation makes of an object: a configuration that is merged into it as server-side apply does, or a JSON patch. Pure.

use corten_cel::{List, Value};
use serde_json::{Map, Value as Json};

use crate::admission::asking::Names;
use crate::apply;
use crate::patch::{self, MAX_OPERATIONS};
use crate::registry::ApiResource;

/// The memory of what one expression has made, as JSON.
const MADE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an expression has come to.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Configuration(Json),
    /// Operations.
    Patch(Vec<Json>),
}

impl Change {
    /// The error: why it is none.
    pub(super) fn of(value: &Value<'_>, is_json_patch: bool) -> Result<Self, String> {
        match value {
            Value::List(list) if is_json_patch => Ok(Self::Patch(operations(list)?)),
            Value::Struct(_) if !is_json_patch => {
                well_named(value)?;
                let mut left = MADE_BYTES_MAX;
                value
                    .to_json_within(&mut left)
                    .map(Self::Configuration)
                    .map_err(|err| format!("invalid return type: {err}"))
            }
            other => Err(format!("unsupported return type: {}", other.type_of())),
        }
    }
}

/// Objects stand where their names say.
fn well_named(value: &Value<'_>) -> Result<(), String> {
    let Value::Struct(made) = value else { return Ok(()) };
    let wrong = made.misnamed().map_err(|err| err.to_string())?;
    if wrong.is_empty() { Ok(()) } else { Err(format!("type mismatch: {}", wrong.join("\n"))) }
}

fn operations(list: &List<'_>) -> Result<Vec<Json>, String> {
    let mismatch = "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch";
    let List::Made { items, .. } = list else { return Err(mismatch.into()) };
    if items.len() > MAX_OPERATIONS {
        let count = items.len();
        return Err(format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"));
    }
    let mut left = MADE_BYTES_MAX;
    let mut one = |item: &Value<'_>| {
        let Value::Struct(made) = item else { return Err(mismatch.to_owned()) };
        let mut operation = Map::new();
        for (field, value) in &made.fields {
            if &**field == "value" {
                well_named(value)?;
            }
            let json = value.to_json_within(&mut left).map_err(|err| {
                format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {err}")
            })?;
            // Upstream has none that is empty.
            if !(&**field == "from" && json == "") {
                operation.insert((**field).to_owned(), json);
            }
        }
        Ok(Json::Object(operation))
    };
    items.iter().map(&mut one).collect()
}

/// The object, of this kind, as it is wanted; `None`: as it is.
pub(super) fn change(
    resource: &ApiResource,
    kind: &Names<'_>,
    object: &Json,
    wanted: Change,
) -> Result<Option<Json>, String> {
    match wanted {
        Change::Patch(operations) if operations.is_empty() => Ok(None),
        Change::Patch(operations) => {
            patch::apply_operations(object, operations.into()).map_err(|why| format!("JSON Patch: {why}"))
        }
        Change::Configuration(mut configuration) => {
            let (group, version) = (kind.group, kind.version);
            let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            configuration["apiVersion"] = Json::String(api_version.clone());
            configuration["kind"] = Json::String(kind.name.to_owned());
            let own = kind.name == resource.kind() && version == resource.version() && group == resource.group();
            let shape = if own { resource.shape() } else { crate::schema::builtin().kind(&api_version, kind.name) };
            apply::merged(shape, object, &configuration).map(Some).map_err(|why| format!("error applying patch: {why}"))
        }
    }
}
