//! One container of a pod as the runtime should make it. Pure.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use corten_api::pod::amounts;
use corten_api::pod::ephemeral::as_container;
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, SecurityContext};

use super::confinement::{self, Kernel, Refused};
use super::oom;
use super::size::Size;
use crate::cgroup::{CPU_PERIOD_US, PodLimits, cpu_quota_us, cpu_shares};
use crate::env::{self, ExpandError, Room};
use crate::images::ImageHandle;
use crate::runtime::{ContainerSpec, Mount, Resources, Seccomp, Security, User};

/// The image as the spec named it: tells after a restart whether the spec changed meanwhile.
pub const IMAGE_LABEL: &str = "corten/image";
/// Number of the signal that asks the container to end.
pub const STOP_SIGNAL_LABEL: &str = "corten/stop-signal";
/// The pod's grace period, for a pod that was deleted while no kubelet ran.
pub const GRACE_LABEL: &str = "corten/grace-secs";
/// How large it runs, see [`super::size::Size::text`]: tells after a restart whether it was resized meanwhile.
pub const SIZE_LABEL: &str = "corten/size";

pub const TERMINATION_LOG_DEFAULT: &str = "/dev/termination-log";

#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    RunsAsRoot { pod: String, container: String },
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    AsksForRoot { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    UnknownUser { pod: String, container: String, user: String },
    #[error("{field} is {given}, which is not an id")]
    BadId { field: &'static str, given: i64 },
    #[error("its environment and arguments are too large: {0}")]
    TooLarge(ExpandError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("seccompProfile.type {kind:?} is not known")]
    SeccompKind { kind: String },
    #[error("seccompProfile.localhostProfile {name:?} must be relative and must not contain \"..\"")]
    SeccompPath { name: String },
}

/// What was found out about a container on the way.
pub struct Parts {
    pub attempt: u32,
    pub image: ImageHandle,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub log_path: PathBuf,
    pub node_memory_bytes: i64,
    pub additional_gids: Vec<u32>,
    /// Where `Localhost` seccomp profiles are.
    pub seccomp_dir: PathBuf,
    pub kernel: Kernel,
    /// The container whose processes it sees.
    pub target: Option<String>,
}

pub fn spec(pod: &Pod, container: &Container, parts: Parts) -> Result<ContainerSpec, SpecError> {
    let context = container.security_context.as_ref();
    confinement::check_container(pod, container, parts.kernel)?;
    let user = user(pod, container, &parts)?;
    let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    let signal = stop_signal(container, &parts.image);
    let (command, args) = arguments(container, &parts.env).map_err(SpecError::TooLarge)?;
    Ok(ContainerSpec {
        name: container.name.clone(),
        attempt: parts.attempt,
        command,
        args,
        working_dir: container.working_dir.clone().filter(|d| !d.is_empty()),
        user,
        security: security(pod, context, &parts.seccomp_dir)?,
        resources: resources(pod, container, parts.node_memory_bytes),
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        labels: [
            (IMAGE_LABEL.to_owned(), container.image.clone().unwrap_or_default()),
            (STOP_SIGNAL_LABEL.to_owned(), signal.to_string()),
            (GRACE_LABEL.to_owned(), grace.to_string()),
            (SIZE_LABEL.to_owned(), Size::of(container.resources.as_ref()).text()),
        ]
        .into(),
        env: parts.env,
        mounts: parts.mounts,
        image: parts.image,
        log_path: parts.log_path,
        target: parts.target,
    })
}

/// Command and args with their variables expanded. They share the room that the kernel has with the environment.
fn arguments(container: &Container, env: &[(String, String)]) -> Result<(Vec<String>, Vec<String>), ExpandError> {
    let mut room = Room::new(env::PROCESS_BYTES_MAX);
    env.iter().try_for_each(|(name, value)| room.take(env::variable_bytes(name, value)))?;
    let known: HashMap<&str, &str> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut expanded = |list: &Option<Vec<String>>| {
        let each = list.iter().flatten().map(|text| {
            room.take(env::kernel_bytes(0))?;
            env::expand(text, |name| known.get(name).copied(), &mut room)
        });
        each.collect::<Result<Vec<String>, ExpandError>>()
    };
    Ok((expanded(&container.command)?, expanded(&container.args)?))
}

/// A container of any kind by its name.
pub fn find(pod: &Pod, name: &str) -> Option<Container> {
    let spec = pod.spec.as_ref()?;
    let usual = spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name);
    let ephemeral = || spec.ephemeral_containers.iter().flatten().find(|c| c.name == name).map(as_container);
    usual.cloned().or_else(ephemeral)
}

