//! What an instance knows that does not lead: the caches of all controllers, kept from the program's start over all terms.
//! Nobody listens to them while it stands by, so no queue fills.

use corten_client::{CancellationToken, Client, TakeOver, TakeOverError};

use crate::context::Context;
use crate::controller::{Loop, Setup};
use crate::supervise::{Down, Supervised, supervise};

/// A controller's name, and what makes it.
pub type Named = (&'static str, fn(&Setup) -> Loop);

/// Cheap to clone; clones share the caches.
#[derive(Clone)]
pub struct Standby {
    controllers: &'static [Named],
    setup: Setup,
    takeover: TakeOver,
}

impl Standby {
    /// Watches all that these controllers ask for, until the setup's stop.
    pub fn begin(setup: Setup, controllers: &'static [Named]) -> Self {
        for (name, make) in controllers {
            // Made once only to ask for its caches, which stay; what it keeps itself goes again.
            let own = setup.stop.child_token();
            drop(make(&setup.of(name, &own)));
            own.cancel();
        }
        // After them, so that what they keep whole is not watched twice.
        setup.monitors.begin(&setup.client, &setup.stop, &setup.caches);
        Self { controllers, setup, takeover: TakeOver::default() }
    }

    /// For /readyz.
    pub fn check(&self) -> Result<(), String> {
        self.takeover.check()?;
        let awaited = self.setup.caches.awaited();
        if awaited.is_empty() { Ok(()) } else { Err(format!("not all of these are known yet: {}", awaited.join(", "))) }
    }

    /// Returns once all is known that was written before this was called, or after a time that is bounded. Who looks at all
    /// kinds that are served, whatever they are, waits for them by himself.
    pub async fn take_over(&self, client: &Client) -> Result<(), TakeOverError> {
        let Setup { caches, monitors, .. } = &self.setup;
        let catch_up = |revision| {
            monitors.at_least(revision);
            caches.catch_up(revision)
        };
        self.takeover.begin(client, catch_up, |revision| caches.lagging(revision)).await
    }

    /// One term of leadership: what the leader before has written is known before anything is decided. Returns where that
    /// does not get known in time, so that another may lead. `down`: which controllers are.
    pub async fn lead(self, client: Client, down: Down, leading: CancellationToken) {
        let stop = leading.child_token();
        if !matches!(stop.run_until_cancelled(self.take_over(&client)).await, Some(Ok(()))) {
            return;
        }
        let Self { controllers, setup, .. } = self;
        let context = Context::new(client.clone(), setup.recorder.clone(), setup.caches.clone(), stop.clone());
        let setup = Setup { client, stop: stop.clone(), ..setup };
        let all = controllers.iter().map(|named| supervised(*named, &setup, &context));
        supervise(all.collect(), &stop, &down).await;
    }
}

/// Each start of a controller has a setup of its own, and hears of changes only while it runs.
fn supervised((name, make): Named, setup: &Setup, context: &Context) -> Supervised {
    let (setup, context) = (setup.clone(), context.clone());
    let start = move |own: CancellationToken| {
        let setup = setup.of(name, &own);
        make(&setup).run(Context { stop: own, recorder: setup.recorder, ..context.clone() })
    };
    Supervised { name, start: Box::new(start) }
}
