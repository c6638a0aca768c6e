//! What each write does with an object of a custom kind, as upstream's strategies for them do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::{Cause, Problems, names};
use corten_cel::PER_CALL_LIMIT;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;
use serde_json::{Map, Value};

use super::columns::Columns;
use super::convert;
use super::object::{CustomObject, Type};
use super::openapi::Described;
use crate::decode::{DecodeError, Normal};
use crate::registry::rules::{Rules, ScaleView};
use crate::registry::structural::rules::ValidationRules;
use crate::registry::structural::value::Shape;
use crate::registry::structural::{Structural, check_lists, embedded, fill, prune, value};
use crate::registry::{AnyObject, Cell, Strategy, WriteContext, status};

const STATUS: &str = "status";
/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
/// Rules that may cost more than this keep a thread busy for long.
const LARGE_COST: u64 = PER_CALL_LIMIT;
/// How long the rules of one object may take: somebody waits.
const RULES_TIME_MAX: Duration = Duration::from_secs(5);
/// Of the whole of an object, as upstream names it.
const WHOLE: &str = "<nil>";

#[derive(Debug)]
pub(super) struct CustomRules {
    pub(super) of: Arc<Type>,
    pub(super) schema: Arc<Structural>,
    /// What is stored may be of any of them.
    pub(super) versions: Arc<convert::Versions>,
    pub(super) rules: Option<Arc<ValidationRules>>,
    /// The status is written through a subresource of its own.
    pub(super) has_status: bool,
    pub(super) scale: Option<ScalePaths>,
    pub(super) columns: Columns,
    pub(super) described: Described,
}

/// Where the scale subresource finds what it shows.
#[derive(Debug)]
pub(super) struct ScalePaths {
    spec: Vec<String>,
    status: Vec<String>,
    selector: Option<Vec<String>>,
}

impl ScalePaths {
    pub(super) fn of(written: &CustomResourceSubresourceScale) -> Self {
        let steps = |path: &str| path.trim_start_matches('.').split('.').map(str::to_owned).collect();
        let selector = written.label_selector_path.as_deref().filter(|path| !path.is_empty());
        Self {
            spec: steps(&written.spec_replicas_path),
            status: steps(&written.status_replicas_path),
            selector: selector.map(steps),
        }
    }
}

fn at<'b>(body: &'b Map<String, Value>, path: &[String]) -> Option<&'b Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(body.get(first)?, |at, name| at.get(name))
}

fn replicas(body: &Map<String, Value>, path: &[String]) -> Option<i32> {
    at(body, path).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok())
}

fn custom(object: &dyn AnyObject) -> Option<&CustomObject> {
    object.as_any().downcast_ref()
}
fn custom_mut(object: &mut dyn AnyObject) -> Option<&mut CustomObject> {
    object.as_any_mut().downcast_mut()
}

impl CustomRules {
    /// Whether the schema says something of an object's metadata.
    fn knows_metadata(&self) -> bool {
        self.schema.properties.get("metadata").is_some()
    }

    fn validate_whole(&self, object: &CustomObject, old: Option<&CustomObject>, problems: &mut Problems) {
        let whole = |object: &CustomObject| object.whole(self.knows_metadata());
        let (new, old_whole) = match (whole(object), old.map(whole).transpose()) {
            (Ok(new), Ok(old)) => (new, old),
            (Err(err), _) | (_, Err(err)) => return problems.internal(WHOLE, &err.to_string()),
        };
        let shape = value::check(&new, old_whole.as_ref(), &self.schema, "", problems);
        self.validate_scale(&object.body, true, problems);
        embedded::validate(&object.body, &self.schema, problems);
        check_lists(&object.body, old.map(|old| &old.body), &self.schema, problems);
        self.validate_rules(object, old, shape, problems);
    }

