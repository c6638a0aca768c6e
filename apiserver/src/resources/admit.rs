//! Where admission is asked, how long it may wait for what it misses, and when policies and webhooks are asked.
//!
//! A write that webhooks may be about is decided on from the newest state from the beginning, so that none is asked twice about what
//! was old.

use std::sync::OnceLock;

use corten_api::{ApiError, Problems, Reason};
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ManagedFieldsEntry, ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::place::Place;
use super::webhooks::{Hooks, Others};
use super::{Authorized, FieldValidation, Resources, WriteOptions, to};
use crate::admission::asking::{Asking, Decode, Operation};
use crate::admission::rounds::Rounds;
use crate::admission::{AdmissionRequest, Refusal};
use crate::apply;
use crate::decode;
use crate::registry::{AnyObject, subresource};
use crate::request::{Target, User, Verb};
use crate::request_info::REQUEST_TIMEOUT;
use crate::told;

/// Policies and webhooks that change objects are asked so often.
const ROUNDS_MAX: usize = 2;

/// Who was asked in the first round.
#[derive(Default)]
struct Both {
    policies: Rounds,
    webhooks: Rounds,
}

impl Both {
    fn begin_second(&mut self, object: &dyn AnyObject) {
        self.policies.begin_second(object);
        self.webhooks.begin_second(object);
    }
}

/// What a write's client has said of how it is to be done.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions, bool),
    /// Nothing, as of a connection.
    Nothing,
}

/// A write that is to be admitted.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) user: &'a User,
    pub(super) place: &'a Place<'a>,
    pub(super) target: &'a Target,
    pub(super) said: Said<'a>,
    /// Of what is no object of the resource's kind: a Binding.
    pub(super) decode: Option<Decode>,
    /// `None`: no policies and webhooks are asked here.
    pub(super) hooks: Option<&'a Hooks>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) warnings: Vec<String>,
    /// Whether a webhook has changed the object: what was found of it before counts no more.
    pub(super) has_changed: bool,
}

/// Puts right what no webhook may change.
pub(super) type Settle<'a> = &'a (dyn Fn(&mut dyn AnyObject) -> Result<(), ApiError> + Sync);

/// Reads the objects of a subresource's own kind.
pub(super) fn decode_as<K>(json: &[u8]) -> Result<Box<dyn AnyObject>, ApiError>
where
    K: k8s_openapi::Resource + DeserializeOwned + AnyObject,
{
    Ok(Box::new(decode::object::<K>(json)?))
}

fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Create => Operation::Create,
        Verb::Delete | Verb::DeleteCollection => Operation::Delete,
        Verb::Get | Verb::List | Verb::Watch | Verb::Update | Verb::Patch => Operation::Update,
    }
}

impl Said<'_> {
    fn is_dry_run(&self) -> bool {
        match self {
            Self::Write(options) => options.dry_run,
            Self::Delete(_, dry_run) => *dry_run,
            Self::Nothing => false,
        }
    }
    /// As upstream's options are written.
    fn options(&self, operation: Operation) -> Option<Value> {
        let mut options = match self {
            Self::Write(options) => {
                let mut said = json!({});
                if !options.field_manager.is_empty() {
                    said["fieldManager"] = json!(options.field_manager);
                }
                match options.field_validation {
                    FieldValidation::Ignore => said["fieldValidation"] = json!("Ignore"),
                    FieldValidation::Strict => said["fieldValidation"] = json!("Strict"),
                    // What who says nothing gets.
                    FieldValidation::Warn => {}
                }
                said
            }
            Self::Delete(how, _) => serde_json::to_value(how).unwrap_or_default(),
            Self::Nothing => json!({}),
        };
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return None,
        };
        (options["kind"], options["apiVersion"]) = (json!(kind), json!("meta.k8s.io/v1"));
        if self.is_dry_run() {
            options["dryRun"] = json!(["All"]);
        }
        Some(options)
    }
}

