//! What a Job's podFailurePolicy says of a pod that failed.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>

use corten_api::k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement as OnExitCodes, PodFailurePolicyOnPodConditionsPattern as Pattern,
    PodFailurePolicyRule as Rule,
};

use crate::pods::SeenPod;
use crate::pods::of_job::{Exit, OfJob};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts towards backoffLimit, as every failure without a policy.
    Count,
    /// It counts for nothing.
    Ignore,
    /// It counts, and its index is not tried again.
    FailIndex,
    /// It counts, and the whole Job fails with this message.
    FailJob(String),
}

/// The first rule that matches decides.
pub fn verdict(spec: &JobSpec, pod: &SeenPod) -> Verdict {
    let (Some(policy), Some(of_job)) = (&spec.pod_failure_policy, &pod.of_job) else { return Verdict::Count };
    let rules = policy.rules.iter().enumerate();
    let mut matches = rules.filter_map(|(at, rule)| {
        let why = || matched(rule, pod, of_job, at);
        match rule.action.as_str() {
            "Ignore" => why().map(|_| Verdict::Ignore),
            "FailIndex" => why().map(|_| Verdict::FailIndex),
            "Count" => why().map(|_| Verdict::Count),
            "FailJob" => why().map(Verdict::FailJob),
            // An action of a newer version.
            _ => None,
        }
    });
    matches.next().unwrap_or(Verdict::Count)
}

/// What a rule has found, in upstream's words.
fn matched(rule: &Rule, pod: &SeenPod, of_job: &OfJob, at: usize) -> Option<String> {
    let action = &rule.action;
    if let Some(wanted) = &rule.on_exit_codes {
        let Exit { container, code } = of_job.exits.iter().find(|exit| is_exit(exit, wanted))?;
        let pod = format!("Container {container} for pod {}", pod.key);
        return Some(format!("{pod} failed with exit code {code} matching {action} rule at index {at}"));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let (kind, _) = of_job.conditions.iter().find(|(kind, status)| is_condition(kind, status, patterns))?;
    Some(format!("Pod {} has condition {kind} matching {action} rule at index {at}", pod.key))
}

fn is_exit(exit: &Exit, wanted: &OnExitCodes) -> bool {
    let named = wanted.container_name.as_ref().is_none_or(|name| *name == exit.container);
    let listed = wanted.values.contains(&exit.code);
    named
        && match wanted.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
}

fn is_condition(kind: &str, status: &str, patterns: &[Pattern]) -> bool {
    patterns.iter().any(|wanted| wanted.type_ == kind && wanted.status.as_deref().unwrap_or("True") == status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_api::Key;
    use serde_json::{Value, json};

    fn spec(rules: &Value) -> JobSpec {
        serde_json::from_value(json!({"template": {}, "podFailurePolicy": {"rules": rules}})).unwrap()
    }
    fn pod() -> SeenPod {
        let exit = |container: &str, code| Exit { container: container.into(), code };
        let of_job = OfJob {
            exits: vec![exit("main", 3), exit("init", 7)],
            conditions: vec![("Ready".into(), "False".into()), ("DisruptionTarget".into(), "True".into())],
            ..OfJob::default()
        };
        SeenPod { key: Key::new("ns", "p"), of_job: Some(Box::new(of_job)), ..SeenPod::default() }
    }
    fn codes(action: &str, operator: &str, values: &[i32], container: Option<&str>) -> Value {
        let wanted = json!({"operator": operator, "values": values, "containerName": container});
        json!({"action": action, "onExitCodes": wanted})
    }
    fn conditions(action: &str, kind: &str, status: Option<&str>) -> Value {
        json!({"action": action, "onPodConditions": [{"type": kind, "status": status}]})
    }

    #[test]
    fn verdicts_table() {
        let fail_job = |text: &str| Verdict::FailJob(text.into());
        let cases = [
            ("no rule matches", json!([codes("Ignore", "In", &[1], None)]), Verdict::Count),
            ("an exit code", json!([codes("Ignore", "In", &[1, 3], None)]), Verdict::Ignore),
            ("of an init container", json!([codes("FailIndex", "In", &[7], None)]), Verdict::FailIndex),
            ("of another container", json!([codes("Ignore", "In", &[3], Some("init"))]), Verdict::Count),
            ("all other codes", json!([codes("Ignore", "NotIn", &[3], None)]), Verdict::Ignore),
            ("all other codes, of this one", json!([codes("Ignore", "NotIn", &[3], Some("main"))]), Verdict::Count),
            ("a condition", json!([conditions("Ignore", "DisruptionTarget", None)]), Verdict::Ignore),
            ("a condition that does not hold", json!([conditions("Ignore", "Ready", Some("True"))]), Verdict::Count),
            (
                "the first rule decides",
                json!([codes("Count", "In", &[3], None), codes("FailJob", "In", &[3], None)]),
                Verdict::Count,
            ),
            (
                "the job fails by a code",
                json!([codes("Ignore", "In", &[9], None), codes("FailJob", "In", &[3], None)]),
                fail_job("Container main for pod ns/p failed with exit code 3 matching FailJob rule at index 1"),
            ),
            (
                "the job fails by a condition",
                json!([conditions("FailJob", "DisruptionTarget", Some("True"))]),
                fail_job("Pod ns/p has condition DisruptionTarget matching FailJob rule at index 0"),
            ),
            ("an action that we do not know", json!([codes("Sing", "In", &[3], None)]), Verdict::Count),
        ];
        for (why, rules, expected) in cases {
            assert_eq!(verdict(&spec(&rules), &pod()), expected, "{why}");
        }
        assert_eq!(verdict(&JobSpec::default(), &pod()), Verdict::Count, "there is no policy");
    }
}
