//! Looks at all servers that answer for group versions, for as long as this server lives: each by itself, and a few at a time.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use corten_api::ApiError;
use futures::future::select_ok;
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::availability;
use super::describe::Known;
use crate::connect::aggregated::ask::{Asker, Asks, Question};
use crate::connect::aggregated::reach::Within;
use crate::registry::apiregistration::apiservice::Availability;
use crate::registry::apiregistration::routes::{Remote, Server, ServiceState};
use crate::registry::clock;
use crate::rest::Front;

/// Services and endpoints are compared with what they were so often: both stand in memory.
const TICK: Duration = Duration::from_secs(1);
/// Servers that are looked at at once.
const WIDTH: usize = 16;
/// Asked at once: one endpoint of several that hangs does not speak for all.
const ATTEMPTS: usize = 5;
/// Group versions of one server that are asked for at once.
const CHECKS: usize = 4;
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// Of an answer that nobody reads.
const CHECK_BYTES_MAX: usize = 2 << 20;

/// What is known of a server, from one look to the next.
#[derive(Debug, Default)]
struct Kept {
    known: Known,
    /// What was found of each APIService.
    found: HashMap<String, Availability>,
    failures: u32,
}

/// A server between two looks, or in one.
#[derive(Debug)]
struct Watched {
    /// None while it is looked at.
    kept: Option<Box<Kept>>,
    due: Instant,
    /// As of the last look: with others it is looked at again at once.
    remotes: Vec<String>,
    state: ServiceState,
}

#[derive(Debug)]
struct Looked {
    server: Arc<Server>,
    kept: Box<Kept>,
}

/// Looks until `front` is gone or the server drains.
pub fn start(front: &Arc<Front>) {
    let (drained, front) = (front.resources.drained(), Arc::downgrade(front));
    tokio::spawn(drained.run_until_cancelled_owned(run(front)));
}

async fn run(front: Weak<Front>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut watched, mut looks) = (HashMap::<Arc<Server>, Watched>::new(), JoinSet::<Looked>::new());
    let places = Arc::new(Semaphore::new(WIDTH));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let Some(front) = front.upgrade() else { return };
                begin_due(&front, &mut watched, &mut looks, &places);
            }
            Some(looked) = looks.join_next(), if !looks.is_empty() => match looked {
                Ok(Looked { server, kept }) => if let Some(of) = watched.get_mut(&server) {
                    of.due = Instant::now() + availability::again(kept.failures);
                    of.kept = Some(kept);
                },
                Err(err) => {
                    tracing::error!(%err, "a look at another server ended in a panic");
                    // Whichever it was: those that have nothing begin anew.
                    watched.retain(|_, of| of.kept.is_some());
                }
            },
        }
    }
}

fn begin_due(
    front: &Arc<Front>,
    watched: &mut HashMap<Arc<Server>, Watched>,
    looks: &mut JoinSet<Looked>,
    places: &Arc<Semaphore>,
) {
    let routes = front.resources.registry().routes();
    let mut servers: HashMap<Arc<Server>, Vec<Arc<Remote>>> = HashMap::new();
    for remote in routes.iter() {
        servers.entry(remote.server.clone()).or_default().push(remote.clone());
    }
    watched.retain(|server, _| servers.contains_key(server));
    let is_there = |name: &str| routes.iter().any(|remote| remote.name == name);
    front.discovery.forget(is_there);
    front.openapi.forget(is_there);
    let now = Instant::now();
    for (server, mut remotes) in servers {
        remotes.sort_by(|one, other| one.name.cmp(&other.name));
        let names: Vec<String> = remotes.iter().map(|remote| remote.name.clone()).collect();
        let state = front.resources.service_state(&server);
        let of = watched.entry(server.clone()).or_insert_with(|| Watched {
            kept: Some(Box::default()),
            due: now,
            remotes: Vec::new(),
            state: state.clone(),
        });
        if of.due > now && of.remotes == names && of.state == state {
            continue;
        }
        // One that is looked at, or finds all places taken, waits for the next tick.
        let Some(kept) = of.kept.take() else { continue };
        let Ok(turn) = places.clone().try_acquire_owned() else {
            of.kept = Some(kept);
            continue;
        };
        (of.remotes, of.state) = (names, state.clone());
        let front = front.clone();
        looks.spawn(async move {
            let _turn = turn;
            look(&front, server, remotes, state, kept).await
        });
    }
}

