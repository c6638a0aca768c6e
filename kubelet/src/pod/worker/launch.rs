//! Orders about one container: making and starting it, its hooks, its signals.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corten_api::Object as _;
use corten_api::error::with_causes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use tokio::sync::mpsc;
use tracing::warn;

use super::prepare::sources;
use super::{Answer, Msg, Signals, Worker};
use crate::downward::Downward;
use crate::env::{self, EnvInput};
use crate::images::ImageHandle;
use crate::place::Place;
use crate::pod::container::{self, Parts};
use crate::pod::model::Event;
use crate::probes::run::{Target, http_hook};
use crate::runtime::{ContainerSpec, Mount, Propagation, RuntimeError, container_id};
use crate::volumes::{self, Paths};

/// A hook that hangs must not hold its container up for ever.
const POST_START_MAX: Duration = Duration::from_secs(600);
/// Tries to send a signal, each after a wait that doubles from here to there.
const SIGNAL_RETRY_FIRST: Duration = Duration::from_millis(100);
const SIGNAL_RETRY_MAX: Duration = Duration::from_secs(5);
const CONFIG_ERROR: &str = "CreateContainerConfigError";
const CREATE_ERROR: &str = "CreateContainerError";

/// Everything a launch needs, so that it can run beside the worker.
struct Launch {
    place: Arc<Place>,
    pod: Arc<Pod>,
    container: Container,
    image: ImageHandle,
    attempt: u32,
    sandbox: String,
    addresses: Vec<std::net::IpAddr>,
    paths: Paths,
    /// The container whose processes it sees.
    target: Option<String>,
}

impl Worker {
    pub(super) fn launch(&mut self, name: String, attempt: u32) {
        let found = container::find(&self.pod, &name).zip(self.images.get(&name).cloned());
        let (Some((spec, image)), Some(up)) = (found, self.machine.sandbox.done()) else {
            let message = format!("container {name} is not in the pod's spec any more");
            self.spawn(
                async move { Answer::Event(Event::CreateFailed { container: name, reason: CONFIG_ERROR, message }) },
            );
            return;
        };
        let target = match self.target_of(&name) {
            Ok(target) => target,
            Err(message) => {
                let failed = Event::CreateFailed { container: name, reason: CREATE_ERROR, message };
                self.spawn(async move { Answer::Event(failed) });
                return;
            }
        };
        let signal = container::stop_signal(&spec, &image);
        self.stop_signals.insert(name, signal);
        let launch = Launch {
            place: Arc::clone(&self.place),
            pod: Arc::clone(&self.pod),
            container: spec,
            image,
            attempt,
            sandbox: up.id.clone(),
            addresses: up.addresses.clone(),
            paths: self.paths.clone(),
            target,
        };
        let tx = self.tx.clone();
        self.spawn(async move { launch.run(tx).await });
    }

    /// The running container that a debugger looks into. It is the runtime's by its id.
    fn target_of(&self, name: &str) -> Result<Option<String>, String> {
        let debuggers = self.pod.spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten());
        let target = debuggers.filter(|c| c.name == name).find_map(|c| c.target_container_name.as_ref());
        let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
        let container = self.machine.container(target);
        let container = container.ok_or_else(|| format!("unable to find target container {target}"))?;
        let id = container.running_id().ok_or_else(|| format!("target container {target} is not running"))?;
        Ok(Some(id.to_owned()))
    }

    pub(super) fn pre_stop(&mut self, name: String, id: String, within: Duration) {
        let hook = container::find(&self.pod, &name).and_then(|c| {
            let handler = c.lifecycle.as_ref()?.pre_stop.clone()?;
            Some((c, handler))
        });
        let place = Arc::clone(&self.place);
        let addresses = self.addresses();
        self.spawn(async move {
            let failure = match hook {
                None => None,
                Some((c, handler)) => run_hook(&place, &c, &handler, &id, &addresses, within).await.err(),
            };
            Answer::Event(Event::PreStopDone { container: name, id, failure })
        });
    }

    pub(super) fn signal(&self, id: String, signal: u32) {
        let (place, tx) = (Arc::clone(&self.place), self.tx.clone());
        // A comparison orders again what a refusing runtime has not done yet: that would be one more loop each time.
        let Some(held) = OnItsWay::begin(&self.signals, &id, signal) else { return };
        self.beside(async move {
            let _held = held;
            let mut wait = SIGNAL_RETRY_FIRST;
            // Until it arrives, or the pod needs no worker any more: nobody else would send it again. The exit comes as an
            // event, and a signal to what has ended is a success.
            while let Err(err) = place.runtime.signal(&id, signal).await {
                warn!(container = id, signal, err = with_causes(&err), "could not signal; trying again");
                tokio::select! { () = tokio::time::sleep(wait) => {}, () = tx.closed() => return }
                wait = (wait * 2).min(SIGNAL_RETRY_MAX);
            }
        });
    }
}

