//! Orders that set a pod up: directories, cgroup, volumes, network, sandbox, images.

use std::path::Path;
use std::sync::Arc;

use corten_api::error::with_causes;
use corten_api::pod::Qos;
use corten_api::{Key, Object as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tracing::warn;

use super::{Answer, Fresh, REFRESH, Worker};
use crate::cgroup;
use crate::downward::Downward;
use crate::files;
use crate::images::{Ensured, ImageError, ImageRequest, PullPolicy};
use crate::network::PodRef;
use crate::place::Place;
use crate::pod::backoff::{between, go_duration};
use crate::pod::model::{Event, SandboxUp};
use crate::pod::{confinement, container};
use crate::pull_secrets;
use crate::resolv_conf;
use crate::runtime::{Network, SandboxSpec};
use crate::sources::claims::{self, ClaimRef};
use crate::sources::{Bound, ClaimError, GivenToken, SourceKind, Sources, TokenRef, references, wanted_tokens};
use crate::volumes::{self, Paths};

impl Worker {
    pub(super) fn prepare(&mut self, fresh: bool) {
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        let (addresses, disk) = (self.addresses(), Arc::clone(&self.disk));
        self.spawn(async move {
            let turn = disk.lock_owned().await;
            match set_up(&place, &pod, addresses, fresh, turn).await {
                Ok((paths, fresh)) => Answer::Prepared { paths, fresh },
                Err(why) => {
                    place.cluster.event(&pod.reference(), true, "FailedMount", &why);
                    Answer::Event(Event::PrepareFailed)
                }
            }
        });
    }

    /// Brings the volumes up to date with what they are made from, if that may have changed, and looks whether one has outgrown
    /// its limit. The apiserver is asked only after it told of a change: thousands of nodes that ask now and then are a load.
    pub(super) fn refresh(&mut self) {
        self.next_refresh = None;
        self.stale |= self.renew_at.take_if(|at| *at <= Instant::now()).is_some();
        let live = self.machine.stage == crate::pod::model::Stage::Live;
        if self.refreshing || !live || self.machine.prepared.done().is_none() {
            return;
        }
        let (made, limited) = (has_made_volumes(&self.pod), has_limited_volumes(&self.pod));
        let stale = std::mem::take(&mut self.stale) && made;
        if !stale && !limited {
            return;
        }
        let Ok(turn) = Arc::clone(&self.disk).try_lock_owned() else {
            self.stale = stale;
            self.next_refresh = Some(Instant::now() + REFRESH);
            return;
        };
        self.refreshing = true;
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        let addresses = self.addresses();
        self.spawn(async move {
            let mut fresh = None;
            if stale {
                fresh = Some(match set_up(&place, &pod, addresses, false, turn).await {
                    Ok((_, fresh)) => fresh,
                    // A volume that cannot be brought up to date keeps what it has.
                    Err(why) => {
                        place.cluster.event(&pod.reference(), true, "FailedMount", &why);
                        Fresh { outdated: true, renew_at: None }
                    }
                });
            }
            let dir = place.pod_dir(pod.uid());
            let looked = tokio::task::spawn_blocking(move || volumes::limits::exceeded(&pod, &dir)).await;
            let too_much = looked.unwrap_or_else(|err| {
                warn!(%err, "could not look whether a volume has outgrown its limit");
                None
            });
            Answer::Refreshed { too_much, fresh }
        });
    }

    /// What the volumes are made from may have changed.
    pub(super) fn sources_changed(&mut self) {
        self.stale = true;
        self.refresh();
    }

    /// The volumes were made, brought up to date, or (`None`) looked at.
    pub(super) fn refreshed(&mut self, fresh: Option<Fresh>) {
        let (changed_meanwhile, soon) = (self.stale, Instant::now() + REFRESH);
        if let Some(fresh) = fresh {
            self.stale |= fresh.outdated;
            // A clock that is ahead of the apiservers' must not make us ask all the time.
            let renewal = |at| (Instant::now() + between(Timestamp::now(), at)).max(soon);
            self.renew_at = fresh.renew_at.map(renewal);
        }
        let again = (self.stale || has_limited_volumes(&self.pod)).then_some(soon);
        self.next_refresh = again.into_iter().chain(self.renew_at).min();
        if changed_meanwhile {
            self.refresh();
        }
    }

    pub(super) fn addresses(&self) -> Vec<std::net::IpAddr> {
        self.machine.sandbox.done().map(|up| up.addresses.clone()).unwrap_or_default()
    }

    pub(super) fn make_sandbox(&mut self, attempt: u32) {
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        self.spawn(async move {
            match sandbox(&place, &pod, attempt).await {
                Ok(up) => {
                    super::finish::forget_sandboxes(&place, &pod, attempt).await;
                    Answer::Event(Event::SandboxUp(up))
                }
                Err(message) => Answer::Event(Event::SandboxFailed { message }),
            }
        });
    }

    pub(super) fn ensure_image(&mut self, name: String) {
        let (place, pod, tx) = (Arc::clone(&self.place), Arc::clone(&self.pod), self.tx.clone());
        self.spawn(async move {
            let Some(spec) = container::find(&pod, &name) else {
                let message = format!("the pod has no container {name} any more");
                return Answer::Event(Event::ImageFailed { container: name, reason: "ErrImagePull", message });
            };
            let image = spec.image.clone().unwrap_or_default();
            let policy = pull_policy(spec.image_pull_policy.as_deref(), &image);
            let present = match policy {
                PullPolicy::Always => None,
                // What fails here fails again below, where it is told.
                PullPolicy::IfNotPresent | PullPolicy::Never => place.images.find(&image).await.ok().flatten(),
            };
            if let Some(handle) = present {
                return Answer::Image { container: name, handle, message: present_message(&image) };
            }
            if policy != PullPolicy::Never {
                let pulling = Answer::Event(Event::Pulling { container: name.clone() });
                // The worker ended meanwhile: the answer below will not be heard either.
                let _ = tx.send(super::Msg::Answer(pulling)).await;
            }
            let auth = pull_secrets::of(&place, &pod).await;
            let begun = std::time::Instant::now();
            match place.images.ensure(&ImageRequest { image: image.clone(), policy, auth }).await {
                Ok(ensured) => {
                    let message = pulled_message(&image, &ensured, begun.elapsed());
                    Answer::Image { container: name, handle: ensured.handle, message }
                }
                Err(err) => {
                    let reason = image_reason(&err);
                    Answer::Event(Event::ImageFailed { container: name, reason, message: err.to_string() })
                }
            }
        });
    }
}

fn image_reason(err: &ImageError) -> &'static str {
    match err {
        ImageError::InvalidName { .. } => "InvalidImageName",
        ImageError::NeverPull { .. } => "ErrImageNeverPull",
        ImageError::NotFound { .. }
        | ImageError::Auth { .. }
        | ImageError::Network { .. }
        | ImageError::BadImage { .. }
        | ImageError::Store { .. } => "ErrImagePull",
    }
}

