//! Whether this kubelet looks after its pods: the manager of pods moves, and the runtime answers.

use std::time::Duration;

use super::Pods;
use crate::runtime::Runtime;

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
    pods.is_moving().map_err(|hang| hang.to_string())
}

#[cfg(test)]
mod tests {
    use corten_client::pulse::Hang;

    use super::*;
    use crate::runtime::fake::FakeRuntime;
    use crate::server::PodView;

    struct Manager(Result<(), Hang>);

    impl Pods for Manager {
        fn find(&self, _: &str, _: &str, _: &str) -> Option<PodView> {
            None
        }
        fn is_moving(&self) -> Result<(), Hang> {
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
        let (since, limit) = (Duration::from_secs(121), Duration::from_secs(120));
        let cases = [
            ("all well", Ok(()), false, None),
            (
                "stuck",
                Err(Hang::UnderWay { since, limit }),
                false,
                Some("[-]syncloop failed: work that began 121s ago has not ended"),
            ),
            (
                "dead",
                Err(Hang::NotTakenUp { since, limit }),
                false,
                Some("[-]syncloop failed: work waits and none was taken up for 121s"),
            ),
            ("no runtime", Ok(()), true, Some("[-]runtime failed: no container runtime answers")),
        ];
        for (why, moves, away, expected) in cases {
            let runtime = FakeRuntime::default();
            runtime.set_away(away);
            let got = check(&Manager(moves), &runtime).await.err().map(|err| err.to_string());
            let as_expected = match (&got, expected) {
                (Some(got), Some(expected)) => got.starts_with(expected),
                (got, expected) => got.is_none() && expected.is_none(),
            };
            assert!(as_expected, "{why}: {got:?}");
        }
    }
}
