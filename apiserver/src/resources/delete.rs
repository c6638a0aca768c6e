//! The write path of deletion: at once, after a grace period, or when the last finalizer is gone.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use corten_api::{ApiError, Problems};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Status, StatusDetails, Time};
use k8s_openapi::jiff::SignedDuration;

use super::meta::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN, now};
use super::place::{Place, no_such_method};
use super::revise::{Current, Decision};
use super::{Deleted, ListOptions, Page, Resources, WriteOptions, read};
use crate::registry::{AnyObject, Entry};
use crate::request::{Target, User};

/// Deletes under way at one time for one request.
const COLLECTION_CONCURRENCY: usize = 16;
/// Kinds whose delete answers with the object, as upstream's do.
const ANSWER_WITH_OBJECT: &[&str] = &["pods", "podtemplates", "services", "serviceaccounts"];

impl Resources {
    pub async fn delete(
        &self,
        user: &User,
        target: &Target,
        how: DeleteOptions,
        options: WriteOptions,
    ) -> Result<Deleted, ApiError> {
        self.delete_saying(user, target, how, options, |_, _| {}).await
    }

    /// `say`: what is to be told on the object of why it goes, in the same write.
    pub(super) async fn delete_saying(
        &self,
        user: &User,
        target: &Target,
        how: DeleteOptions,
        options: WriteOptions,
        say: fn(&mut dyn AnyObject, &Time),
    ) -> Result<Deleted, ApiError> {
        let fence = self.fenced(options.fence.as_ref()).await?;
        let place = self.place(target)?.behind(fence.as_ref());
        if !target.subresource.is_empty() {
            return Err(no_such_method());
        }
        check_options(&how)?;
        let short = place.short_key(&target.namespace, &target.name);
        // Said in the query or in the body: whoever asks, and by whichever way, means it.
        let dry_run = options.dry_run || how.dry_run.as_ref().is_some_and(|stages| !stages.is_empty());
        let mut warnings = Vec::new();
        let revised = self
            .revise(place, &short, dry_run, |current, _taken| {
                check_preconditions(place, &target.name, &how, current)?;
                warnings = self.admit_delete(user, place, target, &*current.object)?;
                let now = now();
                let mut told = current.object.boxed_clone();
                say(&mut *told, &now);
                let step = step(place.entry, &*current.object, told, &how, now);
                Ok(match step {
                    Step::Remove => {
                        let mut also = self.release_for_delete(&*current.object);
                        also.extend(self.fence_with(Some(&*current.object), None)?);
                        Decision::Remove { last: None, also }
                    }
                    Step::Keep => Decision::Keep,
                    Step::Mark(object) => Decision::Store { object, also: Vec::new() },
                })
            })
            .await?
            .ok_or_else(|| place.not_found(&target.name))?;
        let answers_with_object = !revised.gone || ANSWER_WITH_OBJECT.contains(&place.entry.plural());
        let body = if answers_with_object { revised.json.clone() } else { success(place.entry, &revised.json)?.into() };
        // Upstream's answer to who said explicitly that dependents go in the background.
        let code = if !revised.gone && how.orphan_dependents == Some(false) { 202 } else { 200 };
        Ok(Deleted { object: revised.json, body, gone: revised.gone, code, warnings })
    }

    /// The deleted objects, as they were.
    pub async fn delete_collection(
        &self,
        user: &User,
        target: &Target,
        which: ListOptions,
        how: DeleteOptions,
        options: WriteOptions,
    ) -> Result<Page, ApiError> {
        let place = self.place(target)?;
        check_options(&how)?;
        let rows = self.stored_rows(target, which).await?;
        let one = |item: &std::sync::Arc<crate::cache::Item>| {
            let target = Target { namespace: item.namespace().into(), name: item.name().into(), ..target.clone() };
            let (how, options) = (how.clone(), options.clone());
            async move {
                match self.delete(user, &target, how, options).await {
                    // Gone already is what was asked for.
                    Err(err) if err.is(corten_api::Reason::NotFound) => Ok(()),
                    deleted => deleted.map(drop),
                }
            }
        };
        futures::stream::iter(rows.items.iter().map(one))
            .buffer_unordered(COLLECTION_CONCURRENCY)
            .try_collect::<Vec<()>>()
            .await?;
        let items = rows.items.iter().map(|item| read::served(place, item)).collect::<Result<_, _>>()?;
        Ok(Page { items, revision: rows.revision, continue_token: None, remaining: None })
    }
}

pub fn check_options(how: &DeleteOptions) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    let policy = how.propagation_policy.as_deref();
    if policy.is_some() && how.orphan_dependents.is_some() {
        problems.invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set");
    }
    if !matches!(policy, None | Some("Orphan" | "Background" | "Foreground")) {
        problems.unsupported("propagationPolicy", policy, &["Foreground", "Background", "Orphan", "nil"]);
    }
    for value in how.dry_run.iter().flatten().filter(|v| *v != "All") {
        problems.unsupported("dryRun", value, &["All"]);
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", problems))
}

