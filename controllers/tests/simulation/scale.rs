//! One ReplicaSet whose size changes while answers get lost: never one pod too many, never one too few.

use corten_api::k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use corten_api::{Key, Object};
use corten_client::seeds::{Chance, for_each_seed};

use crate::replicas::Controller;
use crate::rollout::template;
use crate::store::Store;

const STEPS: usize = 2000;
const REST_STEPS: usize = 5000;
const REPLICAS_FIRST: usize = 3;
const REPLICAS_MAX: usize = 8;
/// Of a hundred writes, so many are lost in each way.
const FAULTS: usize = 10;

fn web() -> ReplicaSet {
    let labels = Some([("app".to_owned(), "web".to_owned())].into());
    ReplicaSet {
        metadata: ObjectMeta { name: Some("web".into()), namespace: Some("default".into()), ..ObjectMeta::default() },
        spec: ReplicaSetSpec {
            replicas: i32::try_from(REPLICAS_FIRST).ok(),
            selector: LabelSelector { match_labels: labels, ..LabelSelector::default() },
            template: Some(template("good-0")),
            ..ReplicaSetSpec::default()
        },
        status: None,
    }
}

fn active(store: &Store) -> usize {
    store.pods.live.values().filter(|p| !p.is_deleting()).count()
}

fn step(store: &mut Store, controller: &mut Controller, chance: &mut Chance, faults: usize) {
    match chance.below(6) {
        0 => controller.sets.deliver(&store.sets),
        1 => controller.pods.deliver(&store.pods),
        2 => {
            let going: Vec<Key> = store.pods.live.values().filter(|p| p.is_deleting()).map(|p| p.key()).collect();
            if let Some(key) = chance.pick(&going) {
                store.pods.remove(&mut store.ids, key);
            }
        }
        _ => controller.step(store, chance, faults),
    }
    store.ids.tick();
}

#[test]
fn lost_answers_never_make_one_pod_too_many_nor_take_one_too_many() {
    for_each_seed(100, |seed| {
        let (mut store, mut chance) = (Store::new(), Chance(seed));
        store.sets.create(&mut store.ids, web()).unwrap();
        let mut controller = Controller::new(&store);
        let (mut before, mut wanted) = (0, REPLICAS_FIRST);
        for n in 0..STEPS + REST_STEPS {
            let (unrest, reached) = (n < STEPS, active(&store) == wanted);
            if !unrest && reached {
                break;
            }
            if unrest && reached && chance.below(30) == 0 {
                (before, wanted) = (wanted, chance.below(REPLICAS_MAX));
                let uid = store.sets.live[&web().key()].uid().to_owned();
                let resize = |set: &mut ReplicaSet| set.spec.replicas = i32::try_from(wanted).ok();
                store.sets.edit(&mut store.ids, (&web().key(), &uid), true, resize).unwrap();
            }
            step(&mut store, &mut controller, &mut chance, if unrest { FAULTS } else { 0 });
            let (pods, bounds) = (active(&store), before.min(wanted)..=before.max(wanted));
            assert!(bounds.contains(&pods), "seed {seed}, step {n}: {pods} pods on the way from {before} to {wanted}");
        }
        assert_eq!(active(&store), wanted, "seed {seed}");
    });
}

#[test]
fn a_paused_leader_that_goes_on_after_a_takeover_writes_nothing() {
    for_each_seed(100, |seed| {
        let (mut store, mut chance) = (Store::new(), Chance(seed));
        store.sets.create(&mut store.ids, web()).unwrap();
        let mut paused = Controller::new(&store);
        // Somewhere on its way, with decisions made and not carried out.
        for _ in 0..chance.below(60) {
            step(&mut store, &mut paused, &mut chance, FAULTS);
        }
        store.term += 1;
        let mut leader = Controller::new(&store);
        leader.names_begin_at(1000);
        for n in 0..STEPS {
            // Both run; the one before knows nothing of the other.
            if chance.percent(50) {
                step(&mut store, &mut leader, &mut chance, 0);
            } else {
                step(&mut store, &mut paused, &mut chance, 0);
            }
            let pods = active(&store);
            assert!(pods <= REPLICAS_FIRST, "seed {seed}, step {n}: {pods} pods by two leaders");
        }
        assert_eq!(active(&store), REPLICAS_FIRST, "seed {seed}");
    });
}
