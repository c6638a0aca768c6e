//! Writers do what the plan says, until they are told to stop; one of them reads all at the end.

use corten_e2e::history::Plan;
use corten_e2e::history::plan::{Doing, Expects, LAST, SERVERS, Step};
use corten_e2e::history::record::{Answer, At, How, Key, Kind, Number, Request, Revision, Write};

use super::run::Client;

/// More than a writer gets done in any run.
const STEPS_MAX: usize = 50_000;
/// Above those of the plan's writes.
const LAST_NUMBERS: Number = 1_000_000_000;

pub(crate) async fn write(plan: Plan, number: usize, mut client: Client) {
    for step in plan.writer(number).take(STEPS_MAX) {
        if client.run.is_over() {
            return;
        }
        let Step { server, key, what } = step;
        let request = match what {
            Doing::Get(at) => Request::Get { key, at },
            Doing::List(at) => Request::List { kind: key.kind, at },
            Doing::Write { number, how, expects } => {
                let mut write = Write { number, how, key, revision: None, uid: None };
                expect(&mut client, server, expects, &mut write).await;
                Request::Write(write)
            }
        };
        client.ask(server, request).await;
    }
}

/// The preconditions that a writer can name: of what it has seen.
async fn expect(client: &mut Client, server: usize, expects: Expects, write: &mut Write) {
    let seen = match expects {
        Expects::Nothing => None,
        Expects::Remembered | Expects::Uid => client.remembered.get(&write.key).cloned(),
        Expects::Newest => match client.ask(server, Request::Get { key: write.key.clone(), at: At::Newest }).await {
            Answer::Found(version) => Some(version),
            _ => None,
        },
    };
    if expects == Expects::Uid {
        write.uid = seen.map(|version| version.uid);
    } else {
        write.revision = seen.map(|version| version.revision);
    }
}

/// The write of each kind that comes after all others; its revision, once it is acknowledged.
pub(crate) async fn write_last(client: &mut Client, kind: Kind) -> Result<Revision, String> {
    // Asked again until one is answered, each time with a number of its own and at the next server.
    let number = LAST_NUMBERS + Number::try_from(client.asked).map_err(|err| err.to_string())?;
    let key = Key { kind, name: LAST.to_owned() };
    let write = Write { number, how: How::Apply, key, revision: None, uid: None };
    match client.ask(client.asked % SERVERS, Request::Write(write)).await {
        Answer::Written(version) => Ok(version.revision),
        other => Err(other.to_string()),
    }
}

/// Lists everything, and gets every object that anybody may have made, through each server.
pub(crate) async fn read_all(client: &mut Client) {
    for server in 0..SERVERS {
        for kind in Kind::ALL {
            for at in [At::Newest, At::Any] {
                client.ask(server, Request::List { kind, at }).await;
            }
            for name in Plan::names() {
                client.ask(server, Request::Get { key: Key { kind, name }, at: At::Newest }).await;
            }
        }
    }
}
