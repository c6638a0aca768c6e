//! Work that keeps a thread busy for long: done where it stalls nobody.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// A list with more objects than this takes milliseconds to be made into a table, or YAML.
pub const LARGE_LIST: usize = 500;
/// So does a body of this size to be read.
pub const LARGE_BODY_BYTES: usize = 256 * 1024;
/// At once: each takes a thread of its own. Others wait.
const ASIDE_MAX: usize = 8;

static PLACES: Semaphore = Semaphore::const_new(ASIDE_MAX);

/// Runs `work`. If it `is_large`, the other tasks of this thread are handed to another one meanwhile.
pub async fn aside<F: Future>(is_large: bool, work: F) -> F::Output {
    let handle = Handle::current();
    // A runtime with one thread (a test's) has no other.
    if !is_large || handle.runtime_flavor() != RuntimeFlavor::MultiThread {
        return work.await;
    }
    // The semaphore is never closed.
    let _place = PLACES.acquire().await.ok();
    tokio::task::block_in_place(|| handle.block_on(work))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
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
        let busy = tokio::spawn(aside(true, async move {
            let began = Instant::now();
            while !over.load(Ordering::Acquire) && began.elapsed() < Duration::from_secs(10) {
                std::hint::spin_loop();
            }
            over.load(Ordering::Acquire)
        }));
        assert!(busy.await.unwrap(), "another task ran meanwhile");
        others.await.unwrap();
    }
}
