//! How AppArmor confines a container was said with an annotation before there was a field. What an old manifest says becomes
//! the field of a new pod, which is what kubelets read.
//!
//! <https://kubernetes.io/docs/tutorials/security/apparmor/>

use corten_api::Problems;
use corten_api::pod::annotations::APP_ARMOR_PREFIX;
use k8s_openapi::api::core::v1::{AppArmorProfile, Pod};

use super::validate::app_armor_profile;
use crate::registry::path::Path;

pub(super) fn from_annotations(pod: &mut Pod) {
    let (Some(annotations), Some(spec)) = (&pod.metadata.annotations, &mut pod.spec) else { return };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.clone());
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let has_field = container.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some());
        let annotation = annotations.get(&format!("{APP_ARMOR_PREFIX}{}", container.name)).filter(|_| !has_field);
        let profile = annotation.and_then(|annotation| profile_of(annotation));
        if profile.is_some() && profile != of_pod {
            container.security_context.get_or_insert_default().app_armor_profile = profile;
        }
    }
}

/// `None` for what no field can say.
fn profile_of(annotation: &str) -> Option<AppArmorProfile> {
    let typed = |type_: &str| AppArmorProfile { type_: type_.into(), localhost_profile: None };
    let profile = match annotation {
        "unconfined" => typed("Unconfined"),
        "runtime/default" => typed("RuntimeDefault"),
        other => AppArmorProfile {
            localhost_profile: Some(other.strip_prefix("localhost/")?.to_owned()),
            ..typed("Localhost")
        },
    };
    let mut problems = Problems::default();
    app_armor_profile(Some(&profile), &Path::root(""), &mut problems);
    problems.is_empty().then_some(profile)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::check::testing::created;

    #[test]
    fn an_annotation_becomes_the_field_that_is_not_there() {
        let local = json!({"type": "Localhost", "localhostProfile": "p"});
        let cases = [
            ("a profile of the node", "localhost/p", json!(null), json!(null), local.clone()),
            ("the runtime's", "runtime/default", json!(null), json!(null), json!({"type": "RuntimeDefault"})),
            ("none", "unconfined", json!(null), json!(null), json!({"type": "Unconfined"})),
            ("the field is there", "unconfined", json!(null), local.clone(), local.clone()),
            ("the pod's is the same", "localhost/p", local.clone(), json!(null), json!(null)),
            ("no profile", "localhost/", json!(null), json!(null), json!(null)),
            ("no profile that a field can name", "localhost/ p", json!(null), json!(null), json!(null)),
            ("another word", "docker/default", json!(null), json!(null), json!(null)),
        ];
        for (why, annotation, of_pod, field, expected) in cases {
            let key = format!("{APP_ARMOR_PREFIX}c");
            let context = |profile: serde_json::Value| json!({"appArmorProfile": profile});
            let container = json!({"name": "c", "image": "i", "securityContext": context(field)});
            let spec = json!({"containers": [{"name": "other", "image": "i"}], "initContainers": [container],
                "securityContext": context(of_pod)});
            let pod = json!({"metadata": {"annotations": {key: annotation}}, "spec": spec});
            let pod = serde_json::to_value(created::<Pod>(&pod.to_string())).unwrap();
            let got = &pod["spec"]["initContainers"][0]["securityContext"]["appArmorProfile"];
            assert_eq!(got, &expected, "{why}");
            assert_eq!(pod["spec"]["containers"][0]["securityContext"], json!(null), "{why}");
        }
    }
}
