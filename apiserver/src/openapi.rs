//! OpenAPI v2 and v3: what the server serves, described for clients. `kubectl explain`, `apply` and validation read it.
//!
//! Made from the registry, the types' own schemas ([`schemas`]) and the table of list rules, when first asked for; what
//! is kept is the packed text. Shape: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>.

mod facts;
pub mod operations;
pub mod remote;
pub mod schemas;
pub mod upgraded;
mod usage;
pub mod v2;
pub mod v3;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::registry::questions::{QUESTIONS, Question};
use crate::registry::{ApiResource, Registry, Table};

pub use v2::document as v2;
pub use v3::document as v3_document;

/// None as long as there are no CustomResourceDefinitions: kubectl, before it creates what is described and cannot be patched,
/// asks whether it is one of these, and gives up where nobody knows them.
const QUESTIONS_ARE_DESCRIBED: bool = false;

fn described_questions() -> impl Iterator<Item = &'static Question> {
    QUESTIONS.iter().filter(|_| QUESTIONS_ARE_DESCRIBED)
}

/// Every `group/version` of the kinds as its path below the root: `api/v1`, `apis/apps/v1`. Sorted.
pub fn paths(table: &Table) -> Vec<String> {
    let of_questions = described_questions().map(|question| path_of(question.group, "v1"));
    let mut paths: Vec<String> =
        table.announced().map(|e| path_of(e.group(), e.version())).chain(of_questions).collect();
    paths.push(usage::path());
    paths.sort();
    paths.dedup();
    paths
}

/// `api/v1` or `apis/apps/v1`.
pub fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `podStatus` → `PodStatus`.
fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// One document, packed.
#[derive(Clone, Debug)]
pub struct Document {
    /// Of the plain text, in hex: the `hash` of its URL, and its ETag.
    pub hash: String,
    pub gzipped: Bytes,
}

impl Document {
    pub fn pack(plain: &[u8]) -> std::io::Result<Self> {
        let digest = Sha256::digest(plain);
        let hash = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain)?;
        Ok(Self { hash, gzipped: encoder.finish()?.into() })
    }
    pub fn plain(&self) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        GzDecoder::new(&self.gzipped[..]).read_to_end(&mut plain)?;
        Ok(plain)
    }
}

/// The documents of the kinds that are served, each made at most once until kinds come or go.
#[derive(Debug)]
pub struct Documents {
    registry: Registry,
    /// What other servers say of what they answer, by the names of APIServices. Several tasks change it.
    described: ArcSwap<Remotes>,
    made: ArcSwap<Made>,
}

type Remotes = BTreeMap<String, Arc<remote::Described>>;

/// The documents of one table of kinds: one for each group and version, the index, and v2.
#[derive(Debug)]
pub struct Made {
    table: Arc<Table>,
    remotes: Arc<Remotes>,
    /// Those of the table before: what has not changed is not made again.
    before: Vec<Arc<Described>>,
    v3: OnceLock<Vec<Arc<Described>>>,
    v2: OnceLock<Option<Document>>,
    /// In the form that old clients ask for.
    old_v2: OnceLock<Result<Document, String>>,
}

/// One group and version.
#[derive(Debug)]
struct Described {
    path: String,
    of: Vec<Arc<ApiResource>>,
    document: Document,
}

