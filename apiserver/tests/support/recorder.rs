//! Keeps what audit is told, for a test to wait for.

use std::sync::Arc;
use std::time::Duration;

use corten_apiserver::authz::Attributes;
use corten_apiserver::pipeline::{Audit, Event};
use tokio::sync::watch;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// One event, in words: "jane get configmaps/a 403". A sender stands before the user that his request counts as.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: watch::Sender<Vec<String>>,
}

impl Audit for Recorder {
    fn is_on(&self) -> bool {
        true
    }
    fn tell(&self, Event { request, code }: Event<'_>) {
        let name = |user: &Arc<corten_apiserver::request::User>| user.name.clone();
        let who = match (request.sender().map(name), request.counts_as().map(name)) {
            (Some(sender), Some(user)) if sender != user => format!("{sender} as {user}"),
            (Some(sender), _) => sender,
            (None, _) => "?".into(),
        };
        let what = match request.asked().and_then(|asked| asked.attributes()) {
            Some(Attributes::Resource { verb, target: t }) => {
                let sub = if t.subresource.is_empty() { String::new() } else { format!("/{}", t.subresource) };
                format!("{verb} {}{sub} {}/{}", t.resource, t.namespace, t.name)
            }
            Some(Attributes::Path { verb, path }) => format!("{verb} {path}"),
            None => request.verb.to_owned(),
        };
        let code = code.map_or_else(|| "gone".to_owned(), |code| code.to_string());
        self.events.send_modify(|events| events.push(format!("{who}: {what}: {code}")));
    }
}

impl Recorder {
    /// The first event that `wanted` holds for; those before it are forgotten with it.
    pub(crate) async fn next(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut events = self.events.subscribe();
        let found = async {
            loop {
                let at = events.borrow_and_update().iter().position(|event| wanted(event));
                if let Some(at) = at {
                    let mut found = String::new();
                    self.events.send_modify(|events| found = events.drain(..=at).next_back().unwrap_or_default());
                    return found;
                }
                events.changed().await.unwrap();
            }
        };
        match timeout(DEADLINE, found).await {
            Ok(found) => found,
            Err(_) => panic!("no such event: {:#?}", *self.events.borrow()),
        }
    }
}
