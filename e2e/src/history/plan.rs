//! What a run does, from its seed alone: each client's requests, and what is broken when. Pure.

use corten_fuzz::Random;

use super::record::{At, How, Key, Kind, Number};

pub const SERVERS: usize = 3;
pub const WRITERS: usize = 6;
/// Two of each kind, at different servers first.
pub const WATCHERS: usize = 6;
/// So few that writers meet.
const NAMES: usize = 4;
/// The object of each kind that is written when all is done, so that watchers know that they have seen all.
pub const LAST: &str = "last";
const FAULTS: std::ops::RangeInclusive<usize> = 4..=6;
const WRITES_BETWEEN: std::ops::Range<u64> = 50..400;
/// The longest are longer than etcd waits for a leader that is silent, and than a client waits for an answer.
const BROKEN_MS: std::ops::Range<u64> = 200..2500;
/// Of the seeds, so that each stream of numbers is one of its own.
const STRIDE: u64 = 0x1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    /// One after the other.
    pub faults: Vec<Fault>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Writes that must have been acknowledged since the one before was mended.
    pub after_writes: u64,
    pub what: Breaking,
    /// Until it is mended, if it is to be.
    pub for_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaking {
    /// SIGKILL, and a start.
    Kill(Daemon),
    /// SIGSTOP, and SIGCONT.
    Pause(Daemon),
    /// Another member of etcd leads.
    MoveLeader,
    /// The store forgets all history up to now, and this server starts with what is left.
    CompactAndKill { server: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Apiserver {
        server: usize,
    },
    Etcd {
        server: usize,
    },
    /// The member that leads at that time.
    EtcdLeader,
}

/// A request that a writer is to make next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub server: usize,
    pub key: Key,
    pub what: Doing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Write { number: Number, how: How, expects: Expects },
    Get(At),
    List(At),
}

/// The preconditions of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    Nothing,
    /// The revision that the writer saw last, however long ago.
    Remembered,
    /// The revision that it reads first.
    Newest,
    /// The uid that it saw last. For deletes.
    Uid,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(STRIDE));
        let many = FAULTS.start() + random.below(FAULTS.end() - FAULTS.start() + 1);
        Self { seed, faults: (0..many).map(|_| fault(&mut random)).collect() }
    }

    /// Without an end.
    pub fn writer(&self, writer: usize) -> impl Iterator<Item = Step> + use<> {
        let mut random = Random::new(self.seed.wrapping_mul(STRIDE).wrapping_add(1 + writer as u64));
        let numbers = (1..Number::MAX).skip(writer).step_by(WRITERS);
        numbers.map(move |number| step(&mut random, number))
    }

    /// All names of objects of any kind, but for the last one.
    pub fn names() -> impl Iterator<Item = String> {
        (0..NAMES).map(name)
    }

    /// What a watcher watches, and the server that it asks first.
    pub fn watcher(watcher: usize) -> (Kind, usize) {
        (Kind::ALL[watcher % Kind::ALL.len()], (watcher + watcher / Kind::ALL.len()) % SERVERS)
    }
}

/// Others that are in every namespace, such as `kube-root-ca.crt`, are left alone.
pub fn is_ours(name: &str) -> bool {
    name == LAST || Plan::names().any(|ours| ours == name)
}

fn name(number: usize) -> String {
    format!("n{number}")
}

fn fault(random: &mut Random) -> Fault {
    let server = random.below(SERVERS);
    let daemon = match random.below(4) {
        0 | 1 => Daemon::Apiserver { server },
        2 => Daemon::Etcd { server },
        _ => Daemon::EtcdLeader,
    };
    let what = match random.below(10) {
        0..=3 => Breaking::Kill(daemon),
        4..=6 => Breaking::Pause(daemon),
        7 | 8 => Breaking::MoveLeader,
        _ => Breaking::CompactAndKill { server },
    };
    Fault { after_writes: between(random, &WRITES_BETWEEN), what, for_ms: between(random, &BROKEN_MS) }
}

fn step(random: &mut Random, number: Number) -> Step {
    let kind = Kind::ALL[random.below(Kind::ALL.len())];
    let key = Key { kind, name: name(random.below(NAMES)) };
    let server = random.below(SERVERS);
    let at = |random: &mut Random| if random.one_in(3) { At::Any } else { At::Newest };
    let what = match random.below(20) {
        0..=4 => Doing::Get(at(random)),
        5 | 6 => Doing::List(at(random)),
        _ => write(random, number),
    };
    Step { server, key, what }
}

fn write(random: &mut Random, number: Number) -> Doing {
    let how = match random.below(13) {
        0 | 1 => How::Create,
        2..=5 => How::Update,
        6 | 7 => How::MergePatch,
        8 => How::JsonPatch,
        9 | 10 => How::Apply,
        _ => How::Delete,
    };
    let expects = match (how, random.below(6)) {
        (How::Create, _) => Expects::Nothing,
        (How::Delete, 0) => Expects::Uid,
        (_, 0 | 1) => Expects::Nothing,
        (_, 2 | 3) => Expects::Remembered,
        _ => Expects::Newest,
    };
    Doing::Write { number, how, expects }
}

fn between(random: &mut Random, range: &std::ops::Range<u64>) -> u64 {
    range.start + random.number() % (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SEEDS: u64 = 100;
    const STEPS: usize = 1000;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_gives_another() {
        let steps = |seed, writer| Plan::of(seed).writer(writer).take(STEPS).collect::<Vec<_>>();
        assert_eq!((Plan::of(17), steps(17, 2)), (Plan::of(17), steps(17, 2)));
        assert_ne!(Plan::of(17).faults, Plan::of(18).faults);
        assert!(steps(17, 2) != steps(17, 3) && steps(17, 2) != steps(18, 2));
    }

    #[test]
    fn no_two_writes_have_one_number() {
        let plan = Plan::of(17);
        let steps = (0..WRITERS).flat_map(|writer| plan.writer(writer).take(STEPS).collect::<Vec<_>>());
        let numbers: Vec<Number> = steps
            .filter_map(|step| match step.what {
                Doing::Write { number, .. } => Some(number),
                Doing::Get(_) | Doing::List(_) => None,
            })
            .collect();
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
        assert!(numbers.len() > WRITERS * STEPS / 2 && !numbers.contains(&0));
    }

    #[test]
    fn all_that_can_be_asked_and_broken_is() {
        let mut seen = BTreeSet::new();
        for plan in (0..SEEDS).map(Plan::of) {
            assert!(FAULTS.contains(&plan.faults.len()));
            seen.extend(plan.faults.iter().map(|fault| format!("{:?}", fault.what)));
        }
        // Killing and pausing seven daemons, three compactions, a leader that moves.
        assert_eq!(seen.len(), 2 * 7 + 3 + 1, "{seen:?}");
        let plan = Plan::of(17);
        let asked: BTreeSet<String> = (0..WRITERS)
            .flat_map(|writer| plan.writer(writer).take(STEPS).collect::<Vec<_>>())
            .map(|step| match step.what {
                Doing::Write { how, expects, .. } => format!("{how:?} {expects:?}"),
                read => format!("{read:?}"),
            })
            .collect();
        // Four reads, a create, four changes with three ways to expect each, a delete with four.
        assert_eq!(asked.len(), 4 + 1 + 4 * 3 + 4, "{asked:?}");
    }

    #[test]
    fn each_kind_is_watched_through_two_servers() {
        let watched: BTreeSet<(Kind, usize)> = (0..WATCHERS).map(Plan::watcher).collect();
        assert_eq!(watched.len(), WATCHERS);
    }
}