    /// What expressions want of an object that is of the shape that its schema wants. They see its type and names.
    fn validate_rules(&self, object: &CustomObject, old: Option<&CustomObject>, shape: Shape, problems: &mut Problems) {
        let Some(rules) = &self.rules else { return };
        // What is wrong with objects within it, or with its lists, tells of its shape, too.
        let is_otherwise = problems.has_untold() || problems.causes().iter().any(Cause::is_of_shape);
        if shape != Shape::AsWanted || is_otherwise {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            return problems.invalid(WHOLE, Value::Null, why);
        }
        match (object.whole(true), old.map(|old| old.whole(true)).transpose()) {
            (Ok(new), Ok(old)) => {
                let ends = Instant::now() + RULES_TIME_MAX;
                rules.check(&new, old.as_ref(), &|| Instant::now() >= ends, problems);
            }
            (Err(err), _) | (_, Err(err)) => problems.internal(WHOLE, &err.to_string()),
        }
    }

    fn validate_status(&self, object: &CustomObject, old: &CustomObject, problems: &mut Problems) {
        let shape = match (object.body.get(STATUS), self.schema.properties.get(STATUS)) {
            (Some(status), Some(of)) => value::check(status, old.body.get(STATUS), of, STATUS, problems),
            (None, _) | (_, None) => Shape::AsWanted,
        };
        self.validate_scale(&object.body, false, problems);
        check_lists(&object.body, Some(&old.body), &self.schema, problems);
        self.validate_rules(object, Some(old), shape, problems);
    }

    fn validate_scale(&self, body: &Map<String, Value>, with_spec: bool, problems: &mut Problems) {
        let Some(scale) = &self.scale else { return };
        let spec = with_spec.then_some(&scale.spec);
        for path in spec.into_iter().chain([&scale.status]) {
            let field = || format!(".{}", path.join("."));
            match at(body, path) {
                None => {}
                Some(Value::Number(number)) => match number.as_i64() {
                    Some(..0) => problems.invalid(field(), number, "should be a non-negative integer"),
                    Some(n) if n > i64::from(i32::MAX) => {
                        problems.invalid(field(), number, &format!("should be less than or equal to {}", i32::MAX));
                    }
                    Some(_) => {}
                    None => problems.invalid(field(), number, "is of the wrong type, expected int64"),
                },
                Some(other) => problems.invalid(field(), other, "is of the wrong type, expected int64"),
            }
        }
        if let Some((path, found)) = scale.selector.as_ref().and_then(|path| Some((path, at(body, path)?)))
            && !found.is_string()
        {
            problems.invalid(format!(".{}", path.join(".")), found, "is of the wrong type, expected string");
        }
    }
}

