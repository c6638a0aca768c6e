//! Directories that come with the first mount and go with their volume, and not before.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use corten_api::volumes::{LOCAL_DIRECTORY, ON_NODE, PROVISIONED_BY};
use serde_json::{Value, json};

use super::*;
use crate::cluster::ASK_MAX;
use crate::cluster::fake::FakeCluster;

const PROTECTION: &str = "kubernetes.io/pv-protection";

struct Story {
    held: tempfile::TempDir,
    cluster: FakeCluster,
    directories: Directories,
    stop: CancellationToken,
}

impl Story {
    fn new() -> Self {
        let (held, cluster, stop) = (tempfile::tempdir().unwrap(), FakeCluster::default(), CancellationToken::new());
        let port: Arc<dyn Cluster> = Arc::new(cluster.clone());
        let directories = Directories::new(held.path().join("volumes"), "n1", &port, &stop);
        Self { held, cluster, directories, stop }
    }
    fn root(&self) -> PathBuf {
        self.held.path().join("volumes")
    }
    /// The volume `v` of the node, with changes to its spec.
    fn put(&self, node: &str, changes: Value) -> PersistentVolume {
        self.put_as("v", node, changes)
    }
    fn put_as(&self, name: &str, node: &str, changes: Value) -> PersistentVolume {
        let mut spec = json!({"local": {"path": self.root().join(name)}, "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": "ns", "name": "data", "uid": "c-uid"}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let annotations = json!({PROVISIONED_BY: LOCAL_DIRECTORY, ON_NODE: node});
        let metadata =
            json!({"name": name, "annotations": annotations, "finalizers": [PROTECTION], "resourceVersion": "1"});
        let volume = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Bound"}});
        let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
        self.cluster.shared.lock().persistent_volumes.insert(name.into(), volume.clone());
        volume
    }
    fn change(&self, change: impl FnOnce(&mut PersistentVolume)) {
        let mut shared = self.cluster.shared.lock();
        change(shared.persistent_volumes.get_mut("v").unwrap());
    }
    fn finalizers(&self) -> Vec<String> {
        let shared = self.cluster.shared.lock();
        shared.persistent_volumes["v"].metadata.finalizers.clone().unwrap_or_default()
    }
    /// As the controllers do it once the claim is gone.
    fn release_and_delete(&self) {
        self.change(|volume| {
            volume.status.get_or_insert_default().phase = Some("Released".into());
            volume.metadata.finalizers.iter_mut().for_each(|all| all.retain(|one| one != PROTECTION));
            volume.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        });
    }
    /// For a pod.
    async fn hold(&self, volume: &PersistentVolume) -> Result<(), String> {
        self.directories.hold(volume, &self.held.path().join("pods/p-uid")).await
    }
    async fn look(&self, is_used: bool) -> Looked {
        let in_use: InUse = Box::new(move |used| match used {
            Used::Claim(key, uid) => is_used && *key == Key::new("ns", "data") && uid == Some("c-uid"),
            Used::Volume(name) => is_used && name == "v",
            Used::Mount(_) => false,
        });
        self.directories.0.look("v", &in_use).await
    }
}

#[tokio::test]
async fn it_is_made_before_the_first_mount_and_removed_with_its_volume() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    story.hold(&volume).await.unwrap();
    let dir = story.root().join("v");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&dir), mode(&story.root())), (0o777, 0o700));
    assert_eq!(story.finalizers(), [PROTECTION, DIRECTORY_FINALIZER]);
    std::fs::write(dir.join("data"), "x").unwrap();
    let shown = story.cluster.shared.lock().persistent_volumes["v"].clone();
    story.hold(&shown).await.expect("a second pod");
    assert_eq!(std::fs::read_to_string(dir.join("data")).unwrap(), "x");

    assert_eq!(story.look(false).await, Looked::Done);
    assert!(dir.exists(), "its claim has it");
    story.release_and_delete();
    assert_eq!(story.look(true).await, Looked::Again);
    assert!(dir.exists(), "a pod that is going uses it");
    assert_eq!(story.look(false).await, Looked::Done);
    assert_eq!((dir.exists(), story.finalizers().len()), (false, 0));
    assert_eq!(std::fs::read_dir(story.root()).unwrap().count(), 0);
    assert!(story.directories.0.watched.lock().is_empty());
}

#[tokio::test]
async fn one_that_was_half_made_when_the_kubelet_was_stopped_is_made_whole() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    let dir = story.root().join("v");
    std::fs::create_dir_all(&dir).unwrap();
    let set = |mode| std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
    let mode = || std::fs::metadata(&dir).unwrap().permissions().mode() & 0o7777;
    set(0o755);
    story.hold(&volume).await.unwrap();
    assert_eq!(mode(), 0o777);
    set(0o750);
    story.hold(&volume).await.unwrap();
    assert_eq!(mode(), 0o750, "a pod has had it: its mode is the pods' to choose");
}

