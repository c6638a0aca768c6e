//! The Deployment controller, one small step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::selector::Selector;
use corten_api::{Key, Object, pod};
use corten_client::seeds::Chance;
use corten_controllers::deployment::claim;
use corten_controllers::deployment::decide::{Action, Observed, decide};
use corten_controllers::deployment::patches::{self, Collision};
use serde_json::Value;

use crate::store::{Fault, Luck, Store, View};

pub(crate) struct Controller {
    pub(crate) deployments: View<Deployment>,
    pub(crate) sets: View<ReplicaSet>,
    pub(crate) pods: View<Pod>,
    plan: VecDeque<(Arc<Deployment>, Action)>,
    /// What it has to have seen before it goes on: a revision of Deployments, one of ReplicaSets.
    awaits: (i64, i64),
}

impl Controller {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            deployments: View::listed(&store.deployments),
            sets: View::listed(&store.sets),
            pods: View::listed(&store.pods),
            plan: VecDeque::new(),
            awaits: (0, 0),
        }
    }

    pub(crate) fn step(&mut self, store: &mut Store, chance: &mut Chance, faults: usize) {
        let (deployments, sets) = self.awaits;
        if !self.deployments.has_reached(&store.deployments, deployments) || !self.sets.has_reached(&store.sets, sets) {
            return;
        }
        let Some((about, action)) = self.plan.pop_front() else {
            if let Some(deployment) = self.deployments.objects.values().next() {
                let seen = self.observe(deployment, store);
                let actions = decide(&seen).actions;
                self.plan = actions.into_iter().map(|action| (Arc::clone(deployment), action)).collect();
            }
            return;
        };
        let luck = Luck::draw(chance, faults);
        if luck != Luck::Failed && self.write(store, &about, action).is_err() {
            self.plan.clear();
        }
        match luck {
            Luck::Answered => {}
            Luck::Failed => self.plan.clear(),
            // Of a ReplicaSet it finds out what became of it; of a Deployment the next decision need not know.
            Luck::Unanswered => {
                self.plan.clear();
                self.awaits.0 = 0;
            }
            Luck::Crash => *self = Self::new(store),
        }
    }

    fn observe(&self, deployment: &Arc<Deployment>, store: &Store) -> Observed {
        let selector = Selector::from_label_selector(Some(&deployment.spec.selector)).unwrap().into();
        let mut running_pods = BTreeMap::new();
        for pod in self.pods.objects.values().filter(|p| !pod::is_terminal(p)) {
            *running_pods.entry(pod.controller().unwrap().uid.clone()).or_default() += 1;
        }
        Observed {
            now: store.ids.now,
            deployment: Arc::clone(deployment),
            sets: claim(deployment, &selector, &self.sets.list()).owned,
            running_pods,
        }
    }

    fn write(&mut self, store: &mut Store, about: &Deployment, action: Action) -> Result<(), Fault> {
        let ids = &mut store.ids;
        match action {
            Action::Create(set) => match store.sets.create(ids, set.clone()) {
                Ok(revision) => self.saw_set(revision),
                Err(_) => self.resolve_collision(store, about, &set)?,
            },
            Action::Refresh(set) => self.patch_set(store, &set, &patches::refresh(&set))?,
            Action::Scale { set, to } => self.patch_set(store, &set, &patches::scale(about, &set, to))?,
            Action::NoteSize(set) => self.patch_set(store, &set, &patches::note_size(about, &set))?,
            Action::Delete(set) => {
                let revision = store.sets.remove(ids, &set.key());
                self.saw_set(revision);
            }
            Action::Revise(number) => {
                self.awaits.0 = store.deployments.patch(ids, &about.key(), &patches::revise(about, &number))?;
            }
            Action::WriteStatus(status) => self.write_status(store, &about.key(), status)?,
        }
        Ok(())
    }

    fn patch_set(&mut self, store: &mut Store, set: &ReplicaSet, body: &Value) -> Result<(), Fault> {
        let revision = store.sets.patch(&mut store.ids, &set.key(), body)?;
        self.saw_set(revision);
        Ok(())
    }

    fn saw_set(&mut self, revision: i64) {
        self.awaits.1 = self.awaits.1.max(revision);
    }

    fn write_status(
        &mut self,
        store: &mut Store,
        key: &Key,
        status: corten_api::k8s_openapi::api::apps::v1::DeploymentStatus,
    ) -> Result<(), Fault> {
        let newest = self.deployments.objects.get(key).ok_or(Fault::Missing)?;
        if store.deployments.get(key)?.revision() != newest.revision() {
            return Err(Fault::Conflict);
        }
        let report = |live: &mut Deployment| live.status = Some(status);
        self.awaits.0 = store.deployments.edit(&mut store.ids, (key, newest.uid()), false, report)?;
        Ok(())
    }

    fn resolve_collision(&mut self, store: &mut Store, about: &Deployment, set: &ReplicaSet) -> Result<(), Fault> {
        let there = Arc::clone(store.sets.get(&set.key())?);
        match patches::collision(about, set, &there) {
            Collision::Ours => {
                self.saw_set(there.revision());
                Ok(())
            }
            Collision::Others(status) => self.write_status(store, &about.key(), *status),
        }
    }
}
