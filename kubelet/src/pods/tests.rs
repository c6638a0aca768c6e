//! Stories of pods on a node whose runtime, images, network and API are in memory.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapKeySelector, Container, EnvVar, EnvVarSource, ExecAction, PodSpec, Probe,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::cluster::Cluster;
use crate::cluster::fake::FakeCluster;
use crate::files::ClusterDns;
use crate::images::fake::FakeImages;
use crate::network::PodNetwork as _;
use crate::network::fake::FakeNetwork;
use crate::place::Facts;
use crate::runtime::fake::FakeRuntime;
use crate::server::Pods as _;
use crate::status_writer::StatusWriter;

/// No story takes longer; what is slower hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node in memory.
struct World {
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
        let stop = CancellationToken::new();
        let statuses = StatusWriter::new();
        let port: Arc<dyn Cluster> = Arc::new(cluster.clone());
        statuses.start(&port, &stop);
        let allocatable: BTreeMap<String, i64> = [("cpu".to_owned(), 2000), ("memory".to_owned(), 1 << 30)].into();
        let place = Arc::new(Place {
            facts: Facts {
                node_name: "n1".into(),
                node_hostname: "host-1".into(),
                addresses: vec!["10.0.0.1".parse().unwrap()],
                root_dir: dir.path().join("root"),
                log_dir: dir.path().join("logs"),
                cgroup_root: "/".into(),
                dns: ClusterDns { server: "10.96.0.10".parse().unwrap(), domain: "cluster.local".into() },
                allocatable: allocatable.clone(),
            },
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(images.clone()),
            network: Arc::new(network.clone()),
            cgroups: None,
            cluster: port,
            statuses,
            starts: Semaphore::new(8),
        });
        let table = Table::default();
        let sources = PodSources::ApiAndFiles;
        let facts = NodeFacts { name: "n1".into(), allocatable, ..Default::default() };
        let news = start(&place, &table, sources, move || facts.clone(), &stop);
        Self { runtime, images, network, cluster, dir, news, table, stop }
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

#[tokio::test]
async fn a_pod_runs_and_is_reported_with_its_address() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until_phase("web", "Running").await;
    world.until("it is Ready", |w| w.pod("web").is_some_and(|p| corten_api::pod::is_ready(&p))).await;
    let status = world.pod("web").unwrap().status.unwrap();
    assert!(status.pod_ip.unwrap().starts_with("10.244.1."));
    assert_eq!(status.host_ip.as_deref(), Some("10.0.0.1"));
    let expected = [
        "c: Pulled: Container image \"web:1\" already present on machine and can be accessed by the pod",
        "c: Created: Container created",
        "c: Started: Container started",
    ];
    assert_eq!(world.cluster.events(), expected);
    let hosts = std::fs::read_to_string(world.dir.path().join("root/pods/uid-web/etc-hosts")).unwrap();
    assert!(hosts.contains("\tweb\n"), "{hosts}");
}

#[tokio::test]
async fn a_deleted_pod_is_ended_and_leaves_nothing() {
    let world = World::new().await;
    let mut told = world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    told = world.pod("web").unwrap_or(told);
    told.metadata.deletion_timestamp = Some(status::whole_second(Timestamp::now()));
    told.metadata.deletion_grace_period_seconds = Some(30);
    world.tell(told).await;
    world.until("it is gone from the API", |w| w.pod("web").is_none()).await;
    let calls = world.runtime.calls();
    let position =
        |text: &str| calls.iter().position(|c| c.contains(text)).unwrap_or_else(|| panic!("{text}: {calls:?}"));
    assert!(position("signal") < position("stop_sandbox") && position("stop_sandbox") < position("remove_sandbox"));
    assert!(world.network.list().await.unwrap().is_empty());
    assert!(!world.dir.path().join("root/pods/uid-web").exists());
    world.until("its worker has ended", |w| w.table.all().is_empty()).await;
    assert!(world.cluster.events().contains(&"c: Killing: Stopping container c".to_owned()));
}

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_the_end_is_shown() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    world.runtime.exit(&first, 3, false);
    world.until("another one runs", |w| w.running_id("web").is_some_and(|id| id != first)).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 1);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));

    // The second time it has to wait.
    let second = world.running_id("web").unwrap();
    world.runtime.exit(&second, 137, true);
    world.until("it waits", |w| w.waiting("web").as_deref() == Some("CrashLoopBackOff")).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.last_state.unwrap().terminated.unwrap().reason.as_deref(), Some("OOMKilled"));
}

