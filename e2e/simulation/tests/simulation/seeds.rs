//! Seeds: one story each, in a process of its own; some are the same in every run, the others are fresh.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_apiserver::storage::Storage;
use corten_apiserver::storage::memory::Memory;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::mutants::Mutant;
use crate::net::Host;
use crate::world::{Ground, USER, World, pause};
use crate::{apiserver, faults, outside, user};

/// Until a cluster in which nothing fails any more must be at rest: backoffs and evictions take minutes.
const REST_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY_MILLIS: usize = 1000;
/// Looks in a row that must find it so.
const RESTS: usize = 3;
const FAULTS_MAX: usize = 16;
const ACTS_MAX: usize = 14;

/// How a seed went.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// What happened, a line each.
    pub(crate) story: String,
    /// Nothing is broken: a digest of all that happened. Else what is.
    pub(crate) verdict: Result<String, String>,
}

/// Between a story and its verdict.
const END: char = '\0';
const SOUND: &str = "sound ";

/// Certificates, and what the first apiserver of a cluster stores: made once, before any seed, and the same each time.
pub(crate) fn ground(files: &Path) -> Arc<Ground> {
    let files = files.to_owned();
    // In a thread of its own, of which nothing is left to those of the seeds.
    let made = std::thread::spawn(move || {
        outside::run(0, async {
            certify(&files);
            let ground = Ground { files, stored: Vec::new() };
            let stored = first_state(&ground).await;
            Ground { stored, ..ground }
        })
    });
    Arc::new(made.join().unwrap())
}

fn certify(files: &Path) {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "simulation");
    let key = KeyPair::generate().unwrap();
    let write = |name: &str, text: String| std::fs::write(files.join(name), text).unwrap();
    write("ca.crt", params.self_signed(&key).unwrap().pem());
    let ca = Issuer::from_params(&params, &key);
    let server = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&server, &ca).unwrap();
    write("server.crt", certificate.pem());
    write("server.key", server.serialize_pem());
}

async fn first_state(ground: &Ground) -> Vec<(String, bytes::Bytes)> {
    let memory = Memory::default();
    let server = apiserver::assemble(Arc::new(memory.clone()), ground).await.unwrap();
    // What runs beside requests makes the rest.
    pause(10_000).await;
    drop(server);
    let all = memory.list("/registry/", None).await.unwrap();
    all.items.into_iter().map(|stored| (stored.key, stored.value)).collect()
}

/// One seed, in this process, which ends soon after: its story and verdict.
fn story(seed: u64, ground: &Arc<Ground>, mutant: Option<Mutant>) -> String {
    outside::run(seed, async {
        let world = World::new(seed, ground, mutant);
        let broken = play(&world).await;
        let (digest, commits) = (world.court.digest(), world.court.commits());
        let verdict = broken.unwrap_or_else(|| format!("{SOUND}{digest:x} {commits} commits"));
        format!("{}{END}{verdict}", world.court.story())
    })
}

async fn play(world: &World) -> Option<String> {
    for (key, value) in &world.ground.stored {
        let write = corten_apiserver::storage::Write::Create { key: key.clone(), value: value.clone(), ttl_secs: None };
        let outcome = world.memory.commit(vec![write.clone()]).await.unwrap();
        if let corten_apiserver::storage::Outcome::Committed { revision } = outcome {
            world.court.committed(revision, &[write]);
        }
    }
    World::all().for_each(|host: Host| world.start(host));
    let draw = |end| world.net.chance(|chance| chance.below(end));
    let (acts, failing) = (2 + draw(ACTS_MAX), draw(FAULTS_MAX));
    world.court.say(format!("user {USER} acts {acts} times, {failing} faults"));
    let both = async {
        tokio::join!(user::play(world.clone(), acts), faults::play(world.clone(), failing));
    };
    tokio::pin!(both);
    // What is broken is told at once: what follows from it tells nothing.
    loop {
        tokio::select! {
            biased;
            () = &mut both => break,
            () = pause(LOOK_EVERY_MILLIS) => if let Some(why) = world.court.violation() { return Some(why) },
        }
    }
    world.heal();
    let mut rests = 0;
    let began = tokio::time::Instant::now();
    while rests < RESTS {
        pause(LOOK_EVERY_MILLIS).await;
        if let Some(why) = world.court.violation() {
            return Some(why);
        }
        let lacking = world.court.lacking();
        rests = if lacking.is_empty() { rests + 1 } else { 0 };
        if began.elapsed() > REST_WITHIN {
            return Some(format!("not at rest within {REST_WITHIN:?}:\n{}", lacking.join("\n")));
        }
    }
    None
}

/// Runs a seed in a process of its own.
pub(crate) fn begin(seed: u64, ground: &Arc<Ground>, mutant: Option<Mutant>) -> Running {
    let ground = ground.clone();
    let child = outside::fork(move || story(seed, &ground, mutant));
    Running { seed, child: child.unwrap() }
}

pub(crate) struct Running {
    seed: u64,
    child: outside::Child,
}

impl Running {
    pub(crate) fn wait(self) -> Outcome {
        let said = self.child.wait();
        // Without an end: the simulation itself has broken off.
        let (story, verdict) = said.split_once(END).unwrap_or(("", &said));
        let verdict = verdict.strip_prefix(SOUND).map(str::to_owned).ok_or_else(|| verdict.to_owned());
        Outcome { seed: self.seed, story: story.to_owned(), verdict }
    }
}

/// Runs seeds, two at a time, until there are no more or `until`; each that failed.
pub(crate) fn all(
    seeds: impl Iterator<Item = u64>,
    until: Instant,
    ground: &Arc<Ground>,
    mutant: Option<Mutant>,
    mut each: impl FnMut(&Outcome) -> bool,
) -> usize {
    let mut running = std::collections::VecDeque::new();
    let (mut seeds, mut done) = (seeds, 0);
    loop {
        while running.len() < width()
            && Instant::now() < until
            && let Some(seed) = seeds.next()
        {
            running.push_back(begin(seed, ground, mutant));
        }
        let Some(first) = running.pop_front() else { return done };
        done += 1;
        if !each(&first.wait()) {
            running.into_iter().for_each(|other| drop(other.wait()));
            return done;
        }
    }
}

fn width() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
