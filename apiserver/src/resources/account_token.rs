//! `serviceaccounts/token`: a TokenRequest is answered with a token for the account, bound to what it names. Nothing is
//! stored.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>

use corten_api::{ApiError, Object as _, Problems, pod};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use serde::de::DeserializeOwned;

use super::admit::{Asked, Said, decode_as};
use super::place::Place;
use super::webhooks::Hooks;
use super::{Authorized, Resources, WriteOptions, Written, to};
use crate::admission::asking::Decode;
use crate::authn::account::Seen;
use crate::authn::claims::{Bound, Life, Reference};
use crate::authn::tokens::{IssueError, POD_TOKEN_SECS, Rules, TOKEN_BYTES_MAX};
use crate::decode;
use crate::registry::path::Path;
use crate::registry::{AnyObject, check, clock};
use crate::request::{Target, Verb};
use crate::view::Objects;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const LIFE_SECS: i64 = 3600;
const EXTENDED_LIFE_SECS: i64 = 365 * 24 * 3600;

/// The target names the account.
pub(super) async fn give(
    resources: &Resources,
    may: &Authorized<to::Create>,
    place: &Place<'_>,
    json: &[u8],
    options: &WriteOptions,
    hooks: Option<&Hooks>,
) -> Result<Written, ApiError> {
    let (user, target) = (may.user(), may.target());
    let asked: TokenRequest = decode::object(json)?;
    let (tokens, now) = (resources.tokens(), clock::now());
    let decode = Some(decode_as::<TokenRequest> as Decode);
    let admission = Asked { user, place, target, said: Said::Write(options), decode, hooks };
    let mut object: Box<dyn AnyObject> = Box::new(asked);
    let mut warnings = resources.admit_create(&admission, &mut object, &|_| Ok(())).await?.warnings;
    let asked = object.as_any().downcast_ref::<TokenRequest>().ok_or_else(ApiError::no_such_path)?;
    let mut request = ask_twice(resources, || completed(asked, target, tokens.rules(), resources)).await?;
    request.metadata.creation_timestamp = Some(now.clone());
    // Who judges sees whose token it is to be, and for whom: whatever the request has left out.
    warnings.extend(resources.approve(&admission, Verb::Create, Some(&request), None).await?);
    let bound = ask_twice(resources, || bound_by(&request, target, resources)).await?;
    let spec = request.spec.get_or_insert_default();
    warnings.extend(shorten(spec, tokens.rules().max_life_secs));
    let life = life_of(spec, &bound, tokens.rules(), &now);
    let ends_at = ends_at(spec, &now);
    let audiences = spec.audiences.clone().unwrap_or_default();
    let token = tokens.issue(uuid::Uuid::new_v4().to_string(), audiences, bound, life).map_err(not_issued)?;
    request.status = Some(TokenRequestStatus { token: Some(token), expiration_timestamp: Some(ends_at) });
    let object = serde_json::to_vec(&request).map_err(ApiError::internal)?.into();
    Ok(Written { object, existed: false, warnings })
}

/// Asks again with a newer view of the cluster before it gives a refusal: what a request is about may be new.
async fn ask_twice<T>(resources: &Resources, ask: impl Fn() -> Result<T, ApiError>) -> Result<T, ApiError> {
    match ask() {
        Err(_) => {
            resources.catch_up().await?;
            ask()
        }
        found => found,
    }
}

fn find<K: DeserializeOwned>(objects: &dyn Objects, plural: &str, namespace: &str, name: &str) -> Result<K, ApiError> {
    objects.find("", plural, namespace, name).ok_or_else(|| ApiError::not_found("", plural, name))
}

/// The request with all that it leaves out, checked for itself and against the account.
fn completed(
    asked: &TokenRequest,
    target: &Target,
    rules: &Rules,
    objects: &dyn Objects,
) -> Result<TokenRequest, ApiError> {
    let mut request = asked.clone();
    let meta = &mut request.metadata;
    let other = |field: &str, given: &Option<String>, own: &str| {
        let given = given.as_deref().filter(|given| !given.is_empty() && *given != own)?;
        let mut problems = Problems::default();
        problems.invalid(
            format!("metadata.{field}"),
            given,
            &format!("must match the service account {field} if specified"),
        );
        Some(ApiError::invalid(GROUP, KIND, &target.name, problems))
    };
    let refused =
        other("name", &meta.name, &target.name).or_else(|| other("namespace", &meta.namespace, &target.namespace));
    if let Some(refused) = refused {
        return Err(refused);
    }
    let uid = uid_of(objects, "serviceaccounts", &target.namespace, &target.name)?;
    let given = meta.uid.as_deref().unwrap_or_default();
    if !given.is_empty() && given != uid {
        let why =
            format!("the UID in the token request ({given}) does not match the UID of the service account ({uid})");
        return Err(ApiError::conflict(GROUP, KIND, &target.name, &why));
    }
    meta.name = Some(target.name.clone());
    meta.namespace = Some(target.namespace.clone());
    meta.uid = Some(uid);
    request.status = None;
    let spec = request.spec.get_or_insert_default();
    // Of a feature that is off.
    spec.attestations = None;
    if spec.audiences.as_ref().is_none_or(Vec::is_empty) {
        spec.audiences = Some(rules.audiences.clone());
    }
    let secs = *spec.expiration_seconds.get_or_insert(LIFE_SECS);
    let mut problems = Problems::default();
    check::token_life(&mut problems, &Path::root("spec.expirationSeconds"), secs);
    if problems.is_empty() { Ok(request) } else { Err(ApiError::invalid(GROUP, KIND, "", problems)) }
}

