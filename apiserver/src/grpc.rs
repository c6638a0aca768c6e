//! `corten.api.v1.Resources`: what our own programs call. The same paths as REST's, in another envelope.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use corten_api::selector::{FieldSelector, FieldTerm, Selector};
use corten_api::{ApiError, Reason};
use corten_proto::api;
use corten_proto::api::resources_server::{self, ResourcesServer};
use corten_proto::api::{
    BindReply, BindRequest, DeleteRequest, GetRequest, ListChunk, ListRequest, Object, PatchRequest, Resource,
    WatchBatch, WatchEvent, WatchRequest, WriteRequest, patch_request, watch_event,
};
use corten_proto::{fence, status};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use tonic::{Request, Response, Status, Streaming};

use crate::authz::{self, Attributes};
use crate::cache::Item;
use crate::decode::MAX_BODY_BYTES;
use crate::flowcontrol::FlowControl;
use crate::patch;
use crate::request::{Target, User, Verb};
use crate::resources::{
    Authorized, Event, EventKind, Fence, FieldValidation, ListOptions, ReadAt, Resources, WatchFrom, WatchOptions,
    WriteOptions, to,
};
use crate::table;

/// A message with the largest body, and its envelope.
pub(crate) const MESSAGE_BYTES_MAX: usize = MAX_BODY_BYTES + 64 * 1024;
/// Objects and bytes in one message of a stream; one object may be larger alone.
const CHUNK_OBJECTS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;
/// Binds of one stream that are under way at a time.
const BINDS_MAX: usize = 128;

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The service, to be routed to. It finds its caller in the request's extensions.
pub fn service(resources: Resources, flow: FlowControl) -> ResourcesServer<Service> {
    ResourcesServer::new(Service { resources, flow }).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[derive(Clone, Debug)]
pub struct Service {
    resources: Resources,
    /// For what lasts, and for what comes in streams; who routes calls here lets the others in.
    flow: FlowControl,
}

/// What a call was let in as, by the beginning of its message.
#[derive(Clone, Debug)]
pub(crate) struct Admitted(pub(crate) Target);

/// Who calls.
struct Caller {
    user: Arc<User>,
    admitted: Option<Admitted>,
}

pub(crate) fn refused(err: &ApiError) -> Status {
    match serde_json::to_vec(err.status()) {
        Ok(json) => status::to_grpc(err.code(), err.message(), json),
        Err(unprintable) => Status::internal(unprintable.to_string()),
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let user = request.extensions().get::<Arc<User>>().cloned();
    let user = user.ok_or_else(|| refused(&ApiError::new(Reason::Unauthorized, "Unauthorized")))?;
    Ok(Caller { user, admitted: request.extensions().get::<Admitted>().cloned() })
}

impl Service {
    /// `fields`: the selector of a list or watch.
    async fn allowed<V: to::Act>(
        &self,
        Caller { user, admitted }: Caller,
        resource: Option<Resource>,
        fields: &FieldSelector,
    ) -> Result<Authorized<V>, Status> {
        let r = resource.ok_or_else(|| refused(&ApiError::bad_request("the request names no resource")))?;
        let target = Target {
            group: r.group,
            version: r.version,
            resource: r.plural,
            subresource: r.subresource,
            namespace: r.namespace,
            name: r.name,
        };
        // Protobuf lets a field come twice, and the last one counts.
        if admitted.is_some_and(|Admitted(as_this)| as_this != target) {
            return Err(refused(&ApiError::bad_request("the message names its resource more than once")));
        }
        self.resources.authorize_to(&user, target, fields).await.map_err(|err| refused(&err))
    }
    async fn allowed_one<V: to::Act>(
        &self,
        caller: Caller,
        resource: Option<Resource>,
    ) -> Result<Authorized<V>, Status> {
        self.allowed(caller, resource, &FieldSelector::default()).await
    }
}

/// By which fields a list or watch selects, for the question whether it may be. A selector that is malformed is told of later
/// ([`selectors`]), to those who may ask.
fn asked_fields(fields: &str, resource: Option<&Resource>) -> FieldSelector {
    named(FieldSelector::parse(fields).unwrap_or_default(), resource.map_or("", |r| &r.name))
}

fn named(mut fields: FieldSelector, name: &str) -> FieldSelector {
    if !name.is_empty() {
        fields.0.push(FieldTerm { field: "metadata.name".into(), value: name.into(), negated: false });
    }
    fields
}

fn selectors<V>(may: &Authorized<V>, labels: &str, fields: &str) -> Result<(Selector, FieldSelector), Status> {
    let bad = |err: corten_api::selector::SelectorError| refused(&ApiError::bad_request(err.to_string()));
    let (labels, fields) = (Selector::parse(labels).map_err(bad)?, FieldSelector::parse(fields).map_err(bad)?);
    Ok((labels, named(fields, &may.target().name)))
}

/// The leadership that a write is part of, if its author says so.
fn fence_of<T>(request: &Request<T>) -> Result<Option<Fence>, Status> {
    let fence = fence::of(request.metadata()).map_err(|err| refused(&ApiError::bad_request(err.to_string())))?;
    Ok(fence.map(|fence| Fence {
        namespace: fence.lease_namespace,
        name: fence.lease_name,
        holder: fence.holder,
        transitions: fence.transitions,
    }))
}

fn write_options(user: &User, asked: Option<&api::WriteOptions>, fence: Option<Fence>) -> WriteOptions {
    let field_manager = match asked {
        Some(asked) if !asked.field_manager.is_empty() => asked.field_manager.clone(),
        _ => manager_of(user),
    };
    WriteOptions {
        dry_run: asked.is_some_and(|asked| asked.dry_run),
        // Our programs are built with the same schema: a field that one does not know is a newer one's.
        field_validation: FieldValidation::Ignore,
        field_manager,
        force: asked.filter(|asked| asked.force).map(|_| true),
        fence,
        ..WriteOptions::default()
    }
}

/// What upstream's programs call themselves, by whom their certificates name.
fn manager_of(user: &User) -> String {
    if authz::node_name(user).is_some() {
        return "kubelet".to_owned();
    }
    let name = user.name.strip_prefix("system:").unwrap_or(&user.name);
    name.split(':').next().unwrap_or(name).to_owned()
}

fn object_of(item: &Item) -> Object {
    Object {
        namespace: item.namespace().into(),
        name: item.name().into(),
        revision: item.revision,
        json: item.object(),
    }
}

/// Takes all but its metadata from an object, where that is asked for.
fn narrowed(metadata_only: bool, mut object: Object) -> Result<Object, Status> {
    if metadata_only {
        object.json = table::metadata_only(&object.json).map_err(|err| refused(&err))?;
    }
    Ok(object)
}

/// The envelope of an object that a write gave.
fn written(json: Bytes) -> Result<Object, Status> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Meta {
        namespace: String,
        name: String,
        resource_version: String,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(default)]
        metadata: Meta,
    }
    let named: Named = serde_json::from_slice(&json).map_err(|err| refused(&ApiError::internal(err)))?;
    let Meta { namespace, name, resource_version } = named.metadata;
    Ok(Object { namespace, name, revision: resource_version.parse().unwrap_or(0), json })
}

