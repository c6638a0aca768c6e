//! Looks at all servers that answer for group versions, for as long as this server lives: each by itself, and a few at a time. Whether
//! one answers is said before it is asked anything else, so that nobody's long descriptions keep that from being known of others.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use corten_api::ApiError;
use futures::future::select_ok;
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::availability::{self, Before};
use super::describe::Known;
use crate::connect::aggregated::ask::{Asker, Asks, Question};
use crate::connect::aggregated::reach::Within;
use crate::registry::apiregistration::apiservice::{self, Availability};
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
/// Servers that are asked at once what they have: nobody waits for that, and each may say much.
const DESCRIBED_WIDTH: usize = 4;
/// For all that one server is asked then. What it has said by then is not asked again.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(60);

/// What was found of a server, from one look to the next.
#[derive(Debug, Default)]
struct Kept {
    /// Of each APIService, by UID.
    found: HashMap<String, Before>,
    failures: u32,
}

/// A server between two looks, or in one.
#[derive(Debug)]
struct Watched {
    /// None while it is looked at.
    kept: Option<Box<Kept>>,
    due: Instant,
    /// As of the last look: with others it is looked at again at once.
    seen: Vec<Seen>,
    state: ServiceState,
    /// What it has said of itself. None while it is asked.
    known: Option<Box<Known>>,
    /// What it is asked next, by the last look that has found it.
    wanted: Option<Wanted>,
}

/// An APIService as it was when its server was looked at.
#[derive(Debug)]
struct Seen {
    uid: String,
    is_available: bool,
}

impl Watched {
    /// Whether nothing has changed since the last look but what that has found itself. Whoever made an APIService again, or says
    /// otherwise of it, is not left alone until the next look is due.
    fn is_as_seen(&self, kept: &Kept, remotes: &[Arc<Remote>]) -> bool {
        let is_same = |(seen, remote): (&Seen, &Arc<Remote>)| {
            let found =
                || kept.found.get(&remote.uid).is_some_and(|of| (of.found.status == "True") == remote.is_available);
            seen.uid == remote.uid && (seen.is_available == remote.is_available || found())
        };
        self.seen.len() == remotes.len() && self.seen.iter().zip(remotes).all(is_same)
    }
}

/// What a server is to say of itself.
#[derive(Debug)]
struct Wanted {
    remotes: Vec<Arc<Remote>>,
    /// Whether all of them answer: otherwise it is asked for no documents, each of which would take its time.
    are_well: bool,
}

/// What has been done of a server.
#[derive(Debug)]
enum Done {
    Looked { server: Arc<Server>, kept: Box<Kept>, wanted: Option<Wanted> },
    Described { server: Arc<Server>, known: Box<Known> },
}

/// All servers, and what is under way. A server is looked at, and described, by one task of each kind at a time.
struct Keeper {
    watched: HashMap<Arc<Server>, Watched>,
    tasks: JoinSet<Done>,
    looks: Arc<Semaphore>,
    descriptions: Arc<Semaphore>,
}

/// Looks until `front` is gone or the server drains.
pub fn start(front: &Arc<Front>) {
    let (drained, front) = (front.resources.drained(), Arc::downgrade(front));
    tokio::spawn(drained.run_until_cancelled_owned(run(front)));
}

async fn run(front: Weak<Front>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (looks, descriptions) = (Arc::new(Semaphore::new(WIDTH)), Arc::new(Semaphore::new(DESCRIBED_WIDTH)));
    let mut keeper = Keeper { watched: HashMap::new(), tasks: JoinSet::new(), looks, descriptions };
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let Some(front) = front.upgrade() else { return };
                keeper.begin_due(&front);
            }
            Some(done) = keeper.tasks.join_next(), if !keeper.tasks.is_empty() => {
                let Some(front) = front.upgrade() else { return };
                keeper.take(&front, done);
            }
        }
    }
}

