//! Params that were parsed, for the writes that come next: most are asked about with the same ones.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use crate::registry::ApiResource;

/// Of the texts that are kept parsed. A tree takes some times as much.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A text by where it lies and in which version it is read. It is kept as well, so that no other comes to lie there.
type Place = (usize, usize, String);

#[derive(Default)]
struct Kept {
    values: HashMap<Place, (Bytes, Arc<Value>)>,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Parsed(Mutex<Kept>);

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parsed").field(&self.0.lock().bytes).finish()
    }
}

impl Parsed {
    /// The error is `parse`'s, and not kept.
    pub(super) fn get(
        &self,
        resource: &ApiResource,
        json: &Bytes,
        parse: impl FnOnce() -> Result<Value, String>,
    ) -> Result<Arc<Value>, String> {
        let place = (json.as_ptr().addr(), json.len(), resource.api_version());
        if let Some((_, value)) = self.0.lock().values.get(&place) {
            return Ok(value.clone());
        }
        let value = Arc::new(parse()?);
        let mut kept = self.0.lock();
        // With more than fits nothing is found again whichever goes first: begin anew.
        if kept.bytes + json.len() > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        if json.len() <= KEPT_BYTES_MAX && kept.values.insert(place, (json.clone(), value.clone())).is_none() {
            kept.bytes += json.len();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_text_is_parsed_once_and_what_is_kept_has_a_bound() {
        let registry = Registry::default();
        let resource = registry.find("", "v1", "configmaps").unwrap();
        let (parsed, count) = (Parsed::default(), Cell::new(0));
        let get = |json: &Bytes| {
            let parse = || {
                count.set(count.get() + 1);
                Ok(json!(json.len()))
            };
            let value = parsed.get(&resource, json, parse).unwrap();
            (value, count.get())
        };
        let texts: Vec<Bytes> = (0..9).map(|_| Bytes::from(vec![b' '; 1024 * 1024])).collect();
        assert_eq!(get(&texts[0]), (json!(1024 * 1024).into(), 1));
        assert_eq!(get(&texts[0]).1, 1, "it is the same text");
        for (before, text) in texts.iter().enumerate() {
            assert_eq!(get(text).1, before + 1);
        }
        assert_eq!(parsed.0.lock().bytes, 1024 * 1024, "the ninth began anew");
        assert_eq!(get(&texts[0]).1, 10);
        let huge = Bytes::from(vec![b' '; KEPT_BYTES_MAX + 1]);
        get(&huge);
        assert_eq!(parsed.0.lock().bytes, 0, "what alone is too large is not kept");
        assert!(parsed.get(&resource, &huge, || Err("no object".into())).is_err());
    }
}
