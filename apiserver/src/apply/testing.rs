//! What the tests of this room share: a kind with a field of every form, sets from their JSON, and stories of writes.

use std::sync::LazyLock;

use corten_api::ApiError;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, from_value, json};

use super::{Author, FieldSet, ObjectType, apply, created, differing, update, updated};
use crate::schema::{Schema, Shape, builtin, text};

const TABLE: &str = r#"
t.v1.Thing kind=example.com/v1,Thing
  apiVersion - string omitempty
  kind - string omitempty
  metadata - t.v1.Meta
  spec - t.v1.Spec
  status - t.v1.Status
t.v1.Meta
  annotations - map[string]string omitempty
  labels - map[string]string omitempty
  managedFields - []RawExtension omitempty list=atomic
  name - string omitempty
  resourceVersion - string omitempty
t.v1.Spec
  args - []string omitempty list=atomic
  bits - []bool omitempty list=set
  flag - bool omitempty
  frozen - map[string]string omitempty map=atomic
  labels - map[string]string omitempty
  list - []t.v1.Item omitempty list=map(name)
  maps - map[string]t.v1.Part omitempty
  nested - map[string]map[string]string omitempty
  number - float64 omitempty
  numbers - []float64 omitempty list=set
  part - *t.v1.Part
  pointer - *int32
  ports - []t.v1.Port omitempty list=map(port,protocol)
  raw - *RawExtension
  set - []string omitempty list=set
  shares - map[string][]string omitempty
  size - *Quantity
  text - string omitempty
  time - *Time
  whole - *t.v1.Whole
t.v1.Status
  phase - string omitempty
t.v1.Part
  inner - *t.v1.Part
  name - string omitempty
  number - *int32
t.v1.Whole atomic
  a - string omitempty
  b - string omitempty
t.v1.Item
  always - t.v1.Part
  name - string
  number - *int32
  other - *int32
  set - []string omitempty list=set
  time - Time
t.v1.Port
  name - string omitempty
  port - int32
  protocol - string omitempty default="TCP"
"#;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| text::read(TABLE).unwrap());

pub(super) fn schema() -> &'static Schema {
    &SCHEMA
}
/// The type `t.v1.NAME`.
pub(super) fn named(name: &str) -> Option<Shape<'static>> {
    Some(schema().named(&format!("t.v1.{name}")).unwrap())
}
pub(super) fn kind_shape(api_version: &str, kind: &str) -> Option<Shape<'static>> {
    Some(builtin().kind(api_version, kind).unwrap())
}

/// A set from its FieldsV1.
pub(super) fn set(json: &str) -> FieldSet {
    FieldSet::from_fields_v1(&serde_json::from_str(json).unwrap()).unwrap()
}

/// A Thing of this spec; null or empty: of none.
pub(super) fn thing(spec: &Value) -> Value {
    let mut thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}});
    if !spec.is_null() && spec != &json!({}) {
        thing["spec"] = spec.clone();
    }
    thing
}

/// The writes of one object, a second apart.
pub(super) struct Story<'a> {
    pub(super) of: ObjectType<'a>,
    pub(super) subresource: &'static str,
    pub(super) object: Option<Value>,
    pub(super) second: i64,
}

impl<'a> Story<'a> {
    pub(super) fn of(of: ObjectType<'a>) -> Self {
        Self { of, subresource: "", object: None, second: 0 }
    }
    pub(super) fn of_thing() -> Self {
        Self::of(ObjectType::plain("example.com/v1", "Thing", named("Thing")))
    }

    fn author<'m>(&mut self, manager: &'m str) -> Author<'m> {
        self.second += 1;
        Author { manager, subresource: self.subresource, now: Timestamp::from_second(self.second).unwrap() }
    }

    /// Has the object be `new`, as a create or an update does.
    pub(super) fn update(&mut self, manager: &str, mut new: Value) {
        let author = self.author(manager);
        let managed = update(&self.of, self.object.as_ref(), &new, &author);
        if new["metadata"].get("managedFields").is_none() {
            assert_eq!(self.typed(&new, &author), managed, "{new} after {:?}", self.object);
        }
        let metadata = new["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        metadata.extend(managed.map(|managed| ("managedFields".to_owned(), managed)));
        self.object = Some(new);
    }

    /// The managed fields after a write that says nothing of them, as typed objects get theirs.
    fn typed(&self, new: &Value, author: &Author<'_>) -> Option<Value> {
        let Some(live) = &self.object else {
            let entries = created(&self.of, new, author);
            return (!entries.is_empty()).then(|| serde_json::to_value(entries).unwrap());
        };
        let before: Vec<ManagedFieldsEntry> =
            live["metadata"].get("managedFields").map_or_else(Vec::new, |list| from_value(list.clone()).unwrap());
        let is_one_version = before.iter().all(|entry| entry.api_version.as_deref() == Some(self.of.api_version));
        let (old, new) = match is_one_version {
            true => differing(&live.to_string(), &new.to_string()).unwrap(),
            false => (live.clone(), new.clone()),
        };
        let entries = updated(&self.of, before, &old, &new, author);
        (!entries.is_empty()).then(|| serde_json::to_value(entries).unwrap())
    }

    /// Whether anything changed; or the conflicts, as they are told.
    pub(super) fn apply(&mut self, manager: &str, configuration: &Value, force: bool) -> Result<bool, String> {
        let author = self.author(manager);
        let applied = apply(&self.of, self.object.as_ref(), configuration, &author, force);
        let changed = applied.map_err(|err| ApiError::from(err).message().to_owned())?;
        let is_changed = changed.is_some();
        self.object = changed.or(self.object.take());
        Ok(is_changed)
    }

    pub(super) fn spec(&self) -> Value {
        self.object.as_ref().map(|object| object["spec"].clone()).unwrap_or_default()
    }

    /// Each entry as `NAME OPERATION SECOND FIELDS`, in order; the fields in upstream's order, those of the spec alone without
    /// what is around them.
    pub(super) fn managers(&self) -> Vec<String> {
        let managed = self.object.as_ref().map(|object| object["metadata"]["managedFields"].clone());
        let entries = managed.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
        let told = |entry: &Value| {
            let mut fields = set(&entry["fieldsV1"].to_string()).to_fields_v1_text();
            if let Some(spec) = fields.strip_prefix("{\"f:spec\":").and_then(|rest| rest.strip_suffix('}'))
                && serde_json::from_str::<Value>(spec).is_ok()
            {
                fields = spec.to_owned();
            }
            let second = entry["time"].as_str().map_or(0, |time| time.parse::<Timestamp>().unwrap().as_second());
            let subresource = entry["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            format!("{}{subresource} {} {second} {fields}", text("manager"), text("operation"))
        };
        entries.iter().map(told).collect()
    }
}
