//! Keeps the kinds' caches as the store is: fills them once, then follows one watch on the whole store.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::forgotten::Forgotten;
use super::roles::NextRoles;
use super::shelves::Shelves;
use super::{KindCache, ROOT, Unreadable, replay};
use crate::authz::rbac::Index;
use crate::registry::SelectableField;
use crate::storage::{Change, Changes, Storage, StorageError};

pub(super) const FILL_DEADLINE: Duration = Duration::from_secs(60);
/// A cache that could not follow the store for so long is of no use to who watches it: other servers' may be.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Changes of a kind that are kept while its new shelf is filled, and the bytes of what they put.
const MISSED_MAX: usize = 16_384;
const MISSED_BYTES_MAX: usize = 64 * 1024 * 1024;
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What others ask of the feed: between two batches of changes it knows exactly how far it is.
pub(super) enum Order {
    /// A shelf for what stands under this prefix, in the place of one that is there.
    Begin { store_prefix: String, fields: Vec<SelectableField>, done: oneshot::Sender<Result<(), StorageError>> },
    /// Keeps what changes of this shelf's kind from now on: it is filled beside the feed, which waits for nothing.
    Prepare { shelf: Arc<KindCache>, done: oneshot::Sender<()> },
    /// A shelf that was prepared, and has what the store had at `filled`, in the place of one that is there.
    Put { shelf: Arc<KindCache>, filled: i64, done: oneshot::Sender<Result<(), StorageError>> },
    /// No shelf any more.
    End { store_prefix: String, done: oneshot::Sender<()> },
}

/// A shelf that is being filled, and what has changed since that began.
struct Prepared {
    /// Whoever fills it holds it. One that was given up on is there no more.
    shelf: Weak<KindCache>,
    prefix: String,
    missed: Vec<Change>,
    missed_bytes: usize,
    /// More has changed than is kept: it has to be filled again.
    overflowed: bool,
}

pub(super) struct Feed {
    storage: Arc<dyn Storage>,
    shelves: Shelves,
    /// What requests are judged by.
    roles: Arc<ArcSwap<Index>>,
    orders: mpsc::Receiver<Order>,
    prepared: Vec<Prepared>,
    revision: watch::Sender<i64>,
    unreadable: Arc<Unreadable>,
    forgotten: Forgotten,
    /// Rises each time that the store is lost for long.
    stalls: watch::Sender<u64>,
    /// Since when it cannot be followed, and whether that was told.
    lost: Option<(Instant, bool)>,
}

impl Prepared {
    fn of(shelf: &Arc<KindCache>) -> Self {
        Self {
            shelf: Arc::downgrade(shelf),
            prefix: shelf.prefix().to_owned(),
            missed: Vec::new(),
            missed_bytes: 0,
            overflowed: false,
        }
    }
    fn is_wanted(&self) -> bool {
        self.shelf.strong_count() > 0
    }
    fn note(&mut self, change: &Change) {
        if !change.key().starts_with(&self.prefix) || self.overflowed {
            return;
        }
        self.missed_bytes += match change {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Deleted { key, .. } => key.len(),
        };
        self.overflowed = self.missed.len() == MISSED_MAX || self.missed_bytes > MISSED_BYTES_MAX;
        if self.overflowed {
            self.missed = Vec::new();
        } else {
            self.missed.push(change.clone());
        }
    }
}

