//! The columns of a custom kind's table: its name, and what its author wants to be shown.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::json_path::{JsonPath, Parts};
use super::object::CustomObject;
use crate::bounded_text::bounded;
use crate::registry::{Cell, Column, cells};

/// Of one cell: a column may show all of an object, and so may others beside it.
const CELL_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Columns(Vec<Additional>);

#[derive(Debug)]
struct Additional {
    column: Column,
    /// `None`: it is none that we know; its cells are empty.
    path: Option<JsonPath>,
}

impl Columns {
    /// Where nothing is said, ages are shown.
    pub(super) fn of(written: &[CustomResourceColumnDefinition]) -> Self {
        if written.is_empty() {
            let age = CustomResourceColumnDefinition {
                name: "Age".into(),
                type_: "date".into(),
                json_path: ".metadata.creationTimestamp".into(),
                ..CustomResourceColumnDefinition::default()
            };
            return Self(vec![additional(&age)]);
        }
        Self(written.iter().map(additional).collect())
    }
    pub(super) fn shown(&self) -> Vec<Column> {
        [cells::NAME].into_iter().chain(self.0.iter().map(|additional| additional.column.clone())).collect()
    }
    pub(super) fn row(&self, object: &CustomObject, now_secs: i64) -> Vec<Cell> {
        let made = || {
            // Of what cannot be shown nothing is.
            let metadata = serde_json::to_value(&object.meta).unwrap_or_default();
            json!({"apiVersion": object.of.api_version, "kind": object.of.kind, "metadata": metadata})
        };
        let parts = Parts::new(&object.body, &made);
        let cell = |of: &Additional| {
            let value = of.path.as_ref().and_then(|path| path.find(&parts));
            value.map_or(Cell::Null, |value| cell(&of.column.kind, value, now_secs))
        };
        std::iter::once(cells::name(&object.meta)).chain(self.0.iter().map(cell)).collect()
    }
}

fn additional(written: &CustomResourceColumnDefinition) -> Additional {
    let description = written.description.clone().filter(|text| !text.is_empty());
    let plain = || format!("Custom resource definition column (in JSONPath format): {}", written.json_path);
    let column = Column {
        name: written.name.clone().into(),
        kind: written.type_.clone().into(),
        format: written.format.clone().unwrap_or_default().into(),
        description: description.unwrap_or_else(plain).into(),
        priority: written.priority.unwrap_or(0),
    };
    Additional { column, path: JsonPath::parse(&written.json_path) }
}

/// A value that is not of its column's type is not shown.
fn cell(kind: &str, value: &Value, now_secs: i64) -> Cell {
    match (kind, value) {
        (_, Value::Null) => Cell::Null,
        ("string", Value::String(text)) => Cell::text(bounded(text, CELL_BYTES_MAX)),
        ("string", other) => Cell::text(bounded(other, CELL_BYTES_MAX)),
        ("integer", Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|number| number.trunc() as i64));
            whole.map_or(Cell::Null, Cell::Int)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => Cell::Json(value.clone()),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => Cell::text(cells::age_of(Some(time.as_second()), now_secs)),
            Err(_) => Cell::text("<invalid>"),
        },
        _ => Cell::Null,
    }
}
