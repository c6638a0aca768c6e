//! A pod stays for five minutes on a node that is not ready or cannot be reached, unless it says otherwise.

use corten_api::node::{NOT_READY_TAINT, UNREACHABLE_TAINT};
use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

const STAY_SECS: i64 = 300;

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb == Verb::Delete || !request.is("", "pods") || !request.is_plain() {
        return Ok(());
    }
    let Some(pod) = request.object_mut::<Pod>().filter(|p| p.metadata.deletion_timestamp.is_none()) else {
        return Ok(());
    };
    let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
    for key in [NOT_READY_TAINT, UNREACHABLE_TAINT] {
        let any_or = |field: &Option<String>, word: &str| field.as_deref().is_none_or(|f| f.is_empty() || f == word);
        if !tolerations.iter().any(|t| any_or(&t.key, key) && any_or(&t.effect, "NoExecute")) {
            tolerations.push(Toleration {
                key: Some(key.into()),
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                toleration_seconds: Some(STAY_SECS),
                value: None,
            });
        }
    }
    Ok(())
}
