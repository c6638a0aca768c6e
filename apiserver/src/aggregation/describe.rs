//! What a server says of the group versions that it answers for: asked beside all requests, and kept where it has not changed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::StatusCode;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::connect::aggregated::ask::{Answer, Asker, Asks, Question};
use crate::discovery::remote::{self, Resources};
use crate::openapi::Document;
use crate::openapi::remote::{Described, Part, Source};
use crate::openapi::upgraded::upgraded;
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
/// A document takes ten times as much while it is read.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
const DOCUMENT_WITHIN: Duration = Duration::from_secs(15);

/// Documents of version 2 that are read at once.
static READING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));

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
    /// The document of version 2, as it was when it last changed.
    v2: Option<Version2>,
    /// By path.
    documents: HashMap<String, Read>,
}

/// What is known of a group version.
#[derive(Debug)]
struct Read {
    /// That version 3 was read by.
    hash: Option<Hash>,
    /// That it was made of, where the server has none.
    made_of: Option<Arc<Part>>,
    described: Arc<Described>,
}

/// By what a document is known again.
#[derive(Debug)]
struct Version2 {
    etag: Option<String>,
    digest: Digest256,
    /// Which were looked for when it was read.
    paths: Vec<String>,
}

type Digest256 = [u8; 32];
type Parts = HashMap<String, Arc<Part>>;

impl Known {
    /// How the group versions of one look are described. What cannot be had stays as it was; what is had is kept at once, as who asks
    /// may give up.
    pub async fn read(
        &mut self,
        asker: Asker<'_>,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        remotes: &[Arc<Remote>],
    ) -> Vec<Arc<Described>> {
        let paths: Vec<String> =
            remotes.iter().map(|remote| remote.path().trim_start_matches('/').to_owned()).collect();
        self.documents.retain(|path, _| paths.contains(path));
        if let Some(v2) = &mut self.v2 {
            v2.paths.retain(|path| paths.contains(path));
        }
        for path in &paths {
            let new = || Arc::new(Described { path: path.clone(), ..Described::default() });
            self.documents.entry(path.clone()).or_insert_with(|| Read { hash: None, made_of: None, described: new() });
        }
        if let Err(why) = self.read_v2(asker, resolve, server, &paths).await {
            tracing::debug!("no description: {why}");
        }
        let index = match index(asker, resolve, server).await {
            Ok(Some(index)) => index,
            Ok(None) => {
                self.make_v3().await;
                HashMap::new()
            }
            Err(why) => {
                tracing::debug!("no description: {why}");
                HashMap::new()
            }
        };
        for (remote, path) in remotes.iter().zip(&paths) {
            let Some(read) = self.documents.get_mut(path) else { continue };
            let wanted = index.get(path).filter(|hash| hash.is_none() || Some(*hash) != read.hash.as_ref());
            let Some(wanted) = wanted else { continue };
            match document(asker, resolve, remote, wanted).await {
                Ok(document) => {
                    if read.described.v3.as_ref().is_none_or(|known| known.hash != document.hash) {
                        read.described = Arc::new(Described { v3: Some(document), ..(*read.described).clone() });
                    }
                    read.hash = Some(wanted.clone());
                }
                Err(why) => tracing::debug!("no description: {why}"),
            }
        }
        paths.iter().filter_map(|path| self.documents.get(path)).map(|read| read.described.clone()).collect()
    }

