//! The seats of a request: waited for, held while it is at work, given back when dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corten_api::ApiError;

use super::engine::Schema;
use super::level::{Arrival, Level};
use super::queueset::{Rejection, RequestId};
use super::request_digest::RequestDigest;
use super::{Inner, QUEUE_WAIT_MAX};

/// What a request asks for, and of whom. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) server: Arc<Inner>,
    pub(super) level: Arc<Level>,
    pub(super) schema: Arc<Schema>,
    /// A hash of the flow it belongs to.
    pub(super) flow: u64,
    pub(super) seats: u32,
    pub(super) is_write: bool,
    pub(super) is_watch: bool,
    pub(super) digest: Arc<RequestDigest>,
}

/// A request's seats. They are given back when this is dropped, wherever the request ends.
#[derive(Debug)]
pub struct Seat {
    admission: Admission,
    held: Option<Held>,
}

/// A request that waits or is at work. Leaves when dropped: also a request whose client has gone.
#[derive(Debug)]
struct Held {
    admission: Admission,
    id: RequestId,
    /// When its phase began.
    since: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Entering,
    Waiting,
    AtWork,
}

impl Seat {
    pub(super) async fn take(admission: Admission) -> Result<Self, ApiError> {
        let mut seat = Self { admission, held: None };
        seat.retake().await?;
        Ok(seat)
    }

    /// Gives the seats back while the request waits for its client.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Takes seats again after [`Self::release`]; as [`super::FlowControl::admit`].
    pub async fn retake(&mut self) -> Result<(), ApiError> {
        if self.held.is_some() {
            return Ok(());
        }
        let Admission { server, level, schema, flow, seats, digest, .. } = &self.admission;
        let now = server.now();
        let (id, turn) = match level.arrive(now, *flow, *seats, digest, &schema.metrics) {
            Arrival::Executing(id) => (id, None),
            Arrival::Waiting(id, turn) => (id, Some(turn)),
            Arrival::Rejected(why, retry_after_secs) => return Err(self.refused(why, retry_after_secs)),
        };
        let mut held = Held { admission: self.admission.clone(), id, since: now, phase: Phase::Entering };
        if let Some(turn) = turn {
            held.waits();
            // Told, or its time is up: which of the two the level knows, for both may have happened.
            let _either = tokio::time::timeout(QUEUE_WAIT_MAX, turn).await;
            if !level.is_executing(id) {
                schema.metrics.waited(server.now().saturating_sub(now), false);
                let retry_after_secs = level.timed_out(server.now());
                return Err(self.refused(Rejection::TimeOut, retry_after_secs));
            }
        }
        held.begins();
        self.held = Some(held);
        Ok(())
    }

    fn refused(&self, why: Rejection, retry_after_secs: i32) -> ApiError {
        self.admission.schema.metrics.rejected(why);
        ApiError::too_many_requests("Too many requests, please try again later.", retry_after_secs)
    }
}

impl Held {
    fn waits(&mut self) {
        self.phase = Phase::Waiting;
        self.queued(1);
    }
    fn queued(&self, change: i64) {
        self.admission.schema.metrics.queued(change, self.admission.seats);
    }
    fn begins(&mut self) {
        if self.phase == Phase::Waiting {
            self.queued(-1);
        }
        self.phase = Phase::AtWork;
        let Admission { server, schema, seats, is_write, .. } = &self.admission;
        let now = server.now();
        schema.metrics.waited(now.saturating_sub(self.since), true);
        self.since = now;
        schema.metrics.begun(*seats);
        server.working(*is_write).fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Admission { server, level, schema, seats, is_write, is_watch, .. } = &self.admission;
        let now = server.now();
        match self.phase {
            Phase::Entering => {}
            Phase::Waiting => self.queued(-1),
            Phase::AtWork => {
                schema.metrics.done(*seats, now.saturating_sub(self.since), *is_watch);
                server.working(*is_write).fetch_sub(1, Ordering::Relaxed);
            }
        }
        level.leave(now, self.id);
    }
}
