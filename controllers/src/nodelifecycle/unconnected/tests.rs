//! Takeovers under virtual time: who is looked at, who is not, and when a dead node is known to be dead.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use corten_api::Object;
use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::sleep;

use super::*;
use crate::nodelifecycle::probe::Dial;
use crate::nodelifecycle::probe::tests::{answered_at, is_lost, ready_at, seen};

/// A leader that has just taken over.
struct Term {
    all: Vec<Arc<Node>>,
    nodes: Arc<Nodes>,
    unconnected: Arc<Unconnected>,
    /// Nodes that were dialled.
    dialled: Arc<Mutex<BTreeSet<IpAddr>>>,
    stop: CancellationToken,
}

fn ip(n: usize) -> String {
    format!("10.0.{}.{}", n / 250, n % 250 + 1)
}

fn name(n: usize) -> String {
    format!("n{n}")
}

impl Term {
    /// So many nodes; those that are dead answer no dial.
    fn begins(apiservers: usize, all: Vec<Node>, dead: &'static [usize]) -> Self {
        let nodes = seen(&all);
        let all: Vec<Arc<Node>> = all.into_iter().map(Arc::new).collect();
        let dialled: Arc<Mutex<BTreeSet<IpAddr>>> = Arc::default();
        let note = Arc::clone(&dialled);
        let silent: Vec<IpAddr> = dead.iter().map(|n| ip(*n).parse().unwrap()).collect();
        let dial: Dial = Arc::new(move |address: SocketAddr| {
            note.lock().insert(address.ip());
            let answers = !silent.contains(&address.ip());
            async move { if answers { Ok(()) } else { std::future::pending().await } }.boxed()
        });
        let by_name: HashMap<String, Arc<Node>> = all.iter().map(|n| (n.name().to_owned(), Arc::clone(n))).collect();
        let find: Find = Arc::new(move |name: &str| by_name.get(name).cloned());
        let prober = Prober::new(Arc::clone(&nodes), dial);
        let unconnected = Unconnected::new(apiservers, Arc::clone(&nodes), prober, find);
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&unconnected).run(stop.clone()));
        Self { all, nodes, unconnected, dialled, stop }
    }

    fn connected(&self, apiserver: usize, numbers: impl IntoIterator<Item = usize>) {
        let names: Vec<String> = numbers.into_iter().map(name).collect();
        self.unconnected.on_told(apiserver, Told::Connected(&names));
    }
    fn complete(&self, apiserver: usize) {
        self.unconnected.on_told(apiserver, Told::Complete);
    }
    fn lost(&self) -> Vec<&str> {
        self.all.iter().filter(|node| is_lost(&self.nodes, node)).map(|node| Node::name(node)).collect()
    }
    fn dialled(&self) -> usize {
        self.dialled.lock().len()
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn secs(secs: f64) {
    sleep(Duration::from_secs_f64(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_died_with_the_leader_before_is_lost_within_six_seconds_of_the_takeover() {
    let mut all: Vec<Node> = (0..8).map(|n| answered_at(&name(n), &ip(n))).collect();
    all.push(ready_at(&name(8), &ip(8)));
    // Its own apiserver is dead as well, and does not answer.
    let term = Term::begins(3, all, &[0]);
    term.connected(1, 1..4);
    term.complete(1);
    term.connected(2, 4..7);
    term.complete(2);
    secs(0.5).await;
    term.connected(2, [7]);
    secs(0.4).await;
    assert_eq!(term.dialled(), 0, "not before the apiservers had time to answer");
    secs(5.0).await;
    assert_eq!(term.lost(), ["n0"]);
    assert_eq!(term.dialled(), 1, "nobody who is connected, came meanwhile, or whose silence would mean nothing");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_died_with_the_only_apiserver_that_it_had_a_connection_to_is_lost_soon() {
    let term = Term::begins(2, (0..6).map(|n| answered_at(&name(n), &ip(n))).collect(), &[0]);
    term.connected(0, 0..3);
    term.connected(1, 3..6);
    (0..2).for_each(|apiserver| term.complete(apiserver));
    secs(30.0).await;
    assert_eq!(term.dialled(), 0, "all are connected");
    term.unconnected.on_told(0, Told::Ended);
    secs(2.0).await;
    term.connected(1, 1..3);
    secs(7.0).await;
    assert_eq!((term.lost(), term.dialled()), (vec!["n0"], 1));
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_of_an_apiserver_that_was_restarted_are_not_looked_at_while_they_come_back() {
    const NODES: usize = 5_000;
    const DEAD: usize = 4_999;
    let term = Term::begins(1, (0..NODES).map(|n| answered_at(&name(n), &ip(n))).collect(), &[DEAD]);
    term.complete(0);
    let (mut most, mut of_half) = (0, 0);
    for second in 0..10 {
        secs(1.0).await;
        // Half of them connect, the others are heard of by their leases.
        let came = second * 500..(second + 1) * 500;
        term.connected(0, came.clone().filter(|n| n % 2 == 0 && *n != DEAD));
        came.filter(|n| n % 2 == 1 && *n != DEAD).for_each(|n| term.nodes.on_lease(&name(n), Some(Timestamp::now())));
        most = most.max(term.dialled());
        if second == 3 {
            of_half = term.dialled();
        }
    }
    assert_eq!(of_half, 0, "most are away: it is not they who died");
    assert!(most <= 600, "{most} were looked at");
    secs(10.0).await;
    assert_eq!(term.lost(), [name(DEAD)]);
    assert!(term.dialled() <= 600, "{} were looked at", term.dialled());
}
