//! Who may have how many questions on their way to the resolvers, so that one pod's cannot starve another's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Questions of one source on their way at once: with this many that no resolver answers, it still gets ten answers a
/// second.
pub const ASKED_PER_SOURCE: usize = 16;
/// Further questions of a source that wait for these, in order; more are refused.
pub const WAITING_PER_SOURCE: usize = 64;
/// Questions of all sources on their way at once: each takes a socket. Sources take turns here, as none can have more than its
/// share in the row.
pub const ASKED_MAX: usize = 512;
/// Questions that wait or are on their way, from all sources: far more than the pods of a node can have.
pub const INSIDE_MAX: usize = 16_384;
/// Who has waited so long has asked again already.
const WAIT_MAX: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Shares {
    all: Semaphore,
    sources: Mutex<Sources>,
}

#[derive(Debug, Default)]
struct Sources {
    by_address: HashMap<IpAddr, Source>,
    inside: usize,
}

#[derive(Debug)]
struct Source {
    places: Arc<Semaphore>,
    inside: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { all: Semaphore::new(ASKED_MAX), sources: Mutex::default() }
    }
}

/// A question's place; dropped when it is answered or given up.
#[derive(Debug)]
pub struct Share<'a> {
    _all: SemaphorePermit<'a>,
    _own: OwnedSemaphorePermit,
    _inside: Inside<'a>,
}

#[derive(Debug)]
struct Inside<'a> {
    shares: &'a Shares,
    source: IpAddr,
}

impl Shares {
    /// Waits for a place; `None` if the source has too many questions already, or waited too long.
    pub async fn enter(&self, source: IpAddr) -> Option<Share<'_>> {
        let (inside, places) = self.count(source)?;
        let waited = tokio::time::timeout(WAIT_MAX, async {
            let own = places.acquire_owned().await.ok()?;
            Some((own, self.all.acquire().await.ok()?))
        });
        let (own, all) = waited.await.ok()??;
        Some(Share { _all: all, _own: own, _inside: inside })
    }

    fn count(&self, address: IpAddr) -> Option<(Inside<'_>, Arc<Semaphore>)> {
        let mut sources = self.sources.lock();
        if sources.inside >= INSIDE_MAX {
            return None;
        }
        let new = || Source { places: Arc::new(Semaphore::new(ASKED_PER_SOURCE)), inside: 0 };
        let source = sources.by_address.entry(address).or_insert_with(new);
        if source.inside >= ASKED_PER_SOURCE + WAITING_PER_SOURCE {
            return None;
        }
        source.inside += 1;
        let places = Arc::clone(&source.places);
        sources.inside += 1;
        Some((Inside { shares: self, source: address }, places))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut sources = self.shares.sources.lock();
        sources.inside -= 1;
        let Some(source) = sources.by_address.get_mut(&self.source) else { return };
        source.inside -= 1;
        if source.inside == 0 {
            sources.by_address.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn pod(n: u8) -> IpAddr {
        [10, 244, 1, n].into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_has_its_share_and_no_more() {
        let shares = Shares::default();
        let mut had = Vec::new();
        for _ in 0..ASKED_PER_SOURCE {
            had.push(shares.enter(pod(1)).await.unwrap());
        }
        let next = shares.enter(pod(1));
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending(), "waits for one of its own");
        assert!(shares.enter(pod(2)).await.is_some(), "another source does not");
        had.pop();
        assert!(next.await.is_some());
        let many = join_all((0..1000).map(|_| shares.enter(pod(3)))).await;
        assert_eq!(many.iter().flatten().count(), ASKED_PER_SOURCE, "the others were refused, or gave up");
        drop((many, had));
        let left = shares.sources.lock();
        assert_eq!((left.by_address.len(), left.inside), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_places_are_taken_a_newcomer_is_next_but_for_what_waits_already() {
        let shares = Shares::default();
        let crowd = (ASKED_MAX / ASKED_PER_SOURCE) as u8 + 1;
        let mut had = Vec::new();
        for n in 0..crowd - 1 {
            for _ in 0..ASKED_PER_SOURCE {
                had.push(shares.enter(pod(n)).await.unwrap());
            }
            // tokio has a task wait after many steps without a pause, whatever it waits for.
            tokio::task::yield_now().await;
        }
        let waiting = shares.enter(pod(crowd));
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        // The first place that comes free is the newcomer's, though its holder asks on.
        had.remove(0);
        let again = shares.enter(pod(0));
        tokio::pin!(again);
        assert!(futures::poll!(&mut again).is_pending());
        assert!(futures::poll!(&mut waiting).is_ready());
    }
}
