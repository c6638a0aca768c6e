//! Writes over three real members, one of which dies.

use std::collections::BTreeSet;

use super::*;
use crate::storage::contract::{EtcdProcess, connected, start_etcd};
use crate::storage::etcd::Etcd;
use crate::storage::{Outcome, Storage, Write};

const DEADLINE: Duration = Duration::from_secs(30);
/// After so long etcd itself says that what was on its way to a lost leader is lost. (Choosing one takes it one to two
/// seconds, more on a machine that is busy; `hack/bench ha` measures.)
const STANDS_STILL_AT_MOST: Duration = Duration::from_secs(7);
/// Writes are looked at for at least so long after the death: they have stood still by then, and go on.
const WATCHED: Duration = Duration::from_secs(3);
const WRITERS: usize = 4;

/// The followers first, the leader last.
async fn by_role(members: Vec<EtcdProcess>) -> Vec<EtcdProcess> {
    let urls: Vec<String> = members.iter().map(|member| member.url.clone()).collect();
    connected(urls).await;
    let mut ranked = Vec::new();
    for member in members {
        let mut client = Client::connect([&member.url], None).await.unwrap();
        let status = client.status().await.unwrap();
        let is_leader = status.leader() == status.header().unwrap().member_id();
        ranked.push((is_leader, member));
    }
    ranked.sort_by_key(|(is_leader, _)| *is_leader);
    ranked.into_iter().map(|(_, member)| member).collect()
}

/// Writes one key after another, and tells of each that is acknowledged.
async fn write(etcd: Etcd, writer: usize, acknowledged: tokio::sync::mpsc::UnboundedSender<String>) {
    for number in 0.. {
        let key = format!("/registry/members/{writer}-{number}");
        let write = Write::Create { key: key.clone(), value: "v".into(), ttl_secs: None };
        if matches!(etcd.commit(vec![write]).await, Ok(Outcome::Committed { .. })) && acknowledged.send(key).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn writes_go_on_after_the_leader_or_the_used_member_died_and_nothing_is_lost() {
    drop(rustls::crypto::ring::default_provider().install_default());
    for (why, victim) in [("the leader, which others use", 2), ("the follower that is used", 0)] {
        let mut members = by_role(start_etcd(3)).await;
        let etcd = connected(members.iter().map(|member| member.url.clone()).collect()).await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS).map(|i| tokio::spawn(write(etcd.clone(), i, tell.clone()))).collect();
        let mut acknowledged = BTreeSet::new();
        while acknowledged.len() < 200 {
            acknowledged.insert(timeout(DEADLINE, told.recv()).await.expect("writes go through").unwrap());
        }
        members[victim].kill();
        let (died, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while died.elapsed() < WATCHED {
            acknowledged.insert(timeout(DEADLINE, told.recv()).await.expect("writes go on").unwrap());
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        eprintln!("{why} died: {longest:?}");
        assert!(longest < STANDS_STILL_AT_MOST, "{why} died: {longest:?}");
        let kept = etcd.list("/registry/members/", None).await.unwrap();
        let kept: BTreeSet<String> = kept.items.into_iter().map(|stored| stored.key).collect();
        assert!(acknowledged.is_subset(&kept), "{why}: what was acknowledged is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_keeps_nobody_from_finding_the_one_in_use() {
    /// From when on, in ms, a member answers, in which term; before, it refuses after `REFUSES_AFTER`. `None`: it is silent.
    type Member = Option<(u64, u64)>;
    /// Why, the members, the one in use, which is found in which term, and after how many ms.
    type Case = (&'static str, [Member; 3], usize, Option<(usize, u64)>, u64);
    const REFUSES_AFTER: Duration = Duration::from_millis(5);
    const DEAD: Member = None;
    let table: [Case; 7] = [
        ("the one in use answers, another is dead", [Some((0, 4)), DEAD, Some((0, 4))], 0, Some((0, 4)), 0),
        ("and also after others did", [Some((40, 4)), DEAD, Some((0, 4))], 0, Some((0, 4)), 55),
        ("a leader is chosen while they are asked", [Some((200, 5)), Some((200, 5)), DEAD], 0, Some((0, 5)), 220),
        ("the one in use is dead: the first that is named", [DEAD, Some((0, 4)), Some((0, 4))], 0, Some((1, 4)), 100),
        ("or the only one", [Some((0, 4)), DEAD, DEAD], 2, Some((0, 4)), 100),
        ("the one in use refuses for longer", [Some((300, 4)), Some((0, 4)), DEAD], 0, Some((1, 4)), 100),
        ("all are dead", [DEAD, DEAD, DEAD], 1, None, 350),
    ];
    for (why, members, used, expected, after_ms) in table {
        let began = Instant::now();
        let probe = async |member: usize| {
            let Some((from, term)) = members[member] else { return std::future::pending().await };
            if began.elapsed() < Duration::from_millis(from) {
                sleep(REFUSES_AFTER).await;
                return None;
            }
            Some(term)
        };
        let found = search(members.len(), used, probe).await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert_eq!((found, took), (expected, after_ms), "{why}");
    }
}
