//! Typed calls to the apiserver: get, list, create, update, patch, delete.
//!
//! Reads are tried again on another apiserver when a connection breaks or a server has no store. Writes are not: whether
//! one that broke was done is unknown, so the caller sees `ServiceUnavailable`, looks, and decides. Both are tried again
//! when the server is too busy (429) and says after which time to ask: such a request was never executed.
//!
//! Leases and node status go over a connection of their own: no large list delays the signs of life.

mod call;

use std::sync::Arc;

use corten_api::{ApiError, Key, Object};
use corten_proto::api::{self, resources_client::ResourcesClient};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::metadata::{Binary, MetadataValue};
use tonic::transport::Channel;

use crate::bind::Binder;
use crate::endpoints::{Connection, Endpoints};
use crate::writes::Writes;

use call::{Failure, SILENCE_MAX, stub_on, timed, whole};
pub(crate) use call::{retry_after, within};

/// How often a read is tried, each time on a new connection.
const READ_TRIES: usize = 3;
/// How often a request is tried again that was refused with 429.
const BUSY_TRIES: usize = 8;
/// A connection to the cluster. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Arc<Endpoints>,
    /// For signs of life alone. Connects when the first is sent.
    vital: Arc<Endpoints>,
    /// How often a request is sent again that was refused with 429.
    busy_tries: usize,
    /// Writes are part of this leadership.
    term: Option<Arc<Term>>,
}

/// One leadership: see `corten_proto::api::Fence`.
#[derive(Debug)]
struct Term {
    fence: MetadataValue<Binary>,
    /// Cancelled when the apiserver says that it is over.
    lost: CancellationToken,
    writes: Writes,
}

/// The patch types that our own programs use.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
#[derive(Clone, Debug)]
pub enum Patch {
    Merge(Value),
    Strategic(Value),
    Json(Value),
    /// Server-side apply: of the fields in `body`, whoever had them, `manager` becomes the owner.
    Apply {
        manager: &'static str,
        body: Value,
    },
}

/// Objects of one kind, all read at one revision.
#[derive(Clone, Debug)]
pub struct Listed<K> {
    pub items: Vec<K>,
    pub revision: i64,
}

pub(crate) type Stub = ResourcesClient<Channel>;

impl Client {
    pub fn new(endpoints: Endpoints) -> Self {
        let vital = Arc::new(endpoints.separate());
        Self { endpoints: Arc::new(endpoints), vital, busy_tries: BUSY_TRIES, term: None }
    }

    /// A client of whatever is at the other end of `channel`: a test's own apiserver.
    #[cfg(feature = "test-support")]
    pub fn over(channel: Channel) -> Self {
        Self::new(Endpoints::over(channel))
    }

    /// A client whose writes are among `writes`, and are refused once `fence` is over; `lost` is cancelled by the first
    /// refusal.
    pub fn fenced(&self, fence: &api::Fence, lost: CancellationToken, writes: Writes) -> Self {
        let fence = corten_proto::fence::encoded(fence);
        Self { term: Some(Arc::new(Term { fence, lost, writes })), ..self.clone() }
    }

    /// The same client without a fence.
    pub fn unfenced(&self) -> Self {
        Self { term: None, ..self.clone() }
    }

    /// The same client, which does not send again what is refused with 429: for who sends fewer at once then, and
    /// tries again by itself.
    #[must_use]
    pub fn without_busy_retries(&self) -> Self {
        Self { busy_tries: 0, ..self.clone() }
    }

    /// How often a request is sent again that was refused with 429.
    pub(crate) fn busy_tries(&self) -> usize {
        self.busy_tries
    }