/// `spec.containers{web}`: what an event about a container points at.
pub fn field_path(pod: &Pod, name: &str) -> String {
    let in_list = |list: Option<&Vec<Container>>| list.is_some_and(|l| l.iter().any(|c| c.name == name));
    let spec = pod.spec.as_ref();
    let list = if in_list(spec.map(|s| &s.containers)) {
        "containers"
    } else if in_list(spec.and_then(|s| s.init_containers.as_ref())) {
        "initContainers"
    } else {
        "ephemeralContainers"
    };
    format!("spec.{list}{{{name}}}")
}

/// `name_namespace(uid)`, as upstream's messages name a pod.
pub fn full_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

fn id(field: &'static str, given: Option<i64>) -> Result<Option<u32>, SpecError> {
    given.map(|given| u32::try_from(given).map_err(|_| SpecError::BadId { field, given })).transpose()
}

/// `runAsNonRoot`: the pod's uid counts, else the image's user, which must be a number to be believed.
fn check_non_root(pod: &Pod, container: &Container, uid: Option<u32>, image_user: &str) -> Result<(), SpecError> {
    let (pod, container) = (full_name(pod), container.name.clone());
    let user = image_user.split(':').next().unwrap_or_default();
    match (uid, user.parse::<u32>()) {
        (Some(0), _) => Err(SpecError::AsksForRoot { pod, container }),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err(SpecError::RunsAsRoot { pod, container }),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if user.is_empty() => Err(SpecError::RunsAsRoot { pod, container }),
        (None, Err(_)) => Err(SpecError::UnknownUser { pod, container, user: user.into() }),
    }
}

fn user(pod: &Pod, container: &Container, parts: &Parts) -> Result<User, SpecError> {
    let own = container.security_context.as_ref();
    let whole = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let uid = id("runAsUser", own.and_then(|c| c.run_as_user).or(whole.and_then(|p| p.run_as_user)))?;
    let gid = id("runAsGroup", own.and_then(|c| c.run_as_group).or(whole.and_then(|p| p.run_as_group)))?;
    let non_root = own.and_then(|c| c.run_as_non_root).or(whole.and_then(|p| p.run_as_non_root)) == Some(true);
    if non_root {
        check_non_root(pod, container, uid, &parts.image.config.user)?;
    }
    let mut additional_gids = parts.additional_gids.clone();
    for gid in whole.iter().flat_map(|p| p.supplemental_groups.iter().flatten()) {
        additional_gids.extend(id("supplementalGroups", Some(*gid))?);
    }
    additional_gids.extend(id("fsGroup", whole.and_then(|p| p.fs_group))?);
    let strict_groups = whole.map_or(Ok(false), confinement::strict_groups)?;
    Ok(User { uid, gid, additional_gids, strict_groups })
}

fn security(pod: &Pod, context: Option<&SecurityContext>, seccomp_dir: &Path) -> Result<Security, SpecError> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.seccomp_profile.as_ref());
    let profile = context.and_then(|c| c.seccomp_profile.as_ref()).or(of_pod);
    let seccomp = profile.map_or(Ok(Seccomp::Unconfined), |profile| seccomp(profile, seccomp_dir))?;
    let Some(c) = context else { return Ok(Security { seccomp, ..Security::default() }) };
    let capabilities = c.capabilities.as_ref();
    Ok(Security {
        privileged: c.privileged == Some(true),
        capabilities_add: capabilities.and_then(|c| c.add.clone()).unwrap_or_default(),
        capabilities_drop: capabilities.and_then(|c| c.drop.clone()).unwrap_or_default(),
        read_only_root: c.read_only_root_filesystem == Some(true),
        no_new_privileges: c.allow_privilege_escalation == Some(false),
        unmasked_proc: c.proc_mount.as_deref() == Some("Unmasked"),
        seccomp,
    })
}

/// A kind that is not known must not mean that anything goes.
fn seccomp(profile: &SeccompProfile, dir: &Path) -> Result<Seccomp, SpecError> {
    match profile.type_.as_str() {
        "Unconfined" => Ok(Seccomp::Unconfined),
        "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
        "Localhost" => {
            let name = profile.localhost_profile.clone().unwrap_or_default();
            let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
            if name.is_empty() || !Path::new(&name).components().all(inside) {
                return Err(SpecError::SeccompPath { name });
            }
            Ok(Seccomp::Profile(dir.join(name)))
        }
        other => Err(SpecError::SeccompKind { kind: other.into() }),
    }
}

