//! How a term begins: caches that were kept while another led catch up with all that it has written.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::client::Client;

/// Between two questions how far the cluster is, where none was answered.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Caches that follow at all need far less; those that were begun just now are filled meanwhile, and go on being so. No
/// other candidate can try as long as this lasts, and nobody does the work.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// How long /readyz says that a term could not begin: longer than it takes us to try again where nobody else leads.
const TOLD_FOR: Duration = Duration::from_secs(90);

/// Why a term could not begin: give the lease up, so that another candidate may try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverError {
    #[error("no apiserver has said within {CATCH_UP_MAX:?} how far the cluster is: look whether one answers")]
    NotTold,
    /// `kinds`: those that lag, by name.
    #[error("not seen up to revision {revision} within {CATCH_UP_MAX:?}: {kinds}; look whether these can be watched")]
    Behind { revision: i64, kinds: String },
}

/// How a term of ours stands that has not begun.
#[derive(Clone, Debug)]
enum State {
    /// It is waited for this revision, once it is known.
    Awaits(Option<i64>),
    /// It was given up at that time.
    Failed(TakeOverError, Instant),
}

/// Takes over at the beginning of each term. Cheap to clone; clones share what they tell.
#[derive(Clone, Debug, Default)]
pub struct TakeOver {
    state: Arc<Mutex<Option<State>>>,
}

impl TakeOver {
    /// To be called once the lease is ours. Asks how far the cluster is, and returns once `catch_up` has seen that revision.
    /// What the leader before has written is known then: its writes are refused since the lease is ours. Fails where that
    /// takes too long; the failure is in the log. `lagging`: the kinds that have not seen a revision, for who reads that.
    pub async fn begin<F>(
        &self,
        client: &Client,
        catch_up: impl FnOnce(i64) -> F,
        lagging: impl FnOnce(i64) -> Vec<&'static str>,
    ) -> Result<(), TakeOverError>
    where
        F: Future<Output = ()>,
    {
        self.bounded(newest(client), catch_up, lagging).await
    }

    async fn bounded<F>(
        &self,
        newest: impl Future<Output = i64>,
        catch_up: impl FnOnce(i64) -> F,
        lagging: impl FnOnce(i64) -> Vec<&'static str>,
    ) -> Result<(), TakeOverError>
    where
        F: Future<Output = ()>,
    {
        let begins = Begins::of(self);
        let began = Instant::now();
        let taking_over = async {
            let revision = newest.await;
            begins.awaits(revision);
            catch_up(revision).await;
            revision
        };
        match tokio::time::timeout(CATCH_UP_MAX, taking_over).await {
            Ok(revision) => {
                info!(revision, waited = ?began.elapsed(), "all caches have caught up: the term begins");
                Ok(())
            }
            Err(_) => {
                let err = begins.failed(lagging);
                error!(%err, "we lead, and cannot take over");
                Err(err)
            }
        }
    }

    /// For /readyz: `Err` says why a term that is ours has not begun.
    pub fn check(&self) -> Result<(), String> {
        match &*self.state.lock() {
            None => Ok(()),
            Some(State::Awaits(None)) => Err("we lead, and no apiserver has told us yet how far the cluster is".into()),
            Some(State::Awaits(Some(revision))) => {
                Err(format!("we lead, and have not seen revision {revision} of all kinds yet"))
            }
            Some(State::Failed(_, at)) if at.elapsed() > TOLD_FOR => Ok(()),
            Some(State::Failed(why, _)) => Err(format!("we could not take over: {why}")),
        }
    }
}

/// Asks until it is answered: a term does not begin on a state that may be old.
async fn newest(client: &Client) -> i64 {
    loop {
        match client.newest_revision().await {
            Ok(revision) => return revision,
            Err(err) => warn!(%err, "cannot ask how far the cluster is: the term does not begin yet"),
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// A term that begins, fails to, or is dropped before.
struct Begins<'a>(&'a TakeOver);

impl<'a> Begins<'a> {
    fn of(takeover: &'a TakeOver) -> Self {
        *takeover.state.lock() = Some(State::Awaits(None));
        Self(takeover)
    }

    fn awaits(&self, revision: i64) {
        *self.0.state.lock() = Some(State::Awaits(Some(revision)));
    }

    fn failed(&self, lagging: impl FnOnce(i64) -> Vec<&'static str>) -> TakeOverError {
        let mut state = self.0.state.lock();
        let why = match *state {
            Some(State::Awaits(Some(revision))) => {
                TakeOverError::Behind { revision, kinds: lagging(revision).join(", ") }
            }
            _ => TakeOverError::NotTold,
        };
        *state = Some(State::Failed(why.clone(), Instant::now()));
        why
    }
}

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        self.0.state.lock().take_if(|state| matches!(state, State::Awaits(_)));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn none(_: i64) -> Vec<&'static str> {
        Vec::new()
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_cannot_begin_ends_in_time_and_is_told_of() {
        let takeover = TakeOver::default();
        let began = Instant::now();
        let behind = takeover.bounded(ready(7), |_| pending(), |_| vec!["Pod", "Node"]).await;
        assert_eq!(behind, Err(TakeOverError::Behind { revision: 7, kinds: "Pod, Node".into() }));
        assert_eq!(began.elapsed(), CATCH_UP_MAX);
        let told = takeover.check().unwrap_err();
        assert!(told.contains("revision 7") && told.contains("Pod, Node"), "{told}");
        assert_eq!(takeover.bounded(pending(), |_| ready(()), none).await, Err(TakeOverError::NotTold));
        assert!(takeover.check().is_err());
        tokio::time::advance(TOLD_FOR + Duration::from_secs(1)).await;
        assert_eq!(takeover.check(), Ok(()), "another leads, or we would have tried again");
        assert_eq!(takeover.bounded(ready(8), |_| ready(()), none).await, Ok(()));
        assert_eq!(takeover.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_is_dropped_before_it_begins_is_awaited_no_more() {
        let takeover = TakeOver::default();
        let begins = takeover.bounded(ready(7), |_| pending(), none);
        assert!(tokio::time::timeout(Duration::from_secs(1), begins).await.is_err());
        assert_eq!(takeover.check(), Ok(()));
    }
}
