//! containerd's tasks: starting, killing, waiting for and deleting the processes of sandboxes and containers.

use std::time::Duration;

use containerd_client::services::v1::{
    CloseIoRequest, CreateTaskRequest, DeleteContainerRequest, DeleteProcessRequest, DeleteTaskRequest, GetRequest,
    KillRequest, StartRequest, WaitRequest,
};
use containerd_client::types::v1::{Process, Status};

use super::rpc::{Rpc, gone_is_fine};
use super::{Containerd, RuntimeError};

const SIGKILL: u32 = 9;
/// The kernel needs no longer to end a killed process, unless it hangs in a device or a file server.
const END_AFTER_KILL_MAX: Duration = Duration::from_secs(30);

/// While containerd is away what must be done is asked for again.
const AWAY_RETRY: Duration = Duration::from_millis(200);
const AWAY_RETRIES_MAX: usize = 50;

/// A shim that ends refuses what it is asked so often at most: each time it is given [`SHIM_GOES_WITHIN`].
const ASKED_MAX: u32 = 20;
const SHIM_GOES_WITHIN: Duration = Duration::from_millis(50);

/// Asks again while the answer comes from a shim on its way out. All containers of a pod have one shim, which goes with the
/// last task: the next try finds a new one, or no task.
async fn past_a_shim_that_goes<T, F>(ask: impl Fn() -> F) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    for _ in 1..ASKED_MAX {
        match ask().await {
            Err(RuntimeError::ShimGone { .. }) => tokio::time::sleep(SHIM_GOES_WITHIN).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Asks again while nobody answers, to a bound.
async fn past_an_absence<F>(ask: impl Fn() -> F) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    for _ in 1..AWAY_RETRIES_MAX {
        match ask().await {
            Err(RuntimeError::Unavailable { .. }) => tokio::time::sleep(AWAY_RETRY).await,
            answer => return answer,
        }
    }
    ask().await
}

impl Containerd {
    pub(super) async fn create_task(&self, request: CreateTaskRequest) -> Result<u32, RuntimeError> {
        let id = request.container_id.clone();
        // What is made after an init container's end comes while the shim goes.
        let made = past_a_shim_that_goes(|| {
            let (mut client, request) = (self.rpc().client().tasks(), Rpc::request(request.clone()));
            let id = &id;
            async move { self.rpc().ask("making the process", id, client.create(request)).await }
        });
        let pid = made.await?.pid;
        self.update_known(&id, |known| known.pid = Some(pid));
        Ok(pid)
    }

    /// `exec_id` is empty for the container's own process, as everywhere below.
    pub(super) async fn start_process(&self, id: &str, exec_id: &str) -> Result<u32, RuntimeError> {
        let request = StartRequest { container_id: id.into(), exec_id: exec_id.into() };
        let mut client = self.rpc().client().tasks();
        Ok(self.rpc().ask("starting the process", id, client.start(Rpc::request(request))).await?.pid)
    }

    /// `None`: there is no process.
    pub(super) async fn task(&self, id: &str) -> Result<Option<Process>, RuntimeError> {
        let request = GetRequest { container_id: id.into(), exec_id: String::new() };
        let mut client = self.rpc().client().tasks();
        match self.rpc().ask("asking for the process", id, client.get(Rpc::request(request))).await {
            Ok(found) => Ok(found.process),
            Err(RuntimeError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The pid, if it runs. One that was made and never started does not.
    pub(super) async fn running_pid(&self, id: &str) -> Result<Option<u32>, RuntimeError> {
        let found = self.task(id).await?;
        Ok(found.filter(|p| p.status == Status::Running as i32).map(|p| p.pid))
    }

    pub(super) async fn kill(&self, id: &str, exec_id: &str, signal: u32) -> Result<(), RuntimeError> {
        let all = signal == SIGKILL && exec_id.is_empty();
        let request = KillRequest { container_id: id.into(), exec_id: exec_id.into(), signal, all };
        let mut client = self.rpc().client().tasks();
        over_is_fine(self.rpc().ask("signalling", id, client.kill(Rpc::request(request))).await)
    }

    /// Waits for the end and returns the exit code.
    pub(super) async fn wait(&self, id: &str, exec_id: &str) -> Result<u32, RuntimeError> {
        let request = WaitRequest { container_id: id.into(), exec_id: exec_id.into() };
        let mut client = self.rpc().client().tasks();
        // No bound here: a process may run for months.
        let answer = client.wait(Rpc::request(request)).await;
        answer.map(|r| r.into_inner().exit_status).map_err(|status| self.rpc().error("waiting for the end", id, status))
    }

    pub(super) async fn delete_process(&self, id: &str, exec_id: &str) -> Result<(), RuntimeError> {
        let request = DeleteProcessRequest { container_id: id.into(), exec_id: exec_id.into() };
        let mut client = self.rpc().client().tasks();
        gone_is_fine(
            self.rpc().ask("deleting the process", id, client.delete_process(Rpc::request(request))).await.map(drop),
        )
    }

    /// Ends the process's standard input; one that has ended has none. A process that is not told may wait for its end for
    /// ever, so this is tried while containerd is away.
    pub(super) async fn close_stdin(&self, id: &str, exec_id: &str) -> Result<(), RuntimeError> {
        let close = || async {
            let request = CloseIoRequest { container_id: id.into(), exec_id: exec_id.into(), stdin: true };
            let mut client = self.rpc().client().tasks();
            self.rpc().ask("closing the input of the process", id, client.close_io(Rpc::request(request))).await
        };
        over_is_fine(past_an_absence(close).await)
    }

    /// Kills the container's process if it runs, and takes it away.
    pub(super) async fn end_task(&self, id: &str) -> Result<(), RuntimeError> {
        match self.delete_task(id).await {
            Err(refused) if refused.is_refusal() => {}
            other => return other,
        }
        self.kill(id, "", SIGKILL).await?;
        let ended = tokio::time::timeout(END_AFTER_KILL_MAX, self.wait(id, "")).await;
        over_is_fine(ended.unwrap_or(Err(RuntimeError::Timeout { after: END_AFTER_KILL_MAX })).map(drop))?;
        self.delete_task(id).await
    }

    pub(super) async fn delete_task(&self, id: &str) -> Result<(), RuntimeError> {
        let deleted = past_a_shim_that_goes(|| {
            let mut client = self.rpc().client().tasks();
            let request = Rpc::request(DeleteTaskRequest { container_id: id.into() });
            async move { self.rpc().ask("deleting the process", id, client.delete(request)).await.map(drop) }
        });
        gone_is_fine(deleted.await)
    }

    pub(super) async fn delete_object(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.rpc().client().containers();
        let request = Rpc::request(DeleteContainerRequest { id: id.into() });
        gone_is_fine(self.rpc().ask("deleting the container", id, client.delete(request)).await)
    }
}

/// What has ended, or is gone, needs no signal and no waiting for.
pub(super) fn over_is_fine(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match gone_is_fine(result) {
        Err(RuntimeError::ProcessOver { .. } | RuntimeError::ShimGone { .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn away() -> RuntimeError {
        RuntimeError::Unavailable { address: "a".into(), source: "away".into() }
    }
    fn refused() -> RuntimeError {
        RuntimeError::Refused { doing: "closing", message: "no space".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_waited_out_to_a_bound_and_a_refusal_is_not() {
        let asked = Cell::new(0);
        let back_after = |answers: usize| {
            asked.set(0);
            let asked = &asked;
            past_an_absence(move || async move {
                asked.set(asked.get() + 1);
                if asked.get() > answers { Ok(()) } else { Err(away()) }
            })
        };
        assert!(back_after(3).await.is_ok());
        assert_eq!(asked.get(), 4);
        assert!(matches!(back_after(usize::MAX).await, Err(RuntimeError::Unavailable { .. })));
        assert_eq!(asked.get(), AWAY_RETRIES_MAX);
        assert!(matches!(past_an_absence(|| async { Err(refused()) }).await, Err(RuntimeError::Refused { .. })));
    }

    #[test]
    fn what_is_over_needs_nothing_more() {
        let over = |doing, message: &str| RuntimeError::ProcessOver { doing, message: message.into() };
        let cases = [
            (RuntimeError::NotFound { id: "c".into() }, true),
            (over("signalling", "process already finished"), true),
            (RuntimeError::ShimGone { doing: "signalling", message: "ttrpc: closed".into() }, true),
            (refused(), false),
            (away(), false),
        ];
        for (error, fine) in cases {
            let said = error.to_string();
            assert_eq!(over_is_fine(Err(error)).is_ok(), fine, "{said}");
        }
    }
}
