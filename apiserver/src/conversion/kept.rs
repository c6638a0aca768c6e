//! What has been converted, beside the objects that it was made of: asked for once, however many want it.
//!
//! An entry is found by where its object is in memory, and goes with it: an object that changes is another one. What is being asked
//! for has an entry, too, so that whoever comes meanwhile waits for the same answer; but who wants one object waits for none that a list
//! has asked about behind other lists. A failure is told to all who wait and is not kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use corten_api::ApiError;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cache::Item;
use crate::webhook::Share;

/// Of all objects that are kept in versions that they are not stored in. Of lists that are larger the oldest part is made again.
const BYTES_MAX: usize = 64 << 20;
/// With fewer entries than this nobody looks for those that are of no use any more.
const SWEPT_FROM: usize = 1024;

/// What became of one question, for all its objects in their order.
pub(super) type Answer = Result<Arc<[Arc<Item>]>, ApiError>;
pub(super) type Answering = watch::Receiver<Progress>;

/// How far a question has come.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    /// It waits behind others in bulk.
    Queued,
    /// It is under way, or waits for a call that anybody may make.
    Begun,
    Answered(Answer),
}

/// By whom, and into which version. Numbers of webhooks are never given again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) webhook: u64,
    pub(super) to: Arc<str>,
}

type Key = (usize, Lane);

/// What is known of one object.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Done(Arc<Item>),
    /// It is this one of the objects of a question.
    Asked(Answering, usize),
}

#[derive(Debug)]
struct Entry {
    /// Nothing else is where the object is as long as this is here.
    of: Weak<Item>,
    found: Found,
}

#[derive(Debug)]
pub(super) struct Kept {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// Of those that are done, the oldest first. Some may be gone.
    order: VecDeque<Key>,
    bytes: usize,
    sweep_at: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

fn key(of: &Arc<Item>, lane: &Lane) -> Key {
    (Arc::as_ptr(of).addr(), lane.clone())
}

fn weight(item: &Item) -> usize {
    item.weight() + size_of::<(Key, Entry, Key)>()
}

impl Found {
    /// Whether there will be an answer, and soon enough for who has this share. Who was to ask may have come to grief.
    fn is_good(&self, share: Share) -> bool {
        let Self::Asked(answering, _) = self else { return true };
        match &*answering.borrow() {
            Progress::Answered(_) => true,
            Progress::Begun => answering.has_changed().is_ok(),
            Progress::Queued => share == Share::Bulk && answering.has_changed().is_ok(),
        }
    }
}

impl Kept {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    /// What is known of each of these. Who is not known is given to `ask`, all of them together, each once.
    pub(super) fn find(
        &self,
        items: &[Arc<Item>],
        lane: &Lane,
        share: Share,
        ask: impl FnOnce(Vec<Arc<Item>>) -> Answering,
    ) -> Vec<Found> {
        let mut inner = self.inner.lock();
        let mut missing: Vec<Arc<Item>> = Vec::new();
        let mut places: HashMap<usize, usize> = HashMap::new();
        for item in items {
            let known = inner.entries.get(&key(item, lane)).is_some_and(|entry| entry.found.is_good(share));
            if !known && !places.contains_key(&Arc::as_ptr(item).addr()) {
                places.insert(Arc::as_ptr(item).addr(), missing.len());
                missing.push(item.clone());
            }
        }
        if !missing.is_empty() {
            inner.sweep_if_many();
            let answering = ask(missing.clone());
            for (at, item) in missing.iter().enumerate() {
                let entry = Entry { of: Arc::downgrade(item), found: Found::Asked(answering.clone(), at) };
                inner.put(key(item, lane), entry);
            }
        }
        let found = items.iter().filter_map(|item| inner.entries.get(&key(item, lane)));
        found.map(|entry| entry.found.clone()).collect()
    }

