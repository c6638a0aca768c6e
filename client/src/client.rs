//! Typed calls to the apiserver: get, list, create, update, patch, delete.
//!
//! Reads are tried again on another apiserver when a connection breaks. Writes are not: whether one that broke was
//! done is unknown, so the caller sees `ServiceUnavailable`, looks, and decides.

use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Key, Object};
use corten_proto::api::{self, resources_client::ResourcesClient};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Status};
use serde_json::Value;
use tonic::transport::Channel;

use crate::bind::Binder;
use crate::endpoints::{Connection, Endpoints};

/// A reply with many objects may be large; one above this is refused rather than held in memory.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// A call that has not ended by then never will.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a read is tried, each time on a new connection.
const READ_TRIES: usize = 3;

/// A connection to the cluster. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Arc<Endpoints>,
}

/// The three patch types our own programs use.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
#[derive(Clone, Debug)]
pub enum Patch {
    Merge(Value),
    Strategic(Value),
    Json(Value),
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
        Self { endpoints: Arc::new(endpoints) }
    }

    /// The same cluster over a connection of its own, which nothing else delays.
    #[must_use]
    pub fn separate(&self) -> Self {
        Self::new(self.endpoints.separate())
    }

    pub async fn get<K: Object>(&self, key: &Key) -> Result<K, ApiError> {
        let request = api::GetRequest { resource: Some(named::<K>(key, "")) };
        let object = self
            .read(|mut stub: Stub| {
                let request = timed(request.clone());
                async move { Ok(stub.get(request).await?.into_inner()) }
            })
            .await?;
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
        };
        self.read(|mut stub: Stub| {
            let request = timed(request.clone());
            async move {
                let mut chunks = stub.list(request).await?.into_inner();
                let mut listed = Listed { items: Vec::new(), revision: 0 };
                while let Some(chunk) = chunks.message().await? {
                    listed.revision = chunk.revision;
                    for item in &chunk.items {
                        listed.items.push(decode(item).map_err(Failure::Told)?);
                    }
                }
                Ok(listed)
            }
        })
        .await
    }

    pub async fn create<K: Object>(&self, object: &K) -> Result<K, ApiError> {
        self.create_subresource(object, &Key::new(object.namespace(), ""), "").await
    }

    /// Posts `body` to a subresource such as `binding`, or (with an empty one) to the collection.
    pub async fn create_subresource<K: Object>(&self, body: &K, of: &Key, subresource: &str) -> Result<K, ApiError> {
        let request = api::WriteRequest { resource: Some(named::<K>(of, subresource)), json: encode(body)? };
        let object =
            self.write(|mut stub: Stub| async move { Ok(stub.create(timed(request)).await?.into_inner()) }).await?;
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
        let target = named::<K>(&object.key(), subresource);
        let request = api::WriteRequest { resource: Some(target), json: encode(object)? };
        let object =
            self.write(|mut stub: Stub| async move { Ok(stub.update(timed(request)).await?.into_inner()) }).await?;
        decode(&object)
    }

    /// `subresource` is "" or such as `status`.
    pub async fn patch<K: Object>(&self, key: &Key, subresource: &str, patch: Patch) -> Result<K, ApiError> {
        let (kind, body) = match patch {
            Patch::Merge(body) => (api::patch_request::Kind::Merge, body),
            Patch::Strategic(body) => (api::patch_request::Kind::Strategic, body),
            Patch::Json(body) => (api::patch_request::Kind::Json, body),
        };
        let request =
            api::PatchRequest { resource: Some(named::<K>(key, subresource)), kind: kind.into(), json: encode(&body)? };
        let object =
            self.write(|mut stub: Stub| async move { Ok(stub.patch(timed(request)).await?.into_inner()) }).await?;
        decode(&object)
    }

    /// Deletes, or begins to: an object with finalizers or a grace period stays for a while.
    pub async fn delete<K: Object>(&self, key: &Key, options: &DeleteOptions) -> Result<(), ApiError> {
        let request = api::DeleteRequest { resource: Some(named::<K>(key, "")), options_json: encode(options)? };
        self.write(|mut stub: Stub| async move { Ok(stub.delete(timed(request)).await?.into_inner()) }).await?;
        Ok(())
    }

    /// Opens the scheduler's stream of placements.
    pub fn binder(&self) -> Binder {
        Binder::start(self.clone())
    }

    /// A stub on the connection in use, for streams that their owner restarts by itself.
    pub(crate) async fn stub(&self) -> Result<(Stub, Arc<Connection>), ApiError> {
        let connection = self.endpoints.connection().await?;
        let stub = ResourcesClient::new(connection.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok((stub, connection))
    }

    /// What a failed stream or call means; a broken connection is dropped on the way.
    pub(crate) fn explain(&self, connection: &Arc<Connection>, status: tonic::Status) -> ApiError {
        match Failure::from(status) {
            Failure::Told(err) => err,
            Failure::Broken(err) => {
                self.endpoints.drop_connection(connection);
                err
            }
        }
    }

    /// Not an `AsyncFn`: the futures of those are not `Send` for callers that are spawned.
    async fn read<T, F>(&self, call: impl Fn(Stub) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        for _ in 0..READ_TRIES {
            let (stub, connection) = self.stub().await?;
            match call(stub).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Told(err)) => return Err(err),
                Err(Failure::Broken(err)) => {
                    self.endpoints.drop_connection(&connection);
                    last = Some(err);
                }
            }
        }
        Err(last.unwrap_or_else(|| ApiError::unavailable("no apiserver answers")))
    }

    async fn write<T, F>(&self, call: impl FnOnce(Stub) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (stub, connection) = self.stub().await?;
        call(stub).await.map_err(|failure| match failure {
            Failure::Told(err) => err,
            Failure::Broken(err) => {
                self.endpoints.drop_connection(&connection);
                err
            }
        })
    }
}

/// Either the server answered that it will not, or nobody knows.
enum Failure {
    Told(ApiError),
    Broken(ApiError),
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match serde_json::from_slice::<Status>(corten_proto::status::of_grpc(&status)) {
            Ok(told) => Self::Told(ApiError::from_status(told)),
            Err(_) => {
                Self::Broken(ApiError::unavailable(format!("the apiserver did not answer: {}", status.message())))
            }
        }
    }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
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

fn encode(value: &impl serde::Serialize) -> Result<prost::bytes::Bytes, ApiError> {
    serde_json::to_vec(value)
        .map(Into::into)
        .map_err(|err| ApiError::internal(format!("cannot encode the request: {err}")))
}

pub(crate) fn decode<K: Object>(object: &api::Object) -> Result<K, ApiError> {
    serde_json::from_slice(&object.json).map_err(|err| {
        let key = Key::new(object.namespace.as_str(), object.name.as_str());
        ApiError::internal(format!("cannot decode {} {key}: {err}", K::KIND))
    })
}