/// What the runtime is told of its size.
pub fn resources(pod: &Pod, container: &Container, node_memory_bytes: i64) -> Resources {
    let r = container.resources.as_ref();
    let requests = amounts(r.and_then(|r| r.requests.as_ref()));
    let limits = amounts(r.and_then(|r| r.limits.as_ref()));
    let cpu_limit = limits.get("cpu").copied().filter(|n| *n > 0);
    let cpu_request = requests.get("cpu").copied().or(cpu_limit).unwrap_or(0);
    Resources {
        cpu_shares: Some(cpu_shares(cpu_request)),
        cpu_quota_us: cpu_limit.map(cpu_quota_us),
        cpu_period_us: cpu_limit.map(|_| CPU_PERIOD_US.unsigned_abs()),
        memory_limit_bytes: limits.get("memory").copied().filter(|n| *n > 0),
        pids_limit: None,
        oom_score_adj: Some(oom::score_adj(pod, container, node_memory_bytes)),
    }
}

/// The limits of the pod's own cgroup: all its containers together.
pub fn pod_limits(pod: &Pod) -> PodLimits {
    let Some(spec) = &pod.spec else { return PodLimits::default() };
    let requests = corten_api::pod::requests(spec);
    let mut limits =
        PodLimits { cpu_shares: Some(cpu_shares(*requests.get("cpu").unwrap_or(&0))), ..PodLimits::default() };
    let whole = corten_api::pod::limits(spec);
    let of_pod = |name: &str| spec.resources.as_ref()?.limits.as_ref()?.get(name);
    let all: Vec<_> = spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let is_limited =
        |c: &&Container, name: &str| amounts(c.resources.as_ref().and_then(|r| r.limits.as_ref())).get(name) > Some(&0);
    // One container without a limit leaves the pod without one, unless the pod has one as a whole.
    let total = |name: &str| {
        let bounded = of_pod(name).is_some() || all.iter().all(|c| is_limited(c, name));
        whole.get(name).copied().filter(|_| bounded)
    };
    limits.cpu_limit_millis = total("cpu");
    limits.memory_limit_bytes = total("memory");
    limits
}

pub fn stop_signal(container: &Container, image: &ImageHandle) -> u32 {
    let asked = container.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref());
    asked.and_then(signal_number).or_else(|| signal_number(&image.config.stop_signal)).unwrap_or(SIGTERM)
}

