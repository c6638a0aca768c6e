//! The write path of deletion: at once, after a grace period, or when the last finalizer is gone.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::sync::Arc;

use corten_api::{ApiError, Problems};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Status, StatusDetails, Time};
use k8s_openapi::jiff::SignedDuration;

use super::admit::{Asked, Said};
use super::meta::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use super::place::{Place, no_such_path};
use super::revise::{Current, Decide, Decision, Taken};
use super::{Authorized, Deleted, ListOptions, Page, Resources, WriteOptions, read, to};
use crate::registry::{AnyObject, ApiResource, clock};
use crate::request::{Target, User, Verb};
use crate::storage::Write;

/// What else an object's deletion changes: see [`Resources::delete_with`].
pub(super) type Beside<'a> = &'a (dyn Fn(&mut dyn AnyObject, &Time) -> Result<Vec<Write>, ApiError> + Send + Sync);

/// As what a deletion is known to webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Delete,
    /// Somebody has told them of it before, as what it is.
    Before,
    /// It is the server's own.
    Nobody,
}

/// Deletes under way at one time for one request.
const COLLECTION_CONCURRENCY: usize = 16;

impl Resources {
    pub async fn delete(
        &self,
        may: &Authorized<to::Delete>,
        how: DeleteOptions,
        options: WriteOptions,
    ) -> Result<Deleted, ApiError> {
        let told = if may.asks_webhooks() { Told::Delete } else { Told::Nobody };
        self.delete_with(may.user(), may.target(), how, options, told, &|_, _| Ok(Vec::new())).await
    }

    /// `beside`: tells on the object why it goes, and gives what must be written with its deletion or not at all. It is asked
    /// again whenever the object was another.
    pub(super) async fn delete_with(
        &self,
        user: &User,
        target: &Target,
        how: DeleteOptions,
        options: WriteOptions,
        told: Told,
        beside: Beside<'_>,
    ) -> Result<Deleted, ApiError> {
        let place = self.place(Verb::Delete, target)?;
        self.delete_at(place, (user, target), how, options, told, beside).await
    }

    /// As the server's own, of an object that is read and written as one of `resource`.
    pub(super) async fn delete_as(
        &self,
        resource: Arc<ApiResource>,
        may: &Authorized<to::Delete>,
    ) -> Result<Deleted, ApiError> {
        let cached = self.inner.cache.kind(resource.store_prefix()).ok_or_else(no_such_path)?;
        let place = Place { resource, cached, fence: None };
        let (by, nothing) = ((&**may.user(), may.target()), |_: &mut dyn AnyObject, _: &Time| Ok(Vec::new()));
        self.delete_at(place, by, DeleteOptions::default(), WriteOptions::default(), Told::Nobody, &nothing).await
    }

    async fn delete_at(
        &self,
        place: Place<'_>,
        (user, target): (&User, &Target),
        how: DeleteOptions,
        options: WriteOptions,
        told: Told,
        beside: Beside<'_>,
    ) -> Result<Deleted, ApiError> {
        let fence = self.fenced(options.fence.as_ref()).await?;
        let place = &place.behind(fence.as_ref());
        check_options(&how)?;
        let short = place.short_key(&target.namespace, &target.name);
        // Said in the query or in the body: whoever asks, and by whichever way, means it.
        let dry_run = options.dry_run || how.dry_run.as_ref().is_some_and(|stages| !stages.is_empty());
        let said = Said::Delete(&how, dry_run);
        let hooks = match told {
            Told::Delete => self.hooks_about(&place.resource, "").await,
            Told::Before | Told::Nobody => None,
        };
        let asked = Asked { user, place, target, said, decode: None, hooks: hooks.as_ref() };
        let mut by = Deletion { resources: self, asked, how: &how, beside, warnings: Vec::new() };
        let revised = self.revise(place, &short, "", dry_run, &mut by).await?;
        let revised = revised.ok_or_else(|| place.not_found(&target.name))?;
        let mut warnings = by.warnings;
        if how.propagation_policy.is_none() && how.orphan_dependents.is_none() {
            let told = place.resource.orphans_by_default().filter(|told| !told.is_empty());
            warnings.extend(told.map(str::to_owned));
        }
        let answers_with_object = !revised.gone || place.resource.delete_returns_object();
        let body =
            if answers_with_object { revised.json.clone() } else { success(&place.resource, &revised.json)?.into() };
        // Upstream's answer to who said explicitly that dependents go in the background.
        let code = if !revised.gone && how.orphan_dependents == Some(false) { 202 } else { 200 };
        Ok(Deleted { object: revised.json, body, gone: revised.gone, code, warnings })
    }