    /// As [`timed`], for a write.
    fn written<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = timed(message);
        self.mark(&mut request);
        request
    }

    /// Says which leadership the request is part of.
    pub(crate) fn mark<T>(&self, request: &mut tonic::Request<T>) {
        if let Some(term) = &self.term {
            corten_proto::fence::add(&term.fence, request.metadata_mut());
        }
    }

    /// A write is under way until what this returns is dropped. Does not return once the term has ended.
    pub(crate) async fn begin_write(&self) -> Option<TaskTrackerToken> {
        match &self.term {
            Some(term) => Some(term.writes.begin().await),
            None => None,
        }
    }

    /// Ends the term when an answer says that it is over.
    pub(crate) fn heed(&self, refusal: &ApiError) {
        if let Some(term) = self.term.as_ref().filter(|_| refusal.is_lease_lost()) {
            term.lost.cancel();
        }
    }

    /// How many apiservers there are, dead ones among them.
    pub fn apiservers(&self) -> usize {
        self.endpoints.count()
    }

    /// A client for each of the apiservers alone.
    pub(crate) fn each(&self) -> Vec<Self> {
        self.endpoints.each().into_iter().map(Self::new).collect()
    }

    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, ApiError> {
        self.endpoints.connection().await
    }

    /// The same cluster over a connection of its own, which nothing else delays.
    #[must_use]
    pub fn separate(&self) -> Self {
        let endpoints = Arc::new(self.endpoints.separate());
        Self { endpoints: endpoints.clone(), vital: endpoints, ..self.clone() }
    }

    pub async fn get<K: Object>(&self, key: &Key) -> Result<K, ApiError> {
        self.get_at(named::<K>(key, ""), false).await
    }

    pub(crate) async fn get_at<K: Object>(&self, resource: api::Resource, metadata_only: bool) -> Result<K, ApiError> {
        let endpoints = self.endpoints_for(&resource);
        let request = api::GetRequest { resource: Some(resource), metadata_only };
        let get = |mut stub: Stub| {
            let request = timed(request.clone());
            async move { Ok(whole(stub.get(request)).await?.into_inner()) }
        };
        let object = self.call(endpoints, READ_TRIES, get).await?;
        decode(&object)
    }

    /// All of a namespace, or of the cluster.
    pub async fn list<K: Object>(&self, namespace: Option<&str>) -> Result<Listed<K>, ApiError> {
        self.list_selected(namespace, "", "").await
    }

    /// As `list`, with selectors in their query form.
    pub async fn list_selected<K: Object>(
        &self,
        namespace: Option<&str>,
        label_selector: &str,
        field_selector: &str,
    ) -> Result<Listed<K>, ApiError> {
        let request = api::ListRequest {
            resource: Some(resource::<K>(namespace.unwrap_or_default(), "", "")),
            label_selector: label_selector.into(),
            field_selector: field_selector.into(),
            metadata_only: false,
        };
        self.list_at(request, &|object: K| object).await
    }

    /// A revision that is as new as all that was written before this was asked.
    pub async fn newest_revision(&self) -> Result<i64, ApiError> {
        // Of one small object, at most: what it is does not matter.
        Ok(self.list_selected::<Namespace>(None, "", "metadata.name=kube-system").await?.revision)
    }

    /// What `keep` makes of each object that a label selector names: no more whole ones are in memory than come in one message.
    pub async fn list_reduced<K: Object, T: Send>(
        &self,
        namespace: Option<&str>,
        label_selector: &str,
        keep: impl Fn(K) -> T + Send + Sync,
    ) -> Result<Listed<T>, ApiError> {
        let request = api::ListRequest {
            resource: Some(resource::<K>(namespace.unwrap_or_default(), "", "")),
            label_selector: label_selector.into(),
            ..api::ListRequest::default()
        };
        self.list_at(request, &keep).await
    }

    pub(crate) async fn list_at<K: Object, T: Send>(
        &self,
        request: api::ListRequest,
        keep: &(impl Fn(K) -> T + Sync),
    ) -> Result<Listed<T>, ApiError> {
        let list = |mut stub: Stub| {
            let request = timed(request.clone());
            async move {
                let mut chunks = stub.list(request).await?.into_inner();
                let mut listed = Listed { items: Vec::new(), revision: 0 };
                while let Some(chunk) = within(SILENCE_MAX, chunks.message()).await? {
                    listed.revision = chunk.revision;
                    for item in &chunk.items {
                        listed.items.push(keep(decode(item).map_err(Failure::Told)?));
                    }
                }
                Ok(listed)
            }
        };
        self.call(&self.endpoints, READ_TRIES, list).await
    }

    pub async fn create<K: Object>(&self, object: &K) -> Result<K, ApiError> {
        self.post(object, named::<K>(&Key::new(object.namespace(), ""), "")).await
    }

    /// Posts `body` to a subresource of a `K`, such as a TokenRequest to a ServiceAccount's `token`.
    pub async fn create_subresource<K: Object, B: Object>(
        &self,
        of: &Key,
        subresource: &str,
        body: &B,
    ) -> Result<B, ApiError> {
        self.post(body, named::<K>(of, subresource)).await
    }

    async fn post<B: Object>(&self, body: &B, resource: api::Resource) -> Result<B, ApiError> {
        let endpoints = self.endpoints_for(&resource);
        let request = api::WriteRequest { resource: Some(resource), json: encode_object(body)?, options: None };
        let create = |mut stub: Stub| {
            let request = self.written(request.clone());
            async move { Ok(whole(stub.create(request)).await?.into_inner()) }
        };
        let object = self.write(endpoints, create).await?;
        decode(&object)
    }

    /// Replaces the object if it is still at `object`'s resourceVersion, else fails with Conflict.
    pub async fn update<K: Object>(&self, object: &K) -> Result<K, ApiError> {
        self.update_subresource(object, "").await
    }

    /// As `update`, for the status alone.
    pub async fn update_status<K: Object>(&self, object: &K) -> Result<K, ApiError> {
        self.update_subresource(object, "status").await
    }

    pub async fn update_subresource<K: Object>(&self, object: &K, subresource: &str) -> Result<K, ApiError> {
        self.update_at(named::<K>(&object.key(), subresource), object).await
    }

    pub(crate) async fn update_at<K: Object>(&self, resource: api::Resource, object: &K) -> Result<K, ApiError> {
        let endpoints = self.endpoints_for(&resource);
        let request = api::WriteRequest { resource: Some(resource), json: encode_object(object)?, options: None };
        let update = |mut stub: Stub| {
            let request = self.written(request.clone());
            async move { Ok(whole(stub.update(request)).await?.into_inner()) }
        };
        let object = self.write(endpoints, update).await?;
        decode(&object)
    }

    /// `subresource` is "" or such as `status`.
    pub async fn patch<K: Object>(&self, key: &Key, subresource: &str, patch: Patch) -> Result<K, ApiError> {
        self.patch_at(named::<K>(key, subresource), patch).await
    }

    pub(crate) async fn patch_at<K: Object>(&self, resource: api::Resource, patch: Patch) -> Result<K, ApiError> {
        let (kind, body, options) = match patch {
            Patch::Merge(body) => (api::patch_request::Kind::Merge, body, None),
            Patch::Strategic(body) => (api::patch_request::Kind::Strategic, body, None),
            Patch::Json(body) => (api::patch_request::Kind::Json, body, None),
            Patch::Apply { manager, body } => {
                let options = api::WriteOptions { field_manager: manager.into(), force: true, dry_run: false };
                (api::patch_request::Kind::Apply, body, Some(options))
            }
        };
        let endpoints = self.endpoints_for(&resource);
        let request = api::PatchRequest { resource: Some(resource), kind: kind.into(), json: encode(&body)?, options };
        let patch = |mut stub: Stub| {
            let request = self.written(request.clone());
            async move { Ok(whole(stub.patch(request)).await?.into_inner()) }
        };
        let object = self.write(endpoints, patch).await?;
        decode(&object)
    }

    /// Deletes, or begins to: an object with finalizers or a grace period stays for a while. Returns the revision of the
    /// deletion, or of its beginning.
    pub async fn delete<K: Object>(&self, key: &Key, options: &DeleteOptions) -> Result<i64, ApiError> {
        self.delete_at(named::<K>(key, ""), options).await
    }

    pub(crate) async fn delete_at(&self, resource: api::Resource, options: &DeleteOptions) -> Result<i64, ApiError> {
        let endpoints = self.endpoints_for(&resource);
        let request = api::DeleteRequest { resource: Some(resource), options_json: encode(options)? };
        let delete = |mut stub: Stub| {
            let request = self.written(request.clone());
            async move { Ok(whole(stub.delete(request)).await?.into_inner()) }
        };
        Ok(self.write(endpoints, delete).await?.revision)
    }

    /// Opens the scheduler's stream of placements.
    pub fn binder(&self) -> Binder {
        Binder::start(self.clone())
    }

    /// A stub on the connection in use, for streams that their owner restarts by itself.
    pub(crate) async fn stub(&self) -> Result<(Stub, Arc<Connection>), ApiError> {
        let connection = self.endpoints.connection().await?;
        Ok((stub_on(&connection), connection))
    }

    /// What a failed stream or call means; a connection that is broken or of no use is left on the way.
    pub(crate) fn explain(&self, connection: &Arc<Connection>, status: tonic::Status) -> ApiError {
        match Failure::from(status) {
            Failure::Told(err) => {
                self.endpoints.note(connection, &err);
                err
            }
            Failure::Broken(err) => {
                self.endpoints.drop_connection(connection);
                err
            }
        }
    }

    /// Leaves a connection whose server has said within a stream that it cannot serve.
    pub(crate) fn note(&self, connection: &Arc<Connection>, answer: &ApiError) {
        self.endpoints.note(connection, answer);
    }

    fn endpoints_for(&self, resource: &api::Resource) -> &Arc<Endpoints> {
        if is_vital(resource) { &self.vital } else { &self.endpoints }
    }
}

