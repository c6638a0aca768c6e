//! The slices of one Service while its pods come and go and answers get lost: never two where one is enough.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use corten_api::k8s_openapi::api::discovery::v1::EndpointSlice;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{Key, Object};
use corten_client::seeds::{Chance, for_each_seed};
use corten_controllers::endpointslice::decide::{Action, Observed, decide};
use corten_controllers::intents::{Answer, Ask, Intents, Phase};
use corten_controllers::pods::{Phase as PodPhase, SeenPod};

use crate::children::{Maker, send};
use crate::store::{Ids, Luck, Store, Table, View};

const STEPS: usize = 2000;
const REST_STEPS: usize = 5000;
const PODS_MAX: usize = 6;
const FAULTS: usize = 10;

enum Write {
    Child { ask: Ask<EndpointSlice>, again: bool },
    Update(EndpointSlice),
}

struct Controller {
    slices: View<EndpointSlice>,
    open: Intents<EndpointSlice>,
    plan: VecDeque<Write>,
    names: u64,
}

fn service() -> Service {
    let port = ServicePort { port: 80, ..ServicePort::default() };
    Service {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("default".into()),
            uid: Some("service".into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("10.96.0.9".into()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn pod(n: usize) -> Arc<SeenPod> {
    Arc::new(SeenPod {
        key: Key::new("default", format!("pod-{n}")),
        uid: format!("uid-{n}"),
        phase: PodPhase::Running,
        ips: vec![format!("10.244.0.{n}")],
        ..SeenPod::default()
    })
}

impl Controller {
    fn new(store: &Store, names: u64) -> Self {
        let slices = View::listed(&store.slices);
        Self { slices, open: Intents::default(), plan: VecDeque::new(), names }
    }

    fn step(&mut self, store: &mut Store, pods: &[Arc<SeenPod>], chance: &mut Chance, faults: usize) {
        let Some(write) = self.plan.pop_front() else { return self.look(store, pods) };
        let luck = Luck::draw(chance, faults);
        if !self.write(store, chance, write, luck) {
            self.plan.clear();
        }
        if luck == Luck::Crash {
            *self = Self::new(store, self.names);
        }
    }

    fn look(&mut self, store: &Store, pods: &[Arc<SeenPod>]) {
        let slices = &self.slices.objects;
        let shows = |name: &str, uid: &str| slices.get(&Key::new("default", name)).is_some_and(|s| s.uid() == uid);
        self.plan = match self.open.phase(self.slices.reached(&store.slices), shows) {
            Phase::AskAgain(asks) => asks.into_iter().map(|ask| Write::Child { ask, again: true }).collect(),
            Phase::Await => return,
            Phase::Decide => {
                self.open.forget_seen();
                let (service, slices) = (service(), self.slices.list());
                let nodes: BTreeMap<_, _> = pods.iter().filter_map(|pod| Some((pod.node.clone()?, None))).collect();
                let actions = decide(&Observed { service: &service, pods, slices: &slices, nodes: &nodes });
                actions.into_iter().map(|action| self.planned(action)).collect()
            }
        };
    }

    fn planned(&mut self, action: Action) -> Write {
        match action {
            Action::Create(what) => {
                self.names += 1;
                Write::Child { ask: Ask::Create { name: format!("web-{}", self.names), what }, again: false }
            }
            Action::Update(slice) => Write::Update(slice),
            Action::Delete { key, uid } => Write::Child { ask: Ask::Delete { name: key.name, uid }, again: false },
        }
    }

    fn write(&mut self, store: &mut Store, chance: &mut Chance, write: Write, luck: Luck) -> bool {
        match write {
            Write::Child { ask, again } => {
                let make = |name: &str, slice: &EndpointSlice| {
                    let mut slice = slice.clone();
                    slice.metadata.name = Some(name.to_owned());
                    slice
                };
                let delete = |slices: &mut Table<EndpointSlice>, ids: &mut Ids, key: &Key| slices.remove(ids, key);
                let maker = Maker { owner_uid: "service", make: &make, delete: &delete };
                let tables = (&mut store.slices, &mut store.ids);
                let answer = send(&mut self.open, tables, (&ask, again), (luck, chance), &maker);
                matches!(answer, Answer::Done { .. } | Answer::Gone)
            }
            Write::Update(_) if luck == Luck::Failed => false,
            Write::Update(slice) => {
                let unchanged = store.slices.get(&slice.key()).is_ok_and(|live| live.revision() == slice.revision());
                let change = |live: &mut EndpointSlice| *live = slice.clone();
                let written =
                    unchanged.then(|| store.slices.edit(&mut store.ids, (&slice.key(), slice.uid()), false, change));
                match written {
                    Some(Ok(revision)) if luck == Luck::Answered => {
                        self.open.saw(revision);
                        true
                    }
                    _ => false,
                }
            }
        }
    }
}

fn addresses(store: &Store) -> Vec<String> {
    let all = store.slices.live.values().flat_map(|s| s.endpoints.clone().unwrap_or_default());
    let mut all: Vec<String> = all.flat_map(|e| e.addresses).collect();
    all.sort();
    all
}

#[test]
fn lost_answers_never_make_a_second_slice() {
    for_each_seed(200, |seed| {
        let (mut store, mut chance) = (Store::new(), Chance(seed));
        let mut controller = Controller::new(&store, 0);
        let mut pods: Vec<Arc<SeenPod>> = Vec::new();
        for n in 0..STEPS + REST_STEPS {
            let unrest = n < STEPS;
            let wanted: Vec<String> = pods.iter().map(|p| p.ips[0].clone()).collect();
            if !unrest && addresses(&store) == wanted {
                break;
            }
            match chance.below(8) {
                0 if unrest => {
                    pods = (1..=PODS_MAX).filter(|_| chance.percent(50)).map(pod).collect();
                }
                // Somebody deletes a slice.
                1 if unrest && chance.below(30) == 0 => {
                    if let Some(key) = store.slices.live.keys().next().cloned() {
                        store.slices.remove(&mut store.ids, &key);
                    }
                }
                2 | 3 => controller.slices.deliver(&store.slices),
                _ => controller.step(&mut store, &pods, &mut chance, if unrest { FAULTS } else { 0 }),
            }
            let slices: Vec<&Key> = store.slices.live.keys().collect();
            assert!(slices.len() <= 1, "seed {seed}, step {n}: {slices:?}");
        }
        let wanted: Vec<String> = pods.iter().map(|p| p.ips[0].clone()).collect();
        assert_eq!(addresses(&store), wanted, "seed {seed}");
    });
}
