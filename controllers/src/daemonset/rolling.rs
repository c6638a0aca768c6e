//! A DaemonSet's rolling update: which pods of older templates go, and where new ones are made beside them.
//!
//! Without a surge a node's pod goes before the new one comes, on no more nodes at once than may be unavailable. With one the
//! new pod comes first, on no more nodes at once than may surge, and the old one goes when it serves. What does not serve
//! anyway is replaced at once.
//!
//! <https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/>

/// On how many nodes at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub surge: usize,
    pub unavailable: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    /// It is of the present template.
    pub updated: bool,
    pub available: bool,
}

/// A node that should run a pod, or does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnNode {
    pub name: String,
    pub should_run: bool,
    /// Those that stay, oldest first.
    pub pods: Vec<Pod>,
}

impl OnNode {
    /// (the new one, the old one); `None`: there are too many, of which some go first.
    fn pair(&self) -> Option<(Option<&Pod>, Option<&Pod>)> {
        let (new, old): (Vec<_>, Vec<_>) = self.pods.iter().partition(|pod| pod.updated);
        (new.len() <= 1 && old.len() <= 1).then(|| (new.first().copied(), old.first().copied()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub bounds: Bounds,
    pub nodes: Vec<OnNode>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Nodes.
    pub create: Vec<String>,
    /// Pods.
    pub delete: Vec<String>,
}

impl Rollout {
    pub fn next(&self) -> Steps {
        if self.bounds.surge == 0 { self.replace() } else { self.surge() }
    }

    /// The old pods go; their nodes get new ones because they lack one then.
    fn replace(&self) -> Steps {
        let (mut unavailable, mut broken, mut serving) = (0, Vec::new(), Vec::new());
        for node in &self.nodes {
            match node.pair() {
                Some((None, Some(old))) if old.available => serving.push(old.name.clone()),
                Some((None, Some(old))) => {
                    broken.push(old.name.clone());
                    unavailable += 1;
                }
                Some((Some(new), None)) => unavailable += usize::from(!new.available),
                // Nothing there yet, or too much.
                _ => unavailable += 1,
            }
        }
        serving.truncate(self.bounds.unavailable.saturating_sub(unavailable));
        Steps { create: Vec::new(), delete: broken.into_iter().chain(serving).collect() }
    }

    fn surge(&self) -> Steps {
        let desired = self.nodes.iter().filter(|node| node.should_run).count();
        let (mut surging, mut available) = (0, 0);
        let (mut steps, mut serving, mut stranded) = (Steps::default(), Vec::new(), Vec::new());
        for node in &self.nodes {
            let Some((new, old)) = node.pair() else {
                surging += 1;
                continue;
            };
            available += usize::from(old.or(new).is_some_and(|pod| pod.available));
            match (new, old) {
                (_, None) => {}
                (None, Some(old)) if !node.should_run && old.available => stranded.push(old.name.clone()),
                (None, Some(old)) if !node.should_run => steps.delete.push(old.name.clone()),
                (None, Some(old)) if !old.available => steps.create.push(node.name.clone()),
                (None, Some(_)) => serving.push(node.name.clone()),
                (Some(new), Some(_)) if !new.available => surging += 1,
                (Some(_), Some(old)) => steps.delete.push(old.name.clone()),
            }
        }
        // Where the template asks for other nodes than before, what serves on those that it left stays until as many serve
        // as should.
        stranded.truncate(usize::saturating_sub(available, desired));
        steps.delete.extend(stranded);
        serving.truncate(self.bounds.surge.saturating_sub(surging));
        steps.create.extend(serving);
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes `n0`, `n1`, …, each by its pods: `N` new and available, `n` new and not, `O` old and available, `o` old and not.
    /// `!`: the node should not run one.
    fn next(nodes: &str, surge: usize, unavailable: usize) -> (String, String) {
        let on_node = |(number, text): (usize, &str)| {
            let pod = |letter: char| Pod {
                name: format!("{letter}{number}"),
                updated: "Nn".contains(letter),
                available: letter.is_ascii_uppercase(),
            };
            let pods = text.chars().filter(|letter| letter.is_ascii_alphabetic()).map(pod).collect();
            OnNode { name: format!("n{number}"), should_run: !text.contains('!'), pods }
        };
        let nodes = nodes.split(' ').enumerate().map(on_node).collect();
        let Steps { create, delete } = Rollout { bounds: Bounds { surge, unavailable }, nodes }.next();
        (create.join(" "), delete.join(" "))
    }

    #[test]
    fn replace_table() {
        let cases = [
            ("one goes", "O O O", 1, "O0"),
            ("two go", "O O O", 2, "O0 O1"),
            ("one is on its way", "- O O", 1, ""),
            ("one does not serve yet", "n O O", 1, ""),
            ("the next", "N O O", 1, "O1"),
            ("what does not serve goes at once, and counts", "O o O", 1, "o1"),
            ("whatever the bound is", "o o O", 1, "o0 o1"),
            ("one more may go", "o O O", 2, "o0 O1"),
            ("too many on one node: those first", "NO O O", 1, ""),
            ("all are new", "N N N", 1, ""),
        ];
        for (why, nodes, unavailable, expected) in cases {
            assert_eq!(next(nodes, 0, unavailable), (String::new(), expected.to_owned()), "{why}");
        }
    }

    #[test]
    fn surge_table() {
        let cases = [
            ("one comes beside the old one", "O O O", 1, "n0", ""),
            ("two come", "O O O", 2, "n0 n1", ""),
            ("one is not available yet", "On O O", 1, "", ""),
            ("it is: the old one goes, and the next comes", "ON O O", 1, "n1", "O0"),
            ("the old one is gone", "N O O", 1, "n1", ""),
            ("where the old one does not serve, one comes at once", "o O O", 1, "n0 n1", ""),
            ("whatever the bound is", "o o O", 1, "n0 n1 n2", ""),
            ("too many on one node: those first", "OO O O", 1, "", ""),
            ("a node that is left, whose pod does not serve", "!o O", 1, "n1", "o0"),
            ("a node that is left, while too few serve", "!O n", 1, "", ""),
            ("a node that is left, when enough serve", "!O N", 1, "", "O0"),
            ("all are new", "N N N", 1, "", ""),
        ];
        for (why, nodes, surge, create, delete) in cases {
            assert_eq!(next(nodes, surge, 0), (create.to_owned(), delete.to_owned()), "{why}");
        }
    }

    /// Every state of three nodes: what serves is taken only within the bound.
    #[test]
    fn no_state_loses_more_than_may_be_unavailable() {
        let states = ["-", "N", "n", "O", "o", "NO", "nO"];
        for number in 0..343 {
            let nodes = [number % 7, number / 7 % 7, number / 49].map(|state| states[state]).join(" ");
            for max in 1..3 {
                let serving = |gone: &str| {
                    let (nodes, gone) = (nodes.split(' ').enumerate(), gone.split(' ').collect::<Vec<_>>());
                    let stays = |at: usize, pod: char| !gone.contains(&format!("{pod}{at}").as_str());
                    nodes.filter(|(at, pods)| pods.chars().any(|p| p.is_ascii_uppercase() && stays(*at, p))).count()
                };
                let (create, delete) = next(&nodes, 0, max);
                assert!(create.is_empty() && serving(&delete) >= serving("").min(3 - max), "{nodes}: {delete}");
                let (create, delete) = next(&nodes, max, 0);
                assert_eq!(serving(&delete), serving(""), "{nodes}: with a surge nobody goes before another serves");
                let beside = nodes.split(' ').filter(|pods| matches!(*pods, "nO")).count();
                let surges = create
                    .split_whitespace()
                    .filter(|node| nodes.split(' ').nth(node[1..].parse().unwrap()) == Some("O"));
                assert!(surges.count() + beside <= max.max(beside), "{nodes}: {create}");
            }
        }
    }
}
