//! Volumes that are directories of this node (`corten.io/local-directory`): made before the first mount, removed when the volume
//! is released and deleted.
//!
//! All is below one directory that root alone enters. A volume has our finalizer before anything can be written to its directory,
//! and until that is gone: no volume goes while there is a directory of it, whenever this program is stopped. Which volumes to
//! watch the directories say: there is nothing else to remember.

pub mod decide;
pub mod given;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corten_api::volumes::DIRECTORY_FINALIZER;
use corten_api::{ApiError, Key, Object as _, Reason};
use corten_client::CancellationToken;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::PersistentVolume;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::beneath::Dir;
use crate::cluster::{Cluster, answered};
use decide::Step;

/// Whoever a container runs as may write to its volume, as nothing tells who that is; nobody else of the node comes so far.
const VOLUME_MODE: u32 = 0o777;
const ROOT_MODE: u32 = 0o700;
/// Before the name of a directory that is being removed: nobody mounts it any more.
const REMOVING: &str = ".removing-";
/// After what did not come about: nobody tells when it will.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// After no volume was shown for a directory with data: the authorizer may not have known of it yet, or for longer.
const SELDOM_AFTER: Duration = Duration::from_secs(1800);
/// Volumes that are looked at, and removed, side by side: a large one holds up no other.
const LOOKS_AT_ONCE: usize = 4;
/// Looks at a tree that is removed before others have their turn. One peels off a level, or some thousand entries of one.
const REMOVAL_LOOKS_MAX: usize = 4096;
/// A volume that we may not see so often in a row is not there.
const FORBIDDEN_MAX: u32 = 6;
/// Directories that are looked for at the start.
const DIRECTORIES_MAX: usize = 1 << 16;
/// Writes of one volume that others are faster with, one after the other.
const CONFLICTS_MAX: usize = 5;
/// How long one pod waits until another, or the removal, is done with the same volume. Its start is tried again.
const TURN_MAX: Duration = Duration::from_secs(30);

/// What something of this node may still use.
#[derive(Clone, Copy, Debug)]
pub enum Used<'a> {
    /// A claim, with its uid if that is known: another may have its name by now.
    Claim(&'a Key, Option<&'a str>),
    /// A volume, by its name.
    Volume(&'a str),
    /// A volume, by its name, that containers were given and may still have, whatever the API says.
    Mount(&'a str),
}

/// Says whether something of this node still uses it.
pub type InUse = Box<dyn Fn(Used<'_>) -> bool + Send + Sync>;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Directories(Arc<Inner>);

struct Inner {
    root: PathBuf,
    node: String,
    cluster: Arc<dyn Cluster>,
    stop: CancellationToken,
    /// Volumes that are watched: those that have a directory.
    watched: Mutex<BTreeMap<String, CancellationToken>>,
    /// How often in a row we were not allowed to see a volume.
    forbidden: Mutex<BTreeMap<String, u32>>,
    /// To be looked at.
    dirty: Mutex<BTreeSet<String>>,
    wake: Notify,
    turns: Turns,
}

/// By volume, held while its directory is made, and while it is taken out of the way to be removed. There is an entry only
/// while somebody holds it or waits for it.
#[derive(Default)]
struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

struct Turn<'a> {
    turns: &'a Turns,
    name: &'a str,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    async fn take<'a>(&'a self, name: &'a str) -> Turn<'a> {
        // Before it waits: who gives up waiting leaves no entry behind.
        let mut turn = Turn { turns: self, name, held: None };
        let lock = Arc::clone(self.0.lock().entry(name.to_owned()).or_default());
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut all = self.turns.0.lock();
        if all.get(self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            all.remove(self.name);
        }
    }
}

/// What became of a look at a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Done,
    Again,
    /// What holds data stays without a volume; one may be shown for it yet.
    Seldom,
}

impl Looked {
    fn again_after(self) -> Option<Duration> {
        match self {
            Self::Done => None,
            Self::Again => Some(AGAIN_AFTER),
            Self::Seldom => Some(SELDOM_AFTER),
        }
    }
}

impl Directories {
    pub fn new(root: impl Into<PathBuf>, node: &str, cluster: &Arc<dyn Cluster>, stop: &CancellationToken) -> Self {
        Self(Arc::new(Inner {
            root: root.into(),
            node: node.to_owned(),
            cluster: Arc::clone(cluster),
            stop: stop.clone(),
            watched: Mutex::default(),
            forbidden: Mutex::default(),
            dirty: Mutex::default(),
            wake: Notify::new(),
            turns: Turns::default(),
        }))
    }

