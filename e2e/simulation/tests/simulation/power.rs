//! Starts programs and ends them as a power cut would.

use std::sync::atomic::Ordering;

use corten_client::CancellationToken;

use crate::net::{FAST, Host};
use crate::world::{APISERVERS, CONTROLLERS, NODES, SCHEDULERS, World, name};
use crate::{apiserver, kubelet, programs};

impl World {
    /// Starts the program of this host, if it does not run.
    pub(crate) fn start(&self, host: Host) {
        let life = CancellationToken::new();
        {
            let mut lives = self.lives.lock();
            lives.retain(|(_, life)| !life.is_cancelled());
            if lives.iter().any(|(of, _)| *of == host) {
                return;
            }
            lives.push((host, life.clone()));
        }
        self.court.say(format!("{} starts", name(host)));
        let world = self.clone();
        let ends = life.clone();
        // Cut off where it stands: its lines and its store end with its life, so that nothing it still does is seen.
        let program = async move {
            match host {
                1..=9 => apiserver::run(world, host, life).await,
                11..=19 => programs::controllers(world, host, life).await,
                21..=29 => programs::scheduler(world, host, life).await,
                31..=39 => kubelet::run(world, host, life).await,
                _ => {}
            }
        };
        tokio::spawn(ends.run_until_cancelled_owned(program));
    }

    pub(crate) fn life(&self, host: Host) -> Option<CancellationToken> {
        let lives = self.lives.lock();
        lives.iter().find(|(of, life)| *of == host && !life.is_cancelled()).map(|(_, life)| life.clone())
    }

    /// Ends the program as a power cut would.
    pub(crate) fn kill(&self, host: Host) {
        if let Some(life) = self.life(host) {
            self.court.say(format!("{} is killed", name(host)));
            life.cancel();
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Host> {
        APISERVERS.into_iter().chain(CONTROLLERS).chain(SCHEDULERS).chain(NODES)
    }

    /// Nothing fails any more, and all programs run.
    pub(crate) fn heal(&self) {
        self.court.say("all is well from now on");
        self.net.heal();
        self.weather.unanswered.store(0, Ordering::SeqCst);
        self.refused.store(0, Ordering::SeqCst);
        APISERVERS.into_iter().for_each(|host| self.set_news(host, FAST));
        Self::all().for_each(|host| self.start(host));
    }
}
