//! Whether a request may be: the caller's roles, and for a kubelet what is on its node.

use corten_api::ApiError;
use corten_api::selector::{FieldSelector, FieldTerm, Selector};
use k8s_openapi::api::core::v1::Pod;

use super::Resources;
use super::place::Place;
use crate::authz::node::{Need, Verdict, judge};
use crate::authz::{self, Attributes};
use crate::cache::Filter;
use crate::registry::pod::references;
use crate::request::{Target, User};

impl Resources {
    /// `fields`: the field selector of a list or watch. The error is upstream's 403.
    pub async fn authorize(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<(), ApiError> {
        authz::authorize_resource(user, verb, target)?;
        let Some(node) = authz::node_name(user) else { return Ok(()) };
        let refused = |why: &str| Err(authz::refusal(user, Attributes::Resource { verb, target }, why));
        let need = match judge(node, verb, target, fields) {
            Verdict::Role => return Ok(()),
            Verdict::Denied(why) => return refused(&why),
            Verdict::Needs(need) => need,
        };
        if self.is_on_node(node, &need)? {
            return Ok(());
        }
        // The pod may have come to its node through another server, a moment ago.
        self.catch_up().await?;
        if self.is_on_node(node, &need)? {
            return Ok(());
        }
        refused(&format!("no relationship found between node '{node}' and this object"))
    }

    fn is_on_node(&self, node: &str, need: &Need<'_>) -> Result<bool, ApiError> {
        let pods = self.builtin("", "v1", "pods")?;
        match need {
            Need::Bound { namespace, name } => {
                let bound = bound_to(pods, node, namespace)?;
                // Whose pod it was that is gone, nobody knows; that it is gone is no secret.
                Ok(pods.cached.get(&pods.short_key(namespace, name)).is_none_or(|item| bound.matches(&item)))
            }
            Need::Referred { source, namespace, name } => {
                let all = pods.cached.snapshot(0);
                for item in bound_to(pods, node, namespace)?.select(&all, "") {
                    let pod: Pod = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
                    let mut found = false;
                    if let Some(spec) = &pod.spec {
                        references::each(spec, |is, called| found |= is == *source && called == *name);
                    }
                    if found {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// The pods of a namespace that are bound to a node.
fn bound_to(pods: Place<'_>, node: &str, namespace: &str) -> Result<Filter, ApiError> {
    let term = FieldTerm { field: "spec.nodeName".into(), value: node.into(), negated: false };
    let fields = pods.field_terms(&FieldSelector(vec![term]))?;
    Ok(Filter::new(namespace, Selector::everything(), fields))
}
