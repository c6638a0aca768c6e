//! What a webhook has converted so far, for who goes through an object's owners: that is done at once, and again whenever it has asked for
//! something that is not known yet. Pure.

use corten_api::ApiError;
use parking_lot::Mutex;
use serde_json::Value;

/// Each other version that somebody owns fields in takes some: the object before and after, and what an applier gives up.
pub(super) const ROUNDS_MAX: usize = 64;

/// Objects, and what they are in another version.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(Value, String, Value)>);

/// What was wanted and is not known.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<Vec<(Value, String)>>);

impl Known {
    pub(super) fn find(&self, object: &Value, to: &str, missing: &Missing) -> Option<Value> {
        let known = self.0.iter().find(|(of, version, _)| version == to && of == object);
        if known.is_none() {
            missing.note(object, to);
        }
        known.map(|(_, _, converted)| converted.clone())
    }
    pub(super) fn add(&mut self, objects: Vec<Value>, to: &str, converted: &[Vec<u8>]) -> Result<(), ApiError> {
        for (object, converted) in objects.into_iter().zip(converted) {
            self.0.push((object, to.to_owned(), serde_json::from_slice(converted).map_err(ApiError::internal)?));
        }
        Ok(())
    }
}

impl Missing {
    fn note(&self, object: &Value, to: &str) {
        let mut all = self.0.lock();
        if !all.iter().any(|(of, version)| version == to && of == object) {
            all.push((object.clone(), to.to_owned()));
        }
    }
    /// The first that was missing, and what was missing with it in the same version. What else was wanted may not be, once these are
    /// known.
    pub(super) fn next(self) -> Option<(Vec<Value>, String)> {
        let all = self.0.into_inner();
        let to = all.first()?.1.clone();
        Some((all.into_iter().take_while(|(_, version)| *version == to).map(|(object, _)| object).collect(), to))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_by_version_and_found_then() {
        let (mut known, missing) = (Known::default(), Missing::default());
        for (n, to) in [(1, "v2"), (2, "v2"), (1, "v2"), (1, "v3"), (3, "v2")] {
            assert_eq!(known.find(&json!(n), to, &missing), None);
        }
        let (objects, to) = missing.next().unwrap();
        assert_eq!((&*objects, to.as_str()), (&[json!(1), json!(2)][..], "v2"));
        known.add(objects, &to, &[b"10".to_vec(), b"20".to_vec()]).unwrap();
        let missing = Missing::default();
        let found = [(1, "v2"), (2, "v2")].map(|(n, to)| known.find(&json!(n), to, &missing));
        assert_eq!(found, [Some(json!(10)), Some(json!(20))]);
        assert_eq!(missing.next(), None);
    }
}