    /// Begins to look after the directories that are there, until the stop.
    pub fn start(&self, in_use: InUse) {
        let (inner, stop) = (Arc::clone(&self.0), self.0.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(inner.run(in_use)).await });
    }

    /// Makes the directory of a volume that a pod is about to mount, if it is one of these, and notes in the pod's directory that
    /// it has it. The error is for the user.
    pub async fn hold(&self, volume: &PersistentVolume, pod_dir: &Path) -> Result<(), String> {
        if decide::is_of(volume, &self.0.node) { self.0.hold(volume, pod_dir).await } else { Ok(()) }
    }
}

impl Inner {
    async fn hold(self: &Arc<Self>, known: &PersistentVolume, pod_dir: &Path) -> Result<(), String> {
        let name = known.name();
        decide::place(known, &self.root)?;
        let Ok(_turn) = tokio::time::timeout(TURN_MAX, self.turns.take(name)).await else {
            return Err(format!("others are busy with persistentvolume {name:?} for {TURN_MAX:?} already"));
        };
        self.ensure(known).await?;
        given::note(pod_dir, name)
            .map_err(|err| format!("cannot note that the pod has persistentvolume {name:?}: {err}"))
    }

    /// With its turn.
    async fn ensure(self: &Arc<Self>, known: &PersistentVolume) -> Result<(), String> {
        let name = known.name();
        for _ in 0..CONFLICTS_MAX {
            let newest = match answered(self.cluster.persistent_volume(name)).await {
                Ok(Some(newest)) => newest,
                Ok(None) => return Err(format!("persistentvolume {name:?} not found")),
                // A container restarts without any apiserver: its directory is there, and stays as long as nobody is told otherwise.
                Err(err) if decide::has_finalizer(known) && self.has(name) => {
                    info!(volume = name, %err, "whether it is deleted is not known");
                    return Ok(());
                }
                Err(err) => return Err(format!("failed to fetch persistentvolume {name:?}: {err}")),
            };
            decide::may_be_mounted(&newest)?;
            // It was made before the finalizer came: what it held is lost, and an empty one must not stand for it.
            if decide::has_finalizer(&newest) && !self.has(name) {
                return Err(format!("the directory of persistentvolume {name:?} is gone from this node"));
            }
            if decide::has_finalizer(&newest) {
                self.watch(name);
                return Ok(());
            }
            let (inner, made) = (Arc::clone(self), name.to_owned());
            let made = blocking(move || inner.make(&made)).await;
            made.map_err(|err| format!("cannot make the directory of persistentvolume {name:?}: {err}"))?;
            self.watch(name);
            let mut held = PersistentVolume::clone(&newest);
            held.metadata.finalizers.get_or_insert_default().push(DIRECTORY_FINALIZER.into());
            match answered(self.cluster.update_persistent_volume(&held)).await {
                Ok(()) => return Ok(()),
                Err(err) if err.is(Reason::Conflict) => {}
                Err(err) => return Err(format!("cannot hold persistentvolume {name:?}: {err}")),
            }
        }
        Err(format!("cannot hold persistentvolume {name:?}: others change it all the time"))
    }

