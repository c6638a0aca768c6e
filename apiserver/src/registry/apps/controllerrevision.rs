//! ControllerRevision: a snapshot of a controller's state; its data never changes.

use corten_api::{Object, Problems};
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Controller", "The object whose state it is"),
    cells::integer("Revision", "Its number among the revisions of the same controller"),
    cells::AGE,
];

impl Kind for ControllerRevision {
    const SINGULAR: &'static str = "controllerrevision";
    const STORE_PREFIX: &'static str = "controllerrevisions";

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        match &self.data.0 {
            Value::Null => problems.required("data", "data is mandatory"),
            data if !data.is_object() => problems.invalid("data", data, "must be a valid JSON object"),
            _ => {}
        }
        check::not_negative(problems, &Path::root("revision"), self.revision);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("data"), &self.data, &old.data);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let controller = self.controller().map(|owner| {
            let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = corten_api::error::qualified(&owner.kind.to_lowercase(), group);
            format!("{kind}/{}", owner.name)
        });
        vec![
            cells::name(&self.metadata),
            Cell::text_or(controller.as_deref(), cells::NONE),
            Cell::Int(self.revision.unwrap_or(0)),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, row};

    #[test]
    fn data_must_be_there_and_stay() {
        assert_eq!(found::<ControllerRevision>("{}"), ["data: Required value: data is mandatory"]);
        assert_eq!(
            found_on_update::<ControllerRevision>(r#"{"data":{"a":1}}"#, r#"{"data":{"a":2}}"#),
            [r#"data: Invalid value: {"a":2}: field is immutable"#]
        );
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"r1","ownerReferences":[
            {"apiVersion":"apps/v1","kind":"DaemonSet","name":"d","uid":"1","controller":true}]},"data":{},"revision":3}"#;
        assert_eq!(row::<ControllerRevision>(json, 0), "r1|daemonset.apps/d|3|<unknown>");
    }
}
