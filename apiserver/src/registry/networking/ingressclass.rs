//! IngressClass: which controller serves the Ingresses that name it.

use corten_api::{Problems, error};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference, IngressClassSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

const CONTROLLER_BYTES_MAX: usize = 250;
/// Marks the class that Ingresses without one get.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Controller", "The controller that serves this class"),
    cells::text("Parameters", "An object that says more"),
    cells::AGE,
];

impl Kind for IngressClass {
    const SINGULAR: &'static str = "ingressclass";
    const STORE_PREFIX: &'static str = "ingressclasses";
    const HAS_GENERATION: bool = true;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        if let Some(parameters) = &mut self.spec.get_or_insert_default().parameters {
            parameters.scope.get_or_insert_with(|| "Cluster".into());
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let none = IngressClassSpec::default();
        let (spec, at) = (self.spec.as_ref().unwrap_or(&none), Path::root("spec"));
        let (controller, at_controller) = (check::text(spec.controller.as_ref()), &at.field("controller"));
        if controller.len() > CONTROLLER_BYTES_MAX {
            problems.too_long(at_controller, CONTROLLER_BYTES_MAX);
        }
        check::domain_prefixed_path(problems, at_controller, controller);
        if let Some(parameters) = &spec.parameters {
            validate_parameters(parameters, &at.field("parameters"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let controller = |class: &Self| class.spec.as_ref().and_then(|s| s.controller.clone());
        check::immutable(problems, &Path::root("spec.controller"), &controller(self), &controller(old));
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let parameters = spec.and_then(|s| s.parameters.as_ref()).map(shown);
        vec![
            cells::name(&self.metadata),
            Cell::text_or(spec.and_then(|s| s.controller.as_deref()), ""),
            Cell::text_or(parameters.as_deref(), cells::NONE),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

/// Whether a class says that it is the default.
pub fn is_default(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().and_then(|all| all.get(IS_DEFAULT)).is_some_and(|mark| mark == "true")
}

fn shown(parameters: &IngressClassParametersReference) -> String {
    let kind = error::qualified(&parameters.kind, check::text(parameters.api_group.as_ref()));
    format!("{kind}/{}", parameters.name)
}

fn validate_parameters(parameters: &IngressClassParametersReference, at: &Path<'_>, problems: &mut Problems) {
    if let Some(group) = &parameters.api_group {
        check::dns_subdomain(problems, &at.field("apiGroup"), group);
    }
    check::path_segment(problems, &at.field("kind"), &parameters.kind);
    check::path_segment(problems, &at.field("name"), &parameters.name);
    let namespace_at = at.field("namespace");
    match (parameters.scope.as_deref(), &parameters.namespace) {
        (None, _) => problems.required(at.field("scope"), ""),
        (Some("Namespace"), None) => problems.required(namespace_at, "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(namespace)) => check::dns_label(problems, &namespace_at, namespace),
        (Some("Cluster"), Some(_)) => problems.forbidden(namespace_at, "`parameters.scope` is set to 'Cluster'"),
        (Some("Cluster"), None) => {}
        (Some(other), _) => problems.unsupported(at.field("scope"), other, &["Cluster", "Namespace"]),
    }
}

#[cfg(test)]
mod tests {
    use corten_api::names;
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::{defaulted, found_on_update, row};

    fn found(spec: Value) -> Vec<String> {
        crate::registry::check::testing::found::<IngressClass>(&json!({ "spec": spec }).to_string())
    }
    fn of_parameters(parameters: Value) -> Vec<String> {
        found(json!({"controller": "a.b/c", "parameters": parameters}))
    }

    #[test]
    fn controllers_have_a_domain() {
        assert!(found(json!({"controller": "k8s.io/ingress-nginx"})).is_empty());
        assert!(found(json!({"controller": "a.b/c/(d)~%20"})).is_empty());
        assert_eq!(found(json!({})), ["spec.controller: Required value"]);
        for (controller, value, why) in [
            ("nginx", "nginx", r#"must be a domain-prefixed path (such as "acme.io/foo")"#),
            ("/nginx", "/nginx", r#"must be a domain-prefixed path (such as "acme.io/foo")"#),
            ("a.b/", "a.b/", r#"must be a domain-prefixed path (such as "acme.io/foo")"#),
            ("A/b", "A", names::DNS1123_SUBDOMAIN_WHY),
            ("a/b c", "b c", check::NOT_A_PATH),
        ] {
            let expected = format!("spec.controller: Invalid value: {value:?}: {why}");
            assert_eq!(found(json!({"controller": controller})), [expected], "{controller}");
        }
        let long = format!("a/{}", "b".repeat(249));
        assert_eq!(found(json!({"controller": long})), ["spec.controller: Too long: may not be more than 250 bytes"]);
        let of = |controller: &str| json!({"spec": {"controller": controller}}).to_string();
        assert_eq!(
            found_on_update::<IngressClass>(&of("a/b"), &of("a/c")),
            [r#"spec.controller: Invalid value: "a/c": field is immutable"#]
        );
        assert!(found_on_update::<IngressClass>(&of("a/b"), &of("a/b")).is_empty());
    }

    #[test]
    fn parameters_are_in_the_cluster_or_in_a_namespace() {
        let with = |scope: &str, namespace: Value| {
            of_parameters(json!({"kind": "K", "name": "n", "scope": scope, "namespace": namespace}))
        };
        let class: IngressClass = defaulted(r#"{"spec":{"parameters":{"kind":"K","name":"n"}}}"#);
        assert_eq!(class.spec.unwrap().parameters.unwrap().scope.as_deref(), Some("Cluster"));
        assert!(with("Cluster", Value::Null).is_empty() && with("Namespace", json!("a")).is_empty());
        let at = "spec.parameters";
        assert_eq!(
            with("Cluster", json!("a")),
            [format!("{at}.namespace: Forbidden: `parameters.scope` is set to 'Cluster'")]
        );
        assert_eq!(
            with("Namespace", Value::Null),
            [format!("{at}.namespace: Required value: `parameters.scope` is set to 'Namespace'")]
        );
        assert_eq!(
            with("Namespace", json!("a.b")),
            [format!("{at}.namespace: Invalid value: \"a.b\": {}", names::DNS1123_LABEL_WHY)]
        );
        assert_eq!(
            with("cluster", Value::Null),
            [format!("{at}.scope: Unsupported value: \"cluster\": supported values: \"Cluster\", \"Namespace\"")]
        );
        assert_eq!(
            of_parameters(json!({"apiGroup": "A", "kind": "", "name": ".."})),
            [
                format!("{at}.apiGroup: Invalid value: \"A\": {}", names::DNS1123_SUBDOMAIN_WHY),
                format!("{at}.kind: Required value"),
                format!("{at}.name: Invalid value: \"..\": may not be '..'"),
            ]
        );
        let mut bare: IngressClass = defaulted(r#"{"spec":{"controller":"a/b"}}"#);
        bare.spec.as_mut().unwrap().parameters =
            Some(IngressClassParametersReference { kind: "K".into(), name: "n".into(), ..Default::default() });
        let mut problems = Problems::default();
        bare.validate(&mut problems);
        assert_eq!(problems.causes()[0].to_string(), format!("{at}.scope: Required value"));
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"c"},"spec":{"controller":"a/b","parameters":{"apiGroup":"g.h","kind":"K","name":"n"}}}"#;
        assert_eq!(row::<IngressClass>(json, 0), "c|a/b|K.g.h/n|<unknown>");
        assert_eq!(row::<IngressClass>("{}", 0), "||<none>|<unknown>");
    }
}
