//! How much a pod matters: the number behind its class's name goes into it, one class at most is the default, and the
//! system's classes are not deleted.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde::Deserialize;

use super::{AdmissionRequest, Refusal};
use crate::registry::scheduling::priorityclass::{PREEMPT, is_system_class, system_classes};
use crate::request::Verb;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

/// All that is wanted of a class: every create of a pod looks at one, or at all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    metadata: Named,
    value: Option<i32>,
    preemption_policy: Option<String>,
    global_default: Option<bool>,
}
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

impl From<PriorityClass> for Class {
    fn from(class: PriorityClass) -> Self {
        let PriorityClass { metadata, value, preemption_policy, global_default, .. } = class;
        Self { metadata: Named { name: metadata.name }, value, preemption_policy, global_default }
    }
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if !request.is_plain() {
        return Ok(());
    }
    match request.verb {
        Verb::Create if request.is("", "pods") => admit_pod(request),
        Verb::Update if request.is("", "pods") => {
            keep(request);
            Ok(())
        }
        _ if request.is(GROUP, CLASSES) => admit_class(request),
        _ => Ok(()),
    }
}

/// Whoever updates a pod need not know what was computed for it.
fn keep(request: &mut AdmissionRequest<'_>) {
    let old = request.old::<Pod>().and_then(|pod| pod.spec.as_ref()).map(|s| (s.priority, s.preemption_policy.clone()));
    let new = request.object_mut::<Pod>().and_then(|pod| pod.spec.as_mut());
    if let (Some(spec), Some((priority, policy))) = (new, old) {
        spec.priority = spec.priority.or(priority);
        spec.preemption_policy = spec.preemption_policy.take().or(policy);
    }
}

/// A pod that says what its class does not.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error(
        "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed \
         {computed} from the given PriorityClass name"
    )]
    Priority { given: i32, computed: i32 },
    #[error(
        "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller \
         computed {computed} from the given PriorityClass name"
    )]
    PreemptionPolicy { given: String, computed: String },
}

fn admit_pod(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    let Some(spec) = request.object::<Pod>().and_then(|pod| pod.spec.as_ref()) else { return Ok(()) };
    let class = match spec.priority_class_name.as_deref().unwrap_or_default() {
        "" => default_class(request),
        name => match request.find(GROUP, CLASSES, "", name).or_else(|| system_class(name)) {
            None => return Err(request.forbidden(format!("no PriorityClass with name {name} was found"))),
            class => class,
        },
    };
    let spec = request.object_mut::<Pod>().and_then(|pod| pod.spec.as_mut());
    spec.map_or(Ok(()), |spec| fill_in(spec, class)).map_err(|why| request.forbidden(why))
}

/// `class`: `None` is no class, in a cluster without a default.
fn fill_in(spec: &mut PodSpec, class: Option<Class>) -> Result<(), Contradiction> {
    let (computed, policy) = match class {
        Some(class) => {
            spec.priority_class_name = class.metadata.name;
            (class.value.unwrap_or(0), class.preemption_policy)
        }
        None => (0, Some(PREEMPT.into())),
    };
    if let Some(given) = spec.priority.filter(|given| *given != computed) {
        return Err(Contradiction::Priority { given, computed });
    }
    spec.priority = Some(computed);
    match (policy, &spec.preemption_policy) {
        (Some(computed), Some(given)) if *given != computed => {
            return Err(Contradiction::PreemptionPolicy { given: given.clone(), computed });
        }
        (Some(computed), _) => spec.preemption_policy = Some(computed),
        (None, _) => {}
    }
    Ok(())
}

/// They are meant also before there are objects of them: the first pods of a cluster are of the system.
fn system_class(name: &str) -> Option<Class> {
    system_classes().find(|class| class.metadata.name.as_deref() == Some(name)).map(Class::from)
}

/// Two can have come at the same time: of several the lowest counts. Reads every class, of which a cluster has a handful.
fn default_class(request: &AdmissionRequest<'_>) -> Option<Class> {
    let classes = request.list::<Class>(GROUP, CLASSES, "").into_iter();
    classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
}

fn admit_class(request: &AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb == Verb::Delete && is_system_class(request.name()) {
        return Err(request.forbidden("this is a system priority class and cannot be deleted"));
    }
    let wants_default = request.object::<PriorityClass>().is_some_and(|class| class.global_default == Some(true));
    let other = || default_class(request).and_then(|class| class.metadata.name);
    if wants_default
        && let Some(name) = other()
        && (request.verb == Verb::Create || name != request.name())
    {
        let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
        return Err(request.forbidden(why));
    }
    Ok(())
}