pub const SIGTERM: u32 = 15;
pub const SIGKILL: u32 = 9;

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
pub fn signal_number(text: &str) -> Option<u32> {
    const RTMIN: u32 = 34;
    const RTMAX: u32 = 64;
    if let Ok(number) = text.parse::<u32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(more) = name.strip_prefix("RTMIN") {
        return if more.is_empty() {
            Some(RTMIN)
        } else {
            more.strip_prefix('+')?.parse::<u32>().ok().map(|n| RTMIN + n)
        };
    }
    if let Some(less) = name.strip_prefix("RTMAX") {
        return if less.is_empty() {
            Some(RTMAX)
        } else {
            less.strip_prefix('-')?.parse::<u32>().ok().map(|n| RTMAX - n)
        };
    }
    let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().ok()?;
    u32::try_from(signal as i32).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec};

    use super::*;
    use crate::images::ImageConfig;

    #[test]
    fn signals() {
        let cases = [
            ("SIGQUIT", Some(3)),
            ("TERM", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("nope", None),
            ("0", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }

    #[test]
    fn arguments_have_no_more_room_than_the_kernel_has() {
        let env = [("A".to_owned(), "x".repeat(1 << 19))];
        let container = |command: &str, args: Vec<&str>| Container {
            command: Some(vec![command.into()]),
            args: Some(args.into_iter().map(str::to_owned).collect()),
            ..Default::default()
        };
        let (command, args) = arguments(&container("$(A)", vec!["-$$(A)", "$(B)"]), &env).unwrap();
        assert_eq!((command[0].len(), args), (1 << 19, vec!["-$(A)".to_owned(), "$(B)".to_owned()]));
        let large = "$(A)".repeat(100_000);
        let cases = [
            ("one of them", container("run", vec![&large])),
            ("all of them together", container("$(A)", vec!["$(A)", "$(A)"])),
            ("without a byte in them", container("run", vec![""; 3 << 20])),
        ];
        for (why, container) in cases {
            let got = arguments(&container, &env);
            assert_eq!(got, Err(ExpandError::TooLarge { max: env::PROCESS_BYTES_MAX }), "{why}");
        }
    }

    #[test]
    fn run_as_non_root() {
        let parts = |user: &str| Parts {
            attempt: 0,
            image: ImageHandle {
                config: ImageConfig { user: user.into(), ..Default::default() },
                ..Default::default()
            },
            env: vec![],
            mounts: vec![],
            log_path: PathBuf::new(),
            node_memory_bytes: 1 << 30,
            additional_gids: vec![],
            seccomp_dir: "/seccomp".into(),
            kernel: Kernel::default(),
            target: None,
        };
        let with = |uid: Option<i64>| Container {
            name: "c".into(),
            security_context: Some(SecurityContext {
                run_as_non_root: Some(true),
                run_as_user: uid,
                ..Default::default()
            }),
            ..Default::default()
        };
        let root = "container has runAsNonRoot and image will run as root (pod: \"_()\", container: c)";
        let name = "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root (pod: \"_()\", container: c)";
        let asks = "container's runAsUser breaks non-root policy (pod: \"_()\", container: c)";
        let cases = [
            ("image says nothing: root", None, "", Some(root)),
            ("image says root by number", None, "0", Some(root)),
            ("image says a number", None, "1000:0", None),
            ("image says a name: nobody can tell", None, "nginx", Some(name)),
            ("the spec says a number", Some(5), "", None),
            ("the spec says root", Some(0), "1000", Some(asks)),
        ];
        for (why, uid, image_user, expected) in cases {
            let got = spec(&Pod::default(), &with(uid), parts(image_user)).err().map(|err| err.to_string());
            assert_eq!(got.as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn a_containers_seccomp_profile_wins_over_its_pods() {
        let profile = |kind: &str, name: Option<&str>| SeccompProfile {
            type_: kind.into(),
            localhost_profile: name.map(String::from),
        };
        let of = |pods: Option<SeccompProfile>, own: Option<SeccompProfile>| {
            let whole = PodSecurityContext { seccomp_profile: pods, ..Default::default() };
            let spec = PodSpec { security_context: Some(whole), ..Default::default() };
            let pod = Pod { spec: Some(spec), ..Default::default() };
            let context = SecurityContext { seccomp_profile: own, ..Default::default() };
            security(&pod, Some(&context), Path::new("/seccomp")).map(|s| s.seccomp).ok()
        };
        let default = || Some(profile("RuntimeDefault", None));
        let local = |name: &str| Some(profile("Localhost", Some(name)));
        let cases = [
            ("nothing said", None, None, Some(Seccomp::Unconfined)),
            ("the pod's", default(), None, Some(Seccomp::RuntimeDefault)),
            ("its own", default(), Some(profile("Unconfined", None)), Some(Seccomp::Unconfined)),
            ("a file", None, local("my/p.json"), Some(Seccomp::Profile("/seccomp/my/p.json".into()))),
            ("a file elsewhere", None, local("../p.json"), None),
            ("a file anywhere", None, local("/etc/p.json"), None),
            ("not known", None, Some(profile("Everything", None)), None),
        ];
        for (why, pods, own, expected) in cases {
            assert_eq!(of(pods, own), expected, "{why}");
        }
    }

    #[test]
    fn a_pods_cgroup_holds_its_containers_at_their_most() {
        let parse =
            |json: serde_json::Value| Pod { spec: Some(serde_json::from_value(json).unwrap()), ..Pod::default() };
        let c = |cpu: &str| serde_json::json!({"name": "c", "resources": {"limits": {"cpu": cpu, "memory": "64Mi"}}});
        let free = serde_json::json!({"name": "c"});
        let mut sidecar = c("1");
        sidecar["restartPolicy"] = "Always".into();
        let cases = [
            ("the sum", serde_json::json!({"containers": [c("1"), c("2")]}), Some(3000)),
            ("one is free", serde_json::json!({"containers": [c("1"), free]}), None),
            (
                "a small init container",
                serde_json::json!({"containers": [c("2")], "initContainers": [c("1")]}),
                Some(2000),
            ),
            (
                "a large init container",
                serde_json::json!({"containers": [c("1")], "initContainers": [c("4")]}),
                Some(4000),
            ),
            ("a free init container", serde_json::json!({"containers": [c("1")], "initContainers": [free]}), None),
            ("a sidecar", serde_json::json!({"containers": [c("2")], "initContainers": [sidecar]}), Some(3000)),
            (
                "the pod's own",
                serde_json::json!({"containers": [free], "resources": {"limits": {"cpu": "5"}}}),
                Some(5000),
            ),
        ];
        for (why, spec, expected) in cases {
            assert_eq!(pod_limits(&parse(spec)).cpu_limit_millis, expected, "{why}");
        }
    }
}
