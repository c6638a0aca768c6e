//! Whether this kubelet looks after its pods: the manager of pods moves, and the runtime answers.

use std::time::Duration;

use super::Pods;
use crate::pods::COMPARE_EVERY;
use crate::runtime::Runtime;

/// The manager looks around at least this often. Upstream allows its loop two of its periods as well.
const IDLE_MAX: Duration = COMPARE_EVERY.saturating_mul(2);
const RUNTIME_MAX: Duration = Duration::from_secs(2);

/// As upstream shows a check that fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[-]{check} failed: {why}")]
pub(super) struct Unhealthy {
    check: &'static str,
    why: String,
}

pub(super) async fn check(pods: &dyn Pods, runtime: &dyn Runtime) -> Result<(), Unhealthy> {
    is_moving(pods).map_err(|why| Unhealthy { check: "syncloop", why })?;
    let failed = |why| Err(Unhealthy { check: "runtime", why });
    match tokio::time::timeout(RUNTIME_MAX, runtime.version()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(err)) => failed(corten_api::error::with_causes(&err)),
        Err(_) => failed(format!("no answer within {}s", RUNTIME_MAX.as_secs())),
    }
}

/// Whether the manager of pods moves; why not, if it does not.
pub fn is_moving(pods: &dyn Pods) -> Result<(), String> {
    match pods.idle_for() {
        None => Err("the pods were not looked at yet".into()),
        Some(idle) if idle > IDLE_MAX => Err(format!("sync Loop took longer than expected: {}s ago", idle.as_secs())),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake::FakeRuntime;
    use crate::server::PodView;

    struct Manager(Option<Duration>);

    impl Pods for Manager {
        fn find(&self, _: &str, _: &str, _: &str) -> Option<PodView> {
            None
        }
        fn idle_for(&self) -> Option<Duration> {
            self.0
        }
        fn all(&self) -> Vec<PodView> {
            Vec::new()
        }
        fn pod_list_json(&self) -> Vec<u8> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn health_tells_the_truth() {
        let secs = Duration::from_secs;
        let cases = [
            ("all well", Some(secs(60)), false, None),
            ("never begun", None, false, Some("[-]syncloop failed")),
            (
                "stuck or dead",
                Some(secs(121)),
                false,
                Some("[-]syncloop failed: sync Loop took longer than expected: 121s"),
            ),
            ("no runtime", Some(secs(1)), true, Some("[-]runtime failed: no container runtime answers")),
        ];
        for (why, idle, away, expected) in cases {
            let runtime = FakeRuntime::default();
            runtime.set_away(away);
            let got = check(&Manager(idle), &runtime).await.err().map(|err| err.to_string());
            let as_expected = match (&got, expected) {
                (Some(got), Some(expected)) => got.starts_with(expected),
                (got, expected) => got.is_none() && expected.is_none(),
            };
            assert!(as_expected, "{why}: {got:?}");
        }
    }
}
