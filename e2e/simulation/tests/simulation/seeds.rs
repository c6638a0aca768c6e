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
const STORY_LINES: usize = 400;
const FAULTS_MAX: usize = 16;
const ACTS_MAX: usize = 14;

/// How a seed went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// Nothing is broken: a digest of all that happened. Else what is, and the story.
    pub(crate) result: Result<String, String>,
}

/// Certificates, and what the first apiserver of a cluster stores: made once, before any seed.
pub(crate) fn ground(files: &Path) -> Arc<Ground> {
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
    let ground = Ground { files: files.to_owned(), stored: Vec::new() };
    // In a thread of its own, of which nothing is left to those of the seeds.
    let stored = {
        let ground = ground.clone();
        std::thread::spawn(move || runtime().block_on(first_state(&ground))).join().unwrap()
    };
    Arc::new(Ground { stored, ..ground })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

async fn first_state(ground: &Ground) -> Vec<(String, bytes::Bytes)> {
    let _inside = outside::enter(0);
    let memory = Memory::default();
    let server = apiserver::assemble(Arc::new(memory.clone()), ground).await.unwrap();
    // What runs beside requests makes the rest.
    pause(10_000).await;
    drop(server);
    let all = memory.list("/registry/", None).await.unwrap();
    all.items.into_iter().map(|stored| (stored.key, stored.value)).collect()
}

/// One seed, in this process, which ends soon after.
fn story(seed: u64, ground: &Arc<Ground>, mutant: Option<Mutant>) -> Result<String, String> {
    runtime().block_on(async {
        let _inside = outside::enter(seed);
        let world = World::new(seed, ground, mutant);
        let ended = play(&world).await;
        let (digest, commits) = (world.court.digest(), world.court.commits());
        match ended {
            None => Ok(format!("{digest:x} {commits} commits")),
            Some(why) => Err(format!("{}\n{why}", world.court.story(STORY_LINES))),
        }
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
    let child = outside::fork(move || match story(seed, &ground, mutant) {
        Ok(digest) => format!("ok {digest}"),
        Err(why) => why,
    });
    Running { seed, child: child.unwrap() }
}

pub(crate) struct Running {
    seed: u64,
    child: outside::Child,
}

impl Running {
    pub(crate) fn wait(self) -> Outcome {
        let said = self.child.wait();
        let result = match said.strip_prefix("ok ") {
            Some(digest) => Ok(digest.to_owned()),
            None => Err(said),
        };
        Outcome { seed: self.seed, result }
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