/// The apiserver fills the policy in; static pods come without it.
fn pull_policy(given: Option<&str>, image: &str) -> PullPolicy {
    match given {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ => {
            let last = image.rsplit('/').next().unwrap_or(image);
            let tag = last.split_once(':').map(|(_, tag)| tag);
            let latest = !last.contains('@') && tag.is_none_or(|t| t == "latest");
            if latest { PullPolicy::Always } else { PullPolicy::IfNotPresent }
        }
    }
}

fn present_message(image: &str) -> String {
    format!("Container image \"{image}\" already present on machine and can be accessed by the pod")
}

fn pulled_message(image: &str, ensured: &Ensured, waited: std::time::Duration) -> String {
    let Some(took) = ensured.pulled_in else { return present_message(image) };
    format!(
        "Successfully pulled image \"{image}\" in {} ({} including waiting). Image size: {} bytes.",
        go_duration(took),
        go_duration(waited),
        ensured.handle.size_bytes
    )
}

/// A volume that may grow too large while the pod runs.
fn has_limited_volumes(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.any(|v| v.empty_dir.as_ref().is_some_and(|e| e.size_limit.is_some()))
}

/// A volume that is made from what may change while the pod runs.
fn has_made_volumes(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.any(|v| v.config_map.is_some() || v.secret.is_some() || v.projected.is_some() || v.downward_api.is_some())
}