impl<'a> Asked<'a> {
    /// What the server's own plugins are asked.
    fn plain<'r>(
        &'r self,
        resources: &'r Resources,
        verb: Verb,
        object: Option<&'r mut dyn AnyObject>,
        old: Option<&'r dyn AnyObject>,
    ) -> AdmissionRequest<'r> {
        let (user, target, resource) = (self.user, self.target, &*self.place.resource);
        AdmissionRequest { user, verb, target, resource, object, old, view: resources, warnings: Vec::new() }
    }
    /// What webhooks are asked.
    fn asking<'r>(
        &'r self,
        resources: &'r Resources,
        operation: Operation,
        name: &'r str,
        old: Option<&'r dyn AnyObject>,
    ) -> Asking<'r> {
        Asking {
            user: self.user,
            operation,
            target: self.target,
            resource: &self.place.resource,
            name,
            dry_run: self.said.is_dry_run(),
            options: self.said.options(operation),
            old,
            connection: None,
            decode: self.decode,
            registry: resources.registry(),
            view: resources,
            resolve: resources,
            convert: resources,
            namespace_labels: OnceLock::new(),
        }
    }
    /// The policies and webhooks that may be about it.
    pub(super) fn others(&self, verb: Verb) -> Others<'a> {
        self.hooks.map(|hooks| hooks.about(operation(verb), &self.target.subresource)).unwrap_or_default()
    }
    /// Of a new object its own, whatever the path says.
    fn name(&self, operation: Operation, object: Option<&dyn AnyObject>) -> String {
        let own = object.filter(|_| operation == Operation::Create && self.target.subresource.is_empty());
        own.and_then(|object| object.meta().name.clone()).unwrap_or_else(|| self.target.name.clone())
    }
}

