//! Keeps every controller running. One that ends by itself begins anew after a while; the others do not notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::{CancellationToken, panics};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info};

use crate::controller::Running;

/// The pause before a controller begins anew: short at first, then doubled.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(300);
/// Who ran this long has recovered: its next pause is short again.
const RAN_WELL: Duration = Duration::from_secs(600);

/// A controller that can be started as often as need be. It gets a token of its own, which is cancelled when it has
/// ended or has to end.
pub struct Supervised {
    pub name: &'static str,
    pub start: Box<dyn Fn(CancellationToken) -> Running + Send + Sync>,
}

/// The controllers that are down at this moment, and why. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Down {
    by_name: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Down {
    /// A term that ended leaves nothing to complain of.
    pub fn clear(&self) {
        self.by_name.lock().clear();
    }

    /// For /healthz: `Err` names those that are down.
    pub fn check(&self) -> Result<(), String> {
        let down = self.by_name.lock();
        if down.is_empty() {
            return Ok(());
        }
        Err(down.iter().map(|(name, why)| format!("{name} {why}")).collect::<Vec<_>>().join("; "))
    }
}

/// Runs the controllers until `stop`, and returns once all have ended.
pub async fn supervise(controllers: Vec<Supervised>, stop: &CancellationToken, down: &Down) {
    let mut running = JoinSet::new();
    for controller in controllers {
        running.spawn(keep(controller, stop.clone(), down.clone()));
    }
    while running.join_next().await.is_some() {}
    down.clear();
}

async fn keep(controller: Supervised, stop: CancellationToken, down: Down) {
    let name = controller.name;
    let mut pause = RESTART_FIRST;
    loop {
        let (own, began) = (stop.child_token(), Instant::now());
        let ended = panics::catch_future(name, async { (controller.start)(own.clone()).await }).await;
        own.cancel();
        if stop.is_cancelled() {
            return;
        }
        if began.elapsed() > RAN_WELL {
            pause = RESTART_FIRST;
        }
        let why = ended.err().map_or_else(|| "ended by itself".to_owned(), |panicked| panicked.to_string());
        error!(controller = name, why, ?pause, "a controller is down; it begins anew after the pause");
        down.by_name.lock().insert(name, why);
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        info!(controller = name, "begins anew");
        down.by_name.lock().remove(name);
        pause = (pause * 2).min(RESTART_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn controller(
        name: &'static str,
        run: impl Fn(CancellationToken) -> Running + Send + Sync + 'static,
    ) -> Supervised {
        Supervised { name, start: Box::new(run) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_panics_begins_anew_alone_and_healthz_says_so_meanwhile() {
        let (stop, down) = (CancellationToken::new(), Down::default());
        let starts = Arc::new([const { AtomicU64::new(0) }; 2]);
        let (of_bad, of_good) = (Arc::clone(&starts), Arc::clone(&starts));
        let bad = controller("bad", move |_| {
            of_bad[0].fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                panic!("on purpose")
            })
        });
        let good = controller("good", move |own| {
            of_good[1].fetch_add(1, Ordering::SeqCst);
            Box::pin(own.cancelled_owned())
        });
        let seen = async {
            tokio::time::sleep(Duration::from_millis(5_500)).await;
            let at_first = down.check();
            tokio::time::sleep(Duration::from_secs(3)).await;
            let later = down.check();
            tokio::time::sleep(Duration::from_secs(3600)).await;
            stop.cancel();
            (at_first, later)
        };
        let ((), (at_first, later)) = tokio::join!(supervise(vec![bad, good], &stop, &down), seen);
        assert_eq!(at_first, Err("bad panicked: on purpose".into()));
        assert_eq!(later, Ok(()), "it runs again");
        let starts = [starts[0].load(Ordering::SeqCst), starts[1].load(Ordering::SeqCst)];
        assert!(starts[0] > 5 && starts[0] < 25, "{starts:?}: pauses grow");
        assert_eq!(starts[1], 1, "the other one ran on");
        assert_eq!(down.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_whose_listener_panicked_begins_anew() {
        let (stop, down) = (CancellationToken::new(), Down::default());
        let starts = Arc::new(AtomicU64::new(0));
        let (counted, all) = (Arc::clone(&starts), stop.clone());
        let one = controller("one", move |own| {
            // The second start is that of one whose listeners are well.
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                own.cancel();
            } else {
                all.cancel();
            }
            Box::pin(own.cancelled_owned())
        });
        supervise(vec![one], &stop, &down).await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}
