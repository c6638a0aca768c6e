//! Whether a request may be: the caller's roles, and for a kubelet or a node's proxy what is on its node.

use corten_api::ApiError;
use corten_api::selector::{FieldSelector, FieldTerm, Selector};
use futures::StreamExt;
use tokio::time::Instant;

use super::place::Place;
use super::{Event, EventKind, Resources, WatchStream};
use crate::authz::node::{Need, Verdict, judge, judge_proxy};
use crate::authz::{self, Attributes};
use crate::cache::Filter;
use crate::request::{Target, User};

/// That a request may be, and on what this depends while a watch goes on.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Grant(Option<Terms>);

#[derive(Clone, Debug)]
struct Terms {
    node: String,
    need: Need,
    refusal: ApiError,
}

impl Grant {
    /// The same watch, which ends with a refusal once an event is not the node's to see any more: the pod that made the object
    /// its business may have gone since the watch began.
    pub fn guard(self, resources: &Resources, stream: WatchStream) -> WatchStream {
        let Some(terms) = self.0 else { return stream };
        let state = Some((stream, terms, resources.clone()));
        let guarded = futures::stream::unfold(state, |state| async {
            let (mut stream, terms, resources) = state?;
            match stream.next().await? {
                Ok(events) => match resources.still_allows(&terms, &events) {
                    Ok(true) => Some((Ok(events), Some((stream, terms, resources)))),
                    Ok(false) => Some((Err(terms.refusal), None)),
                    Err(err) => Some((Err(err), None)),
                },
                Err(err) => Some((Err(err), None)),
            }
        });
        guarded.boxed()
    }
}

impl Resources {
    /// `fields`: the field selector of a list or watch. The error is upstream's 403.
    pub async fn authorize(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Grant, ApiError> {
        authz::authorize_resource(user, verb, target)?;
        let (node, verdict) = match (authz::node_name(user), authz::proxy_node(user)) {
            (Some(node), _) => (node, judge(node, verb, target, fields)),
            (None, Some(node)) => (node, judge_proxy(node, target, fields)),
            (None, None) => return Ok(Grant::default()),
        };
        let refusal = |why: &str| authz::refusal(user, Attributes::Resource { verb, target }, why);
        let need = match verdict {
            Verdict::Role => return Ok(Grant::default()),
            Verdict::Denied(why) => return Err(refusal(&why)),
            Verdict::Needs(need) => need,
        };
        let refusal = refusal(&format!("no relationship found between node '{node}' and this object"));
        if !self.is_on_node(node, &need)? {
            // The pod may have come to its node through another server, a moment ago.
            if !self.inner.looks.take(node, Instant::now()) {
                return Err(refusal);
            }
            self.catch_up().await?;
            if !self.is_on_node(node, &need)? {
                return Err(refusal);
            }
        }
        Ok(Grant(Some(Terms { node: node.to_owned(), need, refusal })))
    }

    /// A pod that is not there is nobody's: whether a name is taken is not a node's to learn.
    fn is_on_node(&self, node: &str, need: &Need) -> Result<bool, ApiError> {
        let pods = &self.builtin("", "v1", "pods")?;
        match need {
            Need::Bound { namespace, name } => {
                let Some(item) = pods.cached.get(&pods.short_key(namespace, name)) else { return Ok(false) };
                Ok(bound_to(pods, node, namespace)?.matches(&item))
            }
            Need::Referred { source, namespace, name } => Ok(pods.cached.refers(node, *source, namespace, name)),
        }
    }

    /// Whether these events of a watch are still the node's to see.
    fn still_allows(&self, terms: &Terms, events: &[Event]) -> Result<bool, ApiError> {
        let mut told = events.iter().filter(|event| !matches!(event.kind, EventKind::Bookmark { .. })).peekable();
        if told.peek().is_none() {
            return Ok(true);
        }
        match &terms.need {
            Need::Referred { .. } => self.is_on_node(&terms.node, &terms.need),
            // A pod of that name may be another one by now, on another node; that its own is gone a node may hear.
            Need::Bound { namespace, .. } => {
                let own = bound_to(&self.builtin("", "v1", "pods")?, &terms.node, namespace)?;
                Ok(told.all(|event| own.matches(&event.item)))
            }
        }
    }
}

/// The pods of a namespace that are bound to a node.
fn bound_to(pods: &Place<'_>, node: &str, namespace: &str) -> Result<Filter, ApiError> {
    let term = FieldTerm { field: "spec.nodeName".into(), value: node.into(), negated: false };
    let fields = pods.field_terms(&FieldSelector(vec![term]))?;
    Ok(Filter::new(namespace, Selector::everything(), fields))
}