#[tokio::test]
async fn what_does_not_mount_table() {
    let cases = [
        ("another node's: not ours to make", "n2", json!({}), false, Ok(())),
        (
            "it is elsewhere",
            "n1",
            json!({"local": {"path": "/etc"}}),
            false,
            Err("persistentvolume \"v\" is not in ROOT, where corten.io/local-directory has its volumes"),
        ),
        ("it goes", "n1", json!({}), true, Err("persistentvolume \"v\" is being deleted")),
    ];
    for (why, node, changes, goes, expected) in cases {
        let story = Story::new();
        let volume = story.put(node, changes);
        if goes {
            story.release_and_delete();
        }
        let got = story.hold(&volume).await;
        let got = got.map_err(|err| err.replace(&*story.root().to_string_lossy(), "ROOT"));
        assert_eq!(got, expected.map_err(str::to_owned), "{why}");
        assert!(!story.root().join("v").exists(), "{why}");
    }
}

#[tokio::test]
async fn what_is_gone_is_not_made_anew() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    story.hold(&volume).await.unwrap();
    std::fs::remove_dir(story.root().join("v")).unwrap();
    let got = story.hold(&volume).await;
    assert_eq!(got, Err("the directory of persistentvolume \"v\" is gone from this node".to_owned()));
    assert!(!story.root().join("v").exists());
}

#[tokio::test]
async fn a_claim_of_the_same_name_does_not_keep_it() {
    let story = Story::new();
    let volume = story.put("n1", json!({"claimRef": {"namespace": "ns", "name": "data", "uid": "before"}}));
    story.hold(&volume).await.unwrap();
    story.release_and_delete();
    assert_eq!(story.look(true).await, Looked::Done);
    assert!(!story.root().join("v").exists());
}

#[tokio::test]
async fn what_containers_were_given_stays_until_they_are_gone_whatever_the_api_says() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    story.hold(&volume).await.unwrap();
    story.release_and_delete();
    let pods = story.held.path().join("pods");
    let of_pods = pods.clone();
    // No pod and no claim is known any more, as after a start of the kubelet.
    let in_use: InUse = Box::new(move |used| matches!(used, Used::Mount(name) if given::is_given(&of_pods, name)));
    let inner = &story.directories.0;
    assert_eq!(inner.look("v", &in_use).await, Looked::Again);
    assert!(inner.remove("v", &in_use).await.is_err(), "given since the look");
    assert!(story.root().join("v").exists());
    crate::volumes::tear_down(&pods.join("p-uid")).unwrap();
    assert_eq!(inner.look("v", &in_use).await, Looked::Done);
    assert!(!story.root().join("v").exists());
}

#[tokio::test]
async fn no_link_is_followed_to_make_it_or_to_remove_it() {
    let (story, outside) = (Story::new(), tempfile::tempdir().unwrap());
    let volume = story.put("n1", json!({}));
    std::fs::create_dir(story.root()).unwrap();
    symlink(outside.path(), story.root().join("v")).unwrap();
    assert!(story.hold(&volume).await.is_err());
    std::fs::remove_file(story.root().join("v")).unwrap();
    story.hold(&volume).await.unwrap();
    std::fs::write(outside.path().join("kept"), "x").unwrap();
    symlink(outside.path(), story.root().join("v/out")).unwrap();
    story.release_and_delete();
    assert_eq!(story.look(false).await, Looked::Done);
    assert!(outside.path().join("kept").exists());
}

#[tokio::test]
async fn data_stay_where_they_are_to_stay() {
    let story = Story::new();
    let volume = story.put("n1", json!({"persistentVolumeReclaimPolicy": "Retain"}));
    story.hold(&volume).await.unwrap();
    std::fs::write(story.root().join("v/data"), "x").unwrap();
    story.release_and_delete();
    assert_eq!(story.look(false).await, Looked::Done);
    assert_eq!((story.root().join("v/data").exists(), story.finalizers().len()), (true, 0), "Retain");
    // Somebody took the finalizer off by force: what it was is not known any more.
    story.cluster.shared.lock().persistent_volumes.clear();
    assert_eq!(story.look(false).await, Looked::Seldom);
    assert!(story.root().join("v/data").exists());
    std::fs::remove_file(story.root().join("v/data")).unwrap();
    assert_eq!(story.look(true).await, Looked::Again);
    assert!(story.root().join("v").exists(), "a pod has come with it");
    assert_eq!(story.look(false).await, Looked::Done);
    assert!(!story.root().join("v").exists(), "nothing is lost with an empty one");
}

