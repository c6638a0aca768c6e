//! Every pod acts as a ServiceAccount, which must be there, and has its token in a volume unless it wants none.

mod token_volume;

use std::time::Duration;

use corten_api::{ApiError, pod};
use k8s_openapi::api::core::v1::{LocalObjectReference, Pod, PodSpec};
use serde::Deserialize;

use super::{AdmissionRequest, Refusal};
use crate::registry::pod::defaults;
use crate::registry::pod::references::{self, Source};
use crate::request::Verb;

const DEFAULT: &str = "default";
/// How long a new namespace may be without its default account, which a controller makes.
const PATIENCE: Duration = Duration::from_secs(1);

/// All that is wanted of an account: every create of a pod looks at one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    automount_service_account_token: Option<bool>,
    image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is("", "pods") || !request.is_plain() {
        return Ok(());
    }
    let Some(pod) = request.object_mut::<Pod>() else { return Ok(()) };
    let is_mirror = pod::is_mirror(pod);
    let spec = pod.spec.get_or_insert_default();
    if is_mirror {
        // It runs already, whatever its account may be.
        let refused = not_of_a_mirror(spec);
        return refused.map_or(Ok(()), |what| Err(request.forbidden(format!("a mirror pod may not {what}"))));
    }
    if spec.service_account_name.as_ref().is_none_or(String::is_empty) {
        spec.service_account_name = Some(DEFAULT.into());
    }
    defaults::service_account(spec);
    let name = spec.service_account_name.clone().unwrap_or_default();
    let namespace = &request.target.namespace;
    let Some(account) = request.find::<Account>("", "serviceaccounts", namespace, &name) else {
        return Err(missing(request, &name));
    };
    let Some(spec) = request.object_mut::<Pod>().and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
    if token_volume::is_wanted(spec, account.automount_service_account_token) {
        token_volume::add(spec);
    }
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets = account.image_pull_secrets.filter(|secrets| !secrets.is_empty());
    }
    Ok(())
}

/// What a mirror has that others own.
fn not_of_a_mirror(spec: &PodSpec) -> Option<&'static str> {
    let (mut account, mut secrets) = (false, false);
    // Its name is of no matter here: claims are told of elsewhere.
    references::each("", spec, |source, _| {
        account |= source == Source::ServiceAccount;
        secrets |= source == Source::Secret;
    });
    let volumes = spec.volumes.iter().flatten();
    let mut parts = volumes.flat_map(|volume| volume.projected.iter().flat_map(|all| all.sources.iter().flatten()));
    let tokens = parts.any(|part| part.service_account_token.is_some());
    let all = [
        (account, "reference service accounts"),
        (secrets, "reference secrets"),
        (tokens, "use ServiceAccountToken volume projections"),
    ];
    all.into_iter().find(|(is, _)| *is).map(|(_, what)| what)
}

fn missing(request: &AdmissionRequest<'_>, name: &str) -> Refusal {
    let why = ApiError::not_found("", "serviceaccount", name);
    let account = format!("{}/{name}", request.target.namespace);
    let error = request.forbidden(format!("error looking up service account {account}: {why}")).into_error();
    if name == DEFAULT { Refusal::NotYet { error, patience: PATIENCE } } else { Refusal::Final(error) }
}
