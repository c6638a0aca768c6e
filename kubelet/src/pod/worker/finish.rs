//! How containers ended, with their last words; and the orders that take a pod down.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_api::Object as _;
use corten_api::error::with_causes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tracing::warn;

use super::{Answer, Worker};
use crate::cgroup::{QOS_LEVELS, pod_path};
use crate::logs::{self, logger::rotated};
use crate::place::Place;
use crate::pod::model::{Ended, Event};
use crate::pod::status::TERMINATION_MESSAGE_MAX_BYTES;
use crate::pod::{container, inventory};
use crate::runtime::{Exit, sandbox_id};
use crate::volumes;

/// What of the log stands in for a missing termination message.
const LOG_LINES_MAX: u64 = 80;
const LOG_BYTES_MAX: usize = 2048;
/// Tries to take a pod down, each after a wait that doubles from here to there.
const RETRY_FIRST: std::time::Duration = std::time::Duration::from_millis(200);
const RETRY_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// A container that the runtime knows nothing of any more.
pub(super) fn lost(id: &str) -> Ended {
    Ended {
        id: id.into(),
        exit_code: 137,
        reason: "ContainerStatusUnknown".into(),
        message: "The container could not be located when the pod was terminated".into(),
        started_at: None,
        finished_at: Some(Timestamp::now()),
    }
}

/// The termination message of a container, by its policy.
pub(super) async fn message(place: &Place, pod: &Pod, name: &str, attempt: u32, exit_code: i32) -> String {
    let file = super::launch::termination_log(place, pod, name, attempt);
    // In a directory that no container sees: it has only the file itself.
    let written = read_end(file, TERMINATION_MESSAGE_MAX_BYTES as u64).await;
    if !written.is_empty() {
        return written;
    }
    let spec = container::find(pod, name);
    let policy = spec.and_then(|c| c.termination_message_policy);
    if policy.as_deref() != Some("FallbackToLogsOnError") || exit_code == 0 {
        return String::new();
    }
    let log = place.pod_log_dir(pod).join(name).join(format!("{attempt}.log"));
    match crate::logs::read_last(&log, LOG_LINES_MAX, LOG_BYTES_MAX).await {
        Ok(end) => String::from_utf8_lossy(whole_chars(&end)).into_owned(),
        // A container that never wrote has no last words.
        Err(crate::logs::LogError::Missing) => String::new(),
        Err(err) => {
            warn!(pod = %pod.key(), container = name, err = with_causes(&err), "cannot read a container's last words");
            String::new()
        }
    }
}

/// Without the rest of a character that was cut at the beginning.
fn whole_chars(bytes: &[u8]) -> &[u8] {
    const CONTINUES: std::ops::RangeInclusive<u8> = 0x80..=0xbf;
    let cut = bytes.iter().take(3).take_while(|b| CONTINUES.contains(b)).count();
    &bytes[cut..]
}

/// At most the last `max` bytes of a file; nothing if it cannot be read.
async fn read_end(path: PathBuf, max: u64) -> String {
    let read = move || -> std::io::Result<Vec<u8>> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(max)))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        // A container that ended without its file has no last words.
        Ok(Err(_)) | Err(_) => String::new(),
    }
}

impl Worker {
    /// Tells the machine of an exit as soon as its message is known: the logger may still be writing it.
    pub(super) fn container_exited(&mut self, id: String, exit: &Exit) {
        let mut ended = inventory::ended(&id, exit);
        let Some((name, attempt)) = self.known_as(&id) else { return self.look(Event::Exited { id, ended }) };
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        self.spawn(async move {
            ended.message = message(&place, &pod, &name, attempt, ended.exit_code).await;
            Answer::Event(Event::Exited { id, ended })
        });
    }

    /// Takes down what a pod that is over need not hold: its sandbox, its network, its volumes.
    pub(super) fn quiet(&mut self) {
        let (place, pod, disk) = (Arc::clone(&self.place), Arc::clone(&self.pod), Arc::clone(&self.disk));
        let sandboxes = self.machine.sandboxes_made();
        self.spawn(async move {
            // What is being written would make anew what is removed here; nothing else begins to be.
            let _turn = disk.lock().await;
            until_done(&pod, || stop_everything(&place, &pod, sandboxes.clone())).await;
            Answer::Event(Event::Quieted)
        });
    }

