//! The seats of a request: waited for, held while it is at work, given back when dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corten_api::ApiError;

use super::engine::{Arrival, Level, Schema};
use super::queueset::{Rejection, RequestId};
use super::{Inner, QUEUE_WAIT_MAX};

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// A hash of the flow it belongs to.
    pub(super) flow: u64,
    pub(super) seats: u32,
    pub(super) is_write: bool,
}

/// A request's seats. They are given back when this is dropped, wherever the request ends.
#[derive(Debug)]
pub struct Seat {
    server: Arc<Inner>,
    level: Arc<Level>,
    schema: Arc<Schema>,
    admission: Admission,
    held: Option<Held>,
}

/// A request that waits or is at work. Leaves when dropped: also a request whose client has gone.
#[derive(Debug)]
struct Held {
    server: Arc<Inner>,
    level: Arc<Level>,
    schema: Arc<Schema>,
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
    pub(super) async fn take(
        server: Arc<Inner>,
        level: Arc<Level>,
        schema: Arc<Schema>,
        admission: Admission,
    ) -> Result<Self, ApiError> {
        let mut seat = Self { server, level, schema, admission, held: None };
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
        let Admission { flow, seats, .. } = self.admission;
        let now = self.server.now();
        let (id, turn) = match self.level.arrive(now, flow, seats) {
            Arrival::Executing(id) => (id, None),
            Arrival::Waiting(id, turn) => (id, Some(turn)),
            Arrival::Rejected(why, retry_after_secs) => return Err(self.refused(why, retry_after_secs)),
        };
        let mut held = Held {
            server: self.server.clone(),
            level: self.level.clone(),
            schema: self.schema.clone(),
            admission: self.admission,
            id,
            since: now,
            phase: Phase::Entering,
        };
        if let Some(turn) = turn {
            held.waits();
            // Told, or its time is up: which of the two the level knows, for both may have happened.
            let _either = tokio::time::timeout(QUEUE_WAIT_MAX, turn).await;
            if !self.level.is_executing(id) {
                self.schema.metrics.waited(self.server.now().saturating_sub(now), false);
                let retry_after_secs = self.level.timed_out(self.server.now());
                return Err(self.refused(Rejection::TimeOut, retry_after_secs));
            }
        }
        held.begins();
        self.held = Some(held);
        Ok(())
    }

    fn refused(&self, why: Rejection, retry_after_secs: i32) -> ApiError {
        self.schema.metrics.rejected(why);
        ApiError::too_many_requests("Too many requests, please try again later.", retry_after_secs)
    }
}

impl Held {
    fn waits(&mut self) {
        self.phase = Phase::Waiting;
        self.schema.metrics.queued(1);
    }
    fn begins(&mut self) {
        if self.phase == Phase::Waiting {
            self.schema.metrics.queued(-1);
        }
        self.phase = Phase::AtWork;
        let now = self.server.now();
        self.schema.metrics.waited(now.saturating_sub(self.since), true);
        self.since = now;
        self.schema.metrics.begun(self.admission.seats);
        self.server.working(self.admission.is_write).fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.server.now();
        match self.phase {
            Phase::Entering => {}
            Phase::Waiting => self.schema.metrics.queued(-1),
            Phase::AtWork => {
                self.schema.metrics.done(self.admission.seats, now.saturating_sub(self.since));
                self.server.working(self.admission.is_write).fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.level.leave(now, self.id);
    }
}
