//! The roles and bindings that every cluster begins with, brought about before the first request; what the writes of such have
//! beyond those of other kinds.

use std::collections::HashSet;

use bytes::Bytes;
use corten_api::{ApiError, Key, Object, Reason, rbac};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};

use super::place::Place;
use super::system::target;
use super::update::Writing;
use super::{Authorized, Resources, WriteOptions};
use crate::authz::rbac::bootstrap::reconcile::{Action, Item, decide};
use crate::authz::rbac::bootstrap::{Policy, policy};
use crate::authz::rbac::escalation;
use crate::authz::rbac::index::Source;
use crate::registry::{AnyObject, admissionregistration};
use crate::request::Target;

/// Servers that start at once get in each other's way so often at most: each look finds what the others have done.
const LOOKS_MAX: usize = 10;
/// Writes under way at one time.
const WIDTH: usize = 16;

/// What became of one action.
enum Done {
    Yes,
    /// Somebody else was faster: this is what the write was answered.
    LookAgain(ApiError),
}

impl Resources {
    /// Gives the cluster what it lacks of the built-in roles and bindings. Other servers may be doing the same.
    pub(super) async fn reconcile_roles(&self) -> Result<(), ApiError> {
        let mut left = Vec::new();
        for _ in 0..LOOKS_MAX {
            let actions = self.missing_roles()?;
            // Begun in their order, in which roles come before what binds them.
            let done = futures::stream::iter(actions).map(|action| self.reconcile(action)).buffered(WIDTH);
            let done: Vec<Result<Done, ApiError>> = done.collect().await;
            left.clear();
            for done in done {
                if let Done::LookAgain(err) = done? {
                    left.push(err);
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            self.catch_up().await?;
        }
        // What is there and is never seen is no object at all. It gives nothing, and no server refuses to start for it.
        for err in &left {
            tracing::error!(%err, "what stands in the place of a built-in role or binding cannot be read");
        }
        left.into_iter().find(|err| !err.is(Reason::AlreadyExists)).map_or(Ok(()), Err)
    }

    fn missing_roles(&self) -> Result<Vec<Action>, ApiError> {
        let (mut seen, mut wanted) = (Policy::default(), policy().clone());
        self.observe(&mut wanted.cluster_roles, &mut seen.cluster_roles)?;
        self.observe(&mut wanted.cluster_role_bindings, &mut seen.cluster_role_bindings)?;
        self.observe(&mut wanted.roles, &mut seen.roles)?;
        self.observe(&mut wanted.role_bindings, &mut seen.role_bindings)?;
        Ok(decide(&seen, &wanted))
    }

    /// What there is of the objects that are wanted. One that is there and cannot be read stays as it is, and is wanted no
    /// more: it gives nothing, and no server refuses to start for it.
    fn observe<K: Object>(&self, wanted: &mut Vec<K>, seen: &mut Vec<K>) -> Result<(), ApiError> {
        let place = &self.builtin(rbac::GROUP, "v1", K::URL_PATH_SEGMENT)?;
        let mut unreadable = HashSet::new();
        for object in wanted.iter() {
            let key = object.key();
            let Some(item) = place.cached.get(&place.short_key(&key.namespace, &key.name)) else { continue };
            match serde_json::from_slice(&item.object()) {
                Ok(object) => seen.push(object),
                Err(err) => {
                    let then =
                        "it gives nothing, and is made anew by the next start once its key is gone from the store";
                    tracing::error!(kind = K::KIND, %key, %err, then, "a built-in object cannot be read");
                    unreadable.insert(key);
                }
            }
        }
        wanted.retain(|object| !unreadable.contains(&object.key()));
        Ok(())
    }

    async fn reconcile(&self, action: Action) -> Result<Done, ApiError> {
        let written = match action {
            Action::Create(item) => self.make_role(&item).await,
            Action::Update(item) => {
                let (target, json) = parts(&item)?;
                self.update(&Authorized::own(target), json, WriteOptions::default()).await.map(drop)
            }
            Action::Recreate { uid, item } => {
                let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
                let how = DeleteOptions { preconditions, ..DeleteOptions::default() };
                let (target, _) = parts(&item)?;
                match self.delete(&Authorized::own(target), how, WriteOptions::default()).await {
                    Ok(_) => self.make_role(&item).await,
                    Err(err) => Err(err),
                }
            }
            Action::Leave { kind, key } => {
                tracing::warn!(kind, %key, "lacks something that it should have, and is annotated not to be updated");
                Ok(())
            }
        };
        match written {
            Ok(()) => Ok(Done::Yes),
            Err(err) if err.is(Reason::AlreadyExists) || err.is(Reason::Conflict) || err.is(Reason::NotFound) => {
                Ok(Done::LookAgain(err))
            }
            Err(err) => Err(err),
        }
    }

    async fn make_role(&self, item: &Item) -> Result<(), ApiError> {
        let (target, json) = parts(item)?;
        let target = Target { name: String::new(), ..target };
        self.create(&Authorized::own(target), json, WriteOptions::default()).await.map(drop)
    }

    /// Nobody gives what he does not have. What others have given him a moment ago, through another server, is looked for
    /// before he is refused.
    pub(super) async fn check_grant(&self, writing: &Writing<'_>, object: &dyn AnyObject) -> Result<(), ApiError> {
        match self.may_grant(writing, object, None) {
            Ok(()) => Ok(()),
            Err(_) => {
                self.catch_up().await?;
                self.may_grant(writing, object, None)
            }
        }
    }
    /// By what is known here. `old`: what is there before the write.
    pub(super) fn may_grant(
        &self,
        writing: &Writing<'_>,
        object: &dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), ApiError> {
        let (user, target) = (writing.user, writing.requested);
        let (object, old) = (object.as_any(), old.map(AnyObject::as_any));
        escalation::check(&self.authorizer().roles(), escalation::Writing { user, target, object, old })
    }

    /// Returns once requests are judged by this write of a role or binding, or of who is asked about writes: who is told that it is
    /// done finds it obeyed by this server. Writes of other kinds do not wait.
    pub(super) async fn judged_by(&self, place: &Place<'_>, revision: i64) {
        let says_who_is_asked = place.resource.group() == admissionregistration::GROUP;
        if Source::of(place.resource.store_prefix()).is_none() && !says_who_is_asked {
            return;
        }
        if let Err(err) = self.inner.cache.wait_for(revision).await {
            // It is done, and is obeyed as soon as the store can be followed again.
            let kind = place.resource.kind();
            tracing::warn!(%err, revision, kind, "a write is answered before requests are judged by it");
        }
    }
}

/// Where an object is written, and its JSON.
fn parts(item: &Item) -> Result<(Target, Bytes), ApiError> {
    fn of<K: Object>(object: &K) -> Result<(Target, Bytes), ApiError> {
        let Key { namespace, name } = object.key();
        let json = serde_json::to_vec(object).map_err(ApiError::internal)?;
        Ok((target(rbac::GROUP, K::URL_PATH_SEGMENT, &namespace, &name), json.into()))
    }
    match item {
        Item::ClusterRole(role) => of(role),
        Item::ClusterRoleBinding(binding) => of(binding),
        Item::Role(role) => of(role),
        Item::RoleBinding(binding) => of(binding),
    }
}