impl Keeper {
    fn begin_due(&mut self, front: &Arc<Front>) {
        let routes = front.resources.registry().routes();
        let mut servers: HashMap<Arc<Server>, Vec<Arc<Remote>>> = HashMap::new();
        for remote in routes.iter() {
            servers.entry(remote.server.clone()).or_default().push(remote.clone());
        }
        self.watched.retain(|server, _| servers.contains_key(server));
        let is_there = |name: &str| routes.iter().any(|remote| remote.name == name);
        front.discovery.forget(is_there);
        front.openapi.forget(is_there);
        front.metrics.api_services.forget(is_there);
        let now = Instant::now();
        for (server, mut remotes) in servers {
            remotes.sort_by(|one, other| one.name.cmp(&other.name));
            let state = front.resources.service_state(&server);
            let of = self.watched.entry(server.clone()).or_insert_with(|| Watched {
                kept: Some(Box::default()),
                due: now,
                seen: Vec::new(),
                state: state.clone(),
                known: Some(Box::default()),
                wanted: None,
            });
            // One that is looked at, or finds all places taken, waits for the next tick.
            let Some(kept) = &of.kept else { continue };
            if of.due > now && of.state == state && of.is_as_seen(kept, &remotes) {
                continue;
            }
            let Ok(place) = self.looks.clone().try_acquire_owned() else { continue };
            let Some(kept) = of.kept.take() else { continue };
            let seen = |remote: &Arc<Remote>| Seen { uid: remote.uid.clone(), is_available: remote.is_available };
            (of.seen, of.state) = (remotes.iter().map(seen).collect(), state.clone());
            let front = front.clone();
            self.tasks.spawn(async move {
                let _place = place;
                look(&front, server, remotes, state, kept).await
            });
        }
    }

    fn take(&mut self, front: &Arc<Front>, done: Result<Done, JoinError>) {
        let server = match done {
            Ok(Done::Looked { server, kept, wanted }) => {
                let Some(of) = self.watched.get_mut(&server) else { return };
                of.due = Instant::now() + availability::again(kept.failures);
                (of.kept, of.wanted) = (Some(kept), wanted);
                server
            }
            Ok(Done::Described { server, known }) => {
                let Some(of) = self.watched.get_mut(&server) else { return };
                of.known = Some(known);
                server
            }
            Err(err) => {
                tracing::error!(%err, "a look at another server ended in a panic");
                // Whichever it was: those that have nothing begin anew.
                return self.watched.retain(|_, of| of.kept.is_some() && of.known.is_some());
            }
        };
        self.begin_description(front, server);
    }

    fn begin_description(&mut self, front: &Arc<Front>, server: Arc<Server>) {
        let Some(of) = self.watched.get_mut(&server) else { return };
        if of.known.is_none() {
            return;
        }
        let Some(wanted) = of.wanted.take() else { return };
        let Some(mut known) = of.known.take() else { return };
        let (front, places) = (front.clone(), self.descriptions.clone());
        self.tasks.spawn(async move {
            // One of each server waits, and no longer than those before it may take.
            let place = places.acquire_owned().await;
            if timeout(DESCRIBED_WITHIN, describe(&front, &server, &wanted, &mut known)).await.is_err() {
                tracing::debug!(server = server.name(), "what it says of itself takes too long; the rest of it later");
            }
            drop(place);
            Done::Described { server, known }
        });
    }
}

/// Whether a server answers, which is said at once.
async fn look(
    front: &Front,
    server: Arc<Server>,
    remotes: Vec<Arc<Remote>>,
    state: ServiceState,
    mut kept: Box<Kept>,
) -> Done {
    let found: Vec<Availability> = match availability::of_service(&server, &state) {
        Some(found) => remotes.iter().map(|_| found.clone()).collect(),
        None => {
            // Anybody may answer that: whether he is who he should be is seen when something is asked of him.
            let anybody = Arc::new(Server { ca_bundle: Vec::new(), is_insecure: true, ..(*server).clone() });
            let checks = remotes.iter().map(|remote| check(front, anybody.clone(), remote.path()).boxed());
            let checks = futures::stream::iter(checks.collect::<Vec<_>>()).buffered(CHECKS);
            checks.map(availability::of_discovery).collect().await
        }
    };
    for (remote, found) in remotes.iter().zip(&found) {
        let before = kept.found.remove(&remote.uid);
        let said = say(front, remote, found, before.as_ref()).await.unwrap_or_else(|err| {
            tracing::warn!(%err, name = remote.name, "whether it answers was not written; again later");
            false
        });
        let said_at = if said { Some(clock::now().0) } else { before.and_then(|before| before.said_at) };
        kept.found.insert(remote.uid.clone(), Before { found: found.clone(), said_at });
    }
    kept.found.retain(|uid, _| remotes.iter().any(|remote| remote.uid == *uid));
    let are_well = found.iter().all(|found| found.status == "True");
    kept.failures = if are_well { 0 } else { kept.failures.saturating_add(1) };
    // Who answers nothing is not asked more: each question would take its time.
    if found.iter().all(|found| found.status != "True") {
        remotes.iter().for_each(|remote| front.discovery.learn(&remote.name, None));
        return Done::Looked { server, kept, wanted: None };
    }
    Done::Looked { server, kept, wanted: Some(Wanted { remotes, are_well }) }
}

