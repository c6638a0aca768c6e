//! Work that keeps a thread busy for long: done where it stalls nobody.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::ApiError;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// A list with more objects than this takes milliseconds to be made into a table, or YAML.
pub const LARGE_LIST: usize = 500;
/// So does a body of this size to be read.
pub const LARGE_BODY_BYTES: usize = 256 * 1024;
/// At once: each takes a thread of its own. Others wait.
pub(crate) const ASIDE_MAX: usize = 8;

/// Of one user, so that nobody's large requests are all that is worked on. Its others wait for its own.
const ASIDE_PER_USER_MAX: usize = ASIDE_MAX / 2;

/// Waiting at once for somebody else, or for a place after that. Each keeps its thread, and of those a runtime has no more than 512:
/// with all of them waiting nothing would go on. More are refused.
const OUTSIDE_MAX: usize = 128;
/// Of one user.
const OUTSIDE_PER_USER_MAX: usize = OUTSIDE_MAX / 4;
/// When to come again.
const RETRY_AFTER_SECS: i32 = 1;

static PLACES: Places = Places::new();

tokio::task_local! {
    /// Of the work that is going on.
    static PLACE: Arc<Place>;
}

/// A place that somebody works at, or has given back while he waits.
struct Place {
    own: Arc<Own>,
    permits: Mutex<Option<Permits<'static>>>,
}

type Permits<'a> = (OwnedSemaphorePermit, SemaphorePermit<'a>);

/// The places, and who works or waits for one. There is an entry for a user only while he does.
struct Places {
    all: Semaphore,
    outside: Semaphore,
    by_user: Mutex<Option<HashMap<String, Arc<Own>>>>,
}

/// One user's share.
struct Own {
    places: Arc<Semaphore>,
    outside: Semaphore,
}

/// A place that is held, or waited for.
struct Held<'a, 'u> {
    places: &'a Places,
    user: &'u str,
    own: Arc<Own>,
}

impl Places {
    const fn new() -> Self {
        let (all, outside) = (Semaphore::const_new(ASIDE_MAX), Semaphore::const_new(OUTSIDE_MAX));
        Self { all, outside, by_user: Mutex::new(None) }
    }
    fn enter<'a, 'u>(&'a self, user: &'u str) -> Held<'a, 'u> {
        let mut by_user = self.by_user.lock();
        let by_user = by_user.get_or_insert_default();
        let share = || {
            let places = Arc::new(Semaphore::new(ASIDE_PER_USER_MAX));
            Arc::new(Own { places, outside: Semaphore::new(OUTSIDE_PER_USER_MAX) })
        };
        let own = by_user.entry(user.to_owned()).or_insert_with(share);
        Held { places: self, user, own: own.clone() }
    }
}

impl Own {
    /// To wait outside. `all`: for everybody. The error is the 429 of who finds no room.
    fn leave<'a>(&'a self, all: &'a Semaphore) -> Result<(SemaphorePermit<'a>, SemaphorePermit<'a>), ApiError> {
        let too_many = |_| {
            let why = "Too many large requests wait for others, please try again later.";
            ApiError::too_many_requests(why, RETRY_AFTER_SECS)
        };
        Ok((self.outside.try_acquire().map_err(too_many)?, all.try_acquire().map_err(too_many)?))
    }
}

impl<'a> Held<'a, '_> {
    /// One of the user's own places first: who waits for that is in nobody else's way.
    async fn place(&self) -> Result<Permits<'a>, AcquireError> {
        Ok((self.own.places.clone().acquire_owned().await?, self.places.all.acquire().await?))
    }
}

impl Drop for Held<'_, '_> {
    fn drop(&mut self) {
        let mut by_user = self.places.by_user.lock();
        // The map's and this one: nobody else of this user is here. Others get theirs under the same lock.
        if Arc::strong_count(&self.own) == 2
            && let Some(by_user) = by_user.as_mut()
        {
            by_user.remove(self.user);
        }
    }
}

/// Runs `work` of `user`. If it `is_large`, the other tasks of this thread are handed to another one meanwhile. Work that has a
/// place waits for no second one: all places could be held by who does.
pub async fn aside<F: Future>(user: &str, is_large: bool, work: F) -> F::Output {
    if !is_large || has_place() || !has_other_threads() {
        return work.await;
    }
    let held = PLACES.enter(user);
    // The semaphores are never closed.
    let permits = held.place().await.ok();
    let place = Arc::new(Place { own: held.own.clone(), permits: Mutex::new(permits) });
    handed_over(PLACE.scope(place, work))
}

/// As [`aside`], without a place: for work that all others who want the same wait for, with whatever places they have. All of these could
/// be theirs. Only what is done by one at a time may be done so.
pub async fn aside_for_all<F: Future>(is_large: bool, work: F) -> F::Output {
    if !is_large || has_place() || !has_other_threads() { work.await } else { handed_over(work) }
}

/// A runtime with one thread (a test's) has no other.
fn has_other_threads() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread
}

fn handed_over<F: Future>(work: F) -> F::Output {
    tokio::task::block_in_place(|| Handle::current().block_on(work))
}