#[tonic::async_trait]
impl resources_server::Resources for Service {
    type ListStream = BoxStream<ListChunk>;
    type WatchStream = BoxStream<WatchBatch>;
    type BindStream = BoxStream<BindReply>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>, Status> {
        let caller = caller(&request)?;
        let GetRequest { resource, metadata_only } = request.into_inner();
        let may = self.allowed_one::<to::Get>(caller, resource).await?;
        if may.target().subresource == "scale" {
            let json = self.resources.get(&may, ReadAt::Newest).await.map_err(|err| refused(&err))?;
            return written(json).map(Response::new);
        }
        let item = self.resources.get_item(&may).await.map_err(|err| refused(&err))?;
        narrowed(metadata_only, object_of(&item)).map(Response::new)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let metadata_only = asked.metadata_only;
        let fields = asked_fields(&asked.field_selector, asked.resource.as_ref());
        let may = self.allowed(caller, asked.resource, &fields).await?;
        let (labels, fields) = selectors(&may, &asked.label_selector, &asked.field_selector)?;
        let options = ListOptions { labels, fields, ..ListOptions::default() };
        let rows = self.resources.list_items(&may, options).await.map_err(|err| refused(&err))?;
        let revision = rows.revision;
        let mut items = rows.items.into_iter().peekable();
        let mut first = true;
        let chunks = std::iter::from_fn(move || {
            let chunk = next_chunk(&mut items);
            // An empty list is one chunk: it tells the revision.
            if !std::mem::take(&mut first) && chunk.is_empty() {
                return None;
            }
            let items = chunk.into_iter().map(|object| narrowed(metadata_only, object)).collect::<Result<_, _>>();
            Some(items.map(|items| ListChunk { revision, items }))
        });
        Ok(Response::new(futures::stream::iter(chunks).boxed()))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let metadata_only = asked.metadata_only;
        let fields = asked_fields(&asked.field_selector, asked.resource.as_ref());
        let may = self.allowed(caller, asked.resource, &fields).await?;
        let (labels, fields) = selectors(&may, &asked.label_selector, &asked.field_selector)?;
        let from = match asked.resume_after {
            0 => WatchFrom::State { at: ReadAt::Newest, initial_events_end: true },
            revision => WatchFrom::After(revision),
        };
        let options = WatchOptions { labels, fields, from, bookmarks: true };
        let place = self.flow.enter_long(may.user()).map_err(|err| refused(&err))?;
        let events = self.resources.watch(&may, options).await.map_err(|err| refused(&err))?;
        let batches = events.flat_map(move |batch| {
            let _held_while_it_streams = &place;
            let batches = match batch {
                Ok(events) => batches(events).into_iter().map(|batch| narrowed_batch(metadata_only, batch)).collect(),
                Err(err) => vec![Err(refused(&err))],
            };
            futures::stream::iter(batches)
        });
        Ok(Response::new(batches.boxed()))
    }