impl Resources {
    /// Asks again with a newer view of the cluster before it gives a refusal.
    pub(super) async fn admit_create(
        &self,
        asked: &Asked<'_>,
        object: &mut Box<dyn AnyObject>,
        settle: Settle<'_>,
    ) -> Result<Admitted, ApiError> {
        if !asked.others(Verb::Create).change()
            && let Ok(admitted) = self.admit(asked, Verb::Create, Some(&mut *object), None, settle).await
        {
            return Ok(admitted);
        }
        let begun = Instant::now();
        self.inner.cache.catch_up().await?;
        loop {
            let mut changed = self.inner.cache.changes();
            let (error, patience) = match self.admit(asked, Verb::Create, Some(&mut *object), None, settle).await {
                Ok(admitted) => return Ok(admitted),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::NotYet { error, patience }) => (error, patience),
            };
            match timeout_at(begun + patience, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(error),
            }
        }
    }

    pub(super) async fn admit_update(
        &self,
        asked: &Asked<'_>,
        object: &mut Box<dyn AnyObject>,
        old: &dyn AnyObject,
        settle: Settle<'_>,
    ) -> Result<Admitted, ApiError> {
        self.admit(asked, Verb::Update, Some(object), Some(old), settle).await.map_err(Refusal::into_error)
    }

    /// Whoever judges is asked here, too: nobody changes what goes.
    pub(super) async fn admit_delete(&self, asked: &Asked<'_>, old: &dyn AnyObject) -> Result<Vec<String>, ApiError> {
        let admitted = self.admit(asked, Verb::Delete, None, Some(old), &|_| Ok(())).await;
        let mut warnings = admitted.map_err(Refusal::into_error)?.warnings;
        warnings.extend(self.approve(asked, Verb::Delete, None, Some(old)).await?);
        Ok(warnings)
    }

    /// Boxed: most writes are judged by the server's own plugins alone, and their futures are to be small.
    fn admit<'f>(
        &'f self,
        asked: &'f Asked<'_>,
        verb: Verb,
        mut object: Option<&'f mut Box<dyn AnyObject>>,
        old: Option<&'f dyn AnyObject>,
        settle: Settle<'f>,
    ) -> BoxFuture<'f, Result<Admitted, Refusal>> {
        Box::pin(async move {
            let chain = &self.inner.settings.admission;
            let (mut admitted, mut rounds) = (Admitted::default(), Both::default());
            for round in 0..=ROUNDS_MAX {
                let mut plain =
                    asked.plain(self, verb, object.as_deref_mut().map(|new| &mut **new as &mut dyn AnyObject), old);
                chain.fill(&mut plain).await?;
                admitted.warnings.append(&mut plain.warnings);
                drop(plain);
                if round == ROUNDS_MAX {
                    break;
                }
                if let (true, Some(object)) = (round > 0, object.as_deref()) {
                    rounds.begin_second(&**object);
                }
                let changed = self.mutate(asked, verb, object.as_deref_mut(), old, (&mut rounds, &mut admitted)).await;
                if !changed.map_err(Refusal::Final)? {
                    break;
                }
                if let Some(object) = object.as_deref_mut() {
                    settle(&mut **object).map_err(Refusal::Final)?;
                }
            }
            let mut plain =
                asked.plain(self, verb, object.as_deref_mut().map(|new| &mut **new as &mut dyn AnyObject), old);
            chain.judge(&mut plain).await?;
            admitted.warnings.append(&mut plain.warnings);
            Ok(admitted)
        })
    }

    /// Whether the object is to be looked at once more.
    async fn mutate(
        &self,
        asked: &Asked<'_>,
        verb: Verb,
        mut object: Option<&mut Box<dyn AnyObject>>,
        old: Option<&dyn AnyObject>,
        (rounds, admitted): (&mut Both, &mut Admitted),
    ) -> Result<bool, ApiError> {
        let others = asked.others(verb);
        if !others.change() {
            return Ok(false);
        }
        let operation = operation(verb);
        let name = asked.name(operation, object.as_deref().map(|object| &**object));
        let asking = asked.asking(self, operation, &name, old);
        let warnings = &mut admitted.warnings;
        let ask = async {
            let mut changed = false;
            if let (Some(policies), Some(object)) = (others.mutating, object.as_deref_mut()) {
                changed |= policies.mutate(&asking, object, &mut rounds.policies).await?;
            }
            if let Some(index) = others.webhooks {
                changed |= self.webhooks().mutate(index, &asking, object, &mut rounds.webhooks, warnings).await?;
            }
            Ok::<_, ApiError>(changed)
        };
        let changed = ask.await.inspect_err(|_| told::warn_of_refused(std::mem::take(&mut admitted.warnings)))?;
        admitted.has_changed |= changed;
        Ok(changed)
    }

    /// Asks the policies and webhooks that judge: of the object as it is to be stored, once all else has found it good. Gives their
    /// warnings.
    pub(super) async fn approve(
        &self,
        asked: &Asked<'_>,
        verb: Verb,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<Vec<String>, ApiError> {
        let others = asked.others(verb);
        if others.is_nobody() {
            return Ok(Vec::new());
        }
        let operation = operation(verb);
        let name = asked.name(operation, object);
        let asking = asked.asking(self, operation, &name, old);
        let mut warnings = Vec::new();
        match self.judge(&others, &asking, object, &mut warnings).await {
            Ok(()) => Ok(warnings),
            Err(err) => {
                told::warn_of_refused(warnings);
                Err(err)
            }
        }
    }

    /// Asks the policies that judge, and then the webhooks.
    async fn judge(
        &self,
        others: &Others<'_>,
        asking: &Asking<'_>,
        object: Option<&dyn AnyObject>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        if let Some(policies) = others.validating {
            policies.validate(asking, object, warnings).await?;
        }
        if let Some(index) = others.webhooks {
            self.webhooks().validate(index, asking, object, warnings).await?;
        }
        Ok(())
    }

    /// Asks policies and webhooks alone, those that change and those that judge: about what the server's own plugins see otherwise.
    /// Whether the object is another then, and warnings. `check`: what they have left of it, before it is judged.
    pub(super) async fn consult(
        &self,
        asked: &Asked<'_>,
        verb: Verb,
        object: &mut Box<dyn AnyObject>,
        old: Option<&dyn AnyObject>,
        check: Settle<'_>,
    ) -> Result<Admitted, ApiError> {
        let (mut admitted, mut rounds) = (Admitted::default(), Both::default());
        if self.mutate(asked, verb, Some(&mut *object), old, (&mut rounds, &mut admitted)).await? {
            rounds.begin_second(&**object);
            self.mutate(asked, verb, Some(&mut *object), old, (&mut rounds, &mut admitted)).await?;
        }
        check(&mut **object)?;
        admitted.warnings.extend(self.approve(asked, verb, Some(&**object), old).await?);
        Ok(admitted)
    }

    /// Asks policies and webhooks whether a connection may be made, within the time that a request has. `options`: what it is to be, without its
    /// kind.
    pub async fn admit_connection(&self, may: &Authorized<to::Connect>, options: Value) -> Result<(), ApiError> {
        let admitted = timeout(REQUEST_TIMEOUT, self.ask_about_connection(may, options)).await;
        admitted.map_err(|_| {
            ApiError::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout")
        })?
    }

    async fn ask_about_connection(&self, may: &Authorized<to::Connect>, options: Value) -> Result<(), ApiError> {
        let (user, target) = (&**may.user(), may.target());
        // What is not there is not connected to.
        let resource = self.registry().find(&target.group, &target.version, &target.resource);
        let Some(resource) = resource else { return Ok(()) };
        let place = &self.place_of(resource)?;
        let hooks = self.hooks_of(may, place).await;
        let others = hooks.as_ref().map(|hooks| hooks.about(Operation::Connect, &target.subresource));
        let Some(others) = others.filter(|others| !others.is_nobody()) else { return Ok(()) };
        let kind = subresource::of(&target.resource, &target.subresource).kind;
        let (_, version, kind) = kind.ok_or_else(|| unknown_connection(target))?;
        // A namespace may have got the labels that it is selected by a moment ago.
        self.inner.cache.catch_up().await?;
        let mut connection = json!({"kind": kind, "apiVersion": version});
        if let (Value::Object(of), Value::Object(more)) = (&mut connection, options) {
            of.extend(more);
        }
        let asked = Asked { user, place, target, said: Said::Nothing, decode: None, hooks: hooks.as_ref() };
        let asking = asked.asking(self, Operation::Connect, &target.name, None);
        let asking = Asking { connection: Some(connection), ..asking };
        let (mut rounds, mut warnings) = (Rounds::default(), Vec::new());
        let mut admitted = Ok(());
        if let Some(index) = others.webhooks {
            admitted = self.webhooks().mutate(index, &asking, None, &mut rounds, &mut warnings).await.map(drop);
        }
        if admitted.is_ok() {
            admitted = self.judge(&others, &asking, None, &mut warnings).await;
        }
        if admitted.is_err() {
            told::warn_of_refused(warnings);
        } else if !warnings.is_empty() {
            tracing::debug!(?target, ?warnings, "warnings about a connection, which nobody can be told");
        }
        admitted
    }
}

/// Nobody is let through unasked because there is no word for what he wants.
fn unknown_connection(target: &Target) -> ApiError {
    let what = format!("{}/{}", target.resource, target.subresource);
    ApiError::internal(format!("webhooks cannot be told of connections to {what}: they are of no kind"))
}

/// What of an object's metadata a webhook may not take away or spoil: whose its fields are.
pub(super) fn keep_managed_fields(meta: &mut ObjectMeta, before: &Option<Vec<ManagedFieldsEntry>>) {
    if meta.managed_fields == *before {
        return;
    }
    let mut problems = Problems::default();
    apply::names::check_managed_fields(meta.managed_fields.as_deref().unwrap_or_default(), &mut problems);
    if !problems.is_empty() {
        tracing::warn!(?problems, "a webhook has spoiled managedFields: they are as before");
        meta.managed_fields.clone_from(before);
    }
}