#[tokio::test]
async fn a_restart_of_the_kubelet_restarts_no_container() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let (id, address) = (world.running_id("web").unwrap(), world.pod("web").unwrap().status.unwrap().pod_ip);
    let calls = world.runtime.calls().len();

    let world = world.restart_kubelet();
    world.retell().await;
    world
        .until("it is taken over", |w| w.table.find("default", "web", "").is_some_and(|v| v.containers.len() == 1))
        .await;
    world.runtime.exit(&id, 0, false);
    world.until("the new kubelet restarts it", |w| w.running_id("web").is_some_and(|now| now != id)).await;
    let made: Vec<_> = world.runtime.calls()[calls..].to_vec();
    assert_eq!(made[0], "create c/1", "nothing was made before it ended: {made:?}");
    assert_eq!(world.pod("web").unwrap().status.unwrap().pod_ip, address);
}

#[tokio::test]
async fn a_pod_deleted_while_no_kubelet_ran_is_ended() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    world.cluster.shared.lock().pods.clear();

    let world = world.restart_kubelet();
    world.news.send(News::ApiSynced).await.unwrap();
    world.no_files().await;
    world.until("its sandbox is removed", |w| w.runtime.calls().iter().any(|c| c.starts_with("remove_sandbox"))).await;
    assert!(world.runtime.calls().iter().any(|c| c.starts_with("signal")), "asked to end before that");
}

#[tokio::test]
async fn without_an_apiserver_containers_go_on_and_are_restarted() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let first = world.running_id("web").unwrap();
    world.cluster.shared.lock().away = true;
    world.runtime.exit(&first, 1, false);
    world.until("it was restarted", |w| w.runtime.calls().iter().any(|c| c == "create c/1")).await;
    world.cluster.shared.lock().away = false;
    world.until("the API hears of it", |w| w.running_id("web").is_some_and(|id| id != first)).await;
}

