//! Aggregated ClusterRoles: their rules are those of the roles that they select. Until this has run, `admin`, `edit` and `view`
//! allow nothing.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>

pub mod decide;

use corten_api::k8s_openapi::Resource as _;
use corten_api::k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use corten_api::rbac::GROUP;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Next, Patch, WorkQueue};
use serde_json::json;
use tracing::warn;

use crate::caches::Shared;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use decide::decide;

/// Upstream's: whose the rules of an aggregated role are.
const FIELD_MANAGER: &str = "clusterrole-aggregation-controller";
/// Stands for all of them: which roles a change concerns, only all roles together tell.
const ALL: &str = "";

struct Aggregation {
    context: Context,
    roles: Shared<ClusterRole>,
    queue: WorkQueue<Key>,
}

/// Its items are aggregated ClusterRoles.
pub fn controller(setup: &Setup) -> Loop {
    let roles = setup.caches.of::<ClusterRole>();
    let this = Controller::new(setup).watches(&roles, maps::always(Key::cluster(ALL)));
    let queue = this.queue();
    this.run(move |context, key| {
        let this = Aggregation { context, roles: roles.clone(), queue: queue.clone() };
        async move { this.sync(&key).await }
    })
}

impl Aggregation {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        if key.name == ALL {
            let roles = self.roles.list();
            let gathering = roles.iter().filter(|role| role.aggregation_rule.is_some());
            gathering.for_each(|role| self.queue.add(role.key()));
            return Ok(Next::Done);
        }
        let Some(role) = self.roles.get(key) else { return Ok(Next::Done) };
        let roles = self.roles.list();
        let rules = match decide(&role, roles.iter().map(AsRef::as_ref)) {
            Ok(Some(rules)) => rules,
            Ok(None) => return Ok(Next::Done),
            // Validation lets no such selector in; when the role changes, it is looked at again.
            Err(err) => {
                warn!(role = key.name, %err, "this ClusterRole selects by what is no selector: its rules stay");
                return Ok(Next::Done);
            }
        };
        match self.context.client.patch::<ClusterRole>(key, "", applied(key, &rules)).await {
            Ok(written) => self.context.caught_up(&self.roles, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Next::Done)
    }
}

/// The rules alone: whoever wrote them before, they are this controller's.
fn applied(key: &Key, rules: &[PolicyRule]) -> Patch {
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": ClusterRole::KIND,
        "metadata": {"name": key.name},
        "rules": rules,
    });
    Patch::Apply { manager: FIELD_MANAGER, body }
}
