//! What is left of a migration, what came of a write, and what the definition of a custom kind may say at the end. Pure.

use corten_api::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use corten_api::{ApiError, Key, Object, Reason};
use serde_json::{Value, json};

/// How often an apiserver may fail at one object, which may be the object's fault or its own, before the migration has failed.
pub const TRIES_MAX: u32 = 5;

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    pub key: Key,
    pub uid: String,
    pub revision: i64,
    /// At which an apiserver failed.
    pub tries: u32,
}

/// What a definition said when the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    uid: String,
    generation: Option<i64>,
}

impl Definition {
    pub fn of(definition: &CustomResourceDefinition) -> Self {
        Self { uid: definition.uid().to_owned(), generation: definition.metadata.generation }
    }
}

/// One pass over all objects. Bounded by these.
#[derive(Debug)]
pub struct Run {
    pub definition: Option<Definition>,
    pub total: usize,
    todo: Vec<Todo>,
    /// Why the last page has to be gone on with after a while.
    pub again: Option<ApiError>,
}

impl Run {
    pub fn new(definition: Option<Definition>, todo: Vec<Todo>) -> Self {
        Self { definition, total: todo.len(), todo, again: None }
    }

    /// The next objects, at most so many. None: all are done.
    pub fn page(&mut self, most: usize) -> Vec<Todo> {
        self.todo.split_off(self.todo.len().saturating_sub(most))
    }

    /// What was not done is left. Returns why the migration has failed, if it has.
    pub fn take(&mut self, outcomes: Vec<(Todo, Outcome)>) -> Option<String> {
        let (mut failed, mut last) = (None, Vec::new());
        for (mut todo, outcome) in outcomes {
            match outcome {
                Outcome::Done => {}
                Outcome::Again(err) => {
                    self.todo.push(todo);
                    self.again = Some(err);
                }
                Outcome::Unsure(_, why) if todo.tries + 1 >= TRIES_MAX => failed = Some(why),
                Outcome::Unsure(err, _) => {
                    todo.tries += 1;
                    last.push(todo);
                    self.again = Some(err);
                }
                Outcome::Failed(why) => failed = Some(why),
            }
        }
        // All others are before them.
        self.todo.splice(0..0, last);
        failed
    }

