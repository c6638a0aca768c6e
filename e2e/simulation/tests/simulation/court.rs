//! Looks on: every commit, in the store's order, with who asked for it; what it breaks, and a story of what happened to print.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use corten_apiserver::storage::Write;
use corten_client::CancellationToken;
use corten_simulation::cluster::{Cluster, Place, Step};
use corten_simulation::{convergence, invariants, read};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::net::Host;

/// Lines of a story that are kept.
const LINES_MAX: usize = 4000;

tokio::task_local! {
    /// Who has sent the request that is being answered.
    pub(crate) static AUTHOR: Author;
}

#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) host: Host,
    pub(crate) name: String,
}

#[derive(Clone)]
pub(crate) struct Court {
    inner: Arc<Mutex<Inner>>,
    began: Instant,
}

#[derive(Default)]
struct Inner {
    cluster: Cluster,
    violation: Option<String>,
    lines: VecDeque<String>,
    /// Of all that happened.
    digest: DefaultHasher,
    /// Programs that are to end with so many commits more.
    doomed: BTreeMap<Host, (usize, CancellationToken)>,
    commits: usize,
}

impl Court {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), began: Instant::now() }
    }

    /// What programs and faults do is told with what is written.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.inner.lock().say(self.began.elapsed(), &what.into());
    }

    /// Something outside of the store is as it never may be.
    pub(crate) fn violated(&self, why: String) {
        let mut inner = self.inner.lock();
        inner.say(self.began.elapsed(), &why);
        inner.violation.get_or_insert(why);
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&Cluster) -> R) -> R {
        look(&self.inner.lock().cluster)
    }

    /// What depends on it now stays when it is deleted.
    pub(crate) fn orphaned(&self, uid: &str) {
        self.inner.lock().cluster.orphaned.insert(uid.to_owned());
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.inner.lock().violation.clone()
    }

    pub(crate) fn lacking(&self) -> Vec<String> {
        convergence::lacking(&self.inner.lock().cluster)
    }

    pub(crate) fn commits(&self) -> usize {
        self.inner.lock().commits
    }

    pub(crate) fn digest(&self) -> u64 {
        self.inner.lock().digest.finish()
    }

    pub(crate) fn story(&self) -> String {
        self.inner.lock().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The program at `host` ends with so many of its commits more: done, and not answered.
    pub(crate) fn doom(&self, host: Host, commits: usize, life: CancellationToken) {
        self.inner.lock().doomed.insert(host, (commits, life));
    }

    pub(crate) fn committed(&self, revision: i64, writes: &[Write]) {
        let author = AUTHOR.try_with(Author::clone).ok();
        let at = self.began.elapsed();
        let mut inner = self.inner.lock();
        inner.commits += 1;
        let steps: Vec<Step> = writes.iter().filter_map(|write| inner.step(at, author.as_ref(), write)).collect();
        for step in &steps {
            inner.cluster.apply(step);
        }
        for step in &steps {
            let line = told(revision, step);
            inner.say(at, &line);
            if let Some((invariant, why)) = invariants::broken(&inner.cluster, step) {
                let why = format!("{invariant}: {line}: {why}");
                inner.say(at, &format!("BROKEN {why}"));
                inner.violation.get_or_insert(why);
            }
        }
        let Some(host) = author.map(|author| author.host) else { return };
        let over = inner.doomed.get_mut(&host).is_some_and(|(left, _)| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if over && let Some((_, life)) = inner.doomed.remove(&host) {
            inner.say(at, &format!("{host} ends with this commit"));
            life.cancel();
        }
    }
}

impl Inner {
    fn say(&mut self, at: Duration, what: &str) {
        let line = format!("{:9.3} {what}", at.as_secs_f64());
        line.hash(&mut self.digest);
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn step(&self, at: Duration, author: Option<&Author>, write: &Write) -> Option<Step> {
        let new = match write {
            Write::Create { value, .. } | Write::Update { value, .. } => {
                Some(serde_json::from_slice::<Value>(value).ok()?)
            }
            Write::Delete { .. } => None,
            Write::Expect { .. } => return None,
        };
        let place = Place::of_key(write.key())?;
        let old = self.cluster.get(&place.kind, &place.namespace, &place.name).cloned();
        Some(Step { at, author: author.map(|one| one.name.clone()).unwrap_or_default(), place, old, new })
    }
}

fn told(revision: i64, step: &Step) -> String {
    let Step { author, place: Place { kind, namespace, name }, old, new, .. } = step;
    let verb = match (old, new) {
        (None, _) => "creates",
        (_, None) => "removes",
        (Some(old), Some(new)) if read::is_deleting(new) && !read::is_deleting(old) => "begins to delete",
        _ => "changes",
    };
    let object = step.object();
    let field = |path: &str| object.pointer(path).map(|value| format!(" {path}={value}")).unwrap_or_default();
    let fields: &[&str] = match kind.as_str() {
        "pods" => &["/spec/nodeName", "/status/phase", "/metadata/finalizers"],
        "deployments" | "replicasets" | "statefulsets" => {
            &["/metadata/generation", "/spec/replicas", "/status/replicas", "/status/availableReplicas"]
        }
        "jobs" => &["/status/succeeded", "/status/failed", "/status/active"],
        "leases" => &["/spec/holderIdentity", "/spec/leaseTransitions"],
        "resourcequotas" => &["/status/used/pods"],
        _ => &[],
    };
    let mut line = format!("r{revision} {author} {verb} {kind} {namespace}/{name}");
    fields.iter().for_each(|path| line += &field(path));
    if let (true, Some(why)) = (kind == "pods", read::disruption(object)) {
        line += &format!(" {why}");
    }
    line
}
