//! Who owns which fields of an object: `metadata.managedFields`, read and written.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::element::{Element, Path};
use super::field_set::FieldSet;
use super::fields::fit;
use super::fields_v1::FieldsV1Error;
use super::object_type::{ObjectType, Unconverted};
use super::place::Place;
use super::told;

/// Entries of updates that are kept apart; the oldest of more are put together. Upstream's number.
pub(super) const UPDATE_ENTRIES_MAX: usize = 10;
/// Who owns what was changed by updates that are no longer kept apart.
const ANCIENT_CHANGES: &str = "ancient-changes";
pub(super) const FIELDS_TYPE: &str = "FieldsV1";

/// Fields that nobody owns: they say which object it is, or are the server's.
static UNOWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    const IN_METADATA: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let top = ["apiVersion", "kind", "metadata"].map(|name| vec![name]);
    let paths = top.into_iter().chain(IN_METADATA.map(|name| vec!["metadata", name]));
    paths.map(|path| path.into_iter().map(Element::field).collect::<Path>()).collect()
});

/// Takes away the fields that nobody owns.
pub(super) fn strip(fields: &mut FieldSet) {
    fields.subtract(&UNOWNED);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

/// What makes two entries those of one manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    /// Of updates only: whoever applies stays the same whatever the version.
    pub api_version: String,
    pub subresource: String,
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The version that the fields are of.
    pub api_version: String,
    /// When the manager last changed one of its fields, or which they are.
    pub time: Option<Timestamp>,
    pub fields: FieldSet,
}

/// The managers of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(BTreeMap<Manager, Owned>);

impl FromIterator<(Manager, Owned)> for Managers {
    fn from_iter<I: IntoIterator<Item = (Manager, Owned)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// Why a list of managed fields is none. Worded as upstream words it, which warnings show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagersError {
    #[error("managedFields must be a list of entries")]
    NotAList,
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {fields_type:?} in managed fields entry {at}")]
    FieldsType { fields_type: String, at: usize },
    #[error("invalid time {time:?} in managed fields entry {at}")]
    Time { time: String, at: usize },
    #[error("error decoding set: {0}")]
    Fields(#[from] FieldsV1Error),
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl Manager {
    pub fn applier(name: &str, subresource: &str) -> Self {
        Self::of(Operation::Apply, name, "", subresource)
    }
    pub fn updater(name: &str, api_version: &str, subresource: &str) -> Self {
        Self::of(Operation::Update, name, api_version, subresource)
    }
    fn of(operation: Operation, name: &str, api_version: &str, subresource: &str) -> Self {
        let name = if name.is_empty() { "unknown" } else { name };
        Self { name: name.into(), operation, api_version: api_version.into(), subresource: subresource.into() }
    }
}

/// As messages about conflicts name it.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Update => write!(f, " using {}", self.api_version),
            Operation::Apply => Ok(()),
        }
    }
}

impl Owned {
    pub(super) fn new(api_version: &str, time: Option<Timestamp>, fields: FieldSet) -> Self {
        Self { api_version: api_version.to_owned(), time: time.map(to_the_second), fields }
    }
    fn seconds(&self) -> i64 {
        self.time.map_or(0, Timestamp::as_second)
    }
}

/// Times are stored so.
pub(super) fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

