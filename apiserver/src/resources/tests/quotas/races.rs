//! Many writers through three servers, while quotas come and go.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::history::check;
use super::*;

const SERVERS: usize = 3;
const WRITERS: usize = 8;
const WRITES: usize = 60;

struct Servers {
    all: Vec<Arc<Cluster>>,
    storage: Arc<dyn Storage>,
    exceeded: AtomicUsize,
    done: AtomicUsize,
}

impl Servers {
    async fn start(storage: Arc<dyn Storage>) -> Arc<Self> {
        let mut all = Vec::new();
        while all.len() < SERVERS {
            all.push(Arc::new(Cluster::on(storage.clone()).await));
        }
        all[0].create("namespaces", "", json!({"metadata": {"name": "n"}})).await.unwrap();
        all[0].create("serviceaccounts", "n/", json!({"metadata": {"name": "default"}})).await.unwrap();
        Arc::new(Self { all, storage, exceeded: AtomicUsize::new(0), done: AtomicUsize::new(0) })
    }

    /// One write after another, of objects that all writers share.
    async fn write(self: Arc<Self>, server: usize, seed: u64) {
        let (c, mut rng) = (self.all[server].clone(), StdRng::seed_from_u64(seed));
        for _ in 0..WRITES {
            let (name, what) = (format!("o{}", rng.random_range(0..40)), rng.random_range(0..10));
            let at = format!("n/{name}");
            let done = match what {
                0..=2 => c.create("pods", "n/", asking(&name, ["100m", "250m", "1"][what])).await.map(drop),
                3..=5 => c.create("configmaps", "n/", json!({"metadata": {"name": name}})).await.map(drop),
                6 => c.merge("pods/status", &at, json!({"status": {"phase": "Failed"}})).await.map(drop),
                7 => c.merge("pods", &at, json!({"metadata": {"labels": {"a": seed.to_string()}}})).await.map(drop),
                8 => c.delete("pods", &at, json!({"gracePeriodSeconds": 0})).await.map(drop),
                _ => c.delete("configmaps", &at, json!({})).await.map(drop),
            };
            match done {
                Ok(()) => drop(self.done.fetch_add(1, Ordering::Relaxed)),
                Err(err) if err.message().contains("exceeded quota") => {
                    self.exceeded.fetch_add(1, Ordering::Relaxed);
                }
                Err(err) if matches!(err.reason(), Reason::NotFound | Reason::AlreadyExists) => {}
                Err(err) => panic!("{what} of {name}: {err}"),
            }
        }
    }

    /// All writers, and beside them what `meddle` does, again and again.
    async fn run<F: Future<Output = ()> + Send>(self: &Arc<Self>, meddle: impl Fn(usize) -> F + Send) {
        let writers = (0..SERVERS * WRITERS).map(|n| tokio::spawn(self.clone().write(n % SERVERS, n as u64)));
        let mut writers = futures::future::join_all(writers);
        let mut round = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut writers => {
                    done.into_iter().for_each(|writer| writer.unwrap());
                    return;
                }
                () = meddle(round) => round += 1,
            }
        }
    }
}

async fn no_revision_overshoots_or_miscounts(storage: Arc<dyn Storage>) {
    let servers = Servers::start(storage).await;
    let hard = json!({"pods": "9", "requests.cpu": "3", "configmaps": "8", "count/pods": "15"});
    let a = &servers.all[0];
    a.create("resourcequotas", "n/", quota("all", hard)).await.unwrap();
    a.create("resourcequotas", "n/", quota("few", json!({"configmaps": "6"}))).await.unwrap();
    servers.run(|_| std::future::pending()).await;
    let seen = check(&*servers.storage).await;
    let (done, exceeded) = (servers.done.load(Ordering::Relaxed), servers.exceeded.load(Ordering::Relaxed));
    // How much is done and how often is luck: a tenth of what is usual shows that the test is one.
    assert!(done > 50 && exceeded > 50 && seen.full > 25 && seen.compared > 200, "{done} {exceeded} {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_revision_overshoots_or_miscounts_while_many_write_through_three_servers() {
    no_revision_overshoots_or_miscounts(Arc::new(Memory::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_revision_overshoots_or_miscounts_while_many_write_through_three_servers_to_etcd() {
    no_revision_overshoots_or_miscounts(crate::storage::contract::etcd().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_slips_by_quotas_that_come_change_and_go_meanwhile() {
    let servers = Servers::start(Arc::new(Memory::default())).await;
    let meddled = Arc::new(AtomicUsize::new(0));
    let meddle = |round: usize| {
        let (c, counter) = (servers.all[round % SERVERS].clone(), meddled.clone());
        async move {
            let done = match round % 4 {
                0 => {
                    let hard = json!({"pods": "6", "configmaps": "5"});
                    c.create("resourcequotas", "n/", quota("all", hard)).await.map(drop)
                }
                1 => {
                    let hard = json!({"pods": "9", "configmaps": null, "requests.cpu": "2", "count/pods": "15"});
                    c.merge("resourcequotas", "n/all", json!({"spec": {"hard": hard}})).await.map(drop)
                }
                2 => c.resources.settle("n", None, Vec::new()).await.map(drop),
                _ => c.delete("resourcequotas", "n/all", json!({})).await.map(drop),
            };
            done.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    servers.run(meddle).await;
    let seen = check(&*servers.storage).await;
    let meddled = meddled.load(Ordering::Relaxed);
    assert!(meddled > 8 && seen.compared > 100, "{meddled} {seen:?}");
}
