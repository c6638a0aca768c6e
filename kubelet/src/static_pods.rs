//! Static pods: manifests in a directory of the node, run without asking the API, and mirrored there to be seen.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/>

use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use corten_api::error::with_causes;
use corten_api::pod::defaults::{host_ports, requests_from_limits};
use corten_api::pod::{CONFIG_SOURCE_ANNOTATION, MIRROR_ANNOTATION};
use corten_api::{ApiError, Object as _, Reason};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use notify::Watcher as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::place::Place;
use crate::pods::News;

pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
const SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";
/// Larger files are not manifests.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Editors write in several steps; what is read too early is read again.
const SETTLE: Duration = Duration::from_millis(100);
/// The directory is read again this often, in case the kernel told us nothing.
const REREAD: Duration = Duration::from_secs(20);
const MIRROR_RETRY_FIRST: Duration = Duration::from_millis(500);
const MIRROR_RETRY_MAX: Duration = Duration::from_secs(5);
/// Of one that is forbidden: whether it stays so is a matter of roles, quotas and namespaces, which change seldom.
const MIRROR_FORBIDDEN_RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is larger than {FILE_MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} is not a Pod: {why}", path.display())]
    Parse { path: PathBuf, why: String },
}

/// Tells the manager of the directory's pods, now and whenever they change.
pub fn start(dir: PathBuf, node_name: String, news: mpsc::Sender<News>, stop: &CancellationToken) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled_owned(watch(dir, node_name, news)).await });
}

async fn watch(dir: PathBuf, node_name: String, news: mpsc::Sender<News>) {
    if let Err(err) = std::fs::create_dir_all(&dir) {
        error!(%err, dir = %dir.display(), "cannot make the directory for static pods");
    }
    let (tx, mut changed) = mpsc::channel::<()>(1);
    let watcher = notify::recommended_watcher(move |_| {
        // One is enough: everything is read again.
        let _ = tx.try_send(());
    });
    let mut watcher = match watcher {
        Ok(watcher) => Some(watcher),
        Err(err) => {
            warn!(%err, "static pods are looked for only now and then");
            None
        }
    };
    if let Some(watcher) = &mut watcher
        && let Err(err) = watcher.watch(&dir, notify::RecursiveMode::NonRecursive)
    {
        warn!(%err, dir = %dir.display(), "static pods are looked for only now and then");
    }
    let mut before = None;
    loop {
        let (dir, name) = (dir.clone(), node_name.clone());
        let read = tokio::task::spawn_blocking(move || read_dir(&dir, &name)).await;
        match read.map_err(std::io::Error::from).flatten() {
            Ok(pods) => {
                let uids: Vec<String> = pods.iter().map(|p| p.uid().to_owned()).collect();
                if before.as_ref() != Some(&uids) {
                    before = Some(uids);
                    if news.send(News::Static(pods)).await.is_err() {
                        return;
                    }
                }
            }
            // What cannot be read now may be there all the same: the pods of before go on.
            Err(err) => error!(%err, "the static pods cannot be read"),
        }
        tokio::select! {
            told = changed.recv(), if watcher.is_some() => if told.is_some() { tokio::time::sleep(SETTLE).await },
            () = tokio::time::sleep(REREAD) => {}
        }
    }
}

/// Manifests that are no pods are said and left out; the others run. One that cannot be read is an error.
fn read_dir(dir: &Path, node_name: &str) -> std::io::Result<Vec<Pod>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let is_manifest = |path: &PathBuf| {
        let hidden = path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.'));
        let known = matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json"));
        !hidden && known && !path.is_dir()
    };
    let mut pods = Vec::new();
    for path in paths.into_iter().filter(is_manifest) {
        match read_file(&path, node_name) {
            Ok(pod) => pods.push(pod),
            // Gone since the directory was read.
            Err(ManifestError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(ManifestError::Read { source, .. }) => return Err(source),
            Err(err) => error!(err = with_causes(&err), "a static pod is left out"),
        }
    }
    Ok(pods)
}

