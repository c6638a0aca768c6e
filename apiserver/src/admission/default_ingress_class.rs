//! An Ingress that names no class gets the one that an administrator has marked.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/#default-ingress-class>

use std::cmp::Reverse;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::{AdmissionRequest, Refusal};
use crate::registry::networking::ingress::CLASS_ANNOTATION;
use crate::request::Verb;

const GROUP: &str = "networking.k8s.io";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is(GROUP, "ingresses") || !request.is_plain() {
        return Ok(());
    }
    if request.object().is_none_or(names_class) {
        return Ok(());
    }
    let class = default_class(request);
    if let Some(ingress) = request.object_mut::<Ingress>() {
        ingress.spec.get_or_insert_default().ingress_class_name = class;
    }
    Ok(())
}

fn names_class(ingress: &Ingress) -> bool {
    let annotations = ingress.metadata.annotations.as_ref();
    ingress.spec.as_ref().is_some_and(|spec| spec.ingress_class_name.is_some())
        || annotations.is_some_and(|all| all.contains_key(CLASS_ANNOTATION))
}

/// The newest of those that are marked; of several of one time the first by name.
fn default_class(request: &AdmissionRequest<'_>) -> Option<String> {
    let classes = request.view.list(GROUP, "ingressclasses", "");
    let classes = classes.iter().filter_map(|json| serde_json::from_slice::<IngressClass>(json).ok());
    let is_default = |class: &IngressClass| {
        let mark = class.metadata.annotations.as_ref().and_then(|all| all.get(IS_DEFAULT));
        mark.is_some_and(|mark| mark == "true")
    };
    let chosen = classes.filter(is_default).min_by_key(|class| {
        let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (Reverse(created), class.metadata.name.clone())
    });
    chosen?.metadata.name
}