impl Rules for CustomRules {
    fn decode(&self, json: &str) -> Result<Box<dyn AnyObject>, serde_json::Error> {
        Ok(Box::new(CustomObject::read(&self.of, json)?))
    }
    fn pruned(&self, body: Normal) -> Result<Normal, DecodeError> {
        // What is wrong with its metadata is told of when the object is asked for.
        let Ok(json) = body.json() else { return Ok(body) };
        let mut object: Map<String, Value> = serde_json::from_str(json)?;
        let mut findings = Vec::new();
        embedded::normalize(&mut object, &self.schema, &mut findings).map_err(DecodeError::Type)?;
        let unknown = prune::prune(&mut object, &self.schema);
        findings.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
        Ok(body.replaced(serde_json::to_string(&object)?, findings))
    }
    fn mended(&self, stored: &[u8]) -> Option<Vec<u8>> {
        convert::mended(stored, &self.versions)
    }
    fn is_of_other_version(&self, stored: &[u8]) -> bool {
        self.versions.is_other(stored)
    }
    fn fill_defaults(&self, object: &mut dyn AnyObject) {
        if let Some(object) = custom_mut(object) {
            object.unfilled = fill::fill(&mut object.body, &self.schema, fill::WRITE_BYTES_MAX).err().map(Arc::new);
        }
    }
    fn prepare(&self, write: Strategy<'_, dyn AnyObject>, object: &mut dyn AnyObject, _context: &WriteContext<'_>) {
        let Some(object) = custom_mut(object) else { return };
        match write {
            Strategy::Create => {
                if self.has_status {
                    object.body.remove(STATUS);
                }
            }
            Strategy::Status(old) => {
                let Some(old) = custom(old) else { return };
                let new_status = object.body.remove(STATUS);
                object.body.clone_from(&old.body);
                match new_status {
                    Some(new_status) => object.body.insert(STATUS.into(), new_status),
                    None => object.body.remove(STATUS),
                };
                status::keep_metadata(&mut object.meta, &old.meta);
            }
            Strategy::Update(old) | Strategy::Approval(old) | Strategy::Finalize(old) | Strategy::Part(_, old) => {
                let Some(old) = custom(old).filter(|_| self.has_status) else { return };
                match old.body.get(STATUS) {
                    Some(before) => object.body.insert(STATUS.into(), before.clone()),
                    None => object.body.remove(STATUS),
                };
            }
        }
    }
    /// All but metadata; of a status that has a subresource nothing has changed here.
    fn spec_changed(&self, object: &dyn AnyObject, old: &dyn AnyObject) -> bool {
        matches!((custom(object), custom(old)), (Some(object), Some(old)) if object.body != old.body)
    }
    fn validate(&self, write: Strategy<'_, dyn AnyObject>, object: &dyn AnyObject, problems: &mut Problems) {
        let other_kind = "it is no object of a custom kind";
        let Some(object) = custom(object) else { return problems.internal(WHOLE, other_kind) };
        if let Some(why) = &object.unfilled {
            return problems.invalid_unshown(WHOLE, &why.to_string());
        }
        let old = match write {
            Strategy::Create => return self.validate_whole(object, None, problems),
            Strategy::Status(old)
            | Strategy::Update(old)
            | Strategy::Approval(old)
            | Strategy::Finalize(old)
            | Strategy::Part(_, old) => custom(old),
        };
        match (old, write) {
            (None, _) => problems.internal(WHOLE, other_kind),
            (Some(old), Strategy::Status(_)) => self.validate_status(object, old, problems),
            (Some(old), _) => self.validate_whole(object, Some(old), problems),
        }
    }
    fn is_costly(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.cost_max() > LARGE_COST)
    }
    fn warnings(&self, object: &dyn AnyObject, old: Option<&dyn AnyObject>) -> Vec<String> {
        let of = |object: &dyn AnyObject| -> BTreeSet<String> {
            object.meta().finalizers.iter().flatten().cloned().collect()
        };
        let before = old.map(of).unwrap_or_default();
        of(object).difference(&before).filter_map(|finalizer| finalizer_warning(finalizer)).collect()
    }
    fn deletion_grace_secs(&self, _object: &dyn AnyObject, _asked: Option<i64>) -> Option<i64> {
        None
    }
    fn holds_deletion(&self, _object: &dyn AnyObject) -> bool {
        false
    }
    fn mark_deleting(&self, _object: &mut dyn AnyObject) {}
    fn row(&self, object: &dyn AnyObject, now_secs: i64) -> Vec<Cell> {
        custom(object).map(|object| self.columns.row(object, now_secs)).unwrap_or_default()
    }
    fn scale(&self, object: &dyn AnyObject) -> Option<ScaleView> {
        let (scale, body) = (self.scale.as_ref()?, &custom(object)?.body);
        let selector = scale.selector.as_ref().and_then(|path| at(body, path)).and_then(Value::as_str);
        Some(ScaleView {
            spec_replicas: replicas(body, &scale.spec),
            status_replicas: replicas(body, &scale.status).unwrap_or(0),
            selector: selector.unwrap_or_default().to_owned(),
        })
    }
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32) {
        let (Some(scale), Some(object)) = (&self.scale, custom_mut(object)) else { return };
        let Some((last, parents)) = scale.spec.split_last() else { return };
        let mut at = &mut object.body;
        for name in parents {
            let next = at.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { return };
            at = next;
        }
        at.insert(last.clone(), replicas.into());
    }
    fn replicas_path(&self) -> Vec<String> {
        self.scale.as_ref().map(|scale| scale.spec.clone()).unwrap_or_default()
    }
    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        self.described.add(generator)
    }
}

fn finalizer_warning(finalizer: &str) -> Option<String> {
    if finalizer.contains('/') || STANDARD_FINALIZERS.contains(&finalizer) || !names::is_qualified_name(finalizer) {
        return None;
    }
    let path = if finalizer.contains('.') { " including a path (/)" } else { "" };
    Some(format!(
        "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
    ))
}