impl Feed {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        (shelves, roles): (Shelves, Arc<ArcSwap<Index>>),
        orders: mpsc::Receiver<Order>,
        revision: watch::Sender<i64>,
        (unreadable, forgotten): (Arc<Unreadable>, Forgotten),
        stalls: watch::Sender<u64>,
    ) -> Self {
        let prepared = Vec::new();
        Self { storage, shelves, roles, orders, prepared, revision, unreadable, forgotten, stalls, lost: None }
    }

    /// Fills all of them as of one revision, an older one if the store has it. Returns that revision.
    pub(super) async fn fill(&self) -> Result<i64, StorageError> {
        let newest = self.storage.current_revision().await?;
        match self.fill_at(replay::beginning(&*self.storage, newest).await?).await {
            // It forgot more meanwhile.
            Err(StorageError::Compacted { .. }) => {}
            filled => return filled,
        }
        self.fill_at(self.storage.current_revision().await?).await
    }

    async fn fill_at(&self, revision: i64) -> Result<i64, StorageError> {
        self.forgotten.read(&*self.storage).await?;
        let mut roles = NextRoles::after(&self.roles);
        for kind in self.shelves.all().iter() {
            let listed = self.storage.list(kind.prefix(), Some(revision)).await?;
            self.unreadable.keys(listed.unreadable_keys);
            roles.fill(kind, &listed.items);
            kind.fill(listed);
        }
        roles.show();
        self.revision.send_replace(revision);
        Ok(revision)
    }

    /// Follows the store for ever, whatever happens to it.
    pub(super) async fn run(mut self, after: i64) {
        let mut after = after;
        let mut retry = RETRY_MIN;
        loop {
            let reached = after;
            let err = self.follow(&mut after).await;
            if after > reached {
                retry = RETRY_MIN;
            }
            if matches!(err, StorageError::Compacted { .. } | StorageError::WentBack { .. }) {
                // What they miss is told by nobody any more.
                self.prepared.clear();
            }
            let err = match err {
                StorageError::Compacted { .. } => match self.relist().await {
                    Ok(revision) => {
                        tracing::warn!(%err, revision, "the store forgot what the cache missed; listed all again");
                        after = revision;
                        continue;
                    }
                    Err(err) => err,
                },
                StorageError::WentBack { now, .. } => match self.fill_at(now).await {
                    Ok(revision) => {
                        tracing::error!(%err, "all is read again, and every watch ends");
                        after = revision;
                        continue;
                    }
                    Err(err) => err,
                },
                err => err,
            };
            tracing::warn!(error = %err, source = ?std::error::Error::source(&err), after, "the watch on the store ended");
            self.note_loss();
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Told once for each time: who watches again, as no other server is better, is left alone.
    fn note_loss(&mut self) {
        let (since, told) = self.lost.get_or_insert((Instant::now(), false));
        if !*told && since.elapsed() >= STALLED_AFTER {
            *told = true;
            tracing::error!("the store cannot be followed: every watch ends");
            self.stalls.send_modify(|stalls| *stalls += 1);
        }
    }

    /// Applies changes until the watch fails.
    async fn follow(&mut self, after: &mut i64) -> StorageError {
        // A watch from a revision that the store has yet to reach would be silent until it does.
        match self.storage.current_revision().await {
            Ok(now) if now < *after => return StorageError::WentBack { seen: *after, now },
            Ok(_) => {}
            Err(err) => return err,
        }
        let mut stream = match self.storage.watch("", *after).await {
            Ok(stream) => stream,
            Err(err) => return err,
        };
        self.lost = None;
        loop {
            let changes = tokio::select! {
                changes = stream.next() => changes,
                Some(order) = self.orders.recv() => {
                    self.obey(order, *after).await;
                    continue;
                }
            };
            match changes {
                Some(Ok(changes)) => *after = self.apply(changes).max(*after),
                Some(Err(err)) => return err,
                None => break,
            }
        }
        StorageError::Unavailable { what: "watching: the stream ended".into(), source: None }
    }

    /// `after`: the revision that all shelves have reached. What the new one has comes from the store as of just then, and its
    /// changes from the same watch as all others'.
    async fn obey(&mut self, order: Order, after: i64) {
        match order {
            Order::Begin { store_prefix, fields, done } => {
                let begun = self.begin(&store_prefix, fields, after).await;
                // Who asked may have gone.
                let _gone = done.send(begun);
            }
            Order::Prepare { shelf, done } => {
                // The newer definition of a kind counts.
                self.prepared.retain(|prepared| prepared.prefix != shelf.prefix());
                self.prepared.push(Prepared::of(&shelf));
                let _gone = done.send(());
            }
            Order::Put { shelf, filled, done } => {
                let _gone = done.send(self.put(&shelf, filled, after));
            }
            Order::End { store_prefix, done } => {
                if let Some(shelf) = self.shelves.remove(&store_prefix) {
                    // What is not followed gives nothing.
                    let mut roles = NextRoles::after(&self.roles);
                    roles.fill(&shelf, &[]);
                    roles.show();
                    shelf.close();
                }
                // One that is being filled comes too late.
                self.prepared.retain(|prepared| prepared.prefix != format!("{ROOT}{store_prefix}/"));
                let _gone = done.send(());
            }
        }
    }
    async fn begin(&self, store_prefix: &str, fields: Vec<SelectableField>, after: i64) -> Result<(), StorageError> {
        if self.shelves.get(store_prefix).is_some_and(|shelf| shelf.fields() == fields) {
            return Ok(());
        }
        let shelf = Arc::new(KindCache::new(store_prefix, fields, None, &self.unreadable));
        let listed = self.storage.list(shelf.prefix(), Some(after)).await?;
        self.unreadable.keys(listed.unreadable_keys);
        let mut roles = NextRoles::after(&self.roles);
        roles.fill(&shelf, &listed.items);
        roles.show();
        shelf.fill(listed);
        if let Some(before) = self.shelves.put(shelf) {
            before.close();
        }
        Ok(())
    }

    /// All that it has missed while it was filled comes first.
    fn put(&mut self, shelf: &Arc<KindCache>, filled: i64, after: i64) -> Result<(), StorageError> {
        let at = self.prepared.iter().position(|prepared| prepared.shelf.as_ptr() == Arc::as_ptr(shelf));
        let prepared = at.map(|at| self.prepared.swap_remove(at));
        let Some(Prepared { missed, .. }) = prepared.filter(|prepared| !prepared.overflowed && filled <= after) else {
            let what =
                format!("filling the cache of {}: more has changed meanwhile than is kept", shelf.store_prefix());
            return Err(StorageError::Unavailable { what, source: None });
        };
        shelf.apply(missed.into_iter().filter(|change| change.revision() > filled).collect());
        if let Some(before) = self.shelves.put(shelf.clone()) {
            before.close();
        }
        Ok(())
    }

    /// The kinds' caches and what requests are judged by first, the revision that says so last.
    fn apply(&mut self, told: Changes) -> i64 {
        self.unreadable.keys(told.unreadable_keys);
        self.prepared.retain(Prepared::is_wanted);
        let shelves = self.shelves.all();
        let mut by_shelf: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for change in told.changes {
            self.forgotten.note(&change);
            for prepared in &mut self.prepared {
                prepared.note(&change);
            }
            if let Some(place) = Shelves::place_of(&shelves, change.key()) {
                by_shelf.entry(place).or_default().push(change);
            }
        }
        let mut roles = NextRoles::after(&self.roles);
        for (place, changes) in by_shelf {
            roles.apply(&shelves[place], &changes);
            shelves[place].apply(changes);
        }
        roles.show();
        self.revision.send_replace(told.revision);
        told.revision
    }

    /// After a gap: what differs becomes changes, so that watchers converge without listing again.
    async fn relist(&self) -> Result<i64, StorageError> {
        let revision = self.storage.current_revision().await?;
        self.forgotten.read(&*self.storage).await?;
        let mut roles_and_bindings = Vec::new();
        for kind in self.shelves.all().iter() {
            let listed = self.storage.list(kind.prefix(), Some(revision)).await?;
            if NextRoles::is_concerned(kind) {
                roles_and_bindings.push((kind.clone(), listed));
                continue;
            }
            kind.apply(kind.difference(listed));
        }
        // Once all of them are there: what a cache has taken in is no difference any more when this is tried again.
        let mut roles = NextRoles::after(&self.roles);
        for (kind, listed) in roles_and_bindings {
            let changes = kind.difference(listed);
            roles.apply(&kind, &changes);
            kind.apply(changes);
        }
        roles.show();
        self.revision.send_replace(revision);
        Ok(revision)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::registry::Registry;
    use crate::storage::memory::Memory;
    use crate::storage::{Listed, Stored};

    fn put(name: usize, revision: i64) -> Change {
        let key = format!("/registry/example.com/tabs/n/{name}");
        Change::Put { key, value: r#"{"metadata":{}}"#.into(), revision, created: true }
    }
    fn told(changes: Vec<Change>) -> Changes {
        let revision = changes.last().map_or(0, Change::revision);
        Changes { changes, revision, unreadable_keys: 0 }
    }
    async fn prepared(feed: &mut Feed) -> Arc<KindCache> {
        let shelf = Arc::new(KindCache::new("example.com/tabs", Vec::new(), None, &feed.unreadable));
        let (done, prepared) = oneshot::channel();
        feed.obey(Order::Prepare { shelf: shelf.clone(), done }, 1).await;
        prepared.await.unwrap();
        shelf
    }

    #[tokio::test]
    async fn what_changes_while_a_shelf_is_filled_is_in_it() {
        let unreadable = Arc::<Unreadable>::default();
        let shelves = Shelves::of(&Registry::default().table(), &unreadable);
        let (_orders, ordered) = mpsc::channel(1);
        let filled = (shelves.clone(), Arc::<ArcSwap<Index>>::default());
        let beside = (unreadable, Forgotten::default());
        let storage = Arc::new(Memory::default());
        let mut feed = Feed::new(storage, filled, ordered, watch::Sender::new(0), beside, watch::Sender::new(0));

        let shelf = prepared(&mut feed).await;
        feed.apply(told(vec![put(1, 2), put(2, 3)]));
        let gone = Change::Deleted { key: put(1, 5).key().to_owned(), revision: 5 };
        feed.apply(told(vec![gone, put(3, 6)]));
        let stored = |name: usize, revision: i64| {
            let Change::Put { key, value, .. } = put(name, revision) else { panic!("it is one") };
            Stored { key, value, revision }
        };
        let listed = Listed { items: vec![stored(1, 2), stored(2, 3)], revision: 4, unreadable_keys: 0 };
        shelf.fill_beside(listed).await;
        feed.put(&shelf, 4, 6).unwrap();
        let served = shelves.get("example.com/tabs").unwrap();
        let items: Vec<String> = served.snapshot(6).items.iter().map(|row| format!("{:?}", row.0)).collect();
        assert_eq!(items, ["n/2@3", "n/3@6"]);
        feed.apply(told(vec![put(4, 7)]));
        assert_eq!(served.snapshot(7).items.len(), 3, "it is followed from then on");

        feed.put(&shelf, 7, 7).expect_err("it is not prepared any more");
        let shelf = prepared(&mut feed).await;
        feed.put(&shelf, 9, 8).expect_err("what it has is not known to be all");
        let shelf = prepared(&mut feed).await;
        feed.apply(told((0..=MISSED_MAX).map(|n| put(n, 10 + n as i64)).collect()));
        feed.put(&shelf, 9, i64::MAX).expect_err("it has missed more than is kept");
        let shelf = prepared(&mut feed).await;
        let large = Bytes::from(vec![b' '; MISSED_BYTES_MAX / 2]);
        let put_large = |revision: i64| match put(1, revision) {
            Change::Put { key, created, .. } => Change::Put { key, value: large.clone(), revision, created },
            gone @ Change::Deleted { .. } => gone,
        };
        feed.apply(told(vec![put_large(20_000), put_large(20_001)]));
        feed.put(&shelf, 9, i64::MAX).expect_err("or larger ones");
    }

    #[tokio::test]
    async fn a_shelf_that_was_given_up_on_collects_nothing() {
        let unreadable = Arc::<Unreadable>::default();
        let filled = (Shelves::of(&Registry::default().table(), &unreadable), Arc::<ArcSwap<Index>>::default());
        let (beside, (_orders, ordered)) = ((unreadable, Forgotten::default()), mpsc::channel(1));
        let storage = Arc::new(Memory::default());
        let mut feed = Feed::new(storage, filled, ordered, watch::Sender::new(0), beside, watch::Sender::new(0));
        drop(prepared(&mut feed).await);
        feed.apply(told(vec![put(1, 2)]));
        assert!(feed.prepared.is_empty());
        let shelf = prepared(&mut feed).await;
        let (done, _ended) = oneshot::channel();
        feed.obey(Order::End { store_prefix: shelf.store_prefix().to_owned(), done }, 3).await;
        assert!(feed.prepared.is_empty(), "the kind has gone");
    }
}
