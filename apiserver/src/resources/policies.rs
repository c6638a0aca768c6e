//! Admission policies as objects: whose parameters who may name, and what is wrong with their types.
//!
//! A policy sees its parameters whoever asks, and so whoever makes it, or puts it to use, has to be allowed to read them. Every apiserver
//! looks at all policies whenever one changes and tells of each state what its types say, once: the writes name the revision that was
//! looked at.

use std::time::Duration;

use bytes::Bytes;
use corten_api::{ApiError, Object, Problems, Reason};
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::system::target;
use super::update::Writing;
use super::{Authorized, Resources, WatchFrom, WatchOptions, WriteOptions};
use crate::aside::aside;
use crate::authn::MASTERS_GROUP;
use crate::patch;
use crate::registry::AnyObject;
use crate::registry::admissionregistration::params::group_version;
use crate::registry::admissionregistration::validatingadmissionpolicy::PLURAL;
use crate::registry::admissionregistration::{GROUP, mutatingadmissionpolicy, type_checking};
use crate::request::Target;
use crate::view::{ClusterView, Objects};

const CONTROLLER: &str = "validatingadmissionpolicy-status";
/// A watch that has ended begins again then, and what went wrong is done again.
const AGAIN: Duration = Duration::from_secs(1);
const ALL: &str = "*";

/// What an object says of parameters.
#[derive(PartialEq)]
enum Named<'a> {
    Kind(&'a ParamKind),
    /// By a binding of one of these policies.
    Object {
        of: &'a ParamRef,
        policy: &'a str,
        plural: &'static str,
    },
}

impl<'a> Named<'a> {
    /// `None`: nothing.
    fn of(object: &'a dyn AnyObject) -> Option<Self> {
        let object = object.as_any();
        if let Some(policy) = object.downcast_ref::<ValidatingAdmissionPolicy>() {
            return policy.spec.as_ref()?.param_kind.as_ref().map(Self::Kind);
        }
        if let Some(policy) = object.downcast_ref::<MutatingAdmissionPolicy>() {
            return policy.spec.as_ref()?.param_kind.as_ref().map(Self::Kind);
        }
        if let Some(binding) = object.downcast_ref::<ValidatingAdmissionPolicyBinding>() {
            let (of, policy) = (binding.spec.param_ref.as_ref()?, binding.spec.policy_name.as_str());
            return Some(Self::Object { of, policy, plural: PLURAL });
        }
        let spec = object.downcast_ref::<MutatingAdmissionPolicyBinding>()?.spec.as_ref()?;
        let (of, policy) = (spec.param_ref.as_ref()?, spec.policy_name.as_deref().unwrap_or_default());
        Some(Self::Object { of, policy, plural: mutatingadmissionpolicy::PLURAL })
    }
}

impl Resources {
    /// Whether the author of a good object may read the parameters that it names. `old`: what is there before the write.
    pub(super) fn may_name_params(
        &self,
        writing: &Writing<'_>,
        object: &dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), ApiError> {
        let Some(named) = Named::of(object) else { return Ok(()) };
        if writing.user.in_group(MASTERS_GROUP) || old.and_then(Named::of).as_ref() == Some(&named) {
            return Ok(());
        }
        let user = &writing.user.name;
        let (field, refused) = match named {
            Named::Kind(kind) => {
                let read = self.params_of(Some(kind), ALL, ALL);
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let (name, version) = (text(&kind.kind), text(&kind.api_version));
                let why = format!(
                    r#"user {user} must have "get" permission on all objects of the referenced paramKind (kind={name}, apiVersion={version})"#
                );
                ("spec.paramKind", (!self.may(writing.user, "get", &read)).then_some(why))
            }
            Named::Object { of, policy, plural } => {
                let kind = self.param_kind_of(plural, policy);
                let (name, namespace) = (of.name.as_deref().unwrap_or_default(), of.namespace.as_deref());
                let verb = if name.is_empty() { "list" } else { "get" };
                let read = self.params_of(kind.as_ref(), namespace.unwrap_or_default(), name);
                let why = match &kind {
                    Some(_) if read.resource != ALL => {
                        format!(r#"user {user} does not have "{verb}" permission on the object referenced by paramRef"#)
                    }
                    Some(ParamKind { api_version, kind }) => {
                        let kind = format!(
                            "{}/{}",
                            api_version.as_deref().unwrap_or_default(),
                            kind.as_deref().unwrap_or_default()
                        );
                        format!(
                            r#"unable to resolve paramKind {kind} to determine minimum required permissions and user {user} does not have "{verb}" permission for all groups, versions and resources"#
                        )
                    }
                    None => format!(
                        r#"unable to get policy {policy} to determine minimum required permissions and user {user} does not have "{verb}" permission for all groups, versions and resources"#
                    ),
                };
                ("spec.paramRef", (!self.may(writing.user, verb, &read)).then_some(why))
            }
        };
        let Some(why) = refused else { return Ok(()) };
        let mut problems = Problems::default();
        problems.forbidden(field, &why);
        writing.place.valid(object.meta().name.as_deref().unwrap_or_default(), problems)
    }

