//! What is known of a migration that goes on: since when, how its kind is defined, and its run. Time is this program's own: the
//! clock of who made the migration may be another. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::run::{Definition, Run};

#[derive(Debug)]
pub struct Known {
    /// Of the migration.
    pub uid: String,
    since: Instant,
    /// As it was when the kind was served last. `None`: it is not custom.
    definition: Option<Definition>,
    defined_since: Instant,
    pub run: Option<Run>,
}

impl Known {
    pub fn new(uid: &str, now: Instant) -> Self {
        Self { uid: uid.to_owned(), since: now, definition: None, defined_since: now, run: None }
    }

    /// What its kind is defined as. A run on another definition is over: what it wrote may be stored as that one says.
    pub fn note(&mut self, definition: Option<Definition>, now: Instant) {
        if self.definition == definition {
            return;
        }
        (self.definition, self.defined_since, self.run) = (definition, now, None);
    }

    pub fn known_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub fn settled_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since.max(self.defined_since))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_definition_begins_anew_and_has_to_settle() {
        let definition = |generation: i64| {
            let spec =
                json!({"group": "g", "scope": "Cluster", "names": {"plural": "as", "kind": "A"}, "versions": []});
            let value = json!({"metadata": {"name": "as.g", "uid": "u", "generation": generation}, "spec": spec});
            Some(Definition::of(&serde_json::from_value(value).unwrap()))
        };
        let began = Instant::now();
        let mut known = Known::new("m", began);
        // why, at what second, the definition's generation, for how long it is known, and settled, whether its run goes on
        let cases = [
            ("seen first", 0, 3, 0, 0, false),
            ("as it was", 7, 3, 7, 7, true),
            ("another storage version", 8, 4, 8, 0, false),
            ("as it was", 10, 4, 10, 2, true),
            ("back again is another generation", 11, 5, 11, 0, false),
        ];
        for (why, second, generation, known_for, settled_for, goes_on) in cases {
            let now = began + Duration::from_secs(second);
            known.note(definition(generation), now);
            let found = (known.known_for(now).as_secs(), known.settled_for(now).as_secs(), known.run.is_some());
            assert_eq!(found, (known_for, settled_for, goes_on), "{why}");
            known.run = Some(Run::new(None, Vec::new()));
        }
        let mut core = Known::new("m", began);
        core.note(None, began + Duration::from_secs(4));
        assert_eq!(core.settled_for(began + Duration::from_secs(5)).as_secs(), 5, "a kind that is not custom");
    }
}