async fn look(
    front: &Front,
    server: Arc<Server>,
    remotes: Vec<Arc<Remote>>,
    state: ServiceState,
    mut kept: Box<Kept>,
) -> Looked {
    let within = Within { allows: front.proxy.allows, time: CHECK_WITHIN };
    let asker = Asker { reach: &front.reach, within };
    let found: Vec<Availability> = match availability::of_service(&server, &state) {
        Some(found) => remotes.iter().map(|_| found.clone()).collect(),
        None => {
            // Anybody may answer that: whether he is who he should be is seen when something is asked of him.
            let anybody = Arc::new(Server { ca_bundle: Vec::new(), is_insecure: true, ..(*server).clone() });
            let checks = remotes.iter().map(|remote| check(front, asker, anybody.clone(), remote.path()).boxed());
            let checks = futures::stream::iter(checks.collect::<Vec<_>>()).buffered(CHECKS);
            checks.map(availability::of_discovery).collect().await
        }
    };
    for (remote, found) in remotes.iter().zip(&found) {
        let before = kept.found.insert(remote.name.clone(), found.clone());
        if let Err(err) = say(front, remote, found, before.as_ref()).await {
            tracing::warn!(%err, name = remote.name, "whether it answers was not written; again later");
        }
    }
    kept.found.retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
    let is_well = found.iter().all(|found| found.status == "True");
    kept.failures = if is_well { 0 } else { kept.failures.saturating_add(1) };
    // Who answers nothing is not asked more: each question would take its time.
    if found.iter().all(|found| found.status != "True") {
        remotes.iter().for_each(|remote| front.discovery.learn(&remote.name, None));
        return Looked { server, kept };
    }
    let learned = kept.known.learn(asker, &front.resources, &server, &remotes).await;
    for (remote, learned) in remotes.iter().zip(learned) {
        if let Err(why) = &learned {
            tracing::debug!(name = remote.name, "not described: {why}");
        }
        front.discovery.learn(&remote.name, learned.ok());
    }
    if is_well {
        let described = kept.known.read(asker, &front.resources, &server, &remotes).await;
        for (remote, described) in remotes.iter().zip(described) {
            front.openapi.learn(&remote.name, described);
        }
    }
    Looked { server, kept }
}

/// Why none of several questions was answered well, if so.
async fn check(front: &Front, asker: Asker<'_>, server: Arc<Server>, path: String) -> Option<String> {
    let question = Question {
        path: &path,
        asks: Asks::Discovery,
        accept: "application/json",
        etag: None,
        max_bytes: CHECK_BYTES_MAX,
        within: CHECK_WITHIN,
    };
    let ask = || {
        async {
            let answer = asker.get(&front.resources, &server, question).await?;
            if answer.code.is_success() {
                return Ok(());
            }
            let why = format!("bad status from {}: {}", answer.url, answer.code.as_u16());
            Err(format!("failing or missing response from {}: {why}", answer.url))
        }
        .boxed()
    };
    select_ok((0..ATTEMPTS).map(|_| ask())).await.err()
}

async fn say(
    front: &Front,
    remote: &Remote,
    found: &Availability,
    before: Option<&Availability>,
) -> Result<(), ApiError> {
    let Some(stored) = front.resources.api_service(&remote.name) else { return Ok(()) };
    if availability::is_news(&stored, found, before, clock::now().0) {
        tracing::info!(name = remote.name, status = found.status, reason = found.reason, "availability changes");
        front.resources.write_availability(&stored, found).await?;
    }
    Ok(())
}
