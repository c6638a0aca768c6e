//! The garbage collector over a random web of owners: what nobody owns goes, what was let go stays, nothing waits for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::Key;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_client::seeds::{Chance, for_each_seed};
use corten_controllers::garbagecollector::decide::{
    Action, Dependent, FOREGROUND, ORPHAN, Observed, OwnerState, Policy, decide, is_in_circle,
};
use corten_controllers::metadata::SeenMeta;
use corten_controllers::monitors::{KindId, ObjectId};

use crate::store::Luck;

/// Each kind is seen at a delay of its own.
const KINDS: usize = 3;
const UNREST_STEPS: usize = 2000;
const REST_STEPS: usize = 20_000;
const OBJECTS_MAX: usize = 25;

type Objects = BTreeMap<ObjectKey, Arc<SeenMeta>>;
type ObjectKey = (usize, Key);

#[derive(Default)]
struct World {
    revision: i64,
    live: Objects,
    log: Vec<Vec<(ObjectKey, Option<Arc<SeenMeta>>)>>,
    /// What the collector has seen of each kind.
    seen: Objects,
    at: Vec<usize>,
    /// Uids of objects that nobody but their deleted owner owned, and that were let go.
    orphans: BTreeSet<String>,
    /// How much of each kind's log there was when the collector began, and the revision then.
    began: (Vec<usize>, i64),
}

fn waits(meta: &SeenMeta) -> bool {
    meta.deleting && meta.has_finalizer(FOREGROUND)
}

impl World {
    fn new() -> Self {
        Self { log: vec![Vec::new(); KINDS], at: vec![0; KINDS], began: (vec![0; KINDS], 0), ..Self::default() }
    }

    fn put(&mut self, key: &ObjectKey, mut meta: SeenMeta) {
        self.revision += 1;
        meta.revision = self.revision;
        // An object that goes and has no finalizers is gone.
        let next = (!meta.deleting || !meta.finalizers.is_empty()).then(|| Arc::new(meta));
        match &next {
            Some(meta) => drop(self.live.insert(key.clone(), Arc::clone(meta))),
            None => drop(self.live.remove(key)),
        }
        self.log[key.0].push((key.clone(), next));
    }
    fn edit(&mut self, key: &ObjectKey, uid: &str, edit: impl FnOnce(&mut SeenMeta)) {
        if let Some(meta) = self.live.get(key).filter(|m| m.uid == uid) {
            let mut meta = SeenMeta::clone(meta);
            edit(&mut meta);
            self.put(key, meta);
        }
    }
    fn delete(&mut self, key: &ObjectKey, uid: &str, policy: Policy) {
        self.edit(key, uid, |meta| {
            if !meta.deleting {
                meta.finalizers = match policy {
                    Policy::Background => Vec::new(),
                    Policy::Foreground => vec![FOREGROUND.into()],
                    Policy::Orphan => vec![ORPHAN.into()],
                };
            }
            meta.deleting = true;
        });
    }

    /// Somebody makes, joins or deletes objects.
    fn user(&mut self, chance: &mut Chance) {
        let all: Vec<ObjectKey> = self.live.keys().cloned().collect();
        match chance.below(4) {
            0 | 1 if all.len() < OBJECTS_MAX => {
                let key = (chance.below(KINDS), Key::new("ns", format!("o{}", self.revision)));
                let mut meta =
                    SeenMeta { key: key.1.clone(), uid: format!("u{}", self.revision), ..SeenMeta::default() };
                for _ in 0..chance.below(3) {
                    if let Some(owner) = chance.pick(&all) {
                        let block = chance.percent(50);
                        self.own(&mut meta, owner, block);
                    }
                }
                self.put(&key, meta);
            }
            // Circles come about so.
            2 => {
                if let (Some(a), Some(b)) = (chance.pick(&all).cloned(), chance.pick(&all).cloned()) {
                    let mut meta = SeenMeta::clone(&self.live[&a]);
                    self.own(&mut meta, &b, true);
                    self.orphans.remove(&meta.uid);
                    if !meta.deleting {
                        self.put(&a, meta);
                    }
                }
            }
            _ => {
                let Some(key) = chance.pick(&all) else { return };
                let meta = Arc::clone(&self.live[key]);
                let policy = [Policy::Background, Policy::Foreground, Policy::Orphan][chance.below(3)];
                self.orphans.remove(&meta.uid);
                if policy == Policy::Orphan && !meta.deleting {
                    let only = |m: &&Arc<SeenMeta>| {
                        m.owners.len() == 1 && m.owners[0].uid == meta.uid && m.uid != meta.uid && !m.deleting
                    };
                    let let_go: Vec<String> = self.live.values().filter(only).map(|m| m.uid.clone()).collect();
                    self.orphans.extend(let_go);
                }
                self.delete(key, &meta.uid, policy);
            }
        }
    }
    fn own(&self, meta: &mut SeenMeta, owner: &ObjectKey, block: bool) {
        let uid = self.live[owner].uid.clone();
        if meta.owners.iter().all(|o| o.uid != uid) {
            meta.owners.push(OwnerReference {
                // The kind says where to look.
                kind: owner.0.to_string(),
                name: owner.1.name.clone(),
                uid,
                block_owner_deletion: Some(block),
                ..OwnerReference::default()
            });
        }
    }

