//! `corten.api.v1.Resources`: what our own programs call. The same paths as REST's, in another envelope.

pub mod bind;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::{FieldSelector, Selector};
use corten_proto::api;
use corten_proto::api::resources_server::{self, ResourcesServer};
use corten_proto::api::{
    BindReply, BindRequest, DeleteRequest, GetRequest, ListChunk, ListRequest, Object, PatchRequest, Resource,
    WatchBatch, WatchEvent, WatchRequest, WriteRequest, patch_request, watch_event,
};
use corten_proto::{fence, status};
use futures::{Stream, StreamExt};
use http::StatusCode;
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::Value;
use tonic::{Request, Response, Status, Streaming};

use self::bind::Binder;
use crate::authn::unauthorized;
use crate::authz;
use crate::cache::Item;
use crate::flowcontrol::FlowControl;
use crate::patch;
use crate::pipeline::{MESSAGE_BYTES_MAX, Pipeline, asked_fields, named};
use crate::registry::questions::Question;
use crate::request::{Target, User};
use crate::request_info::RequestInfo;
use crate::resources::{
    Allowed, Authorized, Event, EventKind, Fence, FieldValidation, ListOptions, ReadAt, Resources, WatchFrom,
    WatchOptions, WriteOptions, Written, to,
};
use crate::rest::query::{Query, read_delete_options};
use crate::rest::review;
use crate::table;
use crate::usage;
use crate::usage::collector::Collector;
use crate::usage::lookup::Lookup;
use crate::usage::objects::Shown;

/// Objects and bytes in one message of a stream; one object may be larger alone.
const CHUNK_OBJECTS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The service, to be routed to. What lets a call in it finds in the request's extensions.
pub fn service(resources: Resources, flow: FlowControl, usage: Collector) -> ResourcesServer<Service> {
    ResourcesServer::new(Service { resources, flow, usage }).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

#[derive(Clone, Debug)]
pub struct Service {
    resources: Resources,
    /// For watches.
    flow: FlowControl,
    usage: Collector,
}

impl Service {
    /// A question, answered as REST answers it. It is no object: it has no name and no revision.
    async fn review(&self, question: &Question, may: &Allowed, json: Bytes) -> Result<Response<Object>, ApiError> {
        let query = Query::parse(None);
        let answer = review::answer(&self.resources, question, may, &query, None, json).await?;
        let json = answer.into_body().collect().await.map_err(ApiError::internal)?.to_bytes();
        Ok(Response::new(Object { namespace: String::new(), name: String::new(), revision: 0, json }))
    }

    /// All in one message: of a pod it is a few hundred bytes.
    async fn list_usage(
        &self,
        kind: usage::Kind,
        may: &Authorized<to::List>,
        (labels, fields): (Selector, FieldSelector),
    ) -> Result<ListChunk, ApiError> {
        let lookup = Lookup { resources: &self.resources, collector: &self.usage };
        let measured = lookup.shown(kind, may.target(), labels, fields).await?;
        let object = |shown: &Shown| {
            let text =
                |pointer: &str| shown.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let json = serde_json::to_vec(&shown.object).map_err(ApiError::internal)?.into();
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            Ok(Object { namespace, name, revision: measured.revision, json })
        };
        let items = measured.shown.iter().map(object).collect::<Result<_, ApiError>>()?;
        Ok(ListChunk { revision: measured.revision, items })
    }
}

pub(crate) fn refused(err: &ApiError) -> Status {
    match serde_json::to_vec(err.status()) {
        Ok(json) => status::to_grpc(err.code(), err.message(), json),
        Err(unprintable) => Status::internal(unprintable.to_string()),
    }
}

/// By which a call was let in.
struct Permit {
    info: Arc<RequestInfo>,
    allowed: Arc<Allowed>,
}

impl Permit {
    fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let info = request.extensions().get::<Arc<RequestInfo>>();
        let allowed = request.extensions().get::<Arc<Allowed>>();
        let permit = info.zip(allowed).map(|(info, allowed)| Self { info: info.clone(), allowed: allowed.clone() });
        permit.ok_or_else(|| refused(&unauthorized()))
    }

    /// The proof, of what the message is about. That was read from the message's beginning; protobuf lets a field come twice, and
    /// what this would lead to was not asked. `fields`: the selector of a list or watch.
    fn to<V: to::Act>(&self, resource: Option<Resource>, fields: &FieldSelector) -> Result<&Authorized<V>, Status> {
        let r = resource.ok_or_else(|| refused(&ApiError::bad_request("the request names no resource")))?;
        let target = Target {
            group: r.group,
            version: r.version,
            resource: r.plural,
            subresource: r.subresource,
            namespace: r.namespace,
            name: r.name,
        };
        let may =
            V::of(&self.allowed).ok_or_else(|| refused(&ApiError::internal("what was allowed is another verb")))?;
        let question = self.info.question().map_err(|err| refused(&err))?;
        if *may.target() != target {
            return Err(refused(&ApiError::bad_request("the message names its resource more than once")));
        }
        if question.fields != *fields {
            return Err(refused(&ApiError::bad_request("the message has its field selector more than once")));
        }
        Ok(may)
    }
    fn to_one<V: to::Act>(&self, resource: Option<Resource>) -> Result<&Authorized<V>, Status> {
        self.to(resource, &FieldSelector::default())
    }
}