    /// Of a server that has version 2 alone.
    async fn make_v3(&mut self) {
        for read in self.documents.values_mut() {
            let Some(part) = read.described.v2.clone() else { continue };
            if read.made_of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &part)) {
                continue;
            }
            let Ok(place) = READING.clone().acquire_owned().await else { return };
            let of = part.clone();
            let made = tokio::task::spawn_blocking(move || {
                let v3 = upgraded(&of.document()).to_string();
                drop(place);
                Document::pack(v3.as_bytes())
            });
            match made.await.map_err(std::io::Error::other).flatten() {
                Ok(document) => {
                    read.described = Arc::new(Described { v3: Some(document), ..(*read.described).clone() });
                    (read.hash, read.made_of) = (None, Some(part));
                }
                Err(err) => tracing::warn!(%err, path = read.described.path, "version 3 was not made of version 2"),
            }
        }
    }

    async fn read_v2(
        &mut self,
        asker: Asker<'_>,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        paths: &[String],
    ) -> Result<(), String> {
        // One that is new here was not looked for when the document came.
        let known = self.v2.as_ref().filter(|v2| paths.iter().all(|path| v2.paths.contains(path)));
        let question = Question {
            path: "/openapi/v2",
            asks: Asks::OpenApi,
            accept: JSON,
            etag: known.and_then(|v2| v2.etag.as_deref()),
            max_bytes: DOCUMENT_BYTES_MAX,
            within: DOCUMENT_WITHIN,
        };
        let answer = asker.get(resolve, server, question).await?;
        if answer.code != StatusCode::OK {
            return Ok(());
        }
        let Answer { body, etag, url, .. } = answer;
        let (known, wanted) = (known.map(|v2| v2.digest), paths.to_vec());
        let place = READING.clone().acquire_owned().await.map_err(|err| err.to_string())?;
        // Large ones take a while, and room: whoever gives up waiting does not make room for another.
        let read = tokio::task::spawn_blocking(move || {
            let read = parts(&body, known, &wanted);
            drop(place);
            read
        });
        let (digest, parts) = read.await.map_err(|err| err.to_string())?.map_err(|why| format!("{url}: {why}"))?;
        for (path, part) in parts {
            if let Some(read) = self.documents.get_mut(&path) {
                read.described = Arc::new(Described { v2: Some(part), ..(*read.described).clone() });
            }
        }
        self.v2 = Some(Version2 { etag, digest, paths: paths.to_vec() });
        Ok(())
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

/// Those that can be shown in every form, and by what the document is known again. None of one that is known.
fn parts(json: &[u8], known: Option<Digest256>, paths: &[String]) -> Result<(Digest256, Parts), String> {
    let digest: Digest256 = Sha256::digest(json).into();
    let mut parts = HashMap::new();
    if known == Some(digest) {
        return Ok((digest, parts));
    }
    let source = Source::read(json).map_err(|err| err.to_string())?;
    for path in paths {
        let part = source.part(path).map_err(|err| err.to_string())?;
        // Otherwise clients of the old form would be told of nothing at all.
        protobuf::encode(part.document().to_string().as_bytes()).map_err(|err| err.to_string())?;
        parts.insert(path.clone(), Arc::new(part));
    }
    Ok((digest, parts))
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

/// By which hashes group versions are described now, by path. `None`: the server has version 2 alone.
async fn index(
    asker: Asker<'_>,
    resolve: &dyn Resolve,
    server: &Arc<Server>,
) -> Result<Option<HashMap<String, Hash>>, String> {
    let question = Question {
        path: "/openapi/v3",
        asks: Asks::OpenApi,
        accept: JSON,
        etag: None,
        max_bytes: DISCOVERY_BYTES_MAX,
        within: DISCOVERY_WITHIN,
    };
    let answer = asker.get(resolve, server, question).await?;
    if answer.code == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if answer.code != StatusCode::OK {
        return Err(format!("bad status from {}: {}", answer.url, answer.code.as_u16()));
    }
    let index: Index = serde_json::from_slice(&answer.body).map_err(|err| format!("{}: {err}", answer.url))?;
    Ok(Some(index.paths.into_iter().map(|(path, entry)| (path, Hash::of(&entry.url))).collect()))
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
    fn a_document_that_says_the_same_is_not_read_again() {
        let json = json!({"paths": {"/apis/a/v1": {}}}).to_string();
        let paths = ["apis/a/v1".to_owned()];
        let (digest, read) = parts(json.as_bytes(), None, &paths).unwrap();
        assert_eq!(read.len(), 1);
        assert!(parts(json.as_bytes(), Some(digest), &paths).unwrap().1.is_empty());
        let (other, read) = parts(format!("{json} ").as_bytes(), Some(digest), &paths).unwrap();
        assert!(other != digest && read.len() == 1);
    }

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