    async fn create(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let caller = caller(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = self.allowed_one(caller, asked.resource).await?;
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.create(&may, asked.json, options).await;
        written(done.map_err(|err| refused(&err))?.object).map(Response::new)
    }

    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let caller = caller(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = self.allowed_one(caller, asked.resource).await?;
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.update(&may, asked.json, options).await;
        written(done.map_err(|err| refused(&err))?.object).map(Response::new)
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let caller = caller(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let kind = match asked.kind() {
            patch_request::Kind::Merge => patch::Kind::Merge,
            patch_request::Kind::Strategic => patch::Kind::Strategic,
            patch_request::Kind::Json => patch::Kind::Json,
            patch_request::Kind::Apply => patch::Kind::Apply,
        };
        let may = self.allowed_one(caller, asked.resource).await?;
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.patch(&may, kind, asked.json, options).await;
        written(done.map_err(|err| refused(&err))?.object).map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let caller = caller(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = self.allowed_one(caller, asked.resource).await?;
        let options = write_options(may.user(), None, fence);
        let how: DeleteOptions = match &*asked.options_json {
            b"" => DeleteOptions::default(),
            json => serde_json::from_slice(json)
                .map_err(|err| refused(&ApiError::bad_request(format!("DeleteOptions cannot be read: {err}"))))?,
        };
        let done = self.resources.delete(&may, how, options).await;
        written(done.map_err(|err| refused(&err))?.object).map(Response::new)
    }

    async fn bind(&self, request: Request<Streaming<BindRequest>>) -> Result<Response<Self::BindStream>, Status> {
        let user = caller(&request)?.user;
        let fence = fence_of(&request)?;
        let (resources, flow) = (self.resources.clone(), self.flow.clone());
        let place = self.flow.enter_long(&user).map_err(|err| refused(&err))?;
        let replies = request.into_inner().map(move |asked| {
            let _held_while_it_streams = &place;
            let (resources, flow, user, fence) = (resources.clone(), flow.clone(), user.clone(), fence.clone());
            async move { Ok(bind_one(&resources, &flow, &user, asked?, fence.as_ref()).await) }
        });
        Ok(Response::new(replies.buffer_unordered(BINDS_MAX).boxed()))
    }
}

async fn bind_one(
    resources: &Resources,
    flow: &FlowControl,
    user: &Arc<User>,
    asked: BindRequest,
    fence: Option<&Fence>,
) -> BindReply {
    let target = Target {
        version: "v1".into(),
        resource: "pods".into(),
        subresource: "binding".into(),
        namespace: asked.namespace,
        name: asked.pod,
        ..Target::default()
    };
    let attributes = Attributes::Resource { verb: Verb::Create.as_str(), target: &target };
    // Each bind waits for its turn as a request of its own would.
    let bound = match flow.admit(user, attributes, 1).await {
        Ok(_seat) => match resources.authorize_to(user, target, &FieldSelector::default()).await {
            Ok(may) => resources.bind(&may, &asked.uid, &asked.node, fence).await,
            Err(err) => Err(err),
        },
        Err(err) => Err(err),
    };
    let error_status_json = match bound {
        Ok(()) => Bytes::new(),
        Err(err) => serde_json::to_vec(err.status()).unwrap_or_else(|_| b"{}".to_vec()).into(),
    };
    BindReply { id: asked.id, error_status_json }
}

fn next_chunk(items: &mut std::iter::Peekable<std::vec::IntoIter<Arc<Item>>>) -> Vec<Object> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while let Some(item) = items.next_if(|i| chunk.is_empty() || bytes + i.weight() <= CHUNK_BYTES) {
        bytes += item.weight();
        chunk.push(object_of(&item));
        if chunk.len() == CHUNK_OBJECTS {
            break;
        }
    }
    chunk
}

/// Messages of bounded size. A bookmark is a message without events.
fn batches(events: Vec<Event>) -> Vec<WatchBatch> {
    let mut done = Vec::new();
    let mut open = WatchBatch::default();
    let mut bytes = 0;
    for event in events {
        open.revision = open.revision.max(event.revision());
        let kind = match event.kind {
            EventKind::Added => watch_event::Kind::Added,
            EventKind::Modified => watch_event::Kind::Modified,
            EventKind::Deleted => watch_event::Kind::Deleted,
            EventKind::Bookmark { initial_events_end } => {
                open.state_complete |= initial_events_end;
                continue;
            }
        };
        let object = event.object();
        if bytes + object.len() > CHUNK_BYTES && !open.events.is_empty() {
            // More of this revision is to come: who resumes after it would miss that.
            open.revision = open.revision.min(event.revision() - 1);
            done.push(std::mem::take(&mut open));
            (open.revision, bytes) = (event.revision(), 0);
        }
        bytes += object.len();
        let (namespace, name) = (event.namespace().into(), event.name().into());
        let object = Object { namespace, name, revision: event.revision(), json: object };
        open.events.push(WatchEvent { kind: kind.into(), object: Some(object) });
    }
    done.push(open);
    done
}

fn narrowed_batch(metadata_only: bool, mut batch: WatchBatch) -> Result<WatchBatch, Status> {
    for event in &mut batch.events {
        event.object = event.object.take().map(|object| narrowed(metadata_only, object)).transpose()?;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests;