fn read_file(path: &Path, node_name: &str) -> Result<Pod, ManifestError> {
    let fail = |source| ManifestError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(fail)?.len() > FILE_MAX_BYTES {
        return Err(ManifestError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    parse(&text, node_name).map_err(|why| ManifestError::Parse { path: path.to_owned(), why })
}

/// The pod of a manifest, with the name, uid and annotations that it has on this node.
pub fn parse(text: &str, node_name: &str) -> Result<Pod, String> {
    // YAML is a superset of JSON.
    let mut pod: Pod = serde_saphyr::from_str(text).map_err(|err| err.to_string())?;
    let name = pod.metadata.name.clone().filter(|n| !n.is_empty()).ok_or("metadata.name is missing")?;
    let spec = pod.spec.as_mut().ok_or("spec is missing")?;
    if spec.containers.is_empty() {
        return Err("spec.containers is empty".into());
    }
    // The same text on another node is another pod.
    let digest = Sha256::digest(format!("{node_name}\n{text}").as_bytes());
    let hash: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    spec.node_name = Some(node_name.into());
    // It was put here by hand; taints are not for it.
    let toleration =
        Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Default::default() };
    spec.tolerations.get_or_insert_default().push(toleration);
    // Of an API's pod the apiserver says what it asks for; without it such a pod would weigh nothing on its own node.
    requests_from_limits(spec);
    host_ports(spec);
    let meta = &mut pod.metadata;
    meta.name = Some(format!("{name}-{}", node_name.to_lowercase()));
    meta.namespace.get_or_insert_with(|| "default".into());
    meta.uid = Some(hash.clone());
    meta.deletion_timestamp = None;
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(HASH_ANNOTATION.into(), hash);
    annotations.insert(CONFIG_SOURCE_ANNOTATION.into(), "file".into());
    pod.status = None;
    Ok(pod)
}

/// Whether a pod comes from a file of this node.
pub fn is_static(pod: &Pod) -> bool {
    pod.annotation(CONFIG_SOURCE_ANNOTATION) == Some("file")
}

/// The pod as the API shows it: it belongs to its Node, and is collected with it.
fn mirror(pod: &Pod, node_name: &str, node_uid: &str) -> Pod {
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.metadata.resource_version = None;
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node_name.into(),
        uid: node_uid.into(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    let annotations = mirror.metadata.annotations.get_or_insert_default();
    let hash = annotations.get(HASH_ANNOTATION).cloned().unwrap_or_default();
    annotations.insert(MIRROR_ANNOTATION.into(), hash);
    annotations.insert(SEEN_ANNOTATION.into(), jiff::Timestamp::now().to_string());
    mirror
}

/// Why there is no mirror, and of which Node that was said.
struct NoMirror {
    err: ApiError,
    node_uid: Option<String>,
}

/// Whether it is the right one that is there is seen when the watch brings it.
async fn try_mirror(place: &Place, pod: &Pod) -> Result<(), NoMirror> {
    let uid = place.cluster.node_uid().await.map_err(|err| NoMirror { err, node_uid: None })?;
    match place.cluster.create_pod(&mirror(pod, &place.facts.node_name, &uid)).await {
        Ok(_) => Ok(()),
        Err(err) if err.is(Reason::AlreadyExists) => Ok(()),
        Err(err) => Err(NoMirror { err, node_uid: Some(uid) }),
    }
}

/// Makes the mirror; the API's watch then brings it back to us. Tries for as long as there is such a pod, however long the
/// apiservers are away or forbid it: a namespace, a role or room in a quota may come later.
pub async fn make_mirror(place: &Place, pod: Weak<Pod>) {
    let mut wait = MIRROR_RETRY_FIRST;
    let (mut refused, mut is_told) = (None, false);
    while let Some(pod) = pod.upgrade() {
        let longest = match try_mirror(place, &pod).await {
            Ok(()) => return,
            // The Node may have been replaced in between: a refusal counts when it is said again of the same one.
            Err(NoMirror { err, node_uid }) if err.is(Reason::Invalid) && node_uid.is_some() && refused == node_uid => {
                error!(%err, pod = %pod.key(), "the static pod cannot be shown on the API; it runs all the same");
                return;
            }
            Err(NoMirror { err, node_uid }) if err.is(Reason::Invalid) => {
                debug!(%err, pod = %pod.key(), "the mirror waits");
                refused = node_uid;
                MIRROR_RETRY_MAX
            }
            Err(NoMirror { err, .. }) if err.is(Reason::Forbidden) => {
                if !std::mem::replace(&mut is_told, true) {
                    error!(%err, pod = %pod.key(), "the static pod may not be shown on the API yet; it runs all the same");
                }
                MIRROR_FORBIDDEN_RETRY_MAX
            }
            // The Node is not registered yet, or no apiserver answers.
            Err(NoMirror { err, .. }) => {
                debug!(%err, pod = %pod.key(), "the mirror waits");
                MIRROR_RETRY_MAX
            }
        };
        drop(pod);
        wait = wait.min(longest);
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx}]}\n";

    #[test]
    fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("web.yaml"), WEB).unwrap();
        std::fs::write(dir.path().join("broken.yaml"), "{").unwrap();
        std::fs::write(dir.path().join(".web.yaml.swp"), WEB).unwrap();
        assert_eq!(read_dir(dir.path(), "n").unwrap().len(), 1, "the broken one is left out");
        // A link to itself: what it stands for cannot be read.
        std::os::unix::fs::symlink("loop.yaml", dir.path().join("loop.yaml")).unwrap();
        assert!(read_dir(dir.path(), "n").is_err());
        assert!(read_dir(&dir.path().join("none"), "n").is_err());
    }

    #[test]
    fn manifests() {
        let pod = parse(WEB, "Node-1").unwrap();
        assert_eq!(pod.key().to_string(), "default/web-node-1");
        assert_eq!(pod.annotation(HASH_ANNOTATION), Some(pod.uid()));
        let other_text = parse(&WEB.replace("nginx", "nginx:2"), "Node-1").unwrap();
        assert_ne!(other_text.uid(), pod.uid(), "another text is another pod");
        assert_ne!(parse(WEB, "node-2").unwrap().uid(), pod.uid(), "another node too");
        for (why, bad) in [
            ("no name", "spec: {containers: [{name: c}]}"),
            ("no containers", "metadata: {name: a}\nspec: {containers: []}"),
            ("not YAML", "{"),
        ] {
            assert!(parse(bad, "n").is_err(), "{why}");
        }
    }
    #[test]
    fn a_static_pod_asks_its_node_for_what_one_of_the_api_would() {
        let text = "metadata: {name: web}\nspec: {hostNetwork: true, containers: [{name: c, image: nginx, \
            ports: [{containerPort: 80}], resources: {limits: {cpu: 500m, memory: 64Mi}}}]}\n";
        let pod = parse(text, "n").unwrap();
        let spec = pod.spec.as_ref().unwrap();
        let asked = corten_api::pod::requests(spec);
        assert_eq!((asked.get("cpu"), asked.get("memory")), (Some(&500), Some(&(64 << 20))));
        assert_eq!(spec.containers[0].ports.as_ref().unwrap()[0].host_port, Some(80));
        assert_eq!(crate::pod::container::pod_limits(&pod).cpu_shares, Some(512));
    }
}
