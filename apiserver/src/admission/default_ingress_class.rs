//! An Ingress that names no class gets the one that an administrator has marked.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/#default-ingress-class>

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::default_class::newest_marked;
use super::{AdmissionRequest, Refusal};
use crate::registry::networking::ingress::CLASS_ANNOTATION;
use crate::registry::networking::ingressclass;
use crate::request::Verb;

const GROUP: &str = "networking.k8s.io";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is(GROUP, "ingresses") || !request.is_plain() {
        return Ok(());
    }
    if request.object().is_none_or(names_class) {
        return Ok(());
    }
    let classes = request.list::<IngressClass>(GROUP, "ingressclasses", "");
    let class = newest_marked(classes, ingressclass::is_default);
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