/// A snapshot of everything the pod refers to.
pub(super) async fn sources(place: &Place, pod: &Pod) -> Sources {
    let mut found = Sources { namespace: pod.namespace().to_owned(), ..Sources::default() };
    let cluster = place.cluster.as_ref();
    for reference in references(pod) {
        let key = Key::new(pod.namespace(), reference.name.as_str());
        match reference.kind {
            SourceKind::ConfigMap => {
                let known = place.sources.config_map(cluster, &key).await;
                found.outdated |= known.outdated;
                found.config_maps.insert(reference.name, known.object.map_err(|err| err.to_string()));
            }
            SourceKind::Secret => {
                let known = place.sources.secret(cluster, &key).await;
                found.outdated |= known.outdated;
                found.secrets.insert(reference.name, known.object.map_err(|err| err.to_string()));
            }
        }
    }
    found
}

/// The tokens that the pod's volumes want.
async fn tokens(place: &Place, pod: &Pod) -> Vec<(TokenRef, GivenToken)> {
    let cluster = place.cluster.as_ref();
    let mut given = Vec::new();
    for wanted in wanted_tokens(pod) {
        let token = place.sources.tokens.get(cluster, pod, &wanted, Timestamp::now()).await;
        given.push((wanted, token));
    }
    given
}

/// A snapshot of all that the pod's volumes are made from.
async fn sources_with_tokens(place: &Place, pod: &Pod) -> Sources {
    let (mut found, given) = tokio::join!(sources(place, pod), tokens(place, pod));
    for (wanted, token) in given {
        found.outdated |= token.renew_at.is_none();
        found.renew_at = found.renew_at.into_iter().chain(token.renew_at).min();
        found.tokens.insert(wanted, token.text);
    }
    found
}

/// The claims of the pod's volumes.
async fn add_claims(place: &Place, pod: &Pod, found: &mut Sources) {
    for wanted in claims::claims(pod) {
        let (bound, outdated) = claim(place, pod, &wanted, found.pod_runs).await;
        found.outdated |= outdated;
        found.claims.insert(wanted.volume, bound);
    }
}

async fn claim(place: &Place, pod: &Pod, wanted: &ClaimRef, runs: bool) -> (Result<Bound, ClaimError>, bool) {
    let cluster = place.cluster.as_ref();
    let claim = place.sources.claim(cluster, &Key::new(pod.namespace(), wanted.name.as_str())).await;
    let looked = claim.object.map_err(|err| err.to_string());
    let (found, name) = match claims::usable(pod, wanted, looked, runs) {
        Ok(usable) => usable,
        Err(err) => return (Err(err), claim.outdated),
    };
    let volume = place.sources.persistent_volume(cluster, &name).await;
    let outdated = claim.outdated || volume.outdated;
    let bound = match claims::bound(found, &name, volume.object.map_err(|err| err.to_string())) {
        Ok(bound) => {
            let held = place.directories.hold(&bound.volume, &place.pod_dir(pod.uid())).await;
            held.map(|()| bound).map_err(|why| ClaimError::Directory { why })
        }
        unbound => unbound,
    };
    (bound, outdated)
}

/// Everything below the pod's directory, and, where nothing of it runs, its cgroup; how long that is right. The error is for the user. Nobody else writes
/// there before `turn` is given back, also when the waiting for this is given up: the thread that writes has it.
async fn set_up(
    place: &Arc<Place>,
    pod: &Arc<Pod>,
    addresses: Vec<std::net::IpAddr>,
    nothing_runs: bool,
    turn: OwnedMutexGuard<()>,
) -> Result<(Paths, Fresh), String> {
    let mut sources = sources_with_tokens(place, pod).await;
    sources.pod_runs = !nothing_runs;
    add_claims(place, pod, &mut sources).await;
    let fresh = Fresh { outdated: sources.outdated, renew_at: sources.renew_at };
    let (place, pod) = (Arc::clone(place), Arc::clone(pod));
    let work = move || {
        let _turn = turn;
        let dir = place.pod_dir(pod.uid());
        std::fs::create_dir_all(&dir).map_err(|err| format!("cannot make {}: {err}", dir.display()))?;
        let logs = place.pod_log_dir(&pod);
        crate::logs::place::make_pod_dir(&logs).map_err(|err| format!("cannot make {}: {err}", logs.display()))?;
        if let Some(cgroups) = place.cgroups.as_ref().filter(|_| nothing_runs) {
            let path = cgroup_path(&place, &pod);
            cgroups.ensure(&path, &container::pod_limits(&pod)).map_err(|err| with_causes(&err))?;
        }
        let downward = Downward {
            pod: &pod,
            pod_addresses: &addresses,
            node_addresses: &place.facts.addresses,
            node_allocatable: &place.facts.allocatable,
        };
        volumes::set_up(&pod, &dir, &sources, &downward, &(place.node)()).map_err(|err| err.to_string())
    };
    let made = tokio::task::spawn_blocking(work).await.map_err(|err| format!("setting up was interrupted: {err}"))?;
    made.map(|paths| (paths, fresh))
}