#[tokio::test]
async fn a_kubelet_that_was_stopped_goes_on_where_it_was() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    story.hold(&volume).await.unwrap();
    // It was stopped while it removed.
    std::fs::rename(story.root().join("v"), story.root().join(".removing-v")).unwrap();
    story.release_and_delete();
    let port: Arc<dyn Cluster> = Arc::new(story.cluster.clone());
    let next = Directories::new(story.root(), "n1", &port, &story.stop);
    next.start(Box::new(|_| false));
    let gone = async {
        while !story.finalizers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it lets the volume go");
    assert_eq!(std::fs::read_dir(story.root()).unwrap().count(), 0);
    story.stop.cancel();
}

#[tokio::test]
async fn what_was_being_removed_goes_though_its_volume_is_gone_already() {
    let story = Story::new();
    std::fs::create_dir_all(story.root().join(".removing-v/deep")).unwrap();
    std::fs::write(story.root().join(".removing-v/deep/data"), "x").unwrap();
    assert_eq!(story.look(true).await, Looked::Again);
    assert!(story.root().join(".removing-v").exists(), "a pod has it");
    assert_eq!(story.look(false).await, Looked::Done);
    assert_eq!(std::fs::read_dir(story.root()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_directory_with_data_whose_volume_was_not_shown_is_looked_at_again() {
    let story = Story::new();
    std::fs::create_dir_all(story.root().join("v")).unwrap();
    std::fs::write(story.root().join("v/data"), "x").unwrap();
    story.directories.start(Box::new(|_| false));
    let is_watched = || story.directories.0.watched.lock().contains_key("v");
    tokio::time::sleep(SELDOM_AFTER / 2).await;
    assert!(!is_watched(), "no volume is shown");
    story.put("n1", json!({}));
    tokio::time::sleep(SELDOM_AFTER).await;
    assert!(is_watched() && story.root().join("v/data").exists());
    story.stop.cancel();
}

#[tokio::test]
async fn a_volume_that_takes_long_holds_up_no_other() {
    let story = Story::new();
    for name in ["a", "v"] {
        let volume = story.put_as(name, "n1", json!({}));
        story.hold(&volume).await.unwrap();
    }
    story.release_and_delete();
    story.cluster.shared.lock().silent_volumes = ["a".to_owned()].into();
    let port: Arc<dyn Cluster> = Arc::new(story.cluster.clone());
    let next = Directories::new(story.root(), "n1", &port, &story.stop);
    next.start(Box::new(|_| false));
    let gone = async {
        while !story.finalizers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("v goes while nobody says anything of a");
    story.stop.cancel();
}

#[tokio::test]
async fn without_an_apiserver_a_pod_restarts_and_no_new_one_starts() {
    let story = Story::new();
    let volume = story.put("n1", json!({}));
    story.cluster.shared.lock().away = true;
    assert!(story.hold(&volume).await.is_err(), "nobody knows whether it is still there");
    story.cluster.shared.lock().away = false;
    story.hold(&volume).await.unwrap();
    let shown = story.cluster.shared.lock().persistent_volumes["v"].clone();
    story.cluster.shared.lock().away = true;
    story.hold(&shown).await.unwrap();
    assert_eq!(story.look(false).await, Looked::Again);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_nobody_says_anything_of_holds_up_no_other_and_its_own_pods_for_a_while() {
    let story = Story::new();
    let (v, other) = (story.put("n1", json!({})), story.put_as("other", "n1", json!({})));
    let silent = |names: &[&str]| {
        story.cluster.shared.lock().silent_volumes = names.iter().map(|name| (*name).to_owned()).collect();
    };
    silent(&["v"]);
    let began = Instant::now();
    let (first, second, another) =
        tokio::join!(story.hold(&v), story.hold(&v), tokio::time::timeout(ASK_MAX / 2, story.hold(&other)),);
    assert_eq!(another.expect("another volume's start waits"), Ok(()));
    for told in [first, second] {
        let told = told.unwrap_err();
        assert!(told.contains("failed to fetch persistentvolume \"v\": no apiserver has answered"), "{told}");
    }
    assert!(began.elapsed() < 2 * ASK_MAX + Duration::from_secs(1), "{:?}", began.elapsed());

    silent(&[]);
    story.hold(&v).await.unwrap();
    let shown = story.cluster.shared.lock().persistent_volumes["v"].clone();
    silent(&["v"]);
    story.hold(&shown).await.expect("it has run here before: it starts again");
    assert!(story.directories.0.turns.0.lock().is_empty(), "nobody holds a turn, or waits for one");
}