    /// The collector forgets all, and sees one kind after the other.
    fn restart(&mut self) {
        self.began = (self.log.iter().map(Vec::len).collect(), self.revision);
        (self.seen, self.at) = (Objects::new(), vec![0; KINDS]);
    }
    fn is_complete(&self) -> bool {
        self.at.iter().zip(&self.began.0).all(|(at, began)| at >= began)
    }
    /// Objects that were there when the collector began, are there yet, and block the deletion of `uid`.
    fn blocked_by(&self, uid: &str) -> Vec<&ObjectKey> {
        let blocks = |m: &SeenMeta| {
            m.revision <= self.began.1 && m.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
        };
        self.live.iter().filter(|(_, meta)| blocks(meta)).map(|(key, _)| key).collect()
    }

    fn deliver(&mut self, kind: usize) {
        let Some((key, meta)) = self.log[kind].get(self.at[kind]).cloned() else { return };
        self.at[kind] += 1;
        match meta {
            Some(meta) => drop(self.seen.insert(key, meta)),
            None => drop(self.seen.remove(&key)),
        }
    }

    fn observe<'a>(&self, object: &'a SeenMeta) -> Observed<'a> {
        let state = |owner: &OwnerReference| {
            let at = (owner.kind.parse().unwrap(), Key::new("ns", owner.name.as_str()));
            let same = |m: &&Arc<SeenMeta>| m.uid == owner.uid;
            // The cache first, then the apiserver.
            match self.seen.get(&at).filter(same).or_else(|| self.live.get(&at).filter(same)) {
                Some(meta) if waits(meta) => OwnerState::WaitsForDependents,
                Some(_) => OwnerState::Solid,
                None => OwnerState::Absent,
            }
        };
        let owners = object.owners.iter().map(|o| (o.clone(), state(o)));
        let owners = if object.deleting { Vec::new() } else { owners.collect() };
        let in_circle = object.deleting && is_in_circle(&object.uid, |uid| self.awaited(uid));
        Observed { object, owners, dependents: self.dependents(&object.uid), in_circle, complete: self.is_complete() }
    }
    fn dependents(&self, uid: &str) -> Vec<Dependent> {
        let named = self.seen.iter().filter_map(|((kind, key), meta)| {
            let reference = meta.owners.iter().find(|o| o.uid == uid)?;
            let id = ObjectId { kind: KindId(*kind), key: key.clone() };
            Some(Dependent { id, blocks: reference.block_owner_deletion == Some(true), waits: waits(meta) })
        });
        named.collect()
    }
    fn awaited(&self, uid: &str) -> Vec<String> {
        let dependents = self.dependents(uid).into_iter().filter(|d| d.blocks && d.waits);
        dependents.filter_map(|d| Some(self.seen.get(&(d.id.kind.0, d.id.key))?.uid.clone())).collect()
    }

    fn collect(&mut self, chance: &mut Chance, faults: usize) {
        let keys: Vec<ObjectKey> = self.seen.keys().cloned().collect();
        let Some(key) = chance.pick(&keys) else { return };
        let object = Arc::clone(&self.seen[key]);
        let action = decide(&self.observe(&object));
        if Luck::draw(chance, faults) != Luck::Failed {
            self.apply(key, &object, action);
        }
    }

    fn apply(&mut self, key: &ObjectKey, object: &SeenMeta, action: Action) {
        let as_seen = self.live.get(key).is_some_and(|m| m.uid == object.uid && m.revision == object.revision);
        match action {
            Action::Keep | Action::Await(_) | Action::AwaitCaches | Action::LookOn => {}
            Action::Delete(policy) if as_seen => self.delete(key, &object.uid, policy),
            Action::RemoveFinalizer(name) if as_seen => {
                let blocked_by = self.blocked_by(&object.uid);
                assert!(name != FOREGROUND || blocked_by.is_empty(), "{key:?} did not wait for {blocked_by:?}");
                self.edit(key, &object.uid, |m| m.finalizers.retain(|f| f != name));
            }
            Action::Delete(_) | Action::RemoveFinalizer(_) => {}
            Action::Disown(uids) => self.edit(key, &object.uid, |m| m.owners.retain(|o| !uids.contains(&o.uid))),
            Action::Loosen => self.edit(key, &object.uid, |m| {
                m.owners.iter_mut().for_each(|o| o.block_owner_deletion = Some(false));
            }),
            Action::OrphanDependents => {
                let live: Vec<(ObjectKey, String)> =
                    self.live.iter().map(|(key, meta)| (key.clone(), meta.uid.clone())).collect();
                for (dependent, uid) in live {
                    if self.live[&dependent].owners.iter().any(|o| o.uid == object.uid) {
                        self.edit(&dependent, &uid, |m| m.owners.retain(|o| o.uid != object.uid));
                    }
                }
                if as_seen {
                    self.edit(key, &object.uid, |m| m.finalizers.retain(|f| f != ORPHAN));
                }
            }
        }
    }

    fn uids(&self) -> BTreeSet<&str> {
        self.live.values().map(|m| m.uid.as_str()).collect()
    }
    fn is_clean(&self) -> bool {
        let uids = self.uids();
        let owned = |m: &SeenMeta| m.owners.is_empty() || m.owners.iter().any(|o| uids.contains(o.uid.as_str()));
        self.live.values().all(|m| !m.deleting && owned(m))
    }
}

