//! The thread that competes for a lease and renews it: no work of the program can delay it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::client::Client;
use crate::panics;

const STACK_BYTES: usize = 1 << 20;
/// A runtime that starts no task for this long does no work either, so another instance should lead. Far longer than
/// any burst of work takes: a leader that is only slow keeps its lease.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often the runtime is asked whether it starts tasks.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// Competes for the lease `key` until `stop`, and runs `work` on the caller's runtime whenever it leads. `work` gets a
/// client whose writes are refused once this leadership is over, and a token that is cancelled when it ends. On `stop` no
/// write begins any more, neither of its decisions that are made nor of new ones; once those under way have ended it is
/// dropped where it stands, and the lease is given up. Work that ends by itself, or panics, gives the lease up for another to
/// try, and begins anew with back-off. When the lease is lost it is dropped at once, as another may lead
/// already: what must not outlive it belongs to its future. The next term's work begins once that of the last one is gone.
///
/// The lease is renewed by a thread of its own over a connection of its own: a leader that is slow because it has too
/// much to do stays the leader, as its successor would have no less to do.
pub async fn lead<F: Future<Output = ()> + Send + 'static>(
    client: &Client,
    key: &Key,
    identity: &str,
    stop: &CancellationToken,
    mut work: impl FnMut(Client, CancellationToken) -> F + Send + 'static,
) -> io::Result<()> {
    let of_work = client.clone();
    let mut candidate = super::Candidate::new(&renewing(client), key, identity);
    let (key, stop) = (key.clone(), stop.clone());
    let mut terms = Terms::new(Handle::current(), move |(client, leading)| work(client, leading));
    on_own_thread(move |runtime| {
        let begin = |super::Term { fence, ends: super::Ends { leading, lost, writes } }| {
            terms.begin((of_work.fenced(&fence, lost, writes), leading))
        };
        runtime.block_on(super::compete(&mut candidate, &key, &stop, begin));
    })
    .await
}

/// As [`lead`], by a task of the caller's runtime: a simulation's time is that of one thread.
#[cfg(feature = "test-support")]
pub async fn lead_in_place<F: Future<Output = ()> + Send + 'static>(
    client: &Client,
    key: &Key,
    identity: &str,
    stop: &CancellationToken,
    mut work: impl FnMut(Client, CancellationToken) -> F + Send + 'static,
) {
    let mut terms = Terms::new(Handle::current(), move |(client, leading)| work(client, leading));
    let begin = |super::Term { fence, ends: super::Ends { leading, lost, writes } }| {
        terms.begin((client.fenced(&fence, lost, writes), leading))
    };
    let mut candidate = super::Candidate::new(&renewing(client), key, identity);
    super::compete(&mut candidate, key, stop, begin).await;
}

/// The client that a lease is held with. A refusal for the server's load must reach [`super::keep`] at once: waited for
/// inside a call, it would use up the time in which the lease could still be renewed.
pub(crate) fn renewing(client: &Client) -> Client {
    client.separate().without_busy_retries()
}

/// Runs `body` on a new thread with a runtime of its own; returns when it ends.
async fn on_own_thread(body: impl FnOnce(&tokio::runtime::Runtime) + Send + 'static) -> io::Result<()> {
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name("lease".into()).stack_size(STACK_BYTES).spawn(move || {
        let result = Builder::new_current_thread().enable_all().build().map(|runtime| body(&runtime));
        // Nobody listens any more only if the whole program ends.
        tell.send(result).ok();
    })?;
    ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread that renews the lease has panicked")))
}

/// Makes terms, whose work runs on the program's runtime.
struct Terms<W> {
    main: Handle,
    /// Held by a term's work: a task that was aborted may still run for a moment.
    place: Arc<Mutex<()>>,
    work: W,
}

impl<W> Terms<W> {
    fn new(main: Handle, work: W) -> Self {
        Self { main, place: Arc::default(), work }
    }

    /// Aborts the work when it is dropped. `term` is what the work is given.
    fn begin<T, F>(&mut self, term: T) -> impl Future<Output = ()> + Send + use<T, F, W>
    where
        F: Future<Output = ()> + Send + 'static,
        W: FnMut(T) -> F,
    {
        let work = {
            // What the work spawns belongs to the program's runtime.
            let _main = self.main.enter();
            (self.work)(term)
        };
        let (main, place) = (self.main.clone(), Arc::clone(&self.place));
        let mut working = JoinSet::new();
        working.spawn_on(
            async move {
                let _place = place.lock_owned().await;
                panics::catch_future("leader", work).await
            },
            &main,
        );
        async move {
            tokio::select! {
                ended = working.join_next() => if let Some(Ok(Err(panicked))) = ended {
                    error!(%panicked, "the work of the leader");
                },
                () = stuck(&main) => {
                    error!("no task was started for {STUCK_AFTER:?}: this instance gives way to another");
                    std::process::exit(1);
                }
            }
        }
    }
}

/// Returns once the runtime has started no task for too long.
async fn stuck(main: &Handle) {
    while tokio::time::timeout(STUCK_AFTER, main.spawn(std::future::ready(()))).await.is_ok() {
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use corten_api::ApiError;

    use super::super::{Ends, Hold, lead_once};
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    struct Counted(Arc<AtomicUsize>);

    impl Hold for Counted {
        async fn try_hold(&mut self) -> Result<bool, ApiError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        }

        async fn release(&mut self) -> Result<(), ApiError> {
            Ok(())
        }

        fn fence(&self) -> corten_proto::api::Fence {
            Default::default()
        }

        fn end_term(&mut self) {}
    }

    /// The program's only thread does nothing but wait for renewals, as one that is busy would.
    #[tokio::test]
    async fn a_program_without_a_free_thread_still_renews_its_lease() {
        let renewals = Arc::new(AtomicUsize::new(0));
        let (hold, seen, stop) = (Counted(Arc::clone(&renewals)), Arc::clone(&renewals), CancellationToken::new());
        let began = Instant::now();
        let work = move |_: CancellationToken| {
            let seen = Arc::clone(&seen);
            async move {
                while seen.load(Ordering::SeqCst) < 3 && began.elapsed() < DEADLINE {
                    std::thread::yield_now();
                }
            }
        };
        let mut terms = Terms::new(Handle::current(), work);
        let ended = on_own_thread(move |runtime| {
            let mut hold = hold;
            let now = tokio::time::Instant::now();
            let ends = Ends::with(&stop);
            let working = terms.begin(ends.leading.clone());
            runtime.block_on(lead_once(&mut hold, now, &stop, &ends, working));
        });
        ended.await.unwrap();
        assert!(renewals.load(Ordering::SeqCst) >= 3, "not renewed in {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_next_term_begins_once_the_last_ones_work_is_gone() {
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        struct Leaves(Arc<AtomicUsize>);
        impl Drop for Leaves {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (counted, highest) = (Arc::clone(&at_work), Arc::clone(&most));
        let mut terms = Terms::new(Handle::current(), move |_: CancellationToken| {
            let (counted, highest) = (Arc::clone(&counted), Arc::clone(&highest));
            async move {
                highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _leaves = Leaves(counted);
                std::future::pending::<()>().await;
            }
        });
        for _ in 0..3 {
            let term = terms.begin(CancellationToken::new());
            while at_work.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            drop(term);
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