#[tokio::test]
async fn a_missing_config_map_is_waited_for_by_name() {
    let world = World::new().await;
    let key = ConfigMapKeySelector { key: "k".into(), name: "cfg".into(), optional: None };
    let from = EnvVarSource { config_map_key_ref: Some(key), ..Default::default() };
    let mut c = container("c");
    c.env = Some(vec![EnvVar { name: "V".into(), value: None, value_from: Some(from) }]);
    world.tell(pod("web", vec![c])).await;
    world.until("it says so", |w| w.waiting("web").as_deref() == Some("CreateContainerConfigError")).await;
    assert!(world.cluster.events().contains(&"c: Failed: Error: configmap \"cfg\" not found".to_owned()));
    let map = ConfigMap { data: Some([("k".to_owned(), "v".to_owned())].into()), ..Default::default() };
    world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let spec = world.runtime.spec(&world.running_id("web").unwrap()).unwrap();
    assert!(spec.env.contains(&("V".to_owned(), "v".to_owned())));
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_said_and_tried_again() {
    let world = World::new().await;
    let mut c = container("c");
    c.image = Some("nope:1".into());
    world.tell(pod("web", vec![c])).await;
    world.until("it says so", |w| w.waiting("web").as_deref() == Some("ErrImagePull")).await;
    world.until("it backs off", |w| w.waiting("web").as_deref() == Some("ImagePullBackOff")).await;
    let events = world.cluster.events();
    assert_eq!(events[0], "c: Pulling: Pulling image \"nope:1\"");
    assert!(events.contains(&"c: BackOff: Back-off pulling image \"nope:1\"".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_failing_liveness_probe_ends_the_container() {
    let world = World::new().await;
    let mut c = container("c");
    c.liveness_probe = Some(Probe {
        exec: Some(ExecAction { command: Some(vec!["exit".into(), "1".into()]) }),
        failure_threshold: Some(1),
        period_seconds: Some(1),
        ..Default::default()
    });
    world.tell(pod("web", vec![c])).await;
    world.until("it was restarted", |w| w.runtime.calls().iter().any(|c| c == "create c/1")).await;
    let events = world.cluster.events();
    assert!(
        events.contains(&"c: Killing: Container c failed liveness probe, will be restarted".to_owned()),
        "{events:?}"
    );
    assert!(events.iter().any(|e| e.starts_with("c: Unhealthy: Liveness probe failed:")), "{events:?}");
}

#[tokio::test]
async fn a_pod_too_big_for_the_node_is_refused() {
    let world = World::new().await;
    let mut c = container("c");
    let requests = [("cpu".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("3".into()))].into();
    c.resources =
        Some(k8s_openapi::api::core::v1::ResourceRequirements { requests: Some(requests), ..Default::default() });
    world.tell(pod("web", vec![c])).await;
    world.until_phase("web", "Failed").await;
    assert_eq!(world.pod("web").unwrap().status.unwrap().reason.as_deref(), Some("OutOfcpu"));
    assert!(world.runtime.calls().is_empty());
    // The API tells of what we wrote ourselves: that says nothing new of its containers.
    world.retell().await;
    world.tell(pod("after", vec![container("c")])).await;
    world.until_phase("after", "Running").await;
    assert_eq!(world.pod("web").unwrap().status.unwrap().container_statuses, None);
}

#[tokio::test]
async fn thirty_pods_start_together() {
    let world = World::new().await;
    for n in 0..30 {
        world.tell(pod(&format!("p{n}"), vec![container("c")])).await;
    }
    world.until("all run", |w| (0..30).all(|n| w.running_id(&format!("p{n}")).is_some())).await;
    let ips: std::collections::BTreeSet<_> =
        (0..30).filter_map(|n| world.pod(&format!("p{n}"))?.status?.pod_ip).collect();
    assert_eq!(ips.len(), 30);
}

#[tokio::test]
async fn a_pod_that_was_deleted_leaves_its_host_port_to_the_next() {
    let world = World::new().await;
    let with_port = |name: &str| {
        let port = k8s_openapi::api::core::v1::ContainerPort {
            container_port: 80,
            host_port: Some(8080),
            ..Default::default()
        };
        pod(name, vec![Container { ports: Some(vec![port]), ..container("c") }])
    };
    let first = world.tell(with_port("first")).await;
    world.until_phase("first", "Running").await;
    world.news.send(News::Api { key: first.key(), pod: None }).await.unwrap();
    world.tell(with_port("second")).await;
    world
        .until("the second has started or was refused", |w| {
            w.pod("second").is_some_and(|p| corten_api::pod::phase(&p) != "Pending")
        })
        .await;
    assert_eq!(corten_api::pod::phase(&world.pod("second").unwrap()), "Running");
}

#[tokio::test]
async fn a_static_pod_runs_has_a_mirror_and_ends_with_its_file() {
    let world = World::new().await;
    let text = "metadata: {name: web}\nspec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.news.send(News::Static(vec![pod])).await.unwrap();
    world.until("its mirror is there", |w| w.pod("web-n1").is_some()).await;
    world.retell().await;
    world.until_phase("web-n1", "Running").await;
    let mirror = world.pod("web-n1").unwrap().metadata.uid.unwrap();
    assert!(world.table.find("default", "web-n1", &mirror).is_some(), "logs and exec name the mirror");
    world.news.send(News::Static(vec![])).await.unwrap();
    world.until("it was asked to end", |w| w.runtime.calls().iter().any(|c| c.starts_with("signal"))).await;
    world.until("the mirror is gone", |w| w.pod("web-n1").is_none()).await;
}

#[tokio::test]
async fn a_volume_follows_its_config_map() {
    let world = World::new().await;
    let set = |value: &str| {
        let map = ConfigMap { data: Some([("k".to_owned(), value.to_owned())].into()), ..Default::default() };
        world.cluster.shared.lock().config_maps.insert(Key::new("default", "cfg"), map);
    };
    set("old");
    let mut with_volume = pod("web", vec![container("c")]);
    let source = k8s_openapi::api::core::v1::ConfigMapVolumeSource { name: "cfg".into(), ..Default::default() };
    let volume =
        k8s_openapi::api::core::v1::Volume { name: "v".into(), config_map: Some(source), ..Default::default() };
    with_volume.spec.as_mut().unwrap().volumes = Some(vec![volume]);
    world.tell(with_volume).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let file = world.dir.path().join("root/pods/uid-web/volumes/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    set("new");
    world.cluster.shared.lock().watches.iter().for_each(|(_, changed)| changed());
    world.until("the file says so", |_| std::fs::read_to_string(&file).is_ok_and(|text| text == "new")).await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_counts_as_a_crash() {
    let world = World::new().await;
    world.runtime.refuse_next("create_container", "exec: \"/nope\": stat /nope: no such file or directory");
    world.runtime.refuse_next("create_container", "exec: \"/nope\": stat /nope: no such file or directory");
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it waits", |w| w.waiting("web").as_deref() == Some("CrashLoopBackOff")).await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref(), status.restart_count), (128, Some("StartError"), 1));
}

#[tokio::test]
async fn a_static_pod_runs_on_though_the_api_is_heard_before_its_file() {
    let world = World::new().await;
    let text = "metadata: {name: web}\nspec: {containers: [{name: c, image: 'web:1'}]}";
    let pod = crate::static_pods::parse(text, "n1").unwrap();
    world.news.send(News::Static(vec![pod.clone()])).await.unwrap();
    world.until("it runs", |w| w.runtime.calls().iter().any(|c| c.starts_with("start "))).await;
    let world = world.restart_kubelet();
    world.cluster.shared.lock().pods.clear();
    world.news.send(News::ApiSynced).await.unwrap();
    world.news.send(News::Static(vec![pod])).await.unwrap();
    world.until("its mirror is there again", |w| w.pod("web-n1").is_some()).await;
    world.until("all is swept", |w| w.runtime.calls().iter().any(|c| c == "sweep")).await;
    assert!(!world.runtime.calls().iter().any(|c| c.starts_with("signal")), "{:?}", world.runtime.calls());
}

#[tokio::test]
async fn a_pod_whose_removal_was_not_told_ends_with_the_next_list() {
    let world = World::new().await;
    let kept = world.tell(pod("kept", vec![container("c")])).await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("both run", |w| w.running_id("web").is_some() && w.running_id("kept").is_some()).await;
    world.cluster.shared.lock().pods.remove(&Key::new("default", "web"));
    world.news.send(News::ApiAll(vec![(kept.key(), Arc::new(kept))])).await.unwrap();
    world.until("its worker has ended", |w| w.table.all().len() == 1).await;
    assert!(world.running_id("kept").is_some());
}

#[tokio::test]
async fn what_is_left_of_pods_that_are_gone_is_swept_at_the_start() {
    let world = World::new().await;
    world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let gone = crate::network::PodRef { uid: "uid-gone".into(), namespace: "default".into(), name: "gone".into() };
    world.network.attach(&gone).await.unwrap();
    let path = |name: &str| world.dir.path().join(name);
    let left = [path("root/pods/uid-gone"), path("logs/default_gone_uid-gone")];
    let kept = [path("root/pods/uid-web"), path("logs/default_web_uid-web"), path("logs/not-ours")];
    left.iter().chain(&kept).for_each(|dir| std::fs::create_dir_all(dir).unwrap());
    std::fs::write(left[0].join("etc-hosts"), "").unwrap();

    let world = world.restart_kubelet();
    world.retell().await;
    world.no_files().await;
    world.until("it is swept", |_| !left.iter().any(|dir| dir.exists())).await;
    assert!(kept.iter().all(|dir| dir.exists()));
    let uids: Vec<String> = world.network.list().await.unwrap().into_iter().map(|a| a.pod_uid).collect();
    assert_eq!(uids, ["uid-web"]);
}

#[tokio::test]
async fn a_probe_that_cannot_be_made_says_nothing_about_the_container() {
    let world = World::new().await;
    let mut c = container("c");
    c.liveness_probe = Some(Probe {
        exec: Some(ExecAction { command: Some(vec!["exit".into(), "0".into()]) }),
        failure_threshold: Some(1),
        period_seconds: Some(1),
        ..Default::default()
    });
    world.runtime.refuse_next("exec", "containerd is away");
    world.tell(pod("web", vec![c])).await;
    let said = "c: Unhealthy: Liveness probe errored and resulted in unknown state";
    world.until("it says so", |w| w.cluster.events().iter().any(|e| e.starts_with(said))).await;
    world.until("it is probed again", |w| w.runtime.calls().iter().any(|c| c.starts_with("exec"))).await;
    assert!(!world.runtime.calls().iter().any(|c| c.starts_with("signal")), "{:?}", world.runtime.calls());
}

#[tokio::test]
async fn a_signal_that_did_not_arrive_is_sent_again() {
    let world = World::new().await;
    let told = world.tell(pod("web", vec![container("c")])).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    (0..3).for_each(|_| world.runtime.refuse_next("signal", "containerd is away"));
    let mut told = world.pod("web").unwrap_or(told);
    told.metadata.deletion_timestamp = Some(status::whole_second(Timestamp::now()));
    told.metadata.deletion_grace_period_seconds = Some(600);
    world.tell(told).await;
    world.until("it is gone from the API", |w| w.pod("web").is_none()).await;
}

#[tokio::test]
async fn a_container_that_ended_without_a_kubelet_has_its_last_words() {
    let world = World::new().await;
    let mut p = pod("web", vec![container("c")]);
    p.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    world.tell(p).await;
    world.until("it runs", |w| w.running_id("web").is_some()).await;
    let id = world.running_id("web").unwrap();
    let started_at = |w: &World| {
        let state = w.pod("web")?.status?.container_statuses?.first()?.state.clone()?;
        state.running.and_then(|r| r.started_at).or(state.terminated.and_then(|t| t.started_at))
    };
    let before = started_at(&world);
    world.stop.cancel();
    std::fs::write(world.dir.path().join("root/pods/uid-web/containers/c/0"), "farewell").unwrap();
    world.until("the old kubelet is gone", |w| w.news.is_closed()).await;
    world.runtime.exit(&id, 3, false);
    let world = world.restart_kubelet();
    world.retell().await;
    world.until_phase("web", "Failed").await;
    let status = world.pod("web").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.state.unwrap().terminated.unwrap().message.as_deref(), Some("farewell"));
    assert_eq!(started_at(&world), before);
}

#[tokio::test]
async fn a_user_namespace_that_cannot_be_had_is_not_left_out_silently() {
    let world = World::new().await;
    let mut p = pod("web", vec![container("c")]);
    p.spec.as_mut().unwrap().host_users = Some(false);
    world.tell(p).await;
    let said = "FailedCreatePodSandBox: Failed to create pod sandbox: hostUsers: false";
    world.until("it says so", |w| w.cluster.events().iter().any(|e| e.starts_with(said))).await;
    assert!(world.runtime.calls().iter().all(|c| !c.starts_with("sandbox")), "{:?}", world.runtime.calls());
}