/// The selector of a list or watch, as roles were asked about it.
fn asked_of(fields: &str, resource: Option<&Resource>) -> FieldSelector {
    asked_fields(fields, resource.map_or("", |r| &r.name))
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

/// What a write gave, and HTTP's code for it, which is counted.
fn answered(done: Result<Written, ApiError>) -> Result<Response<Object>, Status> {
    let done = done.map_err(|err| refused(&err))?;
    let mut response = Response::new(envelope(done.object)?);
    response.extensions_mut().insert(if done.existed { StatusCode::OK } else { StatusCode::CREATED });
    Ok(response)
}

/// The envelope of an object that is given as its JSON.
fn envelope(json: Bytes) -> Result<Object, Status> {
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
        let permit = Permit::of(&request)?;
        let GetRequest { resource, metadata_only } = request.into_inner();
        let may = permit.to_one::<to::Get>(resource)?;
        if may.target().subresource == "scale" {
            let json = self.resources.get(may, ReadAt::Newest).await.map_err(|err| refused(&err))?;
            return envelope(json).map(Response::new);
        }
        let item =
            if metadata_only { self.resources.get_stored_item(may).await } else { self.resources.get_item(may).await };
        let item = item.map_err(|err| refused(&err))?;
        narrowed(metadata_only, object_of(&item)).map(Response::new)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let permit = Permit::of(&request)?;
        let asked = request.into_inner();
        let metadata_only = asked.metadata_only;
        let fields = asked_of(&asked.field_selector, asked.resource.as_ref());
        let may = permit.to(asked.resource, &fields)?;
        let (labels, fields) = selectors(may, &asked.label_selector, &asked.field_selector)?;
        if let Some(kind) = usage::find(may.target()) {
            let chunk = self.list_usage(kind, may, (labels, fields)).await.map_err(|err| refused(&err));
            return Ok(Response::new(futures::stream::iter([chunk]).boxed()));
        }
        let options = ListOptions { labels, fields, metadata_only, ..ListOptions::default() };
        let rows = self.resources.list_items(may, options).await.map_err(|err| refused(&err))?;
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
        let permit = Permit::of(&request)?;
        let asked = request.into_inner();
        let metadata_only = asked.metadata_only;
        let fields = asked_of(&asked.field_selector, asked.resource.as_ref());
        let may = permit.to(asked.resource, &fields)?;
        let (labels, fields) = selectors(may, &asked.label_selector, &asked.field_selector)?;
        let from = match asked.resume_after {
            0 => WatchFrom::State { at: ReadAt::Newest, initial_events_end: true },
            revision => WatchFrom::After(revision),
        };
        let report_at = Some(asked.report_at).filter(|revision| *revision > 0);
        let options = WatchOptions { labels, fields, from, bookmarks: true, report_at, metadata_only };
        let place = self.flow.enter_long(may.user()).map_err(|err| refused(&err))?;
        let events = self.resources.watch(may, options).await.map_err(|err| refused(&err))?;
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
        let permit = Permit::of(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = permit.to_one::<to::Create>(asked.resource)?;
        // Our programs bind by their own stream, whose writes are part of a leadership.
        if let Some(question) = review::find(may.target()).filter(|question| question.plural != "bindings") {
            return self.review(question, &permit.allowed, asked.json).await.map_err(|err| refused(&err));
        }
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.create(may, asked.json, options).await;
        answered(done)
    }

    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let permit = Permit::of(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = permit.to_one(asked.resource)?;
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.update(may, asked.json, options).await;
        answered(done)
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let permit = Permit::of(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let kind = match asked.kind() {
            patch_request::Kind::Merge => patch::Kind::Merge,
            patch_request::Kind::Strategic => patch::Kind::Strategic,
            patch_request::Kind::Json => patch::Kind::Json,
            patch_request::Kind::Apply => patch::Kind::Apply,
        };
        let may = permit.to_one(asked.resource)?;
        let options = write_options(may.user(), asked.options.as_ref(), fence);
        let done = self.resources.patch(may, kind, asked.json, options).await;
        answered(done)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let permit = Permit::of(&request)?;
        let fence = fence_of(&request)?;
        let asked = request.into_inner();
        let may = permit.to_one(asked.resource)?;
        let options = write_options(may.user(), None, fence);
        let how: DeleteOptions = match &*asked.options_json {
            b"" => DeleteOptions::default(),
            json => read_delete_options(json).map_err(|err| refused(&err))?,
        };
        let done = self.resources.delete(may, how, options).await;
        let done = done.map_err(|err| refused(&err))?;
        let mut response = Response::new(envelope(done.object)?);
        response.extensions_mut().insert(StatusCode::from_u16(done.code).unwrap_or(StatusCode::OK));
        Ok(response)
    }

    async fn bind(&self, request: Request<Streaming<BindRequest>>) -> Result<Response<Self::BindStream>, Status> {
        let user = request.extensions().get::<Arc<User>>().cloned().ok_or_else(|| refused(&unauthorized()))?;
        let pipeline = request.extensions().get::<Arc<dyn Pipeline>>().cloned();
        let pipeline =
            pipeline.ok_or_else(|| refused(&ApiError::internal("a stream without a way for its messages")))?;
        let fence = fence_of(&request)?;
        let resource = self.resources.registry().find("", "v1", "pods");
        let binder = Binder { pipeline, user, fence, asking: bind::room_to_ask(), resource };
        let replies = bind::replies(binder, request.into_inner());
        Ok(Response::new(replies.boxed()))
    }
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