/// Notes that a signal is being sent, until it is dropped.
struct OnItsWay {
    signals: Signals,
    key: (String, u32),
}

impl OnItsWay {
    fn begin(signals: &Signals, id: &str, signal: u32) -> Option<Self> {
        let key = (id.to_owned(), signal);
        signals.lock().insert(key.clone()).then(|| Self { signals: Arc::clone(signals), key })
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.signals.lock().remove(&self.key);
    }
}

impl Launch {
    async fn run(self, tx: mpsc::Sender<Msg>) -> Answer {
        let name = self.container.name.clone();
        let failed = |reason, message| Answer::Event(Event::CreateFailed { container: name.clone(), reason, message });
        let spec = match self.spec().await {
            Ok(spec) => spec,
            Err(message) => return failed(CONFIG_ERROR, message),
        };
        let id = {
            let _turn = match self.place.starts.acquire().await {
                Ok(turn) => turn,
                Err(err) => return failed(CREATE_ERROR, err.to_string()),
            };
            let id = match self.place.runtime.create_container(&self.sandbox, &spec).await {
                Ok(id) => id,
                // Upstream's runtimes find this out only when they start: a container that cannot run, not one that
                // cannot be made. It counts as a try, and waits as a crash does.
                Err(err @ RuntimeError::BadCommand { .. }) => {
                    let id = container_id(self.pod.uid(), &name, self.attempt);
                    let created = Event::Created { container: name.clone(), id: id.clone() };
                    // The worker is gone: nobody needs to know.
                    let _ = tx.send(Msg::Answer(Answer::Event(created))).await;
                    return Answer::Event(Event::StartFailed { container: name, id, message: with_causes(&err) });
                }
                Err(err) => return failed(CREATE_ERROR, with_causes(&err)),
            };
            let created = Event::Created { container: name.clone(), id: id.clone() };
            // The worker is gone: the recovery of the next one will find the container.
            let _ = tx.send(Msg::Answer(Answer::Event(created))).await;
            if let Err(err) = self.place.runtime.start_container(&id).await {
                return Answer::Event(Event::StartFailed { container: name, id, message: with_causes(&err) });
            }
            id
        };
        let at = Timestamp::now();
        if let Some(old) = self.attempt.checked_sub(2) {
            let (place, pod, name) = (Arc::clone(&self.place), Arc::clone(&self.pod), name.clone());
            tokio::spawn(async move { super::finish::forget_old(&place, &pod, &name, old).await });
        }
        let started = Event::Started { container: name.clone(), id: id.clone(), at };
        let hook = self.container.lifecycle.as_ref().and_then(|l| l.post_start.clone());
        let Some(hook) = hook else { return Answer::Event(started) };
        // The worker is gone: the container runs all the same, and its hook belongs to its start.
        let _ = tx.send(Msg::Answer(Answer::Event(started))).await;
        let ran = run_hook(&self.place, &self.container, &hook, &id, &self.addresses, POST_START_MAX).await;
        Answer::Event(Event::PostStart { container: name, id, failure: ran.err() })
    }