    fn root(&self) -> io::Result<Dir> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(ROOT_MODE).create(&self.root)?;
        Dir::open(&self.root)
    }
    fn has(&self, name: &str) -> bool {
        self.root().and_then(|root| root.has_dir(OsStr::new(name))).unwrap_or(false)
    }
    /// For a volume without our finalizer. With it, a directory that is not there is one that was lost: so this one has to
    /// outlive a power cut before the finalizer is asked for.
    fn make(&self, name: &str) -> io::Result<()> {
        let root = self.root()?;
        let made = root.make_dir(name, VOLUME_MODE)?;
        // One that was left behind when this program was stopped may have another mode yet.
        made.set_mode(VOLUME_MODE)?;
        made.sync()?;
        root.sync()?;
        // The root may be as new as that, and so may what leads to it.
        self.root.ancestors().skip(1).try_for_each(|above| {
            // A relative path ends with nothing.
            if above.as_os_str().is_empty() { Ok(()) } else { Dir::open(above)?.sync() }
        })
    }

    fn watch(self: &Arc<Self>, name: &str) {
        let mut watched = self.watched.lock();
        if watched.contains_key(name) {
            return;
        }
        let stop = self.stop.child_token();
        watched.insert(name.to_owned(), stop.clone());
        drop(watched);
        let (inner, of) = (Arc::downgrade(self), name.to_owned());
        let changed = move || {
            if let Some(inner) = inner.upgrade() {
                inner.touch(&of);
            }
        };
        self.cluster.watch_persistent_volume(name, &stop, Box::new(changed));
    }
    fn forget(&self, name: &str) {
        if let Some(stop) = self.watched.lock().remove(name) {
            stop.cancel();
        }
    }
    fn touch(&self, name: &str) {
        self.dirty.lock().insert(name.to_owned());
        self.wake.notify_one();
    }

    async fn run(self: Arc<Self>, in_use: InUse) {
        let mut again: BTreeSet<(Instant, String)> = BTreeSet::new();
        let mut looks = FuturesUnordered::new();
        let mut looked_at: BTreeSet<String> = BTreeSet::new();
        // Until the directories that are there were read once.
        let mut names_at = Some(Instant::now());
        loop {
            if names_at.is_some_and(|at| at <= Instant::now()) {
                names_at = match self.names() {
                    Ok(names) => {
                        names.iter().for_each(|name| self.touch(name));
                        None
                    }
                    Err(err) => {
                        warn!(root = %self.root.display(), %err, "cannot look which volumes have a directory here");
                        Some(Instant::now() + AGAIN_AFTER)
                    }
                };
            }
            let due = again.iter().take_while(|(at, _)| *at <= Instant::now()).cloned().collect::<Vec<_>>();
            for entry in due {
                again.remove(&entry);
                self.dirty.lock().insert(entry.1);
            }
            while let Some(name) = self.next_dirty(&looked_at) {
                looked_at.insert(name.clone());
                looks.push(self.look_at(name, &in_use));
            }
            let timer = again.first().map(|(at, _)| *at).into_iter().chain(names_at).min();
            let tick = async {
                match timer {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tick => {}
                Some((name, looked)) = looks.next() => {
                    looked_at.remove(&name);
                    again.retain(|(_, of)| *of != name);
                    again.extend(looked.again_after().map(|after| (Instant::now() + after, name)));
                }
            }
        }
    }

    /// A volume to be looked at beside these.
    fn next_dirty(&self, looked_at: &BTreeSet<String>) -> Option<String> {
        if looked_at.len() >= LOOKS_AT_ONCE {
            return None;
        }
        let mut dirty = self.dirty.lock();
        let name = dirty.iter().find(|name| !looked_at.contains(*name)).cloned()?;
        dirty.remove(&name);
        Some(name)
    }

    async fn look_at(self: &Arc<Self>, name: String, in_use: &InUse) -> (String, Looked) {
        let looked = self.look(&name, in_use).await;
        (name, looked)
    }

    /// The volumes of the directories that are there, also of those that are being removed.
    fn names(&self) -> io::Result<BTreeSet<String>> {
        let entries = self.root()?.entries(DIRECTORIES_MAX)?;
        let names = entries.into_iter().filter(|(_, is_dir)| *is_dir).filter_map(|(name, _)| name.into_string().ok());
        Ok(names.map(|name| name.strip_prefix(REMOVING).map_or(name.clone(), str::to_owned)).collect())
    }

    async fn look(self: &Arc<Self>, name: &str, in_use: &InUse) -> Looked {
        let shown = self.cluster.persistent_volume(name).await;
        if !shown.as_ref().is_err_and(|err| err.is(Reason::Forbidden)) {
            self.forbidden.lock().remove(name);
        }
        let volume = match shown {
            Ok(Some(volume)) if decide::is_of(&volume, &self.node) => volume,
            Ok(_) => return self.orphaned(name, in_use).await,
            Err(err) if err.is(Reason::NotFound) => return self.orphaned(name, in_use).await,
            // To a node, what is not there is forbidden; but so is what the authorizer does not know of yet.
            Err(err) if err.is(Reason::Forbidden) => {
                return if self.is_forbidden_again(name) { Looked::Again } else { self.orphaned(name, in_use).await };
            }
            Err(err) => {
                warn!(volume = name, %err, "cannot look whether it is deleted");
                return Looked::Again;
            }
        };
        match decide::decide(&volume) {
            Step::Keep => {
                self.watch(name);
                return Looked::Done;
            }
            // What its pods left behind is theirs as long as one of them is here.
            Step::Remove if is_claim_used(&volume, in_use) || in_use(Used::Mount(name)) => return Looked::Again,
            Step::Remove => {
                if let Err(err) = self.remove(name, in_use).await {
                    warn!(volume = name, %err, "cannot remove its directory");
                    return Looked::Again;
                }
            }
            Step::LetGo => info!(volume = name, "it is deleted, and its directory stays"),
        }
        match self.let_go(&volume).await {
            Ok(()) => {
                self.forget(name);
                Looked::Done
            }
            Err(err) => {
                warn!(volume = name, %err, "cannot take our finalizer off");
                Looked::Again
            }
        }
    }

    /// Counts; false: it was so too often.
    fn is_forbidden_again(&self, name: &str) -> bool {
        let mut forbidden = self.forbidden.lock();
        let times = forbidden.entry(name.to_owned()).or_default();
        *times += 1;
        if *times >= FORBIDDEN_MAX {
            forbidden.remove(name);
            return false;
        }
        true
    }

    /// No volume is shown for it: its finalizer was taken off by others, or it never had it. What may hold data stays.
    async fn orphaned(self: &Arc<Self>, name: &str, in_use: &InUse) -> Looked {
        self.forget(name);
        let turn = self.turns.take(name).await;
        // A pod may have come with it since.
        if in_use(Used::Volume(name)) || in_use(Used::Mount(name)) {
            return Looked::Again;
        }
        let removed = self.root().and_then(|root| root.remove_empty(OsStr::new(name)));
        drop(turn);
        // Nobody mounts that any more: its volume said that it was to be removed.
        if let Err(err) = self.clear(format!("{REMOVING}{name}")).await {
            warn!(volume = name, %err, "cannot remove what is left of its directory");
            return Looked::Again;
        }
        match removed {
            Ok(true) => return Looked::Done,
            Ok(false) => {
                warn!(volume = name, root = %self.root.display(), "no such volume is this node's: its directory stays")
            }
            Err(err) => warn!(volume = name, %err, "cannot look at the directory that is left of it"),
        }
        Looked::Seldom
    }

    async fn remove(self: &Arc<Self>, name: &str, in_use: &InUse) -> io::Result<()> {
        let hidden = format!("{REMOVING}{name}");
        let turn = self.turns.take(name).await;
        // A pod may have been given it since.
        if in_use(Used::Mount(name)) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "containers still have it"));
        }
        let root = self.root()?;
        if root.has_dir(OsStr::new(name))? {
            // One of an earlier try first.
            self.clear(hidden.clone()).await?;
            root.rename(OsStr::new(name), OsStr::new(&hidden))?;
        }
        drop(turn);
        self.clear(hidden).await
    }

    /// Removes what nobody mounts any more, or as much of it as may be removed at a time: the rest is an error.
    async fn clear(self: &Arc<Self>, hidden: String) -> io::Result<()> {
        let inner = Arc::clone(self);
        blocking(move || {
            let root = inner.root()?;
            if !root.remove_within(OsStr::new(&hidden), REMOVAL_LOOKS_MAX)? {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "there is much in it: the rest goes later"));
            }
            // Nobody looks for it any more once the finalizer is off: a power cut must not bring it back.
            root.sync()
        })
        .await
    }

    async fn let_go(&self, volume: &PersistentVolume) -> Result<(), ApiError> {
        let mut freed = volume.clone();
        freed.metadata.finalizers.iter_mut().for_each(|all| all.retain(|one| one != DIRECTORY_FINALIZER));
        match self.cluster.update_persistent_volume(&freed).await {
            Err(err) if !err.is(Reason::NotFound) => Err(err),
            _ => Ok(()),
        }
    }
}

/// Whether a pod of this node has the very claim that the volume is of. Without a uid its name has to do.
fn is_claim_used(volume: &PersistentVolume, in_use: &InUse) -> bool {
    let claim_ref = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = claim_ref.and_then(|claim| claim.uid.as_deref()).filter(|uid| !uid.is_empty());
    decide::claim_of(volume).is_some_and(|claim| in_use(Used::Claim(&claim, uid)))
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|err| Err(io::Error::other(err)))
}

#[cfg(test)]
mod tests;
