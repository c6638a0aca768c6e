//! Whether a request may be: for a kubelet or a node's proxy what is on its node, and for everybody the roles. Whoever may gets
//! a proof of it, without which nothing is read or written ([`Authorized`]).

mod proof;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::{FieldSelector, FieldTerm, Selector};
use corten_api::volumes::{LOCAL_DIRECTORY, ON_NODE, PROVISIONED_BY};
use futures::StreamExt;
pub use proof::{Allowed, Authorized, AuthorizedPath, Permit, to};
use serde::Deserialize;
use tokio::time::Instant;

use super::place::Place;
use super::{Event, EventKind, Resources, WatchStream};
use crate::authz::node::{Need, Verdict, judge};
use crate::authz::{self, Attributes, Authorizer};
use crate::cache::{Filter, Item, KindCache};
use crate::registry::pod::references::Source;
use crate::request::{Target, User, Verb};

/// On what it depends, while a watch goes on, that it may be.
#[derive(Clone, Debug, Default)]
struct Grant(Option<Terms>);

#[derive(Clone, Debug)]
struct Terms {
    node: String,
    need: Need,
    refusal: ApiError,
}

impl Authorized<to::Watch> {
    /// The same watch, which ends with a refusal once an event is not the node's to see any more: the pod that made the object
    /// its business may have gone since the watch began.
    pub(super) fn guard(&self, resources: &Resources, stream: WatchStream) -> WatchStream {
        let Some(terms) = self.grant().0.clone() else { return stream };
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

/// Who lets a request be.
enum Answer {
    /// The Node authorizer, on these terms.
    Node(Grant),
    Roles,
    /// And what there is to say about it.
    Nobody(String),
}

/// What roles are asked about a list or watch that selects one name: it is of that object, as upstream's request info has it. Whoever
/// may read one object alone, by its name, watches it so.
fn one_name(verb: &str, target: &Target, fields: &FieldSelector) -> Option<Target> {
    if !target.name.is_empty() || !matches!(verb, "list" | "watch") {
        return None;
    }
    let mut names = fields.0.iter().filter(|term| term.field == "metadata.name" && !term.negated);
    let name = names.next().map(|term| term.value.clone())?;
    let is_name = !name.is_empty() && !matches!(&*name, "." | "..") && !name.contains(['/', '%']);
    is_name.then(|| Target { name, ..target.clone() })
}

impl Resources {
    /// Which roles count.
    pub fn authorizer(&self) -> &Authorizer {
        &self.inner.authorizer
    }
    /// Whether this verb is allowed, of a request that says its own. `fields`: the field selector of a list or watch. The error is
    /// upstream's 403.
    pub async fn authorize(
        &self,
        user: &Arc<User>,
        verb: Verb,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Allowed, ApiError> {
        let grant = self.grant(user, verb.as_str(), target, fields).await?;
        Ok(Allowed::granted(user.clone(), verb, target.clone(), grant))
    }
    /// As [`authorize`](Self::authorize), where the verb is known.
    pub async fn authorize_to<V: to::Act>(
        &self,
        user: &Arc<User>,
        target: Target,
        fields: &FieldSelector,
    ) -> Result<Authorized<V>, ApiError> {
        let grant = self.grant(user, V::VERB.as_str(), &target, fields).await?;
        Ok(Authorized::granted(user.clone(), target, grant))
    }
    /// Whether somebody may be connected to what the target names. What is taken away later does not end what streams.
    /// `verb`: as roles name it, which follows the request's method; none for OPTIONS. `fields`: the field selector of what is a list
    /// or watch of another server's objects.
    pub async fn authorize_connect(
        &self,
        user: &Arc<User>,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Authorized<to::Connect>, ApiError> {
        let grant = self.grant(user, verb, target, fields).await?;
        Ok(Authorized::granted(user.clone(), target.clone(), grant))
    }
    /// Whether a write that finds nothing may make the object: what a create of this name would be told.
    pub(super) async fn authorize_create(
        &self,
        user: &Arc<User>,
        target: &Target,
    ) -> Result<Authorized<to::Create>, ApiError> {
        self.authorize_to(user, target.clone(), &FieldSelector::default()).await
    }
    /// Whether it is allowed, where nothing is to follow from it but a yes or no: verbs that are no access (`impersonate`).
    pub async fn check(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<(), ApiError> {
        self.grant(user, verb, target, fields).await.map(drop)
    }
    async fn grant(&self, user: &User, verb: &str, target: &Target, fields: &FieldSelector) -> Result<Grant, ApiError> {
        let why = match self.ask(user, user, verb, target, fields).await? {
            Answer::Node(grant) => return Ok(grant),
            Answer::Roles => return Ok(Grant::default()),
            Answer::Nobody(why) => why,
        };
        let one = one_name(verb, target, fields);
        let asked = Attributes::Resource { verb, target: one.as_ref().unwrap_or(target) };
        if one.is_some() && self.authorizer().check(user, asked).is_ok() {
            return Ok(Grant::default());
        }
        Err(authz::refusal(user, asked, &why))
    }
    /// Whether it would be allowed to `user`, and why (`Ok`) or why not (`Err`), as far as there is something to say. `asker`
    /// wants to know it, and may create reviews: whoever asks about others' nodes spends none of their looks. `fields`: as
    /// [`authorize`](Self::authorize) has it.
    pub async fn explain(
        &self,
        asker: &Authorized<to::Create>,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Result<String, String>, ApiError> {
        let answer = self.ask(asker.user(), user, verb, target, fields).await?;
        Ok(self.told(answer, user, verb, target))
    }
    /// The same, as this server knows it now.
    pub(super) fn explain_at_once(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Result<String, String>, ApiError> {
        let (answer, _) = self.ask_at_once(user, verb, target, fields)?;
        Ok(self.told(answer, user, verb, target))
    }
    fn told(&self, answer: Answer, user: &User, verb: &str, target: &Target) -> Result<String, String> {
        match answer {
            Answer::Node(_) => Ok(String::new()),
            // Roles may have changed since: what they say now counts.
            Answer::Roles => self.authorizer().explain(user, Attributes::Resource { verb, target }),
            Answer::Nobody(why) => Err(why),
        }
    }

    async fn ask(
        &self,
        asker: &User,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<Answer, ApiError> {
        let (answer, terms) = self.ask_at_once(user, verb, target, fields)?;
        // The pod may have come to its node through another server, a moment ago.
        if let (Answer::Nobody(_), Some(terms)) = (&answer, terms)
            && authz::node_name(asker) == Some(&*terms.node)
            && self.inner.looks.take(&terms.node, Instant::now())
        {
            self.catch_up().await?;
            if self.is_on_node(&terms.node, &terms.need)? {
                return Ok(Answer::Node(Grant(Some(terms))));
            }
        }
        Ok(answer)
    }

    /// As this server knows it now; and on which terms a node might that has not heard of its pod yet.
    fn ask_at_once(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        fields: &FieldSelector,
    ) -> Result<(Answer, Option<Terms>), ApiError> {
        let asked = Attributes::Resource { verb, target };
        let (terms, mut why) = match judge(user, verb, target, fields) {
            Verdict::Allowed => return Ok((Answer::Node(Grant::default()), None)),
            Verdict::NoOpinion(why) => (None, why),
            Verdict::Needs(need) => {
                let node = authz::node_name(user).unwrap_or_default().to_owned();
                let why = format!("no relationship found between node '{node}' and this object");
                let terms = Terms { need, refusal: authz::refusal(user, asked, &why), node };
                if self.is_on_node(&terms.node, &terms.need)? {
                    return Ok((Answer::Node(Grant(Some(terms))), None));
                }
                (Some(terms), why)
            }
        };
        match self.authorizer().check(user, asked) {
            Ok(()) => return Ok((Answer::Roles, None)),
            Err(more) if more.is_empty() => {}
            Err(more) if why.is_empty() => why = more,
            // As upstream shows what its authorizers say, one below the other.
            Err(more) => why = format!("{why}\n{more}"),
        }
        Ok((Answer::Nobody(why), terms))
    }

    /// What is not there is nobody's: whether a name is taken is not a node's to learn.
    fn is_on_node(&self, node: &str, need: &Need) -> Result<bool, ApiError> {
        let pods = &self.builtin("", "v1", "pods")?;
        Ok(match need {
            Need::Bound { namespace, name } => {
                let Some(item) = pods.cached.get(&pods.short_key(namespace, name)) else { return Ok(false) };
                bound_to(pods, node, namespace)?.matches(&item)
            }
            Need::Referred { source, namespace, name } => {
                pods.cached.refers(node, *source, namespace, name)
                    || *source == Source::Secret && self.is_of_a_volume(node, &pods.cached, namespace, name)?
            }
            Need::Claimed { volume } => {
                let volumes = &self.builtin("", "v1", "persistentvolumes")?;
                let Some(item) = volumes.cached.get(volume) else { return Ok(false) };
                let is_used = |(namespace, name): (String, String)| {
                    pods.cached.refers(node, Source::PersistentVolumeClaim, &namespace, &name)
                };
                claim_of(&item).is_some_and(is_used) || is_directory_of(&item, node)
            }
            Need::Kept { volume } => {
                let volumes = &self.builtin("", "v1", "persistentvolumes")?;
                volumes.cached.get(volume).is_some_and(|item| is_directory_of(&item, node))
            }
            Need::Names { kind, namespace, name } => {
                let (group, plural) = kind.resource();
                let place = &self.builtin(group, "v1", plural)?;
                let item = place.cached.get(&place.short_key(namespace, name));
                item.is_some_and(|item| names_node(&item, node))
            }
        })
    }

    /// Whether the volume of a claim that a pod on the node refers to needs this Secret. Costs a look-up for each of the node's
    /// claims, however many volumes there are.
    fn is_of_a_volume(&self, node: &str, pods: &KindCache, namespace: &str, name: &str) -> Result<bool, ApiError> {
        let volumes = &self.builtin("", "v1", "persistentvolumes")?;
        let claims = pods.referred(node, Source::PersistentVolumeClaim);
        Ok(claims.iter().any(|claim| volumes.cached.refers(claim, Source::Secret, namespace, name)))
    }

    /// Whether these events of a watch are still the node's to see.
    fn still_allows(&self, terms: &Terms, events: &[Event]) -> Result<bool, ApiError> {
        let mut told = events.iter().filter(|event| !matches!(event.kind, EventKind::Bookmark { .. })).peekable();
        if told.peek().is_none() {
            return Ok(true);
        }
        match &terms.need {
            Need::Referred { .. } | Need::Claimed { .. } | Need::Names { .. } => {
                self.is_on_node(&terms.node, &terms.need)
            }
            Need::Kept { .. } => Ok(told.all(|event| is_directory_of(&event.item, &terms.node))),
            // A pod of that name may be another one by now, on another node; that its own is gone a node may hear.
            Need::Bound { namespace, .. } => {
                let own = bound_to(&self.builtin("", "v1", "pods")?, &terms.node, namespace)?;
                Ok(told.all(|event| own.matches(&event.item)))
            }
        }
    }
}

/// Whether the PersistentVolume is a directory of the node. What cannot be read is nobody's.
fn is_directory_of(volume: &Item, node: &str) -> bool {
    #[derive(Deserialize)]
    struct Meta {
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Volume {
        metadata: Meta,
    }
    let read = serde_json::from_slice::<Volume>(&volume.object());
    let Some(annotations) = read.ok().and_then(|volume| volume.metadata.annotations) else { return false };
    let says = |key: &str, value: &str| annotations.get(key).is_some_and(|said| said == value);
    says(PROVISIONED_BY, LOCAL_DIRECTORY) && says(ON_NODE, node)
}

/// The namespace and name of the claim that a PersistentVolume is bound to. What cannot be read is bound to none.
fn claim_of(volume: &Item) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Claim {
        namespace: String,
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        claim_ref: Option<Claim>,
    }
    #[derive(Deserialize)]
    struct Volume {
        spec: Spec,
    }
    let Claim { namespace, name } = serde_json::from_slice::<Volume>(&volume.object()).ok()?.spec.claim_ref?;
    Some((namespace, name))
}

fn names_node(item: &Item, node: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    #[derive(Deserialize)]
    struct Named {
        spec: Spec,
    }
    serde_json::from_slice::<Named>(&item.object()).is_ok_and(|named| named.spec.node_name.as_deref() == Some(node))
}

/// The pods of a namespace that are bound to a node.
fn bound_to(pods: &Place<'_>, node: &str, namespace: &str) -> Result<Filter, ApiError> {
    let term = FieldTerm { field: "spec.nodeName".into(), value: node.into(), negated: false };
    let fields = pods.field_terms(&FieldSelector(vec![term]))?;
    Ok(Filter::new(namespace, Selector::everything(), fields))
}