/// What the token is to die with: the account, and the object that the request names.
fn bound_by(request: &TokenRequest, target: &Target, objects: &dyn Objects) -> Result<Bound, ApiError> {
    let meta = &request.metadata;
    let account = reference(&target.name, meta.uid.as_deref());
    let mut bound = Bound { namespace: target.namespace.clone(), account, ..Bound::default() };
    let wanted = request.spec.as_ref().and_then(|spec| spec.bound_object_ref.as_ref());
    let Some(wanted) = wanted else { return Ok(bound) };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (api_version, kind, name) = (text(&wanted.api_version), text(&wanted.kind), text(&wanted.name));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let found = match (group, kind.as_str()) {
        ("", "Pod") => {
            let pod: Pod = find(objects, "pods", &target.namespace, &name)?;
            let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
            if account != Some(&target.name) {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    target.name
                )));
            }
            let node = pod::node_name(&pod).filter(|node| !node.is_empty());
            bound.node = node.map(|node| reference(node, uid_of(objects, "nodes", "", node).ok().as_deref()));
            bound.pod = Some(reference(&name, pod.metadata.uid.as_deref()));
            pod.uid().to_owned()
        }
        ("", "Node") => {
            let uid = uid_of(objects, "nodes", "", &name)?;
            bound.node = Some(reference(&name, Some(&uid)));
            uid
        }
        ("", "Secret") => {
            let uid = uid_of(objects, "secrets", &target.namespace, &name)?;
            bound.secret = Some(reference(&name, Some(&uid)));
            uid
        }
        _ => {
            let what = format!("{group}/{version}, Kind={kind}");
            return Err(ApiError::bad_request(format!("cannot bind token to object of type {what}")));
        }
    };
    same_object(wanted, group, &kind, &name, &found)?;
    Ok(bound)
}

fn reference(name: &str, uid: Option<&str>) -> Reference {
    Reference { name: name.to_owned(), uid: uid.unwrap_or_default().to_owned() }
}

fn uid_of(objects: &dyn Objects, plural: &str, namespace: &str, name: &str) -> Result<String, ApiError> {
    let seen = Seen::look(objects, plural, namespace, name);
    seen.map(|seen| seen.uid).ok_or_else(|| ApiError::not_found("", plural, name))
}

fn same_object(
    wanted: &BoundObjectReference,
    group: &str,
    kind: &str,
    name: &str,
    found: &str,
) -> Result<(), ApiError> {
    let uid = wanted.uid.as_deref().unwrap_or_default();
    if uid.is_empty() || uid == found {
        return Ok(());
    }
    let why = format!(
        "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted \
         and then recreated"
    );
    Err(ApiError::conflict(group, kind, name, &why))
}

/// Takes from a life what is too long; the warning says so.
fn shorten(spec: &mut TokenRequestSpec, max_secs: Option<i64>) -> Option<String> {
    let (secs, max_secs) = (spec.expiration_seconds?, max_secs?);
    if secs <= max_secs {
        return None;
    }
    spec.expiration_seconds = Some(max_secs);
    Some(format!("requested expiration of {secs} seconds shortened to {max_secs} seconds"))
}

fn life_of(spec: &TokenRequestSpec, bound: &Bound, rules: &Rules, now: &Time) -> Life {
    let secs = spec.expiration_seconds.unwrap_or(LIFE_SECS);
    let is_for_us = spec.audiences.iter().flatten().all(|audience| rules.audiences.contains(audience));
    let is_extended = rules.extends_pods && bound.pod.is_some() && secs == POD_TOKEN_SECS && is_for_us;
    Life {
        now_secs: now.0.as_second(),
        secs: if is_extended { EXTENDED_LIFE_SECS } else { secs },
        warn_after_secs: is_extended.then_some(secs),
    }
}

/// When its holder is to have another, which for some is long before the token is no good any more.
fn ends_at(spec: &TokenRequestSpec, now: &Time) -> Time {
    let life = SignedDuration::from_secs(spec.expiration_seconds.unwrap_or(LIFE_SECS));
    Time(now.0.saturating_add(life).unwrap_or(now.0))
}

fn not_issued(err: IssueError) -> ApiError {
    match err {
        IssueError::TooLong => {
            let mut problems = Problems::default();
            problems.too_long("spec.audiences", TOKEN_BYTES_MAX);
            ApiError::invalid(GROUP, KIND, "", problems)
        }
        IssueError::Make(err) => ApiError::internal(format!("failed to generate token: {err}")),
    }
}
