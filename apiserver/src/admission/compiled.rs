//! What is made of stored configurations, once for each of their states: by one for all who want it, and where that stalls nobody.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::aside::aside;

/// Configurations of this size take milliseconds to be read, their expressions to be compiled.
const LARGE_BYTES: usize = 32 * 1024;
/// Who compiles, of those that work aside: nobody's share is spent for all.
const COMPILER: &str = "system:apiserver";

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
    /// One compiles, and whoever wants the same waits for it.
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
        let index = aside(COMPILER, seen.bytes() > LARGE_BYTES, work).await;
        self.made.store(Arc::new(Made { of: seen.state(), index: index.clone() }));
        Some(index)
    }
    fn made(&self, of: &impl Look<State = S>) -> Option<Arc<I>> {
        let made = self.made.load();
        (made.of == of.state()).then(|| made.index.clone())
    }
}
