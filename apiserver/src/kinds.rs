//! Which kinds are served, told to our own programs as it changes: what discovery is to others.

use std::pin::Pin;
use std::sync::Arc;

use corten_api::{ApiError, Reason, Scope};
use corten_proto::api::kinds_server::{self, KindsServer};
use corten_proto::api::{ServedKind, ServedKinds, WatchKindsRequest};
use futures::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::authz::Authorizer;
use crate::flowcontrol::FlowControl;
use crate::flowcontrol::long_running::LongRunning;
use crate::grpc::refused;
use crate::registry::{ApiResource, Registry, Table};
use crate::request::User;
use crate::resources::AuthorizedPath;

/// The gRPC service. `drained`: its streams end with it.
pub fn service(
    registry: Registry,
    flow: FlowControl,
    authorizer: Authorizer,
    drained: CancellationToken,
) -> KindsServer<Service> {
    KindsServer::new(Service { registry, flow, authorizer, drained })
}

#[derive(Clone, Debug)]
pub struct Service {
    registry: Registry,
    flow: FlowControl,
    authorizer: Authorizer,
    drained: CancellationToken,
}

#[tonic::async_trait]
impl kinds_server::Kinds for Service {
    type WatchKindsStream = Pin<Box<dyn Stream<Item = Result<ServedKinds, Status>> + Send + 'static>>;

    async fn watch_kinds(
        &self,
        request: Request<WatchKindsRequest>,
    ) -> Result<Response<Self::WatchKindsStream>, Status> {
        let user = request.extensions().get::<Arc<User>>();
        let user = user.ok_or_else(|| refused(&ApiError::new(Reason::Unauthorized, "Unauthorized")))?;
        // Who may read discovery may be told of its changes.
        let may = AuthorizedPath::ask(&self.authorizer, user, "get", "/apis").map_err(|err| refused(&err))?;
        let place = self.flow.enter_long(user).map_err(|err| refused(&err))?;
        let told = told(&may, self.registry.clone(), place);
        Ok(Response::new(told.take_until(self.drained.clone().cancelled_owned()).boxed()))
    }
}

/// The kinds now, and whenever they change.
fn told(
    _may: &AuthorizedPath,
    registry: Registry,
    counted: LongRunning,
) -> impl Stream<Item = Result<ServedKinds, Status>> + Send + use<> {
    let mut changes = registry.changes();
    // The first look counts as a change.
    changes.mark_changed();
    stream::unfold((registry, changes, counted), |(registry, mut changes, counted)| async move {
        changes.changed().await.ok()?;
        Some((Ok(message(&registry.table())), (registry, changes, counted)))
    })
}

fn message(table: &Table) -> ServedKinds {
    let kind = |resource: &Arc<ApiResource>| ServedKind {
        group: resource.group().into(),
        version: resource.version().into(),
        plural: resource.plural().into(),
        kind: resource.kind().into(),
        namespaced: resource.scope() == Scope::Namespaced,
        stored_as: resource.store_prefix().into(),
    };
    let mut all: Vec<&Arc<ApiResource>> = table.iter().collect();
    // Who looks after all kinds takes the first version of each: one for which nobody has to be asked.
    all.sort_by_key(|resource| resource.is_by_webhook());
    ServedKinds { kinds: all.into_iter().map(kind).collect() }
}

#[cfg(test)]
mod tests {
    use corten_proto::api::kinds_server::Kinds as _;
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use serde_json::json;
    use tonic::Code;

    use super::*;
    use crate::registry::custom::CustomKind;
    use crate::registry::custom::testing::{tabs, version};

    #[tokio::test]
    async fn kinds_are_told_of_at_once_and_whenever_they_change() {
        let registry = Registry::new(vec![ApiResource::of::<ConfigMap>()]);
        let service = Service {
            registry: registry.clone(),
            flow: FlowControl::default(),
            authorizer: Authorizer::of_a_new_cluster(),
            drained: CancellationToken::new(),
        };
        let nobody = service.watch_kinds(Request::new(WatchKindsRequest {})).await.err().unwrap();
        assert_eq!(nobody.code(), Code::Unauthenticated);
        let mut request = Request::new(WatchKindsRequest {});
        let user = User { groups: vec!["system:masters".into()], ..User::default() };
        request.extensions_mut().insert(Arc::new(user));
        let mut told = service.watch_kinds(request).await.unwrap().into_inner();
        let mut next = async || {
            let kinds = told.next().await.unwrap().unwrap().kinds;
            kinds.into_iter().map(|kind| (kind.plural, kind.namespaced)).collect::<Vec<_>>()
        };
        assert_eq!(next().await, [("configmaps".to_owned(), true)]);
        registry.put(ApiResource::of::<Lease>());
        assert_eq!(next().await.len(), 2);
        registry.remove(&ApiResource::of::<ConfigMap>());
        assert_eq!(next().await, [("leases".to_owned(), true)]);
    }

    #[test]
    fn the_version_that_is_stored_comes_before_those_that_a_webhook_makes_of_it() {
        let schema = || json!({"type": "object"});
        let mut crd = tabs(vec![version("v1", true, schema()), version("v2", false, schema())]);
        let told = |crd: &CustomResourceDefinition| {
            let registry = Registry::new(Vec::new());
            registry.put_custom("example.com/tabs", &CustomKind::of(crd, false).unwrap().served);
            let kinds = message(&registry.table()).kinds;
            kinds.into_iter().map(|kind| kind.version).collect::<Vec<_>>()
        };
        assert_eq!(told(&crd), ["v2", "v1"], "as clients prefer them");
        let conversion = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a"}}});
        crd.spec.conversion = serde_json::from_value(conversion).unwrap();
        assert_eq!(told(&crd), ["v1", "v2"]);
    }
}