    pub fn progress(&self) -> String {
        format!("{} of {} objects are written", self.total - self.todo.len(), self.total)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    Again(ApiError),
    /// The apiserver failed, which may be the object's fault: what is said if it is.
    Unsure(ApiError, String),
    Failed(String),
}

/// Who is gone needs nothing; nor does who was written since it was seen, or made anew.
pub fn outcome(written: Result<(), ApiError>, what: &str) -> Outcome {
    match written {
        Ok(()) => Outcome::Done,
        // Before all else: these have the reasons of others.
        Err(err) if err.is_lease_lost() || err.is_no_such_path() => Outcome::Again(err),
        Err(err) => match err.reason() {
            Reason::NotFound | Reason::Conflict => Outcome::Done,
            Reason::TooManyRequests | Reason::ServiceUnavailable | Reason::Timeout | Reason::Unauthorized => {
                Outcome::Again(err)
            }
            Reason::InternalError => {
                let why = format!("{what}: {}", err.message());
                Outcome::Unsure(err, why)
            }
            _ => Outcome::Failed(format!("{what}: {}", err.message())),
        },
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// The kind is not custom, or its definition says so already.
    Told,
    /// Objects may have been written in another version than the one of today.
    ChangedMeanwhile,
    /// A merge patch of the definition's status, if that is as it was seen.
    Tell(Value),
}

/// All objects are stored in the one version by now.
pub fn stored(now: Option<&CustomResourceDefinition>, begun: Option<&Definition>) -> Stored {
    let Some(definition) = now else { return Stored::Told };
    if begun != Some(&Definition::of(definition)) {
        return Stored::ChangedMeanwhile;
    }
    let Some(storage) = definition.spec.versions.iter().find(|version| version.storage) else { return Stored::Told };
    let told = definition.status.as_ref().and_then(|status| status.stored_versions.as_deref());
    if told.is_some_and(|told| *told == [storage.name.as_str()]) {
        return Stored::Told;
    }
    Stored::Tell(json!({
        "metadata": {"uid": definition.uid(), "resourceVersion": definition.revision().to_string()},
        "status": {"storedVersions": [storage.name]},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_table() {
        let of = |reason| outcome(Err(ApiError::new(reason, "why")), "orders a");
        let again = |reason| Outcome::Again(ApiError::new(reason, "why"));
        let failed = || Outcome::Failed("orders a: why".into());
        assert_eq!(outcome(Ok(()), "orders a"), Outcome::Done);
        assert_eq!(outcome(Err(ApiError::not_found("", "orders", "a")), "orders a"), Outcome::Done, "gone");
        let cases = [
            ("written by somebody, or made anew", Reason::Conflict, Outcome::Done),
            ("too much at once", Reason::TooManyRequests, again(Reason::TooManyRequests)),
            ("no apiserver", Reason::ServiceUnavailable, again(Reason::ServiceUnavailable)),
            ("no answer", Reason::Timeout, again(Reason::Timeout)),
            ("its schema lets it not be as it is", Reason::Invalid, failed()),
            ("a webhook refuses", Reason::Forbidden, failed()),
            (
                "what is stored cannot be read, or etcd has no space",
                Reason::InternalError,
                Outcome::Unsure(ApiError::new(Reason::InternalError, "why"), "orders a: why".into()),
            ),
        ];
        for (why, reason, expected) in cases {
            assert_eq!(of(reason), expected, "{why}");
        }
        let lost = ApiError::lease_lost("kube-controller-manager", "another leads");
        assert_eq!(outcome(Err(lost.clone()), ""), Outcome::Again(lost), "which is a conflict, too");
        let absent = ApiError::no_such_path();
        assert_eq!(outcome(Err(absent.clone()), ""), Outcome::Again(absent), "not of one object");
    }

    #[test]
    fn a_run_goes_through_all_and_keeps_what_was_not_done() {
        let todo =
            |n: usize| Todo { key: Key::new("shop", format!("o{n}")), uid: format!("u{n}"), revision: 1, tries: 0 };
        let mut run = Run::new(None, (0..5).map(todo).collect());
        let page = run.page(3);
        assert_eq!((page.len(), run.progress().as_str()), (3, "3 of 5 objects are written"));
        let busy = ApiError::too_many_requests("later", 1);
        let outcomes = page.into_iter().enumerate().map(|(n, todo)| match n {
            0 => (todo, Outcome::Again(busy.clone())),
            _ => (todo, Outcome::Done),
        });
        assert_eq!(run.take(outcomes.collect()), None);
        assert_eq!((run.again.take(), run.progress().as_str()), (Some(busy), "2 of 5 objects are written"));
        let page = run.page(9);
        assert_eq!(page.len(), 3);
        assert!(run.page(9).is_empty(), "all are done");
        let outcomes = page.into_iter().map(|todo| (todo, Outcome::Failed("why".into()))).collect();
        assert_eq!(run.take(outcomes), Some("why".into()));
    }

    #[test]
    fn an_object_at_which_apiservers_fail_comes_last_and_fails_the_migration_after_a_few_tries() {
        let todo =
            |n: usize| Todo { key: Key::new("shop", format!("o{n}")), uid: String::new(), revision: 1, tries: 0 };
        let mut run = Run::new(None, (0..4).map(todo).collect());
        let unsure = || Outcome::Unsure(ApiError::internal("no space"), "orders o3: no space".into());
        let page = run.page(1);
        assert_eq!(page[0].key.name, "o3");
        assert_eq!(run.take(page.into_iter().map(|todo| (todo, unsure())).collect()), None);
        assert!(run.again.take().is_some());
        let page = run.page(3);
        assert_eq!(page.iter().map(|todo| todo.key.name.as_str()).collect::<Vec<_>>(), ["o0", "o1", "o2"]);
        assert_eq!(run.take(page.into_iter().map(|todo| (todo, Outcome::Done)).collect()), None);
        for tries in 1..TRIES_MAX {
            assert_eq!((run.progress().as_str(), run.todo[0].tries), ("3 of 4 objects are written", tries));
            let failed = run.page(9).into_iter().map(|todo| (todo, unsure())).collect();
            let expected = (tries + 1 == TRIES_MAX).then(|| "orders o3: no space".to_owned());
            assert_eq!(run.take(failed), expected, "after {tries} tries");
        }
    }

    #[test]
    fn stored_versions_table() {
        let definition = |uid: &str, generation: i64, stored: &[&str]| -> CustomResourceDefinition {
            let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage});
            let names = json!({"plural": "orders", "kind": "Order"});
            let versions = json!([version("v1", false), version("v2", true)]);
            let spec =
                json!({"group": "shop.example.com", "scope": "Namespaced", "names": names, "versions": versions});
            let metadata = json!({"name": "orders.shop.example.com", "uid": uid, "generation": generation, "resourceVersion": "9"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"storedVersions": stored}}))
                .unwrap()
        };
        let two = definition("a", 3, &["v1", "v2"]);
        let begun = Definition::of(&two);
        let patch = json!({"metadata": {"uid": "a", "resourceVersion": "9"}, "status": {"storedVersions": ["v2"]}});
        let cases = [
            ("not custom", None, None, Stored::Told),
            ("two versions were stored", Some(two.clone()), Some(&begun), Stored::Tell(patch)),
            ("one was", Some(definition("a", 3, &["v2"])), Some(&begun), Stored::Told),
            (
                "another storage version since",
                Some(definition("a", 4, &["v1", "v2"])),
                Some(&begun),
                Stored::ChangedMeanwhile,
            ),
            ("made anew", Some(definition("b", 3, &["v1", "v2"])), Some(&begun), Stored::ChangedMeanwhile),
            ("defined meanwhile", Some(two), None, Stored::ChangedMeanwhile),
            ("gone", None, Some(&begun), Stored::Told),
        ];
        for (why, now, begun, expected) in cases {
            assert_eq!(stored(now.as_ref(), begun), expected, "{why}");
        }
    }
}
