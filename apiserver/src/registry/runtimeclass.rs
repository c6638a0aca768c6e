//! RuntimeClass (node.k8s.io): a runtime of some nodes, what its pods cost beyond their containers, and where they may run.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};

use super::path::Path;
use super::pod::validate as pod;
use super::warnings::Warnings;
use super::{Cell, Column, Kind, cells, check, quantities};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Handler", "The runtime's name on the nodes"), cells::AGE];

impl Kind for RuntimeClass {
    const SINGULAR: &'static str = "runtimeclass";
    const STORE_PREFIX: &'static str = "runtimeclasses";
    const CREATE_ON_UPDATE: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!();
    fn fill_defaults(&mut self) {
        quantities::canonical(self.overhead.as_mut().and_then(|overhead| overhead.pod_fixed.as_mut()));
    }
    fn validate(&self, problems: &mut Problems) {
        let handler_at = Path::root("handler");
        match self.handler.as_str() {
            "" => problems.required(handler_at, ""),
            handler => check::dns_label(problems, &handler_at, handler),
        }
        if let Some(overhead) = &self.overhead {
            // They are checked as a container's limits, and called so.
            let limits = ResourceRequirements { limits: overhead.pod_fixed.clone(), ..Default::default() };
            pod::container_resources(&limits, &Path::root("overhead"), problems);
        }
        if let Some(Scheduling { node_selector, tolerations }) = &self.scheduling {
            let at = Path::root("scheduling");
            check::selector(problems, &at.field("nodeSelector"), node_selector.as_ref());
            let tolerations = tolerations.as_deref().unwrap_or_default();
            pod::tolerations(tolerations, &at.field("tolerations"), problems);
            each_once(tolerations, &at.field("tolerations"), problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("handler"), &self.handler, &old.handler);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut warnings = Warnings::default();
        let selector = self.scheduling.as_ref().and_then(|scheduling| scheduling.node_selector.as_ref());
        for key in selector.into_iter().flatten().map(|(key, _)| key) {
            warnings.node_label(&Path::root("scheduling.nodeSelector"), key);
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let handler = Cell::text_or(Some(&self.handler), "");
        vec![cells::name(&self.metadata), handler, cells::age(&self.metadata, now_secs)]
    }
}

/// Two tolerations of the same taint are one too many, however long each holds.
fn each_once(tolerations: &[Toleration], list: &Path<'_>, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, one) in tolerations.iter().enumerate() {
        let taint = [&one.key, &one.operator, &one.value, &one.effect].map(|field| check::text(field.as_ref()));
        if !seen.insert(taint) {
            problems.duplicate(list.index(i), one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    fn with(extra: &str) -> String {
        format!(r#"{{"metadata":{{"name":"gvisor"}},"handler":"runsc"{extra}}}"#)
    }
    fn tolerations(list: &str) -> String {
        with(&format!(r#","scheduling":{{"nodeSelector":{{"sandbox":"gvisor"}},"tolerations":[{list}]}}"#))
    }

    #[test]
    fn bad_classes() {
        let one = r#"{"key":"sandbox","operator":"Exists","effect":"NoExecute","tolerationSeconds":1}"#;
        let two = one.replace(":1}", ":2}");
        let cases = [
            (with(""), vec![]),
            (with(r#","overhead":{"podFixed":{"cpu":"250m","memory":"64Mi"}}"#), vec![]),
            (tolerations(one), vec![]),
            ("{}".into(), vec!["handler: Required value"]),
            (
                with(r#","overhead":{"podFixed":{"cpu":"-1"}}"#),
                vec![r#"overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0"#],
            ),
            (
                tolerations(&format!("{one},{two}")),
                vec![
                    r#"scheduling.tolerations[1]: Duplicate value: {"effect":"NoExecute","key":"sandbox","operator":"Exists","tolerationSeconds":2}"#,
                ],
            ),
            (
                tolerations(r#"{"operator":"Odd","key":"a"}"#),
                vec![
                    r#"scheduling.tolerations[0].operator: Unsupported value: "Odd": supported values: "Equal", "Exists""#,
                ],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<RuntimeClass>(&json), expected, "{json}");
        }
        for (json, expected) in [
            (with("").replace("runsc", "Run.sc"), r#"handler: Invalid value: "Run.sc": a lowercase RFC 1123 label"#),
            (tolerations("").replace("sandbox", "-"), r#"scheduling.nodeSelector: Invalid value: "-""#),
        ] {
            let found = found::<RuntimeClass>(&json);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{json}: {found:?}");
        }
    }

    #[test]
    fn overhead_is_stored_as_it_prints_and_the_handler_stays() {
        let class: RuntimeClass = defaulted(&with(r#","overhead":{"podFixed":{"cpu":"0.25"}}"#));
        assert_eq!(class.overhead.unwrap().pod_fixed.unwrap()["cpu"].0, "250m");
        let other = with("").replace("runsc", "kata");
        let expected = r#"handler: Invalid value: "kata": field is immutable"#;
        assert_eq!(found_on_update::<RuntimeClass>(&with(""), &other), [expected]);
        assert!(found_on_update::<RuntimeClass>(&with(""), &tolerations("")).is_empty());
    }

    #[test]
    fn columns() {
        assert_eq!(row::<RuntimeClass>(&with(""), 0), "gvisor|runsc|<unknown>");
    }
}