/// Asks a server what it has, which discovery and OpenAPI tell from then on.
async fn describe(front: &Front, server: &Arc<Server>, wanted: &Wanted, known: &mut Known) {
    let Wanted { remotes, are_well } = wanted;
    let (asker, resolve) = (asker(front), &front.resources);
    let learned = known.learn(asker, resolve, server, remotes).await;
    for (remote, learned) in remotes.iter().zip(learned) {
        if let Err(why) = &learned {
            tracing::debug!(name = remote.name, "not described: {why}");
        }
        front.discovery.learn(&remote.name, learned.ok());
    }
    if *are_well {
        let described = known.read(asker, resolve, server, remotes).await;
        for (remote, described) in remotes.iter().zip(described) {
            front.openapi.learn(&remote.name, described);
        }
    }
}

fn asker(front: &Front) -> Asker<'_> {
    Asker { reach: &front.reach, within: Within { allows: front.proxy.allows, time: CHECK_WITHIN } }
}

/// Why none of several questions was answered well, if so.
async fn check(front: &Front, server: Arc<Server>, path: String) -> Option<String> {
    let question = Question {
        path: &path,
        asks: Asks::Discovery,
        accept: "application/json",
        etag: None,
        max_bytes: 0,
        within: CHECK_WITHIN,
    };
    let ask = || {
        async {
            let answer = asker(front).status(&front.resources, &server, question).await?;
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

/// Writes what was found where that is news, and tells whether it was.
async fn say(front: &Front, remote: &Remote, found: &Availability, before: Option<&Before>) -> Result<bool, ApiError> {
    // One that has been made again is another, of which nothing has been found.
    let stored = front.resources.api_service(&remote.name).filter(|of| of.metadata.uid.as_ref() == Some(&remote.uid));
    let Some(stored) = stored else { return Ok(false) };
    let is_available = found.status == "True";
    front.metrics.api_services.is_available(&remote.name, is_available);
    let is_news = availability::is_news(&stored, found, before, clock::now().0);
    if is_news {
        tracing::info!(name = remote.name, status = found.status, reason = found.reason, "availability changes");
        front.resources.write_availability(&stored, found).await?;
        if apiservice::is_available(&stored) && !is_available {
            front.metrics.api_services.became_unavailable(&remote.name, found.reason);
        }
    }
    Ok(is_news)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::apiregistration::priority::Priority;

    fn remote(uid: &str, is_available: bool) -> Arc<Remote> {
        let (namespace, service) = ("n".into(), "s".into());
        let server = Server { namespace, service, port: 443, ca_bundle: Vec::new(), is_insecure: false };
        Arc::new(Remote {
            name: "v1.a".into(),
            uid: uid.into(),
            group: "a".into(),
            version: "v1".into(),
            priority: Priority { group: 1, version: 1 },
            server: Arc::new(server),
            is_available,
        })
    }

    #[test]
    fn who_looks_again_at_once() {
        let found = |why: Option<&str>| availability::of_discovery(why.map(str::to_owned));
        for (why, seen, found, now, expected) in [
            ("nothing has changed", ("1", true), found(None), vec![remote("1", true)], true),
            ("what was found is said", ("1", false), found(None), vec![remote("1", true)], true),
            ("it is not said yet", ("1", false), found(None), vec![remote("1", false)], true),
            ("somebody says otherwise", ("1", true), found(None), vec![remote("1", false)], false),
            ("somebody says that it answers", ("1", false), found(Some("x")), vec![remote("1", true)], false),
            ("it has been made again", ("1", true), found(None), vec![remote("2", true)], false),
            ("there is another", ("1", true), found(None), vec![remote("1", true), remote("2", true)], false),
            ("it is gone", ("1", true), found(None), vec![], false),
        ] {
            let kept = Kept { found: [(seen.0.to_owned(), Before { found, said_at: None })].into(), failures: 0 };
            let watched = Watched {
                kept: None,
                due: Instant::now(),
                seen: vec![Seen { uid: seen.0.into(), is_available: seen.1 }],
                state: ServiceState::There,
                known: None,
                wanted: None,
            };
            assert_eq!(watched.is_as_seen(&kept, &now), expected, "{why}");
        }
    }
}