    /// Removes what is left of a deleted pod.
    pub(super) fn clear(&mut self) {
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        let sandboxes = self.machine.sandboxes_made();
        self.spawn(async move {
            until_done(&pod, || remove_everything(&place, &pod, sandboxes.clone())).await;
            Answer::Event(Event::Cleared)
        });
    }
}

/// Tries until it works: a pod that cannot be taken down now must not be forgotten.
async fn until_done<F: Future<Output = Result<(), String>>>(pod: &Pod, mut work: impl FnMut() -> F) {
    let mut wait = RETRY_FIRST;
    while let Err(why) = work().await {
        warn!(pod = %pod.key(), why, "could not take the pod down; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// `sandboxes` are the attempts that may have left something: to list what the runtime holds would cost each pod the sum
/// of all.
async fn stop_everything(place: &Arc<Place>, pod: &Arc<Pod>, sandboxes: Range<u32>) -> Result<(), String> {
    for attempt in sandboxes {
        let id = sandbox_id(pod.uid(), attempt);
        place.runtime.stop_sandbox(&id).await.map_err(|err| with_causes(&err))?;
    }
    place.network.detach(pod.uid()).await.map_err(|err| with_causes(&err))?;
    let dir = place.pod_dir(pod.uid());
    blocking(move || volumes::tear_down(&dir).map_err(|err| with_causes(&err))).await
}

async fn remove_everything(place: &Arc<Place>, pod: &Arc<Pod>, sandboxes: Range<u32>) -> Result<(), String> {
    for attempt in sandboxes {
        let id = sandbox_id(pod.uid(), attempt);
        place.runtime.remove_sandbox(&id).await.map_err(|err| with_causes(&err))?;
    }
    let (place, pod) = (Arc::clone(place), Arc::clone(pod));
    blocking(move || {
        volumes::remove_pod_dir(&place.pod_dir(pod.uid())).map_err(|err| with_causes(&err))?;
        volumes::remove_tree(&place.pod_log_dir(&pod)).map_err(|err| format!("cannot remove the pod's logs: {err}"))?;
        let Some(cgroups) = &place.cgroups else { return Ok(()) };
        // On every level: of a pod that was deleted while no kubelet ran nobody knows the QoS class any more.
        let paths = QOS_LEVELS.map(|qos| pod_path(&place.facts.cgroup_root, qos, pod.uid()));
        paths.iter().try_for_each(|path| cgroups.remove(path)).map_err(|err| with_causes(&err))
    })
    .await
}

async fn blocking(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(work).await.map_err(|err| format!("interrupted: {err}"))?
}

/// Removes the sandboxes that came before this one, with the dead containers in them; their logs stay.
pub(super) async fn forget_sandboxes(place: &Place, pod: &Pod, newest: u32) {
    for attempt in 0..newest {
        let id = sandbox_id(pod.uid(), attempt);
        if let Err(err) = place.runtime.remove_sandbox(&id).await {
            warn!(sandbox = id, err = with_causes(&err), "could not remove an old sandbox");
        }
    }
}

/// Removes a container that is older than the previous one, and its log: nobody can ask for it any more.
pub(super) async fn forget_old(place: &Place, pod: &Pod, name: &str, attempt: u32) {
    let id = crate::runtime::container_id(pod.uid(), name, attempt);
    if let Err(err) = place.runtime.remove_container(&id).await {
        warn!(container = id, err = with_causes(&err), "could not remove an old container");
    }
    let log = place.pod_log_dir(pod).join(name).join(format!("{attempt}.log"));
    let removed = tokio::task::spawn_blocking(move || remove_log(&log)).await;
    if let Err(err) = removed.map_err(std::io::Error::from).flatten() {
        warn!(container = id, %err, "could not remove an old log");
    }
}

/// With the parts that were rotated away.
fn remove_log(log: &Path) -> std::io::Result<()> {
    let Some(name) = log.file_name() else { return Ok(()) };
    let dir = match logs::place::dir_of(log) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    dir.remove(name)?;
    rotated(&dir, name)?.iter().try_for_each(|part| dir.remove(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_log_goes_with_its_rotated_parts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let names = ["0.log", "0.log.20260101T000000.000000000Z", "1.log"];
        names.iter().for_each(|name| std::fs::write(file(name), "x").unwrap());
        remove_log(&file("0.log")).unwrap();
        let left: Vec<bool> = names.iter().map(|name| file(name).exists()).collect();
        assert_eq!(left, [false, false, true]);
        remove_log(&file("0.log")).expect("what is gone needs no removing");
    }
}
