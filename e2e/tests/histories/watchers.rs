//! Watchers go on where their last watch ended, at the next server; they list anew where they are told that it is too old.

use std::time::Duration;

use corten_e2e::history::Plan;
use corten_e2e::history::plan::{SERVERS, is_ours};
use corten_e2e::history::record::{Answer, At, Kind, Message, Record, Request, Revision, Told, Version};
use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, WatchEvent, WatchParams};

use super::run::{ASK_WITHIN, Client, version_of};

/// A watch ends so soon, so that there are many.
const WATCH_SECS: u32 = 5;
/// So long without a word means that the server is gone; writers are at work all the time.
const SILENCE: Duration = Duration::from_secs(2);
/// `Expired`, or HTTP's Gone.
const TOO_OLD: u16 = 410;

pub(crate) async fn watch(number: usize, mut client: Client) {
    let (kind, first) = Plan::watcher(number);
    let mut told = None;
    for server in (0..SERVERS).cycle().skip(first) {
        let from = match told {
            Some(revision) => revision,
            None => match client.ask(server, Request::List { kind, at: At::Newest }).await {
                Answer::Listed(list) => list.revision,
                _ => continue,
            },
        };
        told = watch_once(&client, server, kind, from).await;
        if told.is_some_and(|revision| client.run.is_all(kind, revision)) {
            return;
        }
    }
}

/// Up to where it was told, or nothing if the server has forgotten what came after.
async fn watch_once(client: &Client, server: usize, kind: Kind, mut told: Revision) -> Option<Revision> {
    let run = &client.run;
    let via = run.via(server);
    let note =
        |what: Message| run.note(Record::Told(Told { at: run.now(), client: client.name.clone(), via, kind, what }));
    note(Message::Began(told));
    let (api, params) = (client.api(server, kind), WatchParams::default().timeout(WATCH_SECS));
    let mut events = match tokio::time::timeout(ASK_WITHIN, api.watch(&params, &told.to_string())).await {
        Ok(Ok(events)) => events.boxed(),
        Ok(Err(err)) => {
            note(Message::Ended(err.to_string()));
            return Some(told).filter(|_| !matches!(&err, kube::Error::Api(status) if status.code == TOO_OLD));
        }
        Err(_) => {
            note(Message::Ended("it did not begin".to_owned()));
            return Some(told);
        }
    };
    while !run.is_all(kind, told) {
        match tokio::time::timeout(SILENCE, events.try_next()).await {
            Ok(Ok(Some(WatchEvent::Error(status)))) => {
                note(Message::Ended(format!("{} {}", status.code, status.reason)));
                return Some(told).filter(|_| status.code != TOO_OLD);
            }
            Ok(Ok(Some(event))) => {
                let (revision, message) = message(kind, event);
                told = revision;
                note(message);
            }
            Ok(Ok(None)) => {
                note(Message::Ended("its time was over".to_owned()));
                break;
            }
            Ok(Err(err)) => {
                note(Message::Ended(err.to_string()));
                break;
            }
            Err(_) => {
                note(Message::Ended("silence".to_owned()));
                break;
            }
        }
    }
    Some(told)
}

/// An event about an object that is none of ours tells as much as a bookmark does.
fn message(kind: Kind, event: WatchEvent<DynamicObject>) -> (Revision, Message) {
    let (object, as_what): (_, fn(String, Version) -> Message) = match event {
        WatchEvent::Added(object) => (object, Message::Added),
        WatchEvent::Modified(object) => (object, Message::Modified),
        WatchEvent::Deleted(object) => (object, Message::Deleted),
        WatchEvent::Bookmark(mark) => {
            let revision = mark.metadata.resource_version.parse().unwrap();
            return (revision, Message::Bookmark(revision));
        }
        WatchEvent::Error(status) => unreachable!("{status:?} ends a watch"),
    };
    let version = version_of(kind, &object);
    let (revision, name) = (version.revision, object.metadata.name.unwrap_or_default());
    (revision, if is_ours(&name) { as_what(name, version) } else { Message::Bookmark(revision) })
}
