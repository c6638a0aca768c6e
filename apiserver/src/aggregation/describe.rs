//! What a server says of the group versions that it answers for: asked beside all requests, and kept where it has not changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::StatusCode;

use crate::connect::aggregated::ask::{Answer, Asker, Asks, Question};
use crate::discovery::remote::{self, Resources};
use crate::openapi::Document;
use crate::openapi::remote::{Described, Part};
use crate::registry::apiregistration::routes::{Remote, Server};
use crate::rest::openapi::protobuf;
use crate::webhook::Resolve;

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const AGGREGATED: &str = "as=APIGroupDiscoveryList";
const JSON: &str = "application/json";
const DISCOVERY_BYTES_MAX: usize = 2 << 20;
const DISCOVERY_WITHIN: Duration = Duration::from_secs(5);

/// Group versions that are asked for at once.
const LEGACY: usize = 4;

/// Of a hash, which is a digest in hex mostly.
const HASH_CHARS_MAX: usize = 256;
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
const DOCUMENT_WITHIN: Duration = Duration::from_secs(15);

/// By which a server tells one state of a description from another. It is all that is taken of where it says that this stands:
/// the address is always made here, so that it leads nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hash(String);

impl Hash {
    /// `url`: `/openapi/v3/apis/group/version?hash=…`.
    fn of(url: &str) -> Self {
        let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let query = query.split('#').next().unwrap_or_default();
        let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "hash");
        Self(found.map(|(_, hash)| hash.chars().take(HASH_CHARS_MAX).collect()).unwrap_or_default())
    }
    /// Nothing tells whether it has changed.
    fn is_none(&self) -> bool {
        self.0.is_empty()
    }
    /// Of the description of a group version.
    fn path(&self, remote: &Remote) -> String {
        let hash: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("/openapi/v3{}?hash={hash}", remote.path())
    }
}

/// What a server has said so far.
#[derive(Debug, Default)]
pub struct Known {
    etag: Option<String>,
    by_version: HashMap<(String, String), Resources>,
    /// Of the document of version 2, as it was when it last changed.
    v2_etag: Option<String>,
    /// By path, with the hash that version 3 was read by.
    documents: HashMap<String, (Option<Hash>, Arc<Described>)>,
}

impl Known {
    /// How the group versions of one look are described. What cannot be had stays as it was.
    pub async fn read(
        &mut self,
        asker: Asker<'_>,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        remotes: &[Arc<Remote>],
    ) -> Vec<Arc<Described>> {
        let index = index(asker, resolve, server).await.unwrap_or_else(|why| {
            tracing::debug!("no description: {why}");
            HashMap::new()
        });
        let old = self.old(asker, resolve, server, remotes).await;
        let mut all = Vec::with_capacity(remotes.len());
        for remote in remotes {
            let path = remote.path().trim_start_matches('/').to_owned();
            let (hash, known) = self.documents.get(&path).cloned().unwrap_or_default();
            let mut new = Described { path: path.clone(), ..(*known).clone() };
            let mut read_by = hash.clone();
            if let Some(wanted) = index.get(&path).filter(|wanted| wanted.is_none() || Some(*wanted) != hash.as_ref()) {
                match document(asker, resolve, remote, wanted).await {
                    Ok(document) => (new.v3, read_by) = (Some(document), Some(wanted.clone())),
                    Err(why) => tracing::debug!("no description: {why}"),
                }
            }
            if let Some(part) = old.get(&path) {
                new.v2 = Some(part.clone());
            }
            let is_same = read_by == hash && !old.contains_key(&path) && known.path == path;
            let now = if is_same { known } else { Arc::new(new) };
            self.documents.insert(path, (read_by, now.clone()));
            all.push(now);
        }
        self.documents.retain(|path, _| all.iter().any(|of| of.path == *path));
        all
    }

