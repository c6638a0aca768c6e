//! What the containers of a pod take together, in whatever their amounts are reckoned. Pure.
//!
//! An author decides how many containers there are and how many resources each names, so every amount is looked at a fixed
//! number of times: nothing is copied or gone through again for each container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::is_sidecar;

/// How much of something.
pub trait Amount: Copy + PartialOrd {
    /// Both together; more than can be told is the most that can be.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

impl Amount for i64 {
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}
impl Amount for crate::quantity::Quantity {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// Amounts by the names of resources.
pub type List<A> = BTreeMap<String, A>;

/// The larger of what runs together and of what any init container that ends takes on top of the sidecars started before it.
/// `stays` and `ends`: what a container counts for that runs on (sidecars too), and one that ends before the others begin.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
pub fn of_containers<A: Amount>(
    spec: &PodSpec,
    stays: impl Fn(&Container) -> List<A>,
    ends: impl Fn(&Container) -> List<A>,
) -> List<A> {
    let mut running = List::new();
    spec.containers.iter().for_each(|container| add(&mut running, &stays(container)));
    let (mut sidecars, mut peak) = (List::new(), List::new());
    for init in spec.init_containers.iter().flatten() {
        if is_sidecar(init) {
            add(&mut sidecars, &stays(init));
            continue;
        }
        // What it does not name, it takes no more of than its sidecars do, and those run on.
        for (name, amount) in &ends(init) {
            let beside = sidecars.get(name).map_or(*amount, |others: &A| others.plus(*amount));
            raise_one(&mut peak, name, beside);
        }
    }
    add(&mut running, &sidecars);
    raise(&mut running, &peak);
    running
}

/// Adds each amount of `more` to that of its name.
pub fn add<A: Amount>(into: &mut List<A>, more: &List<A>) {
    for (name, amount) in more {
        match into.get_mut(name) {
            Some(sum) => *sum = sum.plus(*amount),
            None => drop(into.insert(name.clone(), *amount)),
        }
    }
}

/// Raises each amount to that of `floor`.
pub fn raise<A: Amount>(into: &mut List<A>, floor: &List<A>) {
    floor.iter().for_each(|(name, amount)| raise_one(into, name, *amount));
}

fn raise_one<A: Amount>(into: &mut List<A>, name: &str, floor: A) {
    match into.get_mut(name) {
        Some(have) if *have >= floor => {}
        Some(have) => *have = floor,
        None => drop(into.insert(name.to_owned(), floor)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use k8s_openapi::api::core::v1::ResourceRequirements;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

    use super::*;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts each time that it is looked at.
    #[derive(Clone, Copy)]
    struct Counted(i64);

    impl Amount for Counted {
        fn plus(self, other: Self) -> Self {
            STEPS.set(STEPS.get() + 1);
            Self(self.0 + other.0)
        }
    }
    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.partial_cmp(other) == Some(Ordering::Equal)
        }
    }
    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            STEPS.set(STEPS.get() + 1);
            self.0.partial_cmp(&other.0)
        }
    }

    /// An init container that requests one of each of these.
    fn init(names: impl IntoIterator<Item = String>, is_sidecar: bool) -> Container {
        let requests = names.into_iter().map(|name| (name, Wire("1".into()))).collect();
        Container {
            restart_policy: is_sidecar.then(|| "Always".to_owned()),
            resources: Some(ResourceRequirements { requests: Some(requests), ..ResourceRequirements::default() }),
            ..Container::default()
        }
    }

    fn counted(container: &Container) -> List<Counted> {
        let requests = container.resources.as_ref().and_then(|all| all.requests.as_ref());
        requests.into_iter().flatten().map(|(name, _)| (name.clone(), Counted(1))).collect()
    }

    #[test]
    fn a_pod_of_many_resources_and_many_init_containers_costs_what_it_is_long() {
        // One sidecar with thousands of resources, and thousands of containers after it: their product is 25 million.
        const N: usize = 5_000;
        for are_sidecars in [false, true] {
            let large = init((0..N).map(|i| format!("example.com/r{i}")), true);
            let small = (0..N).map(|i| init([format!("example.com/s{}", i % 7), "cpu".to_owned()], are_sidecars));
            let spec =
                PodSpec { init_containers: Some(std::iter::once(large).chain(small).collect()), ..PodSpec::default() };
            STEPS.set(0);
            let sum = of_containers(&spec, counted, counted);
            let (named, steps) = (3 * N, STEPS.get());
            assert!(steps <= 4 * named as u64, "{steps} steps for {named} amounts");
            assert_eq!((sum.len(), sum["cpu"].0), (N + 8, if are_sidecars { N as i64 } else { 1 }));
        }
    }

    #[test]
    fn an_init_container_counts_beside_the_sidecars_before_it() {
        // name, and whether it is a sidecar → the sum of `a` and of `b`
        type Case<'a> = (&'a str, &'a [(&'a str, bool)], [i64; 2]);
        let cases: [Case<'_>; 6] = [
            ("none", &[], [1, 0]),
            ("one that ends is followed by the others", &[("a", false)], [1, 0]),
            ("two sidecars run beside the container", &[("a", true), ("a", true)], [3, 0]),
            ("the second runs beside the first", &[("b", true), ("b", false)], [1, 2]),
            ("the first has ended when the second begins", &[("b", false), ("b", true)], [1, 1]),
            ("another resource", &[("a", true), ("b", false)], [2, 1]),
        ];
        let container = Container { restart_policy: None, ..init(["a".to_owned()], false) };
        let amounts = |c: &Container| super::super::amounts(c.resources.as_ref().and_then(|all| all.requests.as_ref()));
        for (why, inits, expected) in cases {
            let inits = inits.iter().map(|(name, is_sidecar)| init([(*name).to_owned()], *is_sidecar)).collect();
            let spec =
                PodSpec { containers: vec![container.clone()], init_containers: Some(inits), ..PodSpec::default() };
            let sum = of_containers(&spec, amounts, amounts);
            assert_eq!(["a", "b"].map(|name| sum.get(name).copied().unwrap_or_default()), expected, "{why}");
        }
    }
}
