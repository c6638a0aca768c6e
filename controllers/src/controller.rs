//! What a controller is: which changes ask for which items, and what is done about an item. The wiring is here alone.
//!
//! A constructor is given a [`Setup`] and returns a [`Loop`]:
//! `Controller::new(setup).reconciles(&jobs).watches(&pods, maps::owner::<Job, _>).run(sync)`.

pub mod maps;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Key};
use corten_client::queue::Item;
use corten_client::{CancellationToken, Change, Client, Next, Recorder, WorkQueue, run_workers};
use futures::future::join_all;

use crate::balancers::Rules;
use crate::caches::{Caches, Shared};
use crate::certificates::flags::Signing;
use crate::context::Context;
use crate::monitors::Monitors;
use crate::networks::Networks;
use crate::sources;

/// Items that are worked on at a time, where a controller does not say otherwise.
const WORKERS: usize = 5;

pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the flags come to, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What nodes get their podCIDRs from.
    pub networks: Networks,
    pub root_ca: String,
    pub signing: Signing,
    /// Which load balancers are given addresses here.
    pub balancers: Rules,
    /// Whether volumes that a node uses are detached from it when it has not been ready for a while.
    pub force_detach_on_timeout: bool,
}

/// What a controller is made of. What it keeps lives as long as `stop` lasts, whether this instance leads or not, so it
/// only reads here: who writes needs the [`Context`] of a term.
#[derive(Clone)]
pub struct Setup {
    /// Whose setup it is: the name in the table of controllers.
    pub name: &'static str,
    pub caches: Caches,
    /// The metadata of all objects of all kinds.
    pub monitors: Monitors,
    /// For reads and watches.
    pub client: Client,
    pub recorder: Recorder,
    pub settings: Settings,
    /// Ends this controller, not the others.
    pub stop: CancellationToken,
}

impl Setup {
    /// For a controller that ends by itself with `own`.
    #[must_use]
    pub fn of(&self, name: &'static str, own: &CancellationToken) -> Self {
        let (caches, monitors) = (self.caches.owned_by(own), self.monitors.owned_by(own));
        let recorder = self.recorder.of(sources::of(name));
        Self { name, caches, monitors, recorder, stop: own.clone(), ..self.clone() }
    }
}

type Source<Q> = Box<dyn Fn(&CancellationToken, &WorkQueue<Q>) + Send + Sync>;
type Beside = Box<dyn Fn(Context) -> Running + Send + Sync>;

/// A controller that is being described. `Q`: its items, nearly always the keys of objects.
pub struct Controller<Q: Item = Key> {
    name: &'static str,
    workers: usize,
    queue: WorkQueue<Q>,
    sources: Vec<Source<Q>>,
    beside: Vec<Beside>,
}

impl Controller<Key> {
    /// Every object of this cache is an item: all at the beginning of a term, then each that changes.
    #[must_use]
    pub fn reconciles<T: Send + Sync + 'static>(self, cache: &Shared<T>) -> Self {
        self.watches(cache, maps::own)
    }
}

impl<Q: Item + Sync + std::fmt::Debug> Controller<Q> {
    pub fn new(setup: &Setup) -> Self {
        let (sources, beside) = (Vec::new(), Vec::new());
        Self { name: setup.name, workers: WORKERS, queue: WorkQueue::new(), sources, beside }
    }

    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// For who knows of items by other ways than watches.
    pub fn queue(&self) -> WorkQueue<Q> {
        self.queue.clone()
    }

    /// The items that `map` makes of a change, and at the beginning of a term of each object that is there. It is called
    /// for every change there is: it must not cost more the larger the cluster is. See [`maps`].
    #[must_use]
    pub fn watches<T, I>(self, cache: &Shared<T>, map: impl Fn(&Change<'_, T>) -> I + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        I: IntoIterator<Item = Q>,
    {
        self.watches_after(cache, Duration::ZERO, map)
    }

    /// As [`Self::watches`], but waits this long for more changes of the same item.
    #[must_use]
    pub fn watches_after<T, I>(
        mut self,
        cache: &Shared<T>,
        delay: Duration,
        map: impl Fn(&Change<'_, T>) -> I + Send + Sync + 'static,
    ) -> Self
    where
        T: Send + Sync + 'static,
        I: IntoIterator<Item = Q>,
    {
        let (cache, map) = (cache.clone(), Arc::new(map));
        self.sources.push(Box::new(move |owner, queue| {
            let (queue, map) = (queue.clone(), Arc::clone(&map));
            cache.owned_by(owner).subscribe(move |change| {
                map(change).into_iter().for_each(|item| match delay {
                    Duration::ZERO => queue.add(item),
                    delay => queue.add_after(item, delay),
                });
            });
        }));
        self
    }

    /// Any other source of items, which begins with each term and ends with the token.
    #[must_use]
    pub fn source(mut self, begin: impl Fn(&CancellationToken, &WorkQueue<Q>) + Send + Sync + 'static) -> Self {
        self.sources.push(Box::new(begin));
        self
    }

    /// Runs next to the workers in each term. It ends when the context is stopped.
    #[must_use]
    pub fn beside<F>(mut self, run: impl Fn(Context) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.beside.push(Box::new(move |context| Box::pin(run(context))));
        self
    }

    /// Ends the description. `sync` looks at an item and does what is to be done about it; an error brings the item back
    /// with a delay that grows.
    pub fn run<F>(self, sync: impl Fn(Context, Q) -> F + Send + Sync + 'static) -> Loop
    where
        F: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        let Self { name, workers, queue, sources, beside } = self;
        let shared = Arc::new((sources, beside, sync));
        Loop(Box::new(move |context: Context| {
            let (queue, shared) = (queue.clone(), Arc::clone(&shared));
            Box::pin(async move {
                if context.stop.run_until_cancelled(context.caches.synced()).await.is_none() {
                    return;
                }
                let (sources, beside, _) = &*shared;
                sources.iter().for_each(|begin| begin(&context.stop, &queue));
                let beside = join_all(beside.iter().map(|run| run(context.clone())));
                let (stop, of_items) = (context.stop.clone(), Arc::clone(&shared));
                let work = run_workers(name, &queue, workers, &stop, move |item| {
                    let (_, _, sync) = &*of_items;
                    sync(context.clone(), item)
                });
                tokio::join!(work, beside);
            })
        }))
    }
}

/// A controller that is described: what it does in a term, until the context is stopped.
pub struct Loop(Box<dyn Fn(Context) -> Running + Send + Sync>);

impl Loop {
    pub fn run(&self, context: Context) -> Running {
        (self.0)(context)
    }
}