    /// Of version 2, by path; empty: nothing is new.
    async fn old(
        &mut self,
        asker: Asker<'_>,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        remotes: &[Arc<Remote>],
    ) -> HashMap<String, Part> {
        // One that is new here was not looked for when the document came.
        let paths: Vec<String> = remotes.iter().map(|of| of.path().trim_start_matches('/').to_owned()).collect();
        let are_known = paths.iter().all(|path| self.documents.contains_key(path));
        let question = Question {
            path: "/openapi/v2",
            asks: Asks::OpenApi,
            accept: JSON,
            etag: self.v2_etag.as_deref().filter(|_| are_known),
            max_bytes: DOCUMENT_BYTES_MAX,
            within: DOCUMENT_WITHIN,
        };
        let answer = match asker.get(resolve, server, question).await {
            Ok(answer) if answer.code == StatusCode::OK => answer,
            Ok(_) => return HashMap::new(),
            Err(why) => {
                tracing::debug!("no description: {why}");
                return HashMap::new();
            }
        };
        // Large ones take a while.
        let body = answer.body.clone();
        let read = tokio::task::spawn_blocking(move || parts(&body, &paths)).await;
        match read {
            Ok(Ok(parts)) => {
                self.v2_etag = answer.etag;
                parts
            }
            Ok(Err(why)) => {
                tracing::debug!("{}: {why}", answer.url);
                HashMap::new()
            }
            Err(err) => {
                tracing::error!(%err, "a description was not read");
                HashMap::new()
            }
        }
    }

    /// Of the group versions of one look; the error says why there is nothing new of one.
    pub async fn learn(
        &mut self,
        asker: Asker<'_>,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        remotes: &[Arc<Remote>],
    ) -> Vec<Result<Resources, String>> {
        let question = Question {
            path: "/apis",
            asks: Asks::Discovery,
            accept: DISCOVERY,
            etag: self.etag.as_deref(),
            max_bytes: DISCOVERY_BYTES_MAX,
            within: DISCOVERY_WITHIN,
        };
        let is_whole = match asker.get(resolve, server, question).await {
            Ok(answer) => self.take(&answer),
            Err(why) => Err(why),
        };
        match is_whole {
            Err(why) => remotes.iter().map(|_| Err(why.clone())).collect(),
            Ok(true) => {
                // One that it does not name has nothing.
                remotes
                    .iter()
                    .map(|remote| Ok(self.by_version.get(&key(remote)).cloned().unwrap_or_default()))
                    .collect()
            }
            Ok(false) => {
                let asked: Vec<_> = remotes.iter().map(|remote| legacy(asker, resolve, remote).boxed()).collect();
                futures::stream::iter(asked).buffered(LEGACY).collect().await
            }
        }
    }

