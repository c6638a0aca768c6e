//! What all simulated programs share, and who is where.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use corten_apiserver::authn::Identity;
use corten_apiserver::request::User;
use corten_apiserver::storage::memory::Memory;
use corten_client::endpoints::Endpoints;
use corten_client::{CancellationToken, Client};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::court::Court;
use crate::disk::Weather;
use crate::machines::Machines;
use crate::mutants::Mutant;
use crate::net::{self, FAST, Host, Net, Way, Wire};

pub(crate) const APISERVERS: [Host; 2] = [1, 2];
pub(crate) const CONTROLLERS: [Host; 2] = [11, 12];
pub(crate) const SCHEDULERS: [Host; 2] = [21, 22];
pub(crate) const NODES: [Host; 3] = [31, 32, 33];
pub(crate) const USER: Host = 41;

/// What is the same for all seeds: files with certificates, and what a new cluster's store holds.
#[derive(Clone, Default)]
pub(crate) struct Ground {
    pub(crate) files: PathBuf,
    pub(crate) stored: Vec<(String, bytes::Bytes)>,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) court: Court,
    pub(crate) weather: Weather,
    pub(crate) memory: Memory,
    pub(crate) machines: Machines,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) ground: Arc<Ground>,
    /// Of a hundred requests so many are refused with 429 or 503.
    pub(crate) refused: Arc<AtomicUsize>,
    /// What apiservers hear from the store of changes.
    news: Arc<Vec<(Host, watch::Sender<Way>)>>,
    /// The programs that run.
    pub(crate) lives: Arc<Mutex<Vec<(Host, CancellationToken)>>>,
}

impl World {
    pub(crate) fn new(seed: u64, ground: &Arc<Ground>, mutant: Option<Mutant>) -> Self {
        let (net, court) = (Net::new(seed), Court::new());
        let news = APISERVERS.map(|host| (host, watch::Sender::new(FAST)));
        Self {
            net,
            court,
            weather: Weather::default(),
            memory: Memory::default(),
            machines: Machines::default(),
            mutant,
            ground: ground.clone(),
            refused: Arc::default(),
            news: Arc::new(news.into()),
            lives: Arc::default(),
        }
    }

    pub(crate) fn news(&self, host: Host) -> watch::Receiver<Way> {
        self.news_of(host).subscribe()
    }
    fn news_of(&self, host: Host) -> &watch::Sender<Way> {
        &self.news.iter().find(|(of, _)| *of == host).unwrap().1
    }
    /// An apiserver hears nothing of changes, and goes on serving; or hears of them again.
    pub(crate) fn set_news(&self, host: Host, way: Way) {
        self.news_of(host).send_replace(way);
    }

    /// A client of all apiservers, for a program that lives as long as `life`.
    pub(crate) fn client(&self, host: Host, life: &CancellationToken) -> Client {
        let user = Arc::new(user(host));
        let identity = Identity::Known { user, until_secs: i64::MAX };
        let wire = Wire { net: self.net.clone(), host, identity, life: life.clone() };
        Client::new(Endpoints::with_connector(APISERVERS.map(net::uri).into(), Arc::new(wire)))
    }
}

pub(crate) fn name(host: Host) -> String {
    match host {
        1..=9 => format!("apiserver-{host}"),
        11..=19 => format!("controllers-{}", host - 10),
        21..=29 => format!("scheduler-{}", host - 20),
        31..=39 => format!("n{}", host - 30),
        _ => "user".into(),
    }
}

fn user(host: Host) -> User {
    let (name, group) = match host {
        11..=19 => ("system:kube-controller-manager".to_owned(), "system:authenticated"),
        21..=29 => ("system:kube-scheduler".to_owned(), "system:authenticated"),
        31..=39 => (format!("system:node:{}", name(host)), "system:nodes"),
        _ => ("admin".to_owned(), "system:masters"),
    };
    let groups = vec![group.to_owned(), "system:authenticated".to_owned()];
    User { name, groups, ..User::default() }
}

pub(crate) async fn pause(millis: usize) {
    tokio::time::sleep(Duration::from_millis(millis as u64)).await;
}