impl Managers {
    /// Reads `metadata.managedFields`; null is as empty. Of several entries of one manager the last counts.
    pub fn read(list: &Value) -> Result<Self, ManagersError> {
        let entries = match list {
            Value::Null => return Ok(Self::default()),
            Value::Array(entries) => entries,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(ManagersError::NotAList);
            }
        };
        entries.iter().enumerate().map(|(at, entry)| read_entry(at, entry)).collect()
    }

    /// `metadata.managedFields`: whoever applied first, and of each sort the oldest first. `None` if nobody owns anything.
    pub fn to_value(&self) -> Option<Value> {
        let list: Vec<Value> = self.in_order().into_iter().map(|(manager, owned)| written(manager, owned)).collect();
        (!list.is_empty()).then_some(Value::Array(list))
    }

    /// As they are written.
    pub(super) fn in_order(&self) -> Vec<(&Manager, &Owned)> {
        let mut entries: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        entries.sort_by_key(|entry| {
            let (manager, owned) = *entry;
            let when = (manager.operation, owned.seconds());
            (when, manager.name.as_str(), owned.api_version.as_str(), manager.subresource.as_str())
        });
        entries
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn get(&self, manager: &Manager) -> Option<&Owned> {
        self.0.get(manager)
    }
    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&Manager, &Owned)> {
        self.0.iter()
    }

    pub(super) fn take(&mut self, manager: &Manager) -> Option<Owned> {
        self.0.remove(manager)
    }

    /// Gives a manager its entry anew; one that owns nothing has none.
    pub(super) fn put(&mut self, manager: Manager, owned: Owned) {
        if owned.fields.is_empty() {
            self.0.remove(&manager);
        } else {
            self.0.insert(manager, owned);
        }
    }

    /// Goes through all entries. Those of which `look` says false, or that own nothing afterwards, go.
    pub(super) fn retain(&mut self, mut look: impl FnMut(&Manager, &mut Owned) -> bool) {
        self.0.retain(|manager, owned| look(manager, owned) && !owned.fields.is_empty());
    }

    /// The versions that fields are owned in, each once.
    pub(super) fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> = self.0.values().map(|owned| owned.api_version.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// All fields that somebody owns in a version.
    pub(super) fn owned_in(&self, api_version: &str) -> FieldSet {
        let of_version = self.0.values().filter(|owned| owned.api_version == api_version);
        FieldSet::all_of(of_version.map(|owned| owned.fields.clone()).collect())
    }

    /// Fits all sets to the schema as it is now. Versions that are no longer served go, and who owned fields in them.
    pub(super) fn fit(&mut self, of: &ObjectType<'_>, object: &Value) {
        let mut shapes = BTreeMap::from([(of.api_version.to_owned(), Ok(of.shape))]);
        self.retain(|_, owned| {
            let convert = || (of.convert)(object, &owned.api_version).map(|converted| converted.shape);
            match *shapes.entry(owned.api_version.clone()).or_insert_with(convert) {
                Ok(shape) => fit(&mut owned.fields, Place::root(shape)),
                Err(Unconverted::NotServed) => return false,
                Err(Unconverted::Unknown) => {}
            }
            true
        });
    }

    /// Puts the oldest updates together until few enough are left: those of one version become one.
    pub(super) fn cap(&mut self) {
        let updates = self.0.iter().filter(|(manager, _)| manager.operation == Operation::Update);
        let mut updates: Vec<(i64, Manager)> =
            updates.map(|(manager, owned)| (owned.seconds(), manager.clone())).collect();
        let mut left = updates.len();
        if left <= UPDATE_ENTRIES_MAX {
            return;
        }
        updates.sort();
        let mut together: BTreeMap<String, Vec<Manager>> = BTreeMap::new();
        for (_, manager) in updates {
            if left <= UPDATE_ENTRIES_MAX {
                break;
            }
            let of_version = together.entry(manager.api_version.clone()).or_default();
            left -= usize::from(!of_version.is_empty());
            of_version.push(manager);
        }
        // One alone stays who it is.
        for (version, managers) in together.into_iter().filter(|(_, managers)| managers.len() > 1) {
            let ancient = Manager::updater(ANCIENT_CHANGES, &version, "");
            let taken: Vec<Owned> =
                managers.iter().chain([&ancient]).filter_map(|manager| self.take(manager)).collect();
            let time = taken.iter().map(|owned| owned.time).max().flatten();
            let fields = FieldSet::all_of(taken.into_iter().map(|owned| owned.fields).collect());
            self.put(ancient, Owned::new(&version, time, fields));
        }
    }
}

/// An entry, as far as it is told alike by JSON and by typed objects.
pub(super) struct Said<'e> {
    pub(super) manager: &'e str,
    pub(super) operation: &'e str,
    pub(super) api_version: &'e str,
    pub(super) subresource: &'e str,
    pub(super) fields_type: &'e str,
    pub(super) fields: &'e Value,
}

impl Said<'_> {
    /// The entry that stands at place `at`; `time` is asked for last.
    pub(super) fn read(
        self,
        at: usize,
        time: impl FnOnce() -> Result<Option<Timestamp>, ManagersError>,
    ) -> Result<(Manager, Owned), ManagersError> {
        let operation = match self.operation {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(ManagersError::Operation),
        };
        if self.api_version.is_empty() {
            return Err(ManagersError::ApiVersion);
        }
        match self.fields_type {
            FIELDS_TYPE => {}
            "" => return Err(ManagersError::NoFieldsType(at)),
            other => return Err(ManagersError::FieldsType { fields_type: told(other), at }),
        }
        let time = time()?;
        let manager = Manager {
            name: self.manager.to_owned(),
            operation,
            api_version: if operation == Operation::Update { self.api_version.to_owned() } else { String::new() },
            subresource: self.subresource.to_owned(),
        };
        Ok((manager, Owned::new(self.api_version, time, FieldSet::from_fields_v1(self.fields)?)))
    }
}

fn read_entry(at: usize, entry: &Value) -> Result<(Manager, Owned), ManagersError> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    let said = Said {
        manager: text("manager"),
        operation: text("operation"),
        api_version: text("apiVersion"),
        subresource: text("subresource"),
        fields_type: text("fieldsType"),
        fields: entry.get("fieldsV1").unwrap_or(&Value::Null),
    };
    said.read(at, || match text("time") {
        "" => Ok(None),
        time => time.parse().map(Some).map_err(|_| ManagersError::Time { time: told(time), at }),
    })
}

fn written(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    let mut put = |field: &str, value: Value| drop(entry.insert(field.to_owned(), value));
    if !manager.name.is_empty() {
        put("manager", manager.name.as_str().into());
    }
    put("operation", manager.operation.as_str().into());
    put("apiVersion", owned.api_version.as_str().into());
    if let Some(time) = owned.time {
        put("time", time.to_string().into());
    }
    put("fieldsType", FIELDS_TYPE.into());
    put("fieldsV1", owned.fields.to_fields_v1());
    if !manager.subresource.is_empty() {
        put("subresource", manager.subresource.as_str().into());
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests;
