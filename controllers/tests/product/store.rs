//! The state of a make-believe apiserver: objects as JSON, every change there ever was, and what may never be so.

use std::collections::BTreeMap;

use corten_api::{ApiError, Key};
use corten_client::seeds::Chance;
use serde_json::{Value, json};

/// A kind's plural, and the object's key.
pub(crate) type At = (String, Key);

#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) revision: i64,
    pub(crate) at: At,
    pub(crate) object: Value,
    pub(crate) deleted: bool,
}

type Check = Box<dyn FnMut(&BTreeMap<At, Value>) -> Result<(), String> + Send>;

pub(crate) struct State {
    pub(crate) revision: i64,
    pub(crate) objects: BTreeMap<At, Value>,
    pub(crate) log: Vec<Change>,
    pub(crate) chance: Chance,
    /// Looked at after every change; the first violation is kept.
    pub(crate) check: Check,
    pub(crate) violation: Option<String>,
    /// So many pods there may be.
    pub(crate) pods_max: usize,
    /// Pods that were refused for that.
    pub(crate) pods_refused: usize,
    /// Patches of what nobody can patch.
    pub(crate) patches_refused: usize,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            revision: 1,
            objects: BTreeMap::new(),
            log: Vec::new(),
            chance: Chance(seed),
            check: Box::new(|_| Ok(())),
            violation: None,
            pods_max: usize::MAX,
            pods_refused: 0,
            patches_refused: 0,
        }
    }

    pub(crate) fn get(&self, at: &At) -> Result<&Value, ApiError> {
        self.objects.get(at).ok_or_else(|| ApiError::not_found("", &at.0, &at.1.name))
    }

    pub(crate) fn of(&self, plural: &str) -> impl Iterator<Item = (&Key, &Value)> {
        let of_kind = self.objects.iter().filter(move |(at, _)| at.0 == plural);
        of_kind.map(|(at, object)| (&at.1, object))
    }

    fn changed(&mut self, at: At, object: Value, deleted: bool) {
        self.log.push(Change { revision: self.revision, at, object, deleted });
        if let Err(why) = (self.check)(&self.objects) {
            self.violation.get_or_insert(format!("revision {}: {why}", self.revision));
        }
    }

    fn put(&mut self, at: At, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.objects.insert(at.clone(), object.clone());
        self.changed(at, object.clone(), false);
        object
    }

    pub(crate) fn create(&mut self, plural: &str, mut object: Value) -> Result<Value, ApiError> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let at = (plural.to_owned(), Key::new(text("namespace"), text("name")));
        assert!(!at.1.name.is_empty(), "a child without a name: {object}");
        if self.objects.contains_key(&at) {
            return Err(ApiError::already_exists("", plural, &at.1.name));
        }
        if plural == "pods" && self.of("pods").count() >= self.pods_max {
            self.pods_refused += 1;
            return Err(ApiError::forbidden("", plural, &at.1.name, "exceeded quota"));
        }
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("uid-{}", self.revision + 1));
        meta["creationTimestamp"] = json!("2030-01-01T00:00:00Z");
        meta["generation"] = json!(1);
        Ok(self.put(at, object))
    }

    /// `new` is stored if it differs; an object that goes and that nothing holds is gone.
    pub(crate) fn replace(&mut self, at: &At, mut new: Value) -> Result<Value, ApiError> {
        let old = self.get(at)?.clone();
        if new == old {
            return Ok(old);
        }
        if new["spec"] != old["spec"] {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let meta = &new["metadata"];
        let held = meta["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        let grace = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if !meta["deletionTimestamp"].is_null() && !held && grace == 0 {
            return Ok(self.remove(at));
        }
        Ok(self.put(at.clone(), new))
    }

    fn remove(&mut self, at: &At) -> Value {
        self.revision += 1;
        let mut last = self.objects.remove(at).unwrap_or_default();
        last["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.changed(at.clone(), last.clone(), true);
        last
    }

    pub(crate) fn delete(&mut self, at: &At, options: &Value) -> Result<Value, ApiError> {
        let mut object = self.get(at)?.clone();
        let wanted = &options["preconditions"];
        for (wanted, is) in [(&wanted["uid"], "uid"), (&wanted["resourceVersion"], "resourceVersion")] {
            if !wanted.is_null() && *wanted != object["metadata"][is] {
                return Err(ApiError::conflict("", &at.0, &at.1.name, "Precondition failed"));
            }
        }
        let on_node = at.0 == "pods" && object["spec"]["nodeName"].is_string();
        let grace = options["gracePeriodSeconds"].as_i64().unwrap_or(if on_node { 30 } else { 0 });
        let meta = &mut object["metadata"];
        if meta["deletionTimestamp"].is_null() {
            meta["deletionTimestamp"] = json!("2030-01-01T00:00:30Z");
            meta["deletionGracePeriodSeconds"] = json!(grace);
        } else if grace == 0 {
            meta["deletionGracePeriodSeconds"] = json!(0);
        }
        if options["propagationPolicy"] == "Foreground" {
            let finalizers = meta["finalizers"].as_array().cloned().unwrap_or_default();
            let known = finalizers.contains(&json!("foregroundDeletion"));
            let added = (!known).then(|| json!("foregroundDeletion"));
            meta["finalizers"] = finalizers.into_iter().chain(added).collect();
        }
        self.replace(at, object)
    }
}

/// RFC 7386. Lists are replaced whole, which is enough for what the controllers send here; and of a list of words, or of objects
/// with uids, some may be taken out, as by a strategic merge patch.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let left =
                into[list].as_array().into_iter().flatten().filter(|word| !value.as_array().unwrap().contains(word));
            into[list] = left.cloned().collect();
        } else if value.as_array().is_some_and(|list| list.iter().any(|one| one["$patch"] == "delete")) {
            let is_out = |one: &&Value| value.as_array().unwrap().iter().any(|out| out["uid"] == one["uid"]);
            let left = into[key].as_array().into_iter().flatten().filter(|one| !is_out(one));
            into[key] = left.cloned().collect();
        } else if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
