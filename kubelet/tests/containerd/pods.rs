//! Pods for the tests: their specs, and waiting for what happens to them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use corten_kubelet::cgroup::Hierarchy;
use corten_kubelet::images::containerd::{ContainerdImages, Mirror};
use corten_kubelet::images::{ImageHandle, ImageRequest, Images, PullPolicy};
use corten_kubelet::logs::{self, LogOptions, Stream};
use corten_kubelet::network::netns;
use corten_kubelet::runtime::containerd::{Config, Containerd};
use corten_kubelet::runtime::{
    ContainerSpec, Event, Exit, Mount, Network, Propagation, Resources, Runtime, SandboxSpec, Security, State, User,
};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::node::Node;

pub(crate) const SIGKILL: u32 = 9;
pub(crate) const SIGTERM: u32 = 15;
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Pods {
    pub(crate) runtime: Containerd,
    pub(crate) images: ContainerdImages,
    specs: Specs,
}

/// What every pod of one test has in common.
#[derive(Clone)]
pub(crate) struct Specs {
    image: ImageHandle,
    pub(crate) dir: PathBuf,
    cgroup: String,
}

impl Specs {
    pub(crate) fn of_fake(dir: &Path) -> Self {
        Self { image: ImageHandle::default(), dir: dir.into(), cgroup: "/fake".into() }
    }

    /// runc knows containers by their ids alone, whichever containerd made them: so no two tests share a uid.
    pub(crate) fn uid(&self, uid: &str) -> String {
        let cgroup = self.cgroup.trim_start_matches('/').to_ascii_lowercase();
        format!("{uid}-{cgroup}")
    }

    /// The host's network: pods of the runtime's tests have no address.
    pub(crate) fn sandbox(&self, uid: &str) -> SandboxSpec {
        SandboxSpec {
            pod_uid: self.uid(uid),
            namespace: "default".into(),
            name: "web".into(),
            attempt: 0,
            hostname: "web-0".into(),
            network: Network::Host,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            cgroup_parent: format!("{}/pod{uid}", self.cgroup),
            sysctls: Default::default(),
            labels: Default::default(),
        }
    }

    pub(crate) fn container(&self, name: &str, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: name.into(),
            attempt: 0,
            image: self.image.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            mounts: Vec::new(),
            user: User::default(),
            security: Security::default(),
            resources: Resources::default(),
            tty: false,
            stdin: false,
            stdin_once: false,
            log_path: self.dir.join("logs").join(name).join("0.log"),
            labels: [("a-label".to_owned(), "of ours".to_owned())].into(),
            target: None,
        }
    }
}

impl std::ops::Deref for Pods {
    type Target = Specs;
    fn deref(&self) -> &Specs {
        &self.specs
    }
}

impl Pods {
    pub(crate) fn without_image(node: &Node) -> Self {
        let config = Config {
            socket: node.path("containerd.sock"),
            state_dir: node.path("runtime"),
            logger: env!("CARGO_BIN_EXE_corten-kubelet").into(),
        };
        let runtime = Containerd::new(config).unwrap();
        let mirror = Mirror { registry: "docker.io".into(), host: node.registry.to_string(), plain_http: true };
        let images = ContainerdImages::new(&runtime, vec![mirror]);
        let cgroup = format!("/corten-test-{}", node.dir.path().file_name().unwrap().to_str().unwrap());
        let specs = Specs { image: ImageHandle::default(), dir: node.path(""), cgroup };
        Self { runtime, images, specs }
    }

    pub(crate) async fn of(node: &Node) -> Self {
        let mut pods = Self::without_image(node);
        let request = ImageRequest { image: "corten-test".into(), policy: PullPolicy::IfNotPresent, auth: Vec::new() };
        pods.specs.image = pods.images.ensure(&request).await.unwrap().handle;
        pods
    }

    /// As a kubelet that was started again.
    pub(crate) fn again(node: &Node, before: &Pods) -> Self {
        Self::later(node, before.specs.clone())
    }

    /// As a kubelet that is started when there has been none for a while.
    pub(crate) fn later(node: &Node, specs: Specs) -> Self {
        Self { specs, ..Self::without_image(node) }
    }

    pub(crate) async fn run(&self, sandbox: &str, spec: &ContainerSpec) -> String {
        let id = self.runtime.create_container(sandbox, spec).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Two containers in a network namespace of their own.
    pub(crate) async fn run_pod(&self, uid: &str) {
        let path = self.specs.dir.join("netns").join(uid);
        let mut sandbox = self.sandbox(uid);
        sandbox.network = Network::Pod { netns: path.clone() };
        tokio::task::spawn_blocking(move || netns::create(&path)).await.unwrap().unwrap();
        let sandbox = self.runtime.create_sandbox(&sandbox).await.unwrap();
        let mut specs = [self.container("one", &[]), self.container("two", &[])];
        specs
            .iter_mut()
            .for_each(|spec| spec.log_path = self.specs.dir.join("logs").join(uid).join(&spec.name).join("0.log"));
        tokio::join!(self.run(&sandbox, &specs[0]), self.run(&sandbox, &specs[1]));
    }

    /// Leaves nothing behind.
    pub(crate) async fn clean(&self) {
        let all = self.runtime.list().await.unwrap();
        let removed = futures::future::join_all(all.sandboxes.iter().map(|s| self.runtime.remove_sandbox(&s.id))).await;
        removed.into_iter().for_each(|done| done.expect("a sandbox goes with what is in it"));
        let left = self.runtime.list().await.unwrap();
        assert!(left.sandboxes.is_empty() && left.containers.is_empty(), "{left:?}");
        for sandbox in all.sandboxes {
            if let Network::Pod { netns } = sandbox.network {
                netns::remove(&netns).unwrap();
            }
        }
        Hierarchy::detect().unwrap().remove(&self.specs.cgroup).unwrap();
    }
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

pub(crate) fn mount(host_path: &Path, container_path: &str) -> Mount {
    Mount {
        host_path: host_path.into(),
        container_path: container_path.into(),
        read_only: false,
        propagation: Propagation::None,
    }
}

pub(crate) async fn state(runtime: &dyn Runtime, id: &str) -> Option<State> {
    let listed = runtime.list().await.unwrap().containers;
    listed.into_iter().find(|c| c.id == id).map(|c| c.state)
}

/// Waits for the end of one container.
pub(crate) async fn exit_of(events: &mut BoxStream<'static, Event>, id: &str) -> Exit {
    let mut seen = Vec::new();
    let wait = async {
        while let Some(event) = events.next().await {
            seen.push(event.clone());
            if let Event::ContainerExited { container_id, exit, .. } = event
                && container_id == id
            {
                return exit;
            }
        }
        panic!("the events ended");
    };
    match tokio::time::timeout(WAIT_MAX, wait).await {
        Ok(exit) => exit,
        Err(_) => panic!("waited for the exit of {id}; saw {seen:?}"),
    }
}

pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The log once its logger has seen the end of an ended container's output, or as far as it is.
pub(crate) async fn log(spec: &ContainerSpec) -> Log {
    let (tx, mut rx) = tokio::sync::mpsc::channel(16);
    let path = spec.log_path.clone();
    let reader = tokio::spawn(async move { logs::read(&path, LogOptions::default(), || false, &tx).await });
    let mut log = Log::default();
    while let Some((stream, bytes)) = rx.recv().await {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        match stream {
            Stream::Stdout => log.stdout.push_str(&text),
            Stream::Stderr => log.stderr.push_str(&text),
        }
    }
    reader.await.unwrap().unwrap();
    log
}