    /// What is not known is everything.
    fn params_of(&self, kind: Option<&ParamKind>, namespace: &str, name: &str) -> Target {
        let (namespace, name, subresource) = (namespace.into(), name.into(), String::new());
        let all = || ALL.to_owned();
        let parsed = kind.and_then(|kind| Some((group_version(kind.api_version.as_deref()?)?, kind.kind.as_deref()?)));
        let Some(((group, version), kind)) = parsed else {
            return Target { group: all(), version: all(), resource: all(), subresource, namespace, name };
        };
        let table = self.registry().table();
        let found = table
            .iter()
            .find(|resource| resource.group() == group && resource.version() == version && resource.kind() == kind);
        let resource = found.map_or_else(all, |resource| resource.plural().to_owned());
        Target { group: group.into(), version: version.into(), resource, subresource, namespace, name }
    }

    fn param_kind_of(&self, plural: &str, policy: &str) -> Option<ParamKind> {
        let objects: &dyn Objects = self;
        if plural == PLURAL {
            objects.find::<ValidatingAdmissionPolicy>(GROUP, plural, "", policy)?.spec?.param_kind
        } else {
            objects.find::<MutatingAdmissionPolicy>(GROUP, plural, "", policy)?.spec?.param_kind
        }
    }

    /// Says of each policy what its types say, as it is now. The error: of the last that it could not be said of; the others are done.
    async fn check_policies(&self) -> Result<(), ApiError> {
        let Some(kind) = self.inner.cache.kind(PLURAL) else { return Ok(()) };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        let read = |json: Bytes| {
            let read = serde_json::from_slice::<ValidatingAdmissionPolicy>(&json);
            read.inspect_err(|err| tracing::warn!(%err, "an admission policy cannot be read")).ok()
        };
        let is_due = |policy: &ValidatingAdmissionPolicy| {
            policy.metadata.generation > policy.status.as_ref().and_then(|status| status.observed_generation)
        };
        let all = snapshot.items.iter().filter_map(|row| read(row.0.object()));
        let due: Vec<ValidatingAdmissionPolicy> = all.filter(is_due).collect();
        let mut outcome = Ok(());
        for policy in due {
            // Thousands of expressions, and ten kinds, take seconds.
            let body = aside(CONTROLLER, true, async { checked(&policy, &self.registry().table()) }).await;
            let mut at = target(GROUP, PLURAL, "", policy.name());
            at.subresource = "status".into();
            let options =
                WriteOptions { field_manager: CONTROLLER.into(), force: Some(true), ..WriteOptions::default() };
            let body = Bytes::from(body.to_string());
            match self.patch(&Authorized::own(at), patch::Kind::Apply, body, options).await {
                // Another server was quicker, most likely with the same; the next look tells.
                Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => {}
                Err(err) => outcome = Err(err),
                Ok(_) => {}
            }
        }
        outcome
    }
}

fn checked(policy: &ValidatingAdmissionPolicy, table: &crate::registry::Table) -> Value {
    let warnings = type_checking::check(policy, table);
    let checking = if warnings.is_empty() { json!({}) } else { json!({ "expressionWarnings": warnings }) };
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy.name(), "resourceVersion": policy.metadata.resource_version},
        "status": {"observedGeneration": policy.metadata.generation, "typeChecking": checking},
    })
}

/// Looks after them for as long as the server lives.
pub(super) async fn run(resources: super::Weak) {
    loop {
        let changes = {
            let Some(resources) = resources.upgrade() else { return };
            let options = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
            resources.watch(&Authorized::own(target(GROUP, PLURAL, "", "")), options).await
        };
        match changes {
            Ok(mut changes) => loop {
                let looked = {
                    let Some(resources) = resources.upgrade() else { return };
                    resources.check_policies().await
                };
                if let Err(err) = looked {
                    tracing::warn!(%err, "types of admission policies were not checked; again soon");
                    break;
                }
                match changes.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            },
            Err(err) => tracing::warn!(%err, "admission policies cannot be watched; again soon"),
        }
        sleep(AGAIN).await;
    }
}