fn check_preconditions(place: Place<'_>, name: &str, how: &DeleteOptions, current: &Current) -> Result<(), ApiError> {
    let Some(wanted) = &how.preconditions else { return Ok(()) };
    let meta = current.object.meta();
    for (what, wanted, is, hint) in [
        ("UID", &wanted.uid, &meta.uid, "The object might have been deleted and then recreated"),
        ("ResourceVersion", &wanted.resource_version, &meta.resource_version, "The object might have been modified"),
    ] {
        let is = is.as_deref().unwrap_or_default();
        if let Some(wanted) = wanted.as_deref().filter(|w| *w != is) {
            let why =
                format!("the {what} in the precondition ({wanted}) does not match the {what} in record ({is}). {hint}");
            return Err(place.conflict(name, &why));
        }
    }
    Ok(())
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(super) fn is_finished(entry: &dyn Entry, object: &dyn AnyObject) -> bool {
    let meta = object.meta();
    let no_grace = meta.deletion_grace_period_seconds.unwrap_or(0) == 0;
    meta.deletion_timestamp.is_some() && no_grace && !is_held(entry, object)
}

fn is_held(entry: &dyn Entry, object: &dyn AnyObject) -> bool {
    object.meta().finalizers.as_ref().is_some_and(|f| !f.is_empty()) || entry.holds_deletion(object)
}

enum Step {
    Keep,
    Mark(Box<dyn AnyObject>),
    Remove,
}

/// What a delete does to an object. Pure. `object`: `old`, with what is told of why it goes.
fn step(
    entry: &dyn Entry,
    old: &dyn AnyObject,
    mut object: Box<dyn AnyObject>,
    how: &DeleteOptions,
    now: Time,
) -> Step {
    set_propagation(entry, object.meta_mut(), how);
    let asked = how.grace_period_seconds;
    // A second delete without a wish of its own leaves the first one's grace as it is.
    let asked = asked.or(old.meta().deletion_grace_period_seconds);
    let grace = entry.deletion_grace_secs(old, asked).unwrap_or(0).max(0);
    if grace == 0 && !is_held(entry, &*object) {
        return Step::Remove;
    }
    mark(object.meta_mut(), grace, now);
    entry.mark_deleting(&mut *object);
    if object.same_as(old) { Step::Keep } else { Step::Mark(object) }
}

/// Sets when the object goes; a later delete may bring that nearer, never push it away.
fn mark(meta: &mut ObjectMeta, grace: i64, now: Time) {
    let until = |from: &Time, secs: i64| {
        from.0.checked_add(SignedDuration::from_secs(secs)).map_or_else(|_| from.clone(), Time)
    };
    match (&meta.deletion_timestamp, meta.deletion_grace_period_seconds.unwrap_or(0)) {
        (None, _) => {
            meta.deletion_timestamp = Some(until(&now, grace));
            meta.deletion_grace_period_seconds = Some(grace);
            // Its owner sees a deletion as a change of what is wanted.
            meta.generation = meta.generation.map(|g| g + 1);
        }
        (Some(at), before) if grace < before => {
            meta.deletion_timestamp = Some(until(at, grace - before));
            meta.deletion_grace_period_seconds = Some(grace);
        }
        (Some(_), _) => {}
    }
}

/// The finalizers that tell the garbage collector what to do with dependents.
fn set_propagation(entry: &dyn Entry, meta: &mut ObjectMeta, how: &DeleteOptions) {
    let orphans_by_default = (entry.group(), entry.plural()) == ("", "replicationcontrollers");
    let finalizer = match (how.propagation_policy.as_deref(), how.orphan_dependents) {
        (Some("Orphan"), _) | (None, Some(true)) => Some(FINALIZER_ORPHAN),
        (Some("Foreground"), _) => Some(FINALIZER_FOREGROUND),
        (Some(_), _) | (None, Some(false)) => None,
        (None, None) => {
            let said = meta.finalizers.iter().flatten().any(|f| f == FINALIZER_ORPHAN || f == FINALIZER_FOREGROUND);
            if said || !orphans_by_default {
                return;
            }
            Some(FINALIZER_ORPHAN)
        }
    };
    let mut finalizers = meta.finalizers.take().unwrap_or_default();
    finalizers.retain(|f| f != FINALIZER_ORPHAN && f != FINALIZER_FOREGROUND);
    finalizers.extend(finalizer.map(str::to_owned));
    meta.finalizers = (!finalizers.is_empty()).then_some(finalizers);
}

/// `Status` of a success, about the object that is gone.
fn success(entry: &dyn Entry, json: &[u8]) -> Result<Vec<u8>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Named {
        metadata: ObjectMeta,
    }
    let meta = serde_json::from_slice::<Named>(json).map_err(ApiError::internal)?.metadata;
    let status = Status {
        status: Some("Success".into()),
        details: Some(StatusDetails {
            name: meta.name,
            uid: meta.uid,
            group: (!entry.group().is_empty()).then(|| entry.group().to_owned()),
            kind: Some(entry.plural().to_owned()),
            ..StatusDetails::default()
        }),
        ..Status::default()
    };
    serde_json::to_vec(&status).map_err(ApiError::internal)
}
