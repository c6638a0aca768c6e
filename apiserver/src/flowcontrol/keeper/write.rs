//! What the keeper writes, under upstream's names of field managers.

use bytes::Bytes;
use corten_api::{ApiError, Object, Reason};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use serde_json::json;

use super::super::upkeep::{Action, Kept};
use super::{GROUP, LEVELS, SCHEMAS};
use crate::patch;
use crate::request::Target;
use crate::resources::{Authorized, Resources, WriteOptions, target};

const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";

/// That somebody else was quicker, most likely another apiserver with the same in mind, is no error.
pub(super) async fn carry_out(resources: &Resources, action: Action) -> Result<(), ApiError> {
    let options = WriteOptions { field_manager: PRODUCER.into(), ..WriteOptions::default() };
    let (Action::Create(kept) | Action::Update(kept) | Action::Delete(kept)) = &action;
    let (at, meta, json) = told(kept)?;
    let name = at.name.clone();
    let (verb, done) = match &action {
        Action::Create(_) => {
            let collection = Target { name: String::new(), ..at };
            ("made", resources.create(&Authorized::own(collection), json, options).await.map(drop))
        }
        Action::Update(_) => {
            ("brought up to date", resources.update(&Authorized::own(at), json, options).await.map(drop))
        }
        Action::Delete(_) => {
            let (uid, resource_version) = (meta.uid.clone(), meta.resource_version.clone());
            let preconditions = Some(Preconditions { uid, resource_version });
            let how = DeleteOptions { preconditions, ..DeleteOptions::default() };
            ("deleted", resources.delete(&Authorized::own(at), how, options).await.map(drop))
        }
    };
    match done {
        Ok(()) => tracing::info!(name, "an object of priority and fairness was {verb}"),
        Err(err) if is_race(&err) => tracing::debug!(name, %err, "another was quicker"),
        Err(err) => return Err(err),
    }
    Ok(())
}

/// Says of a schema whether its level is there; as of the revision at which that was seen.
pub(super) async fn condition(
    resources: &Resources,
    schema: &FlowSchema,
    condition: FlowSchemaCondition,
) -> Result<(), ApiError> {
    let mut at = target(GROUP, SCHEMAS, "", schema.name());
    at.subresource = "status".into();
    let applied = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "FlowSchema",
        "metadata": {"name": schema.name(), "resourceVersion": schema.metadata.resource_version},
        "status": {"conditions": [condition]},
    });
    let options = WriteOptions { field_manager: CONSUMER.into(), force: Some(true), ..WriteOptions::default() };
    let body = Bytes::from(applied.to_string());
    match resources.patch(&Authorized::own(at), patch::Kind::Apply, body, options).await {
        // Its change comes over the watch, and is looked at.
        Err(err) if is_race(&err) => Ok(()),
        written => written.map(drop),
    }
}

fn is_race(err: &ApiError) -> bool {
    err.is(Reason::AlreadyExists) || err.is(Reason::Conflict) || err.is(Reason::NotFound)
}

fn told(kept: &Kept) -> Result<(Target, &ObjectMeta, Bytes), ApiError> {
    let (plural, meta, json) = match kept {
        Kept::Level(level) => (LEVELS, &level.metadata, serde_json::to_vec(level)),
        Kept::Schema(schema) => (SCHEMAS, &schema.metadata, serde_json::to_vec(schema)),
    };
    let at = target(GROUP, plural, "", meta.name.as_deref().unwrap_or_default());
    Ok((at, meta, json.map_err(ApiError::internal)?.into()))
}