    /// Whether the answer is of the aggregated form, or says that nothing has changed.
    fn take(&mut self, answer: &Answer) -> Result<bool, String> {
        match answer.code {
            StatusCode::NOT_MODIFIED => Ok(true),
            StatusCode::OK if answer.media.contains(AGGREGATED) => {
                self.by_version = remote::aggregated(&answer.body).map_err(|err| format!("{}: {err}", answer.url))?;
                self.etag.clone_from(&answer.etag);
                Ok(true)
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(format!("{}: {}", answer.url, answer.code)),
            _ => {
                self.etag = None;
                Ok(false)
            }
        }
    }
}

fn key(remote: &Remote) -> (String, String) {
    (remote.group.clone(), remote.version.clone())
}

async fn legacy(asker: Asker<'_>, resolve: &dyn Resolve, remote: &Remote) -> Result<Resources, String> {
    let path = remote.path();
    let question = Question {
        path: &path,
        asks: Asks::Discovery,
        accept: JSON,
        etag: None,
        max_bytes: DISCOVERY_BYTES_MAX,
        within: DISCOVERY_WITHIN,
    };
    let answer = asker.get(resolve, &remote.server, question).await?;
    if answer.code != StatusCode::OK {
        return Err(format!("bad status from {}: {}", answer.url, answer.code.as_u16()));
    }
    let read = remote::legacy(&answer.body, &remote.group, &remote.version);
    read.map_err(|err| format!("{}: {err}", answer.url))
}

/// Those that can be shown in every form.
fn parts(json: &[u8], paths: &[String]) -> Result<HashMap<String, Part>, String> {
    let document = serde_json::from_slice(json).map_err(|err| err.to_string())?;
    let mut parts = HashMap::new();
    for path in paths {
        let part = Part::of(&document, path);
        // Otherwise clients of the old form would be told of nothing at all.
        protobuf::encode(part.document().to_string().as_bytes()).map_err(|err| err.to_string())?;
        parts.insert(path.clone(), part);
    }
    Ok(parts)
}

#[derive(serde::Deserialize)]
struct Index {
    paths: HashMap<String, Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    #[serde(rename = "serverRelativeURL")]
    url: String,
}

/// By which hashes group versions are described now, by path.
async fn index(asker: Asker<'_>, resolve: &dyn Resolve, server: &Arc<Server>) -> Result<HashMap<String, Hash>, String> {
    let question = Question {
        path: "/openapi/v3",
        asks: Asks::OpenApi,
        accept: JSON,
        etag: None,
        max_bytes: DISCOVERY_BYTES_MAX,
        within: DISCOVERY_WITHIN,
    };
    let answer = asker.get(resolve, server, question).await?;
    if answer.code != StatusCode::OK {
        return Err(format!("bad status from {}: {}", answer.url, answer.code.as_u16()));
    }
    let index: Index = serde_json::from_slice(&answer.body).map_err(|err| format!("{}: {err}", answer.url))?;
    Ok(index.paths.into_iter().map(|(path, entry)| (path, Hash::of(&entry.url))).collect())
}

async fn document(asker: Asker<'_>, resolve: &dyn Resolve, remote: &Remote, hash: &Hash) -> Result<Document, String> {
    let question = Question {
        path: &hash.path(remote),
        asks: Asks::OpenApi,
        accept: JSON,
        etag: None,
        max_bytes: DOCUMENT_BYTES_MAX,
        within: DOCUMENT_WITHIN,
    };
    let answer = asker.get(resolve, &remote.server, question).await?;
    if answer.code != StatusCode::OK {
        return Err(format!("bad status from {}: {}", answer.url, answer.code.as_u16()));
    }
    let packed = tokio::task::spawn_blocking(move || {
        // Who reads it is not to find what is none.
        serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body)
            .map_err(|err| format!("{}: {err}", answer.url))?;
        Document::pack(&answer.body).map_err(|err| err.to_string())
    });
    packed.await.map_err(|err| err.to_string())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::apiregistration::routes::Routes;

    #[test]
    fn a_server_says_which_state_its_description_has_and_not_where_it_stands() {
        let service = serde_json::from_value(json!({"metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b",
            "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "service": {"name": "s", "namespace": "n"}}}));
        let routes = Routes::new([service.unwrap()].iter(), &Routes::default());
        let remote = routes.find("a.b", "v1").unwrap();
        for (url, asked) in [
            ("/openapi/v3/apis/a.b/v1?hash=0AF", "?hash=0AF"),
            ("/api/v1/secrets?hash=0AF", "?hash=0AF"),
            ("https://elsewhere/openapi/v3?x=y&hash=1", "?hash=1"),
            ("/api/v1/secrets", "?hash="),
            ("?hash=a%2F..%2F..%2Fapi%26watch%3D1 HTTP", "?hash=a%2F..%2F..%2Fapi%26watch%3D1+HTTP"),
            ("/x?hash=1#/api", "?hash=1"),
        ] {
            assert_eq!(Hash::of(url).path(remote), format!("/openapi/v3/apis/a.b/v1{asked}"), "{url}");
        }
        assert_eq!(Hash::of(&format!("?hash={}", "a".repeat(9999))).0.len(), HASH_CHARS_MAX);
    }
}
