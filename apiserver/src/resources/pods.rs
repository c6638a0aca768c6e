//! What only pods have: binding to a node, eviction.

use bytes::Bytes;
use corten_api::{ApiError, Problems, Reason, Scope, conditions};
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod, PodCondition};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status, Time};
use tokio::sync::Semaphore;

use super::admit::{Asked, Said, decode_as};
use super::delete::{Told, check_options};
use super::encode::Encoded;
use super::eviction::{self, Cost};
use super::place::{Place, no_such_method};
use super::revise::{Current, Decide, Decision, Taken};
use super::webhooks::Hooks;
use super::{Authorized, Fence, Resources, WriteOptions, Written, meta, to};
use crate::aside::{LARGE_BODY_BYTES, aside};
use crate::decode;
use crate::registry::path::Path;
use crate::registry::{AnyObject, check, clock};
use crate::request::{Target, Verb};
use crate::request_info::REQUEST_TIMEOUT;
use crate::storage::Write;
use crate::view::{ClusterView, Objects};

/// Who finds no room to wait for webhooks comes again then.
const RETRY_AFTER_SECS: i32 = 1;

fn done() -> Result<Written, ApiError> {
    let status = Status { status: Some("Success".into()), code: Some(201), ..Status::default() };
    let object = serde_json::to_vec(&status).map_err(ApiError::internal)?.into();
    Ok(Written { object, existed: false, warnings: Vec::new() })
}

/// `pods/binding`, from a Binding's JSON.
pub(super) async fn bind(
    resources: &Resources,
    may: &Authorized<to::Create>,
    place: &Place<'_>,
    json: &[u8],
    options: &WriteOptions,
    hooks: Option<&Hooks>,
) -> Result<Written, ApiError> {
    let target = may.target();
    let mut binding: Binding = decode::object(json)?;
    meta::settle_namespace(&mut binding.metadata, &target.namespace, Scope::Namespaced)?;
    let said = Said::Write(options);
    let asked = Asked { user: may.user(), place, target, said, decode: Some(decode_as::<Binding>), hooks };
    assign(resources, &asked, binding, options.dry_run, None).await?;
    done()
}

impl Resources {
    /// Gives a pod its node, for who may create its `pods/binding`. `uid`: the pod that was scheduled, or empty for whichever has
    /// the name.
    /// `fence`: of the scheduler that leads. `asking`: its room to wait for webhooks; with none left it is refused.
    pub async fn bind(
        &self,
        may: &Authorized<to::Create>,
        uid: &str,
        node: &str,
        fence: Option<&Fence>,
        asking: &Semaphore,
    ) -> Result<(), ApiError> {
        let (user, target) = (may.user(), may.target());
        // Who may evict pods, say, creates something of theirs too.
        if target.subresource != "binding" {
            return Err(no_such_method());
        }
        let fence = self.fenced(fence).await?;
        let place = &self.place(Verb::Create, target)?.behind(fence.as_ref());
        let metadata = ObjectMeta {
            name: Some(target.name.clone()),
            namespace: Some(target.namespace.clone()),
            uid: (!uid.is_empty()).then(|| uid.to_owned()),
            ..ObjectMeta::default()
        };
        let node = ObjectReference { kind: Some("Node".into()), name: Some(node.into()), ..ObjectReference::default() };
        let options = WriteOptions::default();
        let hooks = self.hooks_of(may, place).await;
        let (said, hooks) = (Said::Write(&options), hooks.as_ref());
        let asked = Asked { user, place, target, said, decode: Some(decode_as::<Binding>), hooks };
        assign(self, &asked, Binding { metadata, target: node }, false, Some(asking)).await
    }
}

/// Gives a pod its node: once.
pub(super) async fn assign(
    resources: &Resources,
    asked: &Asked<'_>,
    binding: Binding,
    dry_run: bool,
    asking: Option<&Semaphore>,
) -> Result<(), ApiError> {
    let Asked { place, target, .. } = *asked;
    let name = &target.name;
    check_binding(&binding, name)?;
    let asking = asking.filter(|_| asked.others(Verb::Create).are_elsewhere());
    let room = asking.map(Semaphore::try_acquire).transpose().map_err(|_| {
        ApiError::too_many_requests("Too many bindings wait for webhooks, please try again later.", RETRY_AFTER_SECS)
    })?;
    let mut object: Box<dyn AnyObject> = Box::new(binding);
    resources.admit_create(asked, &mut object, &|_| Ok(())).await?;
    let binding = object.as_any().downcast_ref::<Binding>().ok_or_else(no_such_method)?;
    // Webhooks may have changed it.
    check_binding(binding, name)?;
    resources.approve(asked, Verb::Create, Some(binding), None).await?;
    drop(room);
    let short = place.short_key(&target.namespace, name);
    let mut by = Assignment { place, name, binding };
    let revised = resources.revise(place, &short, "binding", dry_run, &mut by).await?;
    revised.map(drop).ok_or_else(|| place.not_found(name))
}