/// What asks is part of work that has a place, or has given it back to wait.
fn has_place() -> bool {
    PLACE.try_with(|_| ()).is_ok()
}

/// Waits for somebody else, as part of work that may be aside: whoever waits is not at work, and others have its place meanwhile.
/// Where many wait so already, all in all or of this user, it is refused: with its place kept others' work would wait, too.
pub async fn outside<F: Future>(waiting: F) -> Result<F::Output, ApiError> {
    let Ok(place) = PLACE.try_with(Arc::clone) else { return Ok(waiting.await) };
    let _outside = place.own.leave(&PLACES.outside)?;
    drop(place.permits.lock().take());
    let output = waiting.await;
    let own = place.own.places.clone().acquire_owned().await.ok();
    let all = PLACES.all.acquire().await.ok();
    *place.permits.lock() = own.zip(all);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// One worker thread: whoever keeps it keeps everybody.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn large_work_stalls_nobody() {
        let over = Arc::new(AtomicBool::new(false));
        let others = {
            let over = over.clone();
            tokio::spawn(async move { over.store(true, Ordering::Release) })
        };
        let busy = tokio::spawn(aside("admin", true, async move {
            let began = Instant::now();
            while !over.load(Ordering::Acquire) && began.elapsed() < Duration::from_secs(10) {
                std::hint::spin_loop();
            }
            over.load(Ordering::Acquire)
        }));
        assert!(busy.await.unwrap(), "another task ran meanwhile");
        others.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_work_within_large_work_waits_for_no_second_place() {
        let all_have_one = Arc::new(tokio::sync::Barrier::new(ASIDE_PER_USER_MAX));
        let work = (0..ASIDE_PER_USER_MAX).map(|_| {
            let all_have_one = Arc::clone(&all_have_one);
            tokio::spawn(aside("nested", true, async move {
                all_have_one.wait().await;
                aside("nested", true, async { has_place() }).await
            }))
        });
        let done = futures::future::join_all(work.collect::<Vec<_>>());
        let done = tokio::time::timeout(Duration::from_secs(10), done).await.expect("they wait for each other");
        assert!(done.into_iter().all(|inside| inside.unwrap()));
        assert!(!has_place());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_somebody_else_leaves_its_place_to_others() {
        let (answer, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let asks = || {
            let (answer, waiting) = (answer.clone(), waiting.clone());
            tokio::spawn(aside("asks", true, async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                outside(answer.acquire_owned()).await.unwrap().unwrap().forget();
            }))
        };
        let asking: Vec<_> = (0..ASIDE_MAX).map(|_| asks()).collect();
        let deadline = Duration::from_secs(10);
        // All of one user's are there, which has places for half of them; and another one's comes and goes.
        let all_wait = async move {
            while waiting.load(Ordering::SeqCst) < ASIDE_MAX {
                tokio::task::yield_now().await;
            }
            aside("asks", true, async {}).await;
        };
        tokio::time::timeout(deadline, tokio::spawn(all_wait)).await.expect("places are free").unwrap();
        answer.add_permits(ASIDE_MAX);
        for asking in asking {
            tokio::time::timeout(deadline, asking).await.expect("it goes on").unwrap();
        }
    }

    #[tokio::test]
    async fn who_finds_no_room_to_wait_is_refused() {
        let all = Semaphore::new(OUTSIDE_PER_USER_MAX + 1);
        let places = Places::new();
        let (greedy, other) = (places.enter("greedy"), places.enter("other"));
        let flood: Vec<_> = (0..OUTSIDE_PER_USER_MAX).map(|_| greedy.own.leave(&all).unwrap()).collect();
        let refused = greedy.own.leave(&all).err().unwrap();
        assert_eq!((refused.code(), all.available_permits()), (429, 1), "he has his share");
        let last = other.own.leave(&all).unwrap();
        assert_eq!(other.own.leave(&all).err().unwrap().code(), 429, "there is no more for anybody");
        drop((flood, last));
        drop(greedy.own.leave(&all).unwrap());
    }

    #[tokio::test]
    async fn one_users_large_requests_leave_places_for_the_others() {
        let places = Places::new();
        let flood: Vec<Held<'_, '_>> = (0..ASIDE_MAX * 2).map(|_| places.enter("greedy")).collect();
        let mut working = Vec::new();
        let mut waiting = Vec::new();
        for held in &flood {
            let mut place = Box::pin(held.place());
            match futures::poll!(place.as_mut()) {
                std::task::Poll::Ready(place) => working.push(place.unwrap()),
                std::task::Poll::Pending => waiting.push(place),
            }
        }
        assert_eq!(working.len(), ASIDE_MAX / 2, "of {ASIDE_MAX}");
        let other = places.enter("other");
        let place = Box::pin(other.place());
        assert!(tokio::time::timeout(Duration::from_secs(5), place).await.is_ok(), "another user works at once");
        working.pop();
        let next = tokio::time::timeout(Duration::from_secs(5), waiting.remove(0)).await;
        assert!(next.is_ok(), "whose work is done makes room for its own next");
        drop((next, working, waiting));
        drop((flood, other));
        assert!(places.by_user.lock().as_ref().unwrap().is_empty(), "who has left is forgotten");
    }
}
