//! Responses that their client does not take: after a deadline the connection ends, and what it held is free again.
//!
//! HTTP/2 lets a client ask on many streams and take nothing on any of them. hyper asks a body for its next frame once the
//! client had room for the one before, and lets go of it once there was room for the last: a body that is neither asked
//! nor let go shows such a client.
//! What lasts (watches, logs, connections to containers) is left out: who looks at a page of a log reads no further.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So long a client may leave a response where it is, or a part of it.
pub const SEND_DEADLINE: Duration = Duration::from_secs(30);

/// The responses of one connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Responses(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    /// Since when bodies lie that are neither asked for a frame nor let go. No more than the connection has streams.
    since: HashMap<u64, Instant>,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Sending {
    of: Responses,
    id: u64,
}

impl Responses {
    /// A body that can be sent.
    pub(super) fn begin(&self) -> Sending {
        let id = {
            let mut waiting = self.0.waiting.lock();
            waiting.next_id += 1;
            waiting.next_id
        };
        let sending = Sending { of: self.clone(), id };
        sending.offered();
        sending
    }

    /// Waits until some body has not been asked for its next frame for as long as `deadline`.
    pub(super) async fn stalled(&self, deadline: Duration) {
        loop {
            let first = self.0.waiting.lock().since.values().min().copied();
            match first {
                None => self.0.begun.notified().await,
                Some(first) if first.elapsed() >= deadline => return,
                Some(first) => tokio::time::sleep_until(first + deadline).await,
            }
        }
    }
}

impl Sending {
    /// A frame was taken, and the client may have the next.
    pub(super) fn offered(&self) {
        let mut waiting = self.of.0.waiting.lock();
        waiting.since.insert(self.id, Instant::now());
        let is_first = waiting.since.len() == 1;
        drop(waiting);
        if is_first {
            self.of.0.begun.notify_one();
        }
    }
    /// It has nothing to give yet: that is not the client's fault.
    pub(super) fn pending(&self) {
        self.of.0.waiting.lock().since.remove(&self.id);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.of.0.waiting.lock().since.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    async fn is_stalled(responses: &Responses, within_secs: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(within_secs), responses.stalled(DEADLINE)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_for_a_body_that_nobody_takes_and_for_no_other() {
        let responses = Responses::default();
        assert!(!is_stalled(&responses, 1000).await, "nothing to send");
        drop(responses.begin());
        assert!(!is_stalled(&responses, 1000).await, "all is sent");
        let slow = responses.begin();
        for _ in 0..5 {
            assert!(!is_stalled(&responses, 25).await, "a frame now and then");
            slow.offered();
        }
        slow.pending();
        assert!(!is_stalled(&responses, 1000).await, "it is we who are slow");
        slow.offered();
        let lying = responses.begin();
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(5)).await;
            slow.offered();
        }
        assert!(is_stalled(&responses, 6).await, "one of two is not taken");
        drop((lying, slow));
        assert!(responses.0.waiting.lock().since.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_begins_while_nothing_is_sent_is_seen() {
        let responses = Responses::default();
        let watching = responses.clone();
        let seen = tokio::spawn(async move { is_stalled(&watching, 100).await });
        tokio::task::yield_now().await;
        let lying = responses.begin();
        lying.pending();
        tokio::task::yield_now().await;
        lying.offered();
        assert!(seen.await.unwrap());
    }
}