impl Described {
    fn is_of(&self, resources: &[Arc<ApiResource>]) -> bool {
        self.of.len() == resources.len() && self.of.iter().zip(resources).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

impl Documents {
    pub fn new(registry: Registry) -> Self {
        let made = ArcSwap::from_pointee(Made::new(registry.table(), Arc::default(), Vec::new()));
        Self { registry, described: ArcSwap::default(), made }
    }
    /// What another server says of a group version, by the name of its APIService.
    pub fn learn(&self, name: &str, described: Arc<remote::Described>) {
        self.described.rcu(|all| {
            if all.get(name).is_some_and(|known| Arc::ptr_eq(known, &described)) {
                return all.clone();
            }
            let mut all = (**all).clone();
            all.insert(name.to_owned(), described.clone());
            Arc::new(all)
        });
    }
    /// Forgets all that other servers do not answer any more.
    pub fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.described.rcu(|all| {
            if all.keys().all(|name| is_there(name)) {
                return all.clone();
            }
            let kept = all.iter().filter(|(name, _)| is_there(name)).map(|(name, of)| (name.clone(), of.clone()));
            Arc::new(kept.collect())
        });
    }
    /// Of the kinds that are served now.
    pub fn current(&self) -> Arc<Made> {
        let (made, table, remotes) = (self.made.load_full(), self.registry.table(), self.described.load_full());
        if made.table.generation() == table.generation() && Arc::ptr_eq(&made.remotes, &remotes) {
            return made;
        }
        let made = Arc::new(Made::new(table, remotes, made.v3.get().unwrap_or(&made.before).clone()));
        self.made.store(made.clone());
        made
    }
}

impl Made {
    fn new(table: Arc<Table>, remotes: Arc<Remotes>, before: Vec<Arc<Described>>) -> Self {
        Self { table, remotes, before, v3: OnceLock::new(), v2: OnceLock::new(), old_v2: OnceLock::new() }
    }
    /// `/openapi/v2`, as JSON. `None` only if it could not be packed.
    pub fn v2(&self) -> Option<&Document> {
        self.v2.get_or_init(|| Document::pack(&self.merged_v2()).ok()).as_ref()
    }
    fn merged_v2(&self) -> Vec<u8> {
        let own = v2::document(&self.table);
        let mut parts = self.remotes.values().filter_map(|of| Some((&of.path, of.v2.as_ref()?))).peekable();
        if parts.peek().is_none() {
            return own;
        }
        // What we have made ourselves is JSON.
        let Ok(mut document) = serde_json::from_slice(&own) else { return own };
        for (path, part) in parts {
            remote::take_out(&mut document, path);
            part.merge(&mut document);
        }
        document.to_string().into_bytes()
    }
    /// As [`v2`](Self::v2), in another form: made when it is first asked for, by `encode`, which is always the same.
    pub fn old_v2(&self, encode: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>) -> Option<&Result<Document, String>> {
        let v2 = self.v2()?;
        let packed = || {
            let encoded = encode(&v2.plain().map_err(|err| err.to_string())?)?;
            Document::pack(&encoded).map_err(|err| err.to_string())
        };
        Some(self.old_v2.get_or_init(packed))
    }
    /// `/openapi/v3/{path}`; `None` if nothing is served there.
    pub fn v3(&self, path: &str) -> Option<&Document> {
        let remote = self.remotes.values().find(|of| of.path == path).and_then(|of| of.v3.as_ref());
        let own = || self.all_v3().iter().find(|described| described.path == path);
        remote.or_else(|| own().map(|described| &described.document))
    }
    /// `/openapi/v3`: where each group and version is described. The hash lets clients keep what they have read.
    pub fn v3_index(&self) -> Vec<u8> {
        let entry = |path: &str, document: &Document| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.to_owned(), json!({ "serverRelativeURL": url }))
        };
        let own = self.all_v3().iter().map(|of| entry(&of.path, &of.document));
        let remotes = self.remotes.values().filter_map(|of| Some(entry(&of.path, of.v3.as_ref()?)));
        // The later of a path counts.
        let paths: serde_json::Map<_, _> = own.chain(remotes).collect();
        json!({ "paths": paths }).to_string().into_bytes()
    }
    fn all_v3(&self) -> &[Arc<Described>] {
        self.v3.get_or_init(|| {
            let mut resources: HashMap<String, Vec<Arc<ApiResource>>> = HashMap::new();
            for resource in self.table.announced() {
                resources.entry(path_of(resource.group(), resource.version())).or_default().push(resource.clone());
            }
            let before: HashMap<&str, &Arc<Described>> =
                self.before.iter().map(|described| (described.path.as_str(), described)).collect();
            let pack = |path: String| {
                let of = resources.remove(&path).unwrap_or_default();
                if let Some(known) = before.get(path.as_str()).filter(|known| known.is_of(&of)) {
                    return Some((*known).clone());
                }
                let document = Document::pack(&v3::document(&self.table, &path)?).ok()?;
                Some(Arc::new(Described { path, of, document }))
            };
            paths(&self.table).into_iter().filter_map(pack).collect()
        })
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
