//! Admission policies: expressions in CEL that refuse and change writes, without anybody being asked over the network, unless a
//! webhook has to convert what they look at.
//!
//! - [`index`]: the policies that bindings put to use, compiled, made once for each change of one; what has not changed is kept
//! - `params`: the objects that parametrize a policy; of a kind that comes later a policy knows as soon as it is served; `parsed`
//!   keeps what was read of them
//! - `invocations`: which of them are asked about a write, with which binding and which parameters
//! - `told`: what the expressions see; `scope`: the variables, which are evaluated when they are first asked for; pure
//! - `judge`, `change`: what comes of one policy; pure
//! - `validating`, `mutating`: who is asked, and what becomes of the request then
//!
//! Everything has a bound: a call and all calls of a policy by upstream's costs, memory and steps by those of CEL, and all that are
//! asked at once by [`TIME_MAX`], which stands still while a webhook converts. What takes longer than [`INLINE_MAX`] is done once more,
//! aside, where it stalls nobody.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>,
//! <https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/>

mod change;
pub mod index;
mod invocations;
mod judge;
mod mutating;
mod params;
mod parsed;
mod scope;
#[cfg(test)]
mod tests;
mod told;
mod validating;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use corten_api::{ApiError, Reason};

use self::index::{Index, Stored};
use super::asking::Asking;
use super::compiled::{Compiled, Look};
use super::rounds::Rounds;
use crate::registry::AnyObject;

/// Of all policies that are asked at once about one write: those that change it, once or twice, and those that judge it.
const TIME_MAX: Duration = Duration::from_secs(10);
/// On a thread that others wait for.
const INLINE_MAX: Duration = Duration::from_millis(2);

/// How all policies are gone through.
#[derive(Clone, Copy)]
enum Pass {
    /// On a thread that others wait for.
    Inline,
    /// From the beginning, where it stalls nobody.
    Aside,
}

impl Pass {
    fn time_max(self) -> Duration {
        match self {
            Self::Inline => INLINE_MAX,
            Self::Aside => TIME_MAX,
        }
    }
}

/// Nothing is let through, whatever the policies say of their failures: whoever writes could make one take all of the time.
fn took_too_long() -> ApiError {
    ApiError::new(Reason::Timeout, format!("admission policies took longer than {} s", TIME_MAX.as_secs()))
}

/// When the time for something is over.
struct Clock {
    begun: Instant,
    time_max: Duration,
    /// For others, whose time is not the policies'.
    waited_micros: AtomicU64,
    has_ended: AtomicBool,
}

impl Clock {
    fn new(time_max: Duration) -> Self {
        Self { begun: Instant::now(), time_max, waited_micros: AtomicU64::new(0), has_ended: AtomicBool::new(false) }
    }
    fn is_over(&self) -> bool {
        // Whoever was told so once has left something out.
        if self.has_ended.load(Ordering::Relaxed) {
            return true;
        }
        let waited = Duration::from_micros(self.waited_micros.load(Ordering::Relaxed));
        let is_over = self.begun.elapsed().saturating_sub(waited) > self.time_max;
        self.has_ended.store(is_over, Ordering::Relaxed);
        is_over
    }
    /// Stands still while somebody else is waited for.
    async fn beside<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
            return done;
        }
        let begun = Instant::now();
        let done = work.await;
        let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.fetch_add(waited, Ordering::Relaxed);
        done
    }
}

/// What tells one state of the policies from another: how many there are of each kind, and the revision of the last written.
pub type State = [(usize, i64); 4];

/// The policies of a cluster. Cheap to ask where there are none.
#[derive(Debug, Default)]
pub struct Policies(Compiled<State, Index>);

impl Policies {
    /// Those of the objects as `look` finds them. They are read only if they are in another state than before.
    pub async fn index<L>(&self, look: impl Fn() -> Option<L>) -> Option<Arc<Index>>
    where
        L: Look<State = State, Read = Stored>,
    {
        self.0.of(look, Index::compile).await
    }
}

impl Index {
    /// Asks those that change objects, one after the other. Whether one has.
    pub async fn mutate(
        &self,
        asking: &Asking<'_>,
        object: &mut Box<dyn AnyObject>,
        rounds: &mut Rounds,
    ) -> Result<bool, ApiError> {
        if self.mutating.is_empty() {
            return Ok(false);
        }
        Box::pin(mutating::ask(self, asking, object, rounds)).await
    }

    /// Asks those that judge.
    pub async fn validate(
        &self,
        asking: &Asking<'_>,
        object: Option<&dyn AnyObject>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        if self.validating.is_empty() {
            return Ok(());
        }
        Box::pin(validating::ask(self, asking, object, warnings)).await
    }
}