/// What tells others that somebody lives.
fn is_vital(resource: &api::Resource) -> bool {
    let is_lease = resource.group == "coordination.k8s.io" && resource.plural == "leases";
    let is_node_status = resource.group.is_empty() && resource.plural == "nodes" && resource.subresource == "status";
    is_lease || is_node_status
}

pub(crate) fn resource<K: Object>(namespace: &str, name: &str, subresource: &str) -> api::Resource {
    api::Resource {
        group: K::GROUP.into(),
        version: K::VERSION.into(),
        plural: K::URL_PATH_SEGMENT.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn named<K: Object>(key: &Key, subresource: &str) -> api::Resource {
    resource::<K>(&key.namespace, &key.name, subresource)
}

fn encode_object<K: Object>(object: &K) -> Result<prost::bytes::Bytes, ApiError> {
    encoded(object.to_json())
}

fn encode(value: &impl serde::Serialize) -> Result<prost::bytes::Bytes, ApiError> {
    encoded(serde_json::to_vec(value))
}

fn encoded(json: Result<Vec<u8>, serde_json::Error>) -> Result<prost::bytes::Bytes, ApiError> {
    json.map(Into::into).map_err(|err| ApiError::internal(format!("cannot encode the request: {err}")))
}

pub(crate) fn decode<K: Object>(object: &api::Object) -> Result<K, ApiError> {
    K::from_json(&object.json).map_err(|err| {
        let key = Key::new(object.namespace.as_str(), object.name.as_str());
        ApiError::internal(format!("cannot decode {} {key}: {err}", K::KIND))
    })
}