/// How a binding decides: it was admitted before.
struct Assignment<'a> {
    place: &'a Place<'a>,
    name: &'a str,
    binding: &'a Binding,
}

impl Decide for Assignment<'_> {
    async fn decide(&mut self, current: &Current, _: &Taken) -> Result<Decision, ApiError> {
        assigned(self.place, self.name, self.binding, current)
    }
}

fn check_binding(binding: &Binding, pod: &str) -> Result<(), ApiError> {
    if check::text(binding.metadata.name.as_ref()) != pod {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    let problems = faults(binding);
    if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "Binding", pod, problems)) }
}

fn faults(binding: &Binding) -> Problems {
    let mut problems = Problems::default();
    if !matches!(binding.target.kind.as_deref(), None | Some("" | "Node")) {
        problems.unsupported("target.kind", &binding.target.kind, &["Node", "<empty>"]);
    }
    let at = Path::root("target.name");
    match check::text(binding.target.name.as_ref()) {
        "" => problems.required(at, ""),
        node => check::dns_subdomain(&mut problems, &at, node),
    }
    problems
}

fn assigned(place: &Place<'_>, name: &str, binding: &Binding, current: &Current) -> Result<Decision, ApiError> {
    let mut object = current.object.boxed_clone();
    let pod = object.as_any_mut().downcast_mut::<Pod>().ok_or_else(no_such_method)?;
    check_same(place, name, &binding.metadata, pod, current.revision)?;
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(place.conflict(name, &format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(taken) = spec.node_name.as_deref().filter(|n| !n.is_empty()) {
        return Err(place.conflict(name, &format!("pod {name} is already assigned to node {taken:?}")));
    }
    if spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()) {
        return Err(place.conflict(name, &format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    spec.node_name.clone_from(&binding.target.name);
    if let Some(more) = &binding.metadata.annotations {
        pod.metadata.annotations.get_or_insert_default().extend(more.clone());
    }
    if let Some(more) = &binding.metadata.labels {
        pod.metadata.labels.get_or_insert_default().extend(more.clone());
    }
    // Where it was meant to go is of no use once it is there.
    pod.status.get_or_insert_default().nominated_node_name = None;
    set_scheduled(pod);
    Ok(Decision::Store { object, also: Vec::new() })
}

/// Who names a uid, or a resourceVersion, means that pod as it was then.
fn check_same(place: &Place<'_>, name: &str, wanted: &ObjectMeta, pod: &Pod, revision: i64) -> Result<(), ApiError> {
    let revision = revision.to_string();
    let is = [("UID", &wanted.uid, check::text(pod.metadata.uid.as_ref()))];
    let is = is.into_iter().chain([("ResourceVersion", &wanted.resource_version, revision.as_str())]);
    for (what, wanted, is) in is {
        let wanted = check::text(wanted.as_ref());
        if !wanted.is_empty() && wanted != is {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}");
            return Err(place.conflict(name, &why));
        }
    }
    Ok(())
}

fn set_scheduled(pod: &mut Pod) {
    let list = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let scheduled = PodCondition { type_: "PodScheduled".into(), status: "True".into(), ..PodCondition::default() };
    conditions::set(list, scheduled, &clock::now());
}

/// `pods/eviction`: a delete that a PodDisruptionBudget may refuse, or pays for in the same commit. So it cannot pay and then
/// not be done, nor be paid for as the pod was a moment ago.
pub(super) async fn evict(
    resources: &Resources,
    may: &Authorized<to::Create>,
    place: &Place<'_>,
    json: &[u8],
    options: WriteOptions,
    hooks: Option<&Hooks>,
) -> Result<Written, ApiError> {
    let (user, target) = (may.user(), may.target());
    let decoded = async { decode::object(json) };
    let mut eviction: Eviction = aside(&user.name, json.len() > LARGE_BODY_BYTES, decoded).await?;
    meta::settle_namespace(&mut eviction.metadata, &target.namespace, Scope::Namespaced)?;
    check_eviction(&eviction, &target.name)?;
    debug_assert_eq!(place.resource.plural(), "pods");
    let asked = Asked { user, place, target, said: Said::Write(&options), decode: Some(decode_as::<Eviction>), hooks };
    let eviction = consulted(resources, &asked, eviction).await?;
    let how = eviction.delete_options.unwrap_or_default();
    // A budget that was there before this request must be known.
    resources.catch_up().await?;
    // Where budgets pay, evictions go one after the other: each would otherwise be tried again for every other that was quicker.
    let namespace = &target.namespace;
    let budgets = ClusterView::list(resources, "policy", "poddisruptionbudgets", namespace);
    let bytes = resources.stored_bytes(target) + budgets.iter().map(Bytes::len).sum::<usize>();
    let _turn = if !budgets.is_empty() {
        let turn = resources.inner.evictions.take(namespace).await?;
        // What the one before has taken from its budget must be known, too.
        resources.catch_up().await?;
        Some(turn)
    } else {
        None
    };
    let plain = Target { subresource: String::new(), ..target.clone() };
    let paid = |object: &mut dyn AnyObject, now: &Time| -> Result<Vec<Write>, ApiError> {
        let also = object.as_any().downcast_ref().map(|pod| cost(resources, pod, now)).transpose()?;
        set_disruption_target(object, now);
        Ok(also.unwrap_or_default())
    };
    // With the turn, and not while it waits for it: places for what is large are few.
    let deleted =
        tokio::time::timeout(REQUEST_TIMEOUT, resources.delete_with(user, &plain, how, options, Told::Before, &paid));
    let deleted = aside(&user.name, bytes > LARGE_BODY_BYTES, Box::pin(deleted)).await;
    deleted.map_err(|_| {
        ApiError::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout")
    })??;
    done()
}

fn check_eviction(eviction: &Eviction, pod: &str) -> Result<(), ApiError> {
    if check::text(eviction.metadata.name.as_ref()) != pod {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let how = eviction.delete_options.clone().unwrap_or_default();
    if how.ignore_store_read_error_with_cluster_breaking_potential == Some(true) {
        let field = "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential";
        let mut problems = Problems::default();
        problems.invalid(field, true, "can not be set for pod eviction, try after removing the option");
        return Err(ApiError::invalid("policy", "Eviction", pod, problems));
    }
    check_options(&how)
}

/// The eviction as webhooks let it be. They are told of it as one, and not of a delete.
async fn consulted(resources: &Resources, asked: &Asked<'_>, eviction: Eviction) -> Result<Eviction, ApiError> {
    if asked.others(Verb::Create).is_nobody() {
        return Ok(eviction);
    }
    let mut object: Box<dyn AnyObject> = Box::new(eviction);
    let check = |object: &mut dyn AnyObject| {
        let eviction = object.as_any().downcast_ref().ok_or_else(no_such_method)?;
        check_eviction(eviction, &asked.target.name)
    };
    resources.consult(asked, Verb::Create, &mut object, None, &check).await?;
    object.as_any().downcast_ref().cloned().ok_or_else(no_such_method)
}

/// What must be written with the eviction of a pod. Looks at all budgets of its namespace.
fn cost(resources: &Resources, pod: &Pod, now: &Time) -> Result<Vec<Write>, ApiError> {
    let place = &resources.builtin("policy", "v1", "poddisruptionbudgets")?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let budgets = ClusterView::list(resources, "policy", "poddisruptionbudgets", namespace);
    // What the store holds passed validation when it was written; what no longer parses is as good as not there.
    let budgets: Vec<_> = budgets.iter().filter_map(|json| serde_json::from_slice(json).ok()).collect();
    let is_there = |name: &str| Objects::get(resources, "", "pods", namespace, name).is_some();
    let cost = eviction::cost(pod, &budgets, is_there, now)?;
    let Cost::Disruption { budget, status } = cost else { return Ok(Vec::new()) };
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let revision = budget.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    let expected = revision.ok_or_else(|| ApiError::internal(format!("budget {name:?} has no resourceVersion")))?;
    let mut budget = PodDisruptionBudget { status: Some(*status), ..budget.clone() };
    let Encoded { value, .. } = Encoded::builtin(&mut budget)?;
    let key = place.store_key(&place.short_key(namespace, name));
    Ok(vec![Write::Update { key, value, expected, ttl_secs: None }])
}

/// Who counts a pod's failure (a Job) is to know that it was not the pod's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
fn set_disruption_target(object: &mut dyn AnyObject, now: &Time) {
    const TYPE: &str = "DisruptionTarget";
    const REASON: &str = "EvictionByEvictionAPI";
    let Some(pod) = object.as_any_mut().downcast_mut::<Pod>() else { return };
    let observed_generation = pod.metadata.generation;
    let list = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let have = conditions::find(Some(&*list), TYPE);
    if have.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(REASON)) {
        return;
    }
    let condition = PodCondition {
        type_: TYPE.into(),
        status: "True".into(),
        reason: Some(REASON.into()),
        message: Some("Eviction API: evicting".into()),
        observed_generation,
        ..PodCondition::default()
    };
    conditions::set(list, condition, now);
}
