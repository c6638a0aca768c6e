//! What is made of stored configurations, once for each of their states: by one for all who want it, and where that stalls nobody.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::aside::aside_for_all;

/// Configurations of this size take milliseconds to be read, their expressions to be compiled.
const LARGE_BYTES: usize = 32 * 1024;

/// A look at the configurations.
pub trait Look {
    /// What tells one state of them from another.
    type State;
    /// All of them, as they were read.
    type Read;

    fn state(&self) -> Self::State;
    /// What they take in the store.
    fn bytes(&self) -> usize;
    fn read(&self) -> Self::Read;
}

struct Made<S, I> {
    of: S,
    index: Arc<I>,
}

/// What was made of the last state that somebody has seen.
pub(super) struct Compiled<S, I> {
    made: ArcSwap<Made<S, I>>,
    /// One compiles, and whoever wants the same waits for it, also with a place aside: it takes none.
    compiling: Mutex<()>,
}

impl<S: Default, I: Default> Default for Compiled<S, I> {
    fn default() -> Self {
        let made = Made { of: S::default(), index: Arc::new(I::default()) };
        Self { made: ArcSwap::from_pointee(made), compiling: Mutex::new(()) }
    }
}

impl<S: fmt::Debug, I> fmt::Debug for Compiled<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compiled").field(&self.made.load().of).finish()
    }
}

impl<S: PartialEq, I> Compiled<S, I> {
    /// Of the state that `look` finds; `None`: it finds none. `compile`: with what was made before, of which much may be the same.
    pub(super) async fn of<L: Look<State = S>>(
        &self,
        look: impl Fn() -> Option<L>,
        compile: impl FnOnce(&L::Read, &I) -> I,
    ) -> Option<Arc<I>> {
        if let Some(index) = self.made(&look()?) {
            return Some(index);
        }
        let _one = self.compiling.lock().await;
        let seen = look()?;
        if let Some(index) = self.made(&seen) {
            return Some(index);
        }
        let work = async { Arc::new(compile(&seen.read(), &self.made.load().index)) };
        let index = aside_for_all(seen.bytes() > LARGE_BYTES, work).await;
        self.made.store(Arc::new(Made { of: seen.state(), index: index.clone() }));
        Some(index)
    }
    fn made(&self, of: &impl Look<State = S>) -> Option<Arc<I>> {
        let made = self.made.load();
        (made.of == of.state()).then(|| made.index.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::aside::{ASIDE_MAX, aside};

    /// More than can be compiled beside other requests.
    struct Large;

    impl Look for Large {
        type State = u32;
        type Read = u32;

        fn state(&self) -> u32 {
            7
        }
        fn bytes(&self) -> usize {
            LARGE_BYTES + 1
        }
        fn read(&self) -> u32 {
            7
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_compiles_does_not_wait_for_the_places_of_who_waits_for_it() {
        let compiled: Arc<Compiled<u32, u32>> = Arc::default();
        let (have_places, is_compiling) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let waiting = (0..ASIDE_MAX).map(|n| {
            let (compiled, have_places, is_compiling) = (compiled.clone(), have_places.clone(), is_compiling.clone());
            tokio::spawn(async move {
                let work = async {
                    have_places.add_permits(1);
                    is_compiling.acquire().await.unwrap().forget();
                    compiled.of(|| Some(Large), |read, _| *read).await
                };
                aside(&format!("user-{n}"), true, work).await
            })
        });
        let waiting: Vec<_> = waiting.collect();
        let compiling = async {
            let _all = have_places.acquire_many(u32::try_from(ASIDE_MAX).unwrap()).await.unwrap();
            let looks = std::cell::Cell::new(0);
            let look = || {
                looks.set(looks.get() + 1);
                // By the second look it is who compiles.
                if looks.get() == 2 {
                    is_compiling.add_permits(ASIDE_MAX);
                }
                Some(Large)
            };
            compiled.of(look, |read, _| *read).await
        };
        let deadline = Duration::from_secs(10);
        let made = tokio::time::timeout(deadline, compiling).await.expect("it needs no place");
        assert_eq!(made.as_deref(), Some(&7));
        let made = tokio::time::timeout(deadline, join_all(waiting)).await.expect("they go on");
        assert!(made.into_iter().all(|made| made.unwrap().as_deref() == Some(&7)));
    }
}