    /// The error is the message of `CreateContainerConfigError`.
    async fn spec(&self) -> Result<ContainerSpec, String> {
        let sources = sources(&self.place, &self.pod).await;
        let facts = &self.place.facts;
        let pod_spec = self.pod.spec.as_ref();
        let links = pod_spec.and_then(|s| s.enable_service_links) != Some(false);
        let downward = Downward {
            pod: &self.pod,
            pod_addresses: &self.addresses,
            node_addresses: &facts.addresses,
            node_allocatable: &facts.allocatable,
        };
        let input = EnvInput {
            sources: &sources,
            downward: &downward,
            service_variables: self.place.cluster.service_variables(self.pod.namespace(), links).await,
        };
        let environment = env::environment(&self.container, &input).map_err(|err| err.to_string())?;
        if !environment.skipped.is_empty() {
            let keys = environment.skipped.join(", ");
            let message = format!(
                "Keys [{keys}] from the EnvFrom sources were skipped since they are considered invalid environment variable names."
            );
            self.place.cluster.event(&self.pod.reference(), true, "InvalidEnvironmentVariableNames", &message);
        }
        let mut variables = environment.variables;
        if !variables.iter().any(|(name, _)| name == "HOSTNAME") {
            let host_network = pod_spec.and_then(|s| s.host_network) == Some(true);
            let hostname = match host_network {
                true => facts.node_hostname.clone(),
                false => crate::files::hostname(&self.pod, &facts.dns).0,
            };
            variables.push(("HOSTNAME".into(), hostname));
        }
        let mounts = self.mounts(&variables).await?;
        let log_path =
            self.place.pod_log_dir(&self.pod).join(&self.container.name).join(format!("{}.log", self.attempt));
        let parts = Parts {
            attempt: self.attempt,
            image: self.image.clone(),
            env: variables,
            mounts,
            log_path,
            node_memory_bytes: self.place.memory_bytes(),
            additional_gids: Vec::new(),
            seccomp_dir: facts.root_dir.join("seccomp"),
            kernel: facts.kernel,
            target: self.target.clone(),
        };
        container::spec(&self.pod, &self.container, parts).map_err(|err| err.to_string())
    }

    async fn mounts(&self, variables: &[(String, String)]) -> Result<Vec<Mount>, String> {
        let dir = self.place.pod_dir(self.pod.uid());
        let termination = termination_log(&self.place, &self.pod, &self.container.name, self.attempt);
        let (container, paths, variables) = (self.container.clone(), self.paths.clone(), variables.to_vec());
        let work = move || {
            let known: HashMap<&str, &str> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let expand = |text: &str| env::expand_path(text, |name| known.get(name).copied());
            let mut mounts =
                volumes::container_mounts(&container, &paths, &dir, expand).map_err(|err| err.to_string())?;
            let taken = |path: &str| mounts.iter().any(|m| m.container_path == std::path::Path::new(path));
            let mut ours = Vec::new();
            for (file, path) in
                [("etc-hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")]
            {
                if !taken(path) {
                    ours.push(file_mount(dir.join(file), path));
                }
            }
            make_termination_log(&termination)
                .map_err(|err| format!("cannot make the termination message file: {err}"))?;
            let path = container.termination_message_path.as_deref().unwrap_or(container::TERMINATION_LOG_DEFAULT);
            ours.push(file_mount(termination, path));
            mounts.extend(ours);
            Ok(mounts)
        };
        tokio::task::spawn_blocking(work).await.map_err(|err| format!("mounting was interrupted: {err}"))?
    }
}

fn file_mount(host_path: PathBuf, path: &str) -> Mount {
    Mount { host_path, container_path: path.into(), read_only: false, propagation: Propagation::None }
}

/// Where a container's termination message is on the node.
pub(super) fn termination_log(place: &Place, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    place.pod_dir(pod.uid()).join("containers").join(container).join(attempt.to_string())
}

/// Any user of the container may write it.
fn make_termination_log(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, b"")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}

/// Runs a postStart or preStop hook. The error is for the log and the event.
async fn run_hook(
    place: &Place,
    container: &Container,
    hook: &LifecycleHandler,
    id: &str,
    addresses: &[std::net::IpAddr],
    within: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let done = place.runtime.exec_sync(id, &command, within).await.map_err(|err| with_causes(&err))?;
        return match done.exit_code {
            0 => Ok(()),
            code => Err(format!("command ended with {code}: {}", String::from_utf8_lossy(&done.output))),
        };
    }
    if let Some(get) = &hook.http_get {
        let ip = addresses.first().ok_or("the pod has no address")?;
        let target = Target::http(get, container, *ip).ok_or("the hook's port is not known")?;
        return http_hook(&target, within).await;
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(crate::pod::plan::seconds(sleep.seconds).min(within)).await;
        return Ok(());
    }
    Err("the hook names nothing to do".into())
}