#[test]
fn garbage_goes_and_orphans_stay() {
    for_each_seed(300, |seed| {
        let (mut world, mut chance) = (World::new(), Chance(seed));
        for step in 0..UNREST_STEPS + REST_STEPS {
            let unrest = step < UNREST_STEPS;
            match chance.below(5) {
                0 if unrest && chance.below(40) == 0 => world.restart(),
                0 if unrest => world.user(&mut chance),
                1 | 2 => world.deliver(chance.below(KINDS)),
                _ => world.collect(&mut chance, if unrest { 5 } else { 0 }),
            }
            if !unrest && world.is_clean() {
                break;
            }
        }
        assert!(world.is_clean(), "seed {seed}: {:#?}", world.live);
        let lost: Vec<_> = world.orphans.iter().filter(|uid| !world.uids().contains(uid.as_str())).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} were let go, and deleted");
    });
}

/// `[sig-api-machinery] Garbage collector should not be blocked by dependency circle`.
#[test]
fn a_circle_that_is_deleted_in_the_foreground_goes() {
    for_each_seed(50, |seed| {
        let (mut world, mut chance) = (World::new(), Chance(seed));
        let keys: Vec<ObjectKey> = (0..3).map(|n| (n % KINDS, Key::new("ns", format!("o{n}")))).collect();
        for (n, key) in keys.iter().enumerate() {
            world.put(key, SeenMeta { key: key.1.clone(), uid: format!("u{n}"), ..SeenMeta::default() });
        }
        for n in 0..3 {
            let mut meta = SeenMeta::clone(&world.live[&keys[n]]);
            world.own(&mut meta, &keys[(n + 2) % 3], true);
            world.put(&keys[n], meta);
        }
        world.delete(&keys[0], "u0", Policy::Foreground);
        for _ in 0..REST_STEPS {
            if world.live.is_empty() {
                break;
            }
            match chance.below(2) {
                0 => world.deliver(chance.below(KINDS)),
                _ => world.collect(&mut chance, 0),
            }
        }
        assert!(world.live.is_empty(), "seed {seed}: {:#?}", world.live);
    });
}
