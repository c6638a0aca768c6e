//! What must be in every cluster, made by the apiserver itself; and the work beside requests.

use std::time::Duration;

use bytes::Bytes;
use corten_api::{ApiError, Reason};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Authorized, Resources, WriteOptions, advertise, api_services, compaction, custom_kinds, policies, quotas,
    service_cidr,
};
use crate::request::{Target, User, Verb};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];
/// Reservations are compared with Services so often: what a crash between two commits of others left goes away.
const REPAIR_EVERY: Duration = Duration::from_secs(600);
/// Snapshots that nobody continues are dropped so often.
const RELEASE_EVERY: Duration = Duration::from_secs(30);

/// The apiserver, as the author of its own objects.
pub(super) fn itself() -> User {
    User { name: "system:apiserver".into(), groups: vec!["system:masters".into()], ..User::default() }
}

pub(crate) fn target(group: &str, plural: &str, namespace: &str, name: &str) -> Target {
    Target {
        group: group.into(),
        version: "v1".into(),
        resource: plural.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Target::default()
    }
}

impl Resources {
    /// Before the first request.
    pub(super) async fn prepare(&self) -> Result<(), ApiError> {
        for name in NAMESPACES {
            let namespaces = target("", "namespaces", "", "");
            self.make(&namespaces, json!({"metadata": {"name": name}})).await?;
        }
        self.reconcile_roles().await?;
        self.make_priority_classes().await?;
        self.make_service_cidr().await?;
        self.make_api_services().await?;
        self.repair_allocations().await?;
        if let Some(address) = self.inner.settings.advertise {
            self.make_kubernetes_service(address.port()).await?;
        }
        Ok(())
    }

    /// Creates what is not there.
    pub(super) async fn make(&self, target: &Target, object: Value) -> Result<(), ApiError> {
        let place = &self.place(Verb::Create, target)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if place.cached.get(&place.short_key(&target.namespace, name)).is_some() {
            return Ok(());
        }
        let json = Bytes::from(object.to_string());
        match self.create(&Authorized::own(target.clone()), json, WriteOptions::default()).await {
            Err(err) if err.is(Reason::AlreadyExists) => Ok(()),
            made => made.map(drop),
        }
    }

    /// `kubernetes` in `default`: the first address of the range leads to any living apiserver.
    async fn make_kubernetes_service(&self, port: u16) -> Result<(), ApiError> {
        let Some(ip) = self.inner.settings.service_cidr.hosts().next() else {
            return Err(ApiError::internal("the Service range has no address: choose a larger --service-cidr"));
        };
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]);
        let spec = json!({"type": "ClusterIP", "clusterIP": ip.to_string(), "ports": ports});
        let service = json!({"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec});
        self.make(&target("", "services", "default", ""), service).await
    }

    /// Starts what runs until `stop`.
    pub(super) fn run_beside(&self, stop: &CancellationToken, custom_kinds: custom_kinds::Kept) {
        let run = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            tokio::spawn(stop.clone().run_until_cancelled_owned(work));
        };
        run(Box::pin(compaction::run(self.inner.cache.storage().clone())));
        run(Box::pin(repair(self.weak())));
        run(Box::pin(release(self.weak())));
        run(Box::pin(service_cidr::run(self.weak())));
        run(Box::pin(custom_kinds::run(self.weak(), custom_kinds)));
        run(Box::pin(policies::run(self.weak())));
        run(Box::pin(api_services::run(self.weak())));
        run(Box::pin(quotas::keep(self.weak())));
        if let Some(address) = self.inner.settings.advertise {
            let advertised = advertise::Advertised::new(self.weak(), address, self.inner.drain.clone());
            run(Box::pin(advertised.run()));
        }
    }
}

async fn repair(resources: super::Weak) {
    loop {
        tokio::time::sleep(REPAIR_EVERY).await;
        let Some(resources) = resources.upgrade() else { return };
        if let Err(err) = resources.repair_allocations().await {
            tracing::warn!(%err, "reservations of Services could not be checked; again later");
        }
    }
}

async fn release(resources: super::Weak) {
    loop {
        tokio::time::sleep(RELEASE_EVERY).await;
        let Some(resources) = resources.upgrade() else { return };
        resources.inner.cache.release();
        resources.inner.conversions.release();
    }
}
