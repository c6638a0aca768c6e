//! Stories of pods on a node whose runtime, images, network and API are in memory.

mod life;
mod outage;
mod panics;
mod refusals;
mod resize;
mod restarts;
mod static_pods;

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, Container, EnvVar, EnvVarSource, ExecAction, PodSpec, Probe,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::cgroup::{CgroupError, PodLimits, Usage};
use crate::cluster::Cluster;
use crate::cluster::fake::FakeCluster;
use crate::files::ClusterDns;
use crate::images::fake::FakeImages;
use crate::network::PodNetwork as _;
use crate::network::fake::FakeNetwork;
use crate::node_facts::NodeFacts;
use crate::place::{Facts, PodCgroups};
use crate::pod::confinement::Kernel;
use crate::runtime::fake::FakeRuntime;
use crate::server::Pods as _;
use crate::status_writer::StatusWriter;

/// No story takes longer; what is slower hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The limits of cgroups that exist, by path, and how much memory each of them uses.
#[derive(Default)]
struct FakeCgroups {
    limits: parking_lot::Mutex<BTreeMap<String, PodLimits>>,
    used: std::sync::atomic::AtomicU64,
}

impl PodCgroups for FakeCgroups {
    fn ensure(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        self.limits.lock().insert(path.into(), *limits);
        Ok(())
    }
    fn set_limits(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        self.ensure(path, limits)
    }
    fn usage(&self, path: &str) -> Option<Usage> {
        let limit = self.limits.lock().get(path)?.memory_limit_bytes;
        let memory_bytes = self.used.load(std::sync::atomic::Ordering::Relaxed);
        let memory_limit_bytes = limit.map(i64::unsigned_abs);
        Some(Usage { memory_bytes, memory_limit_bytes, ..Usage::default() })
    }
    fn remove(&self, path: &str) -> Result<(), CgroupError> {
        self.limits.lock().remove(path);
        Ok(())
    }
    fn pods(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A node in memory.
struct World {
    cgroups: Arc<FakeCgroups>,
    runtime: FakeRuntime,
    images: FakeImages,
    network: FakeNetwork,
    cluster: FakeCluster,
    dir: tempfile::TempDir,
    news: mpsc::Sender<News>,
    table: Table,
    stop: CancellationToken,
}

impl World {
    async fn new() -> Self {
        let (runtime, images, network) = (FakeRuntime::default(), FakeImages::default(), FakeNetwork::default());
        network.set_pod_cidr("10.244.1.0/24".parse().unwrap()).await.unwrap();
        images.preload("web:1");
        let dir = tempfile::tempdir().unwrap();
        Self::on(runtime, images, network, FakeCluster::default(), dir)
    }
    fn on(
        runtime: FakeRuntime,
        images: FakeImages,
        network: FakeNetwork,
        cluster: FakeCluster,
        dir: tempfile::TempDir,
    ) -> Self {
        let (stop, cgroups) = (CancellationToken::new(), Arc::new(FakeCgroups::default()));
        let statuses = StatusWriter::new();
        let port: Arc<dyn Cluster> = Arc::new(cluster.clone());
        statuses.start(&port, &stop);
        let allocatable: BTreeMap<String, i64> = [("cpu".to_owned(), 2000), ("memory".to_owned(), 1 << 30)].into();
        let node = NodeFacts { name: "n1".into(), allocatable: allocatable.clone(), ..Default::default() };
        let place = Arc::new(Place {
            facts: Facts {
                node_name: "n1".into(),
                node_hostname: "host-1".into(),
                addresses: vec!["10.0.0.1".parse().unwrap()],
                root_dir: dir.path().join("root"),
                log_dir: dir.path().join("logs"),
                cgroup_root: "/".into(),
                resolv_conf: crate::resolv_conf::NodeFile(None),
                dns: ClusterDns { server: "10.96.0.10".parse().unwrap(), domain: "cluster.local".into() },
                allocatable,
                kernel: Kernel::default(),
            },
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(images.clone()),
            network: Arc::new(network.clone()),
            cgroups: Some(Arc::clone(&cgroups) as Arc<dyn PodCgroups>),
            directories: crate::directories::Directories::new(dir.path().join("volumes"), "n1", &port, &stop),
            cluster: port,
            node: Box::new(move || node.clone()),
            sources: Default::default(),
            statuses,
            starts: Semaphore::new(8),
        });
        let table = Table::default();
        let sources = PodSources::ApiAndFiles;
        let (news, _) = start(&place, &table, sources, &stop);
        Self { cgroups, runtime, images, network, cluster, dir, news, table, stop }
    }
    /// The kubelet ends and another one takes its place; all else stays.
    fn restart_kubelet(self) -> Self {
        self.stop.cancel();
        Self::on(self.runtime, self.images, self.network, self.cluster, self.dir)
    }
    /// What the API's watch would say.
    async fn tell(&self, pod: Pod) -> Pod {
        let pod = self.cluster.put(pod);
        self.news.send(News::Api { key: pod.key(), pod: Some(Arc::new(pod.clone())) }).await.unwrap();
        pod
    }
    /// What the API's watch says of a pod that is to be deleted.
    async fn delete(&self, pod: Pod, grace_secs: i64) {
        let mut pod = self.pod(pod.name()).unwrap_or(pod);
        pod.metadata.deletion_timestamp = Some(status::whole_second(Timestamp::now()));
        pod.metadata.deletion_grace_period_seconds = Some(grace_secs);
        self.tell(pod).await;
    }
    async fn retell(&self) {
        let pods = self.cluster.shared.lock().pods.clone();
        for (key, pod) in pods {
            self.news.send(News::Api { key, pod: Some(Arc::new(pod)) }).await.unwrap();
        }
        self.news.send(News::ApiSynced).await.unwrap();
    }
    /// The static pod directory is read for the first time, and is empty.
    async fn no_files(&self) {
        self.news.send(News::Static(vec![])).await.unwrap();
    }
    fn pod(&self, name: &str) -> Option<Pod> {
        self.cluster.get(&Key::new("default", name))
    }
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > deadline {
                let pods = self.cluster.shared.lock().pods.clone();
                let statuses: Vec<_> = pods.values().map(|p| serde_json::to_string(&p.status).unwrap()).collect();
                panic!(
                    "waited for: {what}\nevents: {:#?}\ncalls: {:#?}\nstatuses: {statuses:#?}",
                    self.cluster.events(),
                    self.runtime.calls()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    async fn until_phase(&self, name: &str, phase: &str) {
        self.until(&format!("{name} is {phase}"), |w| w.pod(name).is_some_and(|p| corten_api::pod::phase(&p) == phase))
            .await;
    }
    fn waiting(&self, name: &str) -> Option<String> {
        let status = self.pod(name)?.status?;
        status.container_statuses?.first()?.state.clone()?.waiting?.reason
    }
    fn running_id(&self, name: &str) -> Option<String> {
        let status = self.pod(name)?.status?;
        let first = status.container_statuses?.first()?.clone();
        first.state?.running?;
        Some(first.container_id?.trim_start_matches("containerd://").to_owned())
    }
}

fn container(name: &str) -> Container {
    Container {
        name: name.into(),
        image: Some("web:1".into()),
        image_pull_policy: Some("IfNotPresent".into()),
        ..Default::default()
    }
}

fn pod(name: &str, containers: Vec<Container>) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("default".into()),
            uid: Some(format!("uid-{name}")),
            ..Default::default()
        },
        spec: Some(PodSpec { containers, node_name: Some("n1".into()), ..Default::default() }),
        status: None,
    }
}