pub(super) fn cgroup_path(place: &Place, pod: &Pod) -> String {
    let qos = pod.spec.as_ref().map_or(Qos::BestEffort, Qos::of);
    cgroup::pod_path(&place.facts.cgroup_root, qos, pod.uid())
}

async fn sandbox(place: &Place, pod: &Pod, attempt: u32) -> Result<SandboxUp, String> {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|s| s.host_network) == Some(true);
    confinement::check(pod, place.facts.kernel).map_err(|refused| refused.to_string())?;
    let _turn = place.starts.acquire().await.map_err(|err| err.to_string())?;
    let (network, addresses) = if host_network {
        (Network::Host, place.facts.addresses.clone())
    } else {
        let who = PodRef { uid: pod.uid().into(), namespace: pod.namespace().into(), name: pod.name().into() };
        let attached = place.network.attach(&who).await.map_err(|err| with_causes(&err))?;
        (Network::Pod { netns: attached.netns }, attached.addresses)
    };
    let left_out = write_etc_files(&place.pod_dir(pod.uid()), pod, &addresses, place, host_network)
        .map_err(|err| format!("cannot write the pod's /etc files: {err}"))?;
    for message in left_out {
        place.cluster.event(&pod.reference(), true, "DNSConfigForming", &message);
    }
    let (hostname, full) = files::hostname(pod, &place.facts.dns);
    let as_fqdn = spec.and_then(|s| s.set_hostname_as_fqdn) == Some(true);
    let sysctls = spec.and_then(|s| s.security_context.as_ref()).and_then(|c| c.sysctls.clone());
    let sandbox = SandboxSpec {
        pod_uid: pod.uid().into(),
        namespace: pod.namespace().into(),
        name: pod.name().into(),
        attempt,
        hostname: full.filter(|_| as_fqdn).unwrap_or(hostname),
        network: network.clone(),
        host_pid: spec.and_then(|s| s.host_pid) == Some(true),
        host_ipc: spec.and_then(|s| s.host_ipc) == Some(true),
        share_process_namespace: spec.and_then(|s| s.share_process_namespace) == Some(true),
        cgroup_parent: cgroup_path(place, pod),
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name, s.value)).collect(),
        labels: std::collections::BTreeMap::new(),
    };
    let id = place.runtime.create_sandbox(&sandbox).await.map_err(|err| with_causes(&err))?;
    Ok(SandboxUp { id, addresses, network })
}

/// hosts, hostname and resolv.conf, which all containers of the pod mount. What of the last had to be left out.
fn write_etc_files(
    dir: &Path,
    pod: &Pod,
    addresses: &[std::net::IpAddr],
    place: &Place,
    host_network: bool,
) -> std::io::Result<Vec<String>> {
    let dns = &place.facts.dns;
    let hosts = if host_network {
        let of_node = match std::fs::read_to_string("/etc/hosts") {
            // A node without the file has nothing to say in it.
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        files::host_network_hosts(pod, &of_node)
    } else {
        files::hosts(pod, addresses, dns)
    };
    let hostname = if host_network { place.facts.node_hostname.clone() } else { files::hostname(pod, dns).0 };
    std::fs::write(dir.join("etc-hosts"), hosts)?;
    std::fs::write(dir.join("hostname"), format!("{hostname}\n"))?;
    let formed = resolv_conf::of(pod, place.facts.resolv_conf.read()?.as_deref(), dns);
    std::fs::write(dir.join("resolv.conf"), formed.text)?;
    Ok(formed.left_out)
}
