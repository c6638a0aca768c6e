//! Good histories of any length, from a store that does one thing after the other and clients that ask at the same time.

use std::collections::BTreeMap;

use corten_fuzz::Random;

use super::*;

const NAMES: usize = 24;
const CLIENTS: usize = 16;
const WATCHERS: usize = 6;
/// A request is asked for, and answered, at most so long before and after it is done.
const AROUND: usize = 400;

/// One store: what is there, and its revision.
struct Store {
    random: Random,
    now: u64,
    revision: i64,
    there: BTreeMap<Key, Version>,
    uids: usize,
    number: u32,
    records: Vec<Record>,
    /// Until when each client waits for its answer.
    busy: Vec<u64>,
}

pub(super) fn history(seed: u64, requests: usize) -> History {
    let mut store = Store {
        random: Random::new(seed),
        now: 1000,
        revision: 5,
        there: BTreeMap::new(),
        uids: 0,
        number: 0,
        records: Vec::new(),
        busy: vec![0; CLIENTS],
    };
    for watcher in 0..WATCHERS {
        let kind = Kind::ALL[watcher % Kind::ALL.len()];
        let list = Answer::Listed(Snapshot { revision: store.revision, items: Vec::new() });
        store.answer(format!("v{watcher}"), (10, 20), Request::List { kind, at: At::Newest }, list);
    }
    for _ in 0..requests {
        store.request();
    }
    History { seed, records: store.records }
}

impl Store {
    fn answer(&mut self, client: String, (from, to): (u64, u64), request: Request, answer: Answer) {
        let via = Via { server: self.random.below(3), process: 0 };
        self.records.push(Record::Asked(Asked { from, to, client, via, request, answer }));
    }

    /// By a client that has its last answer: something is asked before now, done now, and answered after.
    fn request(&mut self) {
        self.now += 1 + self.random.below(40) as u64;
        let client = self.random.below(CLIENTS);
        let from = (self.now - self.random.below(AROUND) as u64).max(self.busy[client] + 1);
        self.now = self.now.max(from);
        let to = self.now + self.random.below(AROUND) as u64;
        self.busy[client] = to;
        let kind = Kind::ALL[self.random.below(Kind::ALL.len())];
        let key = Key { kind, name: format!("n{}", self.random.below(NAMES)) };
        let is = self.there.get(&key).cloned();
        let (request, answer) = match self.random.below(10) {
            0 => {
                let of_kind = self.there.iter().filter(|(key, _)| key.kind == kind);
                let items = of_kind.map(|(key, version)| (key.name.clone(), version.clone())).collect();
                let list = Answer::Listed(Snapshot { revision: self.revision, items });
                (Request::List { kind, at: At::Newest }, list)
            }
            1..=3 => (Request::Get { key, at: At::Newest }, is.map_or(Answer::Missing, Answer::Found)),
            _ => self.write(key, is),
        };
        self.answer(format!("w{client}"), (from, to), request, answer);
    }

    fn write(&mut self, key: Key, is: Option<Version>) -> (Request, Answer) {
        self.number += 1;
        let number = self.number;
        let how = match (&is, self.random.below(6)) {
            (None, _) => How::Create,
            (Some(_), 0) => How::Delete,
            (Some(_), 1) => How::MergePatch,
            (Some(_), _) => How::Update,
        };
        let names = is.as_ref().filter(|_| self.random.one_in(2));
        let write = Write { number, how, key: key.clone(), revision: names.map(|is| is.revision), uid: None };
        // A refused one does nothing.
        if self.random.one_in(20) {
            return (Request::Write(write), Answer::Refused { code: 409, reason: "Conflict".into() });
        }
        self.revision += 1 + self.random.below(3) as i64;
        let done = match (how, is) {
            (How::Delete, Some(is)) => {
                self.there.remove(&key);
                let last = Version { revision: self.revision, ..is };
                self.tell(&key, Message::Deleted, &last);
                Answer::Deleted { uid: last.uid }
            }
            (_, is) => {
                let (is_new, uid) = (is.is_none(), is.map_or_else(|| format!("u{}", self.uids), |is| is.uid));
                self.uids += usize::from(is_new);
                let version = Version { revision: self.revision, uid, value: number };
                self.there.insert(key.clone(), version.clone());
                self.tell(&key, if is_new { Message::Added } else { Message::Modified }, &version);
                Answer::Written(version)
            }
        };
        // Some answers are lost on the way.
        let answer = if self.random.one_in(30) { Answer::Unknown("timeout".into()) } else { done };
        (Request::Write(write), answer)
    }

    fn tell(&mut self, key: &Key, message: fn(String, Version) -> Message, version: &Version) {
        for watcher in (0..WATCHERS).filter(|watcher| Kind::ALL[watcher % Kind::ALL.len()] == key.kind) {
            let via = Via { server: watcher % 3, process: 0 };
            let (client, kind, what) = (format!("v{watcher}"), key.kind, message(key.name.clone(), version.clone()));
            let at = self.now + 1;
            self.records.push(Record::Told(Told { at, client, via, kind, what }));
        }
    }
}