    /// Keeps an answer, which `answering` will tell, for who comes later.
    pub(super) fn settle(&self, items: &[Arc<Item>], lane: &Lane, answering: &Answering, answer: &Answer) {
        let mut inner = self.inner.lock();
        for (at, item) in items.iter().enumerate() {
            let key = key(item, lane);
            let is_of_this = |entry: &Entry| matches!(&entry.found, Found::Asked(by, _) if by.same_channel(answering));
            if !inner.entries.get(&key).is_some_and(is_of_this) {
                continue;
            }
            match answer.as_ref().ok().and_then(|done| done.get(at)) {
                Some(done) => {
                    let entry = Entry { of: Arc::downgrade(item), found: Found::Done(done.clone()) };
                    inner.bytes += weight(done);
                    inner.entries.insert(key.clone(), entry);
                    inner.order.push_back(key);
                }
                None => drop(inner.entries.remove(&key)),
            }
        }
        inner.fit(self.bytes_max);
    }

    /// Drops what was made of objects that are gone.
    pub(super) fn release(&self) {
        self.inner.lock().sweep();
    }
}

impl Inner {
    fn put(&mut self, key: Key, entry: Entry) {
        self.entries.insert(key, entry);
    }
    fn fit(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(Entry { found: Found::Done(item), .. }) = self.entries.get(&oldest) {
                self.bytes -= weight(item);
                self.entries.remove(&oldest);
            }
        }
    }
    /// As seldom as the entries become twice as many.
    fn sweep_if_many(&mut self) {
        if self.entries.len() >= self.sweep_at.max(SWEPT_FROM) {
            self.sweep();
        }
    }
    fn sweep(&mut self) {
        self.entries.retain(|_, entry| entry.of.strong_count() > 0 && entry.found.is_good(Share::Bulk));
        let Self { entries, order, .. } = self;
        order.retain(|key| matches!(entries.get(key), Some(Entry { found: Found::Done(_), .. })));
        self.bytes = self
            .entries
            .values()
            .map(|entry| if let Found::Done(item) = &entry.found { weight(item) } else { 0 })
            .sum();
        self.sweep_at = self.entries.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::resources::EventKind;

    fn item(name: &str, bytes: usize) -> Arc<Item> {
        let json = format!(r#"{{"metadata":{{"name":"{name}"}},"data":"{}"}}"#, "x".repeat(bytes));
        Arc::new(Item::new(name, json.as_bytes(), 5, EventKind::Added, &[]).unwrap())
    }
    fn lane(webhook: u64) -> Lane {
        Lane { webhook, to: "v2".into() }
    }
    /// As who asks for many does: what was missing, and the sender of what comes of it.
    fn ask(kept: &Kept, items: &[Arc<Item>], lane: &Lane) -> (Vec<Found>, Vec<Arc<Item>>, watch::Sender<Progress>) {
        ask_as(kept, items, lane, Share::Bulk)
    }
    fn ask_as(
        kept: &Kept,
        items: &[Arc<Item>],
        lane: &Lane,
        share: Share,
    ) -> (Vec<Found>, Vec<Arc<Item>>, watch::Sender<Progress>) {
        let (sender, receiver) = watch::channel(Progress::Queued);
        let mut asked = Vec::new();
        let found = kept.find(items, lane, share, |missing| {
            asked = missing;
            receiver
        });
        (found, asked, sender)
    }
    fn answer(kept: &Kept, items: &[Arc<Item>], lane: &Lane, sender: &watch::Sender<Progress>, answer: Answer) {
        kept.settle(items, lane, &sender.subscribe(), &answer);
        sender.send_replace(Progress::Answered(answer));
    }
    fn names(items: &[Arc<Item>]) -> Vec<&str> {
        items.iter().map(|item| item.key()).collect()
    }

    #[test]
    fn an_object_is_asked_about_once_by_all_who_come_while_and_after() {
        let (kept, [a, b]) = (Kept::default(), [item("a", 1), item("b", 1)]);
        let of = lane(1);
        let (found, asked, sender) = ask(&kept, &[a.clone(), b.clone(), a.clone()], &of);
        assert_eq!((names(&asked), found.len()), (vec!["a", "b"], 3));
        let at: Vec<usize> = found.iter().map(|found| if let Found::Asked(_, at) = found { *at } else { 9 }).collect();
        assert_eq!(at, [0, 1, 0], "one that is there twice is asked about once");
        let (_, others, _unused) = ask(&kept, &[b.clone(), a.clone()], &of);
        assert_eq!(names(&others), [""; 0], "who comes meanwhile waits for the same");
        let (_, elsewhere, _unused) = ask(&kept, slice::from_ref(&a), &lane(2));
        assert_eq!(names(&elsewhere), ["a"]);
        answer(&kept, &asked, &of, &sender, Ok([item("a", 2), item("b", 2)].into()));
        drop(sender);
        let (found, later, _unused) = ask(&kept, slice::from_ref(&a), &of);
        assert!(later.is_empty() && matches!(&found[..], [Found::Done(done)] if done.key() == "a"));
    }

    #[test]
    fn who_wants_one_object_waits_for_no_list_that_has_not_had_its_turn() {
        let (kept, a, of) = (Kept::default(), item("a", 1), lane(1));
        let one = || ask_as(&kept, slice::from_ref(&a), &of, Share::All);
        let (_, listed, list) = ask(&kept, slice::from_ref(&a), &of);
        let (_, asked, single) = one();
        assert_eq!(names(&asked), ["a"], "the list waits for others");
        list.send_replace(Progress::Begun);
        single.send_replace(Progress::Begun);
        assert_eq!((names(&one().1), names(&ask(&kept, slice::from_ref(&a), &of).1)), (vec![], vec![]));
        answer(&kept, &listed, &of, &list, Ok([item("a", 2)].into()));
        assert!(matches!(&one().0[..], [Found::Asked(..)]), "who was asked last settles it");
        answer(&kept, &asked, &of, &single, Ok([item("a", 2)].into()));
        assert!(matches!(&one().0[..], [Found::Done(_)]));
        let b = item("b", 1);
        let (_, _, list) = ask(&kept, slice::from_ref(&b), &of);
        list.send_replace(Progress::Begun);
        assert_eq!(names(&ask_as(&kept, slice::from_ref(&b), &of, Share::All).1), [""; 0], "it is its turn");
    }

    #[test]
    fn a_failure_is_not_kept_and_who_came_to_grief_is_not_waited_for() {
        let (kept, a, of) = (Kept::default(), item("a", 1), lane(1));
        let (_, asked, sender) = ask(&kept, slice::from_ref(&a), &of);
        answer(&kept, &asked, &of, &sender, Err(ApiError::bad_request("x")));
        let (_, asked, sender) = ask(&kept, slice::from_ref(&a), &of);
        assert_eq!(names(&asked), ["a"]);
        drop(sender);
        assert_eq!(names(&ask(&kept, slice::from_ref(&a), &of).1), ["a"]);
    }

    #[test]
    fn what_is_kept_goes_with_its_object_and_is_bounded() {
        let (kept, of) = (Kept::new(10_000), lane(1));
        let items: Vec<Arc<Item>> = (0..20).map(|n| item(&n.to_string(), 1)).collect();
        for item_of in &items {
            let (_, asked, sender) = ask(&kept, slice::from_ref(item_of), &of);
            answer(&kept, &asked, &of, &sender, Ok([item("x", 900)].into()));
        }
        let held = || {
            let inner = kept.inner.lock();
            assert_eq!((inner.entries.len(), inner.order.len()), (inner.order.len(), inner.entries.len()));
            (inner.entries.len(), inner.bytes)
        };
        let (count, bytes) = held();
        assert!(bytes <= 10_000 && (5..12).contains(&count), "{count} of {bytes}");
        assert!(ask(&kept, &items[19..], &of).1.is_empty(), "the newest are there");
        drop(items);
        kept.release();
        assert_eq!(held(), (0, 0));
    }
}