    /// The deleted objects, as they were.
    pub async fn delete_collection(
        &self,
        may: &Authorized<to::DeleteCollection>,
        which: ListOptions,
        how: DeleteOptions,
        options: WriteOptions,
    ) -> Result<Page, ApiError> {
        let (user, target) = (may.user(), may.target());
        let place = &self.place(Verb::DeleteCollection, target)?;
        check_options(&how)?;
        let rows = self.stored_rows(target, which).await?;
        let one = |item: &Arc<crate::cache::Item>| {
            let target = Target { namespace: item.namespace().into(), name: item.name().into(), ..target.clone() };
            let (how, options) = (how.clone(), options.clone());
            async move {
                let nothing: Beside<'_> = &|_, _| Ok(Vec::new());
                match self.delete_with(user, &target, how, options, Told::Delete, nothing).await {
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
        let items = rows.items.iter().map(|item| read::local(place, item)).collect::<Result<_, _>>()?;
        Ok(Page { items, revision: rows.revision, continue_token: None, remaining: None })
    }
}

/// How a delete decides.
struct Deletion<'a> {
    resources: &'a Resources,
    asked: Asked<'a>,
    how: &'a DeleteOptions,
    beside: Beside<'a>,
    warnings: Vec<String>,
}

impl Decide for Deletion<'_> {
    fn asks_others(&self) -> bool {
        self.asked.others(Verb::Delete).are_elsewhere()
    }
    async fn decide(&mut self, current: &Current, _: &Taken) -> Result<Decision, ApiError> {
        let Self { resources, asked, how, .. } = *self;
        let Asked { place, target, .. } = asked;
        check_preconditions(place, &target.name, how, current)?;
        self.warnings = resources.admit_delete(&asked, &*current.object).await?;
        let now = clock::now();
        let mut told = current.object.boxed_clone();
        let mut also = (self.beside)(&mut *told, &now)?;
        Ok(match step(&place.resource, &*current.object, told, how, now) {
            Step::Remove => {
                also.extend(resources.release_for_delete(&*current.object));
                also.extend(resources.fence_with(Some(&*current.object), None)?);
                Decision::Remove { last: None, also }
            }
            Step::Keep => Decision::Keep,
            Step::Mark(object) => Decision::Store { object, also },
        })
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

fn check_preconditions(place: &Place<'_>, name: &str, how: &DeleteOptions, current: &Current) -> Result<(), ApiError> {
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
pub(super) fn is_finished(resource: &ApiResource, object: &dyn AnyObject) -> bool {
    let meta = object.meta();
    let no_grace = meta.deletion_grace_period_seconds.unwrap_or(0) == 0;
    meta.deletion_timestamp.is_some() && no_grace && !is_held(resource, object)
}

fn is_held(resource: &ApiResource, object: &dyn AnyObject) -> bool {
    object.meta().finalizers.as_ref().is_some_and(|f| !f.is_empty()) || resource.rules().holds_deletion(object)
}

enum Step {
    Keep,
    Mark(Box<dyn AnyObject>),
    Remove,
}

/// What a delete does to an object. Pure. `object`: `old`, with what is told of why it goes.
fn step(
    resource: &ApiResource,
    old: &dyn AnyObject,
    mut object: Box<dyn AnyObject>,
    how: &DeleteOptions,
    now: Time,
) -> Step {
    set_propagation(resource, object.meta_mut(), how);
    let asked = how.grace_period_seconds;
    let is_held = is_held(resource, &*object);
    match (&old.meta().deletion_timestamp, old.meta().deletion_grace_period_seconds.unwrap_or(0)) {
        (Some(at), before) if before > 0 => match asked.map(|secs| if secs < 0 { 1 } else { secs }) {
            Some(0) if !is_held => return Step::Remove,
            Some(secs) if secs < before => shorten(object.meta_mut(), at, before, secs, now),
            // It goes as the first delete has it, also if it has ended meanwhile: who ends it says so with 0.
            Some(_) | None => {}
        },
        (Some(_), _) if !is_held => return Step::Remove,
        (Some(_), _) => {}
        (None, _) => {
            let grace = resource.rules().deletion_grace_secs(old, asked).unwrap_or(0).max(0);
            if grace == 0 && !is_held {
                return Step::Remove;
            }
            mark(object.meta_mut(), grace, &now);
        }
    }
    resource.rules().mark_deleting(&mut *object);
    if object.same_as(old) { Step::Keep } else { Step::Mark(object) }
}

fn after(from: &Time, secs: i64) -> Time {
    from.0.checked_add(SignedDuration::from_secs(secs)).map_or_else(|_| from.clone(), Time)
}

/// Sets when the object goes.
fn mark(meta: &mut ObjectMeta, grace: i64, now: &Time) {
    meta.deletion_timestamp = Some(after(now, grace));
    meta.deletion_grace_period_seconds = Some(grace);
    // Its owner sees a deletion as a change of what is wanted.
    meta.generation = meta.generation.map(|g| g + 1);
}

/// Brings nearer when an object goes that was to go `at`, `before` seconds after it was deleted. The new grace counts from
/// then, too. Where that is over, the shortest one is left to whoever ends the object: it sees a new time, and none in
/// the past.
fn shorten(meta: &mut ObjectMeta, at: &Time, before: i64, secs: i64, now: Time) {
    let due = after(at, secs - before);
    let (due, secs) = if due.0 < now.0 { (now, secs.min(1)) } else { (due, secs) };
    meta.deletion_timestamp = Some(due);
    meta.deletion_grace_period_seconds = Some(secs);
}

/// The finalizers that tell the garbage collector what to do with dependents.
fn set_propagation(resource: &ApiResource, meta: &mut ObjectMeta, how: &DeleteOptions) {
    let finalizer = match (how.propagation_policy.as_deref(), how.orphan_dependents) {
        (Some("Orphan"), _) | (None, Some(true)) => Some(FINALIZER_ORPHAN),
        (Some("Foreground"), _) => Some(FINALIZER_FOREGROUND),
        (Some(_), _) | (None, Some(false)) => None,
        (None, None) => {
            let said = meta.finalizers.iter().flatten().any(|f| f == FINALIZER_ORPHAN || f == FINALIZER_FOREGROUND);
            if said || resource.orphans_by_default().is_none() {
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
fn success(resource: &ApiResource, json: &[u8]) -> Result<Vec<u8>, ApiError> {
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
            group: (!resource.group().is_empty()).then(|| resource.group().to_owned()),
            kind: Some(resource.plural().to_owned()),
            ..StatusDetails::default()
        }),
        ..Status::default()
    };
    serde_json::to_vec(&status).map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Registry;

    const NOW: &str = "2026-01-01T00:01:00Z";

    /// What a delete at [`NOW`] makes of a pod: "gone", "kept", or when it is to go and its grace.
    fn deleted(metadata: Value, phase: &str, how: Value) -> String {
        let registry = Registry::default();
        let resource = registry.find("", "v1", "pods").unwrap();
        let json = json!({"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": phase}});
        let pod = resource.decode(json.to_string().as_bytes()).unwrap();
        let how: DeleteOptions = serde_json::from_value(how).unwrap();
        match step(&resource, &*pod, pod.boxed_clone(), &how, Time(NOW.parse().unwrap())) {
            Step::Remove => "gone".into(),
            Step::Keep => "kept".into(),
            Step::Mark(object) => {
                let meta = object.meta();
                let grace = meta.deletion_grace_period_seconds.unwrap();
                format!("{} {grace}", meta.deletion_timestamp.as_ref().unwrap().0)
            }
        }
    }

    #[test]
    fn a_later_delete_brings_the_end_nearer_and_never_into_the_past() {
        // Deleted at 00:00:50 with 30 seconds of grace, unless it says otherwise.
        let due = |at: &str, grace: i64| json!({"deletionTimestamp": format!("2026-01-01T00:{at}Z"), "deletionGracePeriodSeconds": grace});
        let of = |secs: i64| json!({"gracePeriodSeconds": secs});
        let held = json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0, "finalizers": ["a.b/c"]});
        let mut held_due = due("01:20", 30);
        held_due["finalizers"] = json!(["a.b/c"]);
        let cases = [
            ("the first", json!({}), "Running", of(5), "2026-01-01T00:01:05Z 5"),
            ("the first of one that has ended", json!({}), "Failed", json!({}), "gone"),
            ("longer", due("01:20", 30), "Running", of(40), "kept"),
            ("without a wish", due("01:20", 30), "Running", json!({}), "kept"),
            ("without a wish, of one that has ended", due("01:20", 30), "Succeeded", json!({}), "kept"),
            ("shorter, from the first delete on", due("01:20", 30), "Running", of(20), "2026-01-01T00:01:10Z 20"),
            ("shorter, and over", due("01:20", 30), "Running", of(5), "2026-01-01T00:01:00Z 1"),
            ("negative means the shortest", due("01:20", 30), "Running", of(-1), "2026-01-01T00:01:00Z 1"),
            ("shorter, of one that has ended", due("01:20", 30), "Failed", of(20), "2026-01-01T00:01:10Z 20"),
            ("at once", due("01:20", 30), "Running", of(0), "gone"),
            ("at once, but held", held_due, "Running", of(0), "2026-01-01T00:01:00Z 0"),
            ("late", due("00:10", 30), "Running", of(29), "2026-01-01T00:01:00Z 1"),
            ("late, without a wish", due("00:10", 30), "Running", json!({}), "kept"),
            ("due at once, and held", held, "Running", of(5), "kept"),
            ("due at once, and held no more", due("01:00", 0), "Running", json!({}), "gone"),
        ];
        for (why, metadata, phase, how, expected) in cases {
            assert_eq!(deleted(metadata, phase, how), expected, "{why}");
        }
    }
}
