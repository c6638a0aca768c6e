//! Proofs that somebody was asked: what every read and write of objects takes, and nobody but the authorizer makes.
//!
//! [`Authorized`] says in its type what it allows: a handler that deletes takes `&Authorized<to::Delete>`, and whoever has
//! forgotten to ask, or has asked for something else, has no such value to call it with. What is allowed stands in the value:
//! the handler is told what to do by nothing but the proof, so that nobody can ask about one object and change another.
//!
//! [`AuthorizedPath`] is the same for what lies beside resources (`/metrics`, `/logs`, …). It is a type of its own, not one more
//! [`to`]: a path has no kind, namespace or name, and what takes the one can do nothing with the other.

use std::marker::PhantomData;
use std::sync::Arc;

use corten_api::ApiError;

use super::Grant;
use crate::authz::{Attributes, Authorizer};
use crate::request::{Target, User, Verb};
use crate::resources::system::itself;

/// What somebody may be authorized to do. These are names for types: there are no values of them.
pub mod to {
    use super::{Allowed, Authorized};
    use crate::request::Verb;

    /// One verb of the API.
    pub trait Act: Send + Sync + Sized + 'static {
        const VERB: Verb;
        /// The proof for this verb, if that is what was allowed.
        fn of(allowed: &Allowed) -> Option<&Authorized<Self>>;
    }

    macro_rules! acts {
        ($($name:ident),+) => {$(
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}
            impl Act for $name {
                const VERB: Verb = Verb::$name;

                fn of(allowed: &Allowed) -> Option<&Authorized<Self>> {
                    match allowed {
                        Allowed::$name(may) => Some(may),
                        _ => None,
                    }
                }
            }
        )+};
    }
    acts!(Get, List, Watch, Create, Update, Patch, Delete, DeleteCollection);

    /// To be connected to a container, or to what a pod, Service or node serves. The verb that roles were asked about is that of
    /// the request's method, whatever it is.
    #[derive(Clone, Copy, Debug)]
    pub enum Connect {}
}

/// That `user` may do `V` to `target`; and on what this depends, while a watch goes on.
///
/// Reads and writes take it in place of whom they are for and what they are about:
///
/// ```
/// use corten_apiserver::resources::{Authorized, ReadAt, Resources, to};
/// async fn read(resources: &Resources, may: &Authorized<to::Get>) {
///     drop(resources.get(may, ReadAt::Any).await);
/// }
/// ```
///
/// Nobody makes one up:
///
/// ```compile_fail,E0451
/// use corten_apiserver::request::{Target, User};
/// use corten_apiserver::resources::{Authorized, to};
/// let may: Authorized<to::Get> = Authorized {
///     user: User::default().into(),
///     target: Target::default(),
///     grant: Default::default(),
///     webhooks: true,
///     act: std::marker::PhantomData,
/// };
/// ```
///
/// Nor does the server's own door stand open:
///
/// ```compile_fail,E0624
/// use corten_apiserver::request::Target;
/// use corten_apiserver::resources::{Authorized, to};
/// let may: Authorized<to::Get> = Authorized::own(Target::default());
/// ```
///
/// And who may read may not delete:
///
/// ```compile_fail,E0308
/// use corten_apiserver::resources::{Authorized, Resources, to};
/// async fn delete(resources: &Resources, may: &Authorized<to::Get>) {
///     drop(resources.delete(may, Default::default(), Default::default()).await);
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Authorized<V> {
    user: Arc<User>,
    target: Target,
    grant: Grant,
    webhooks: bool,
    act: PhantomData<V>,
}

impl<V> Authorized<V> {
    /// What the authorizer has said. It alone calls this.
    pub(super) fn granted(user: Arc<User>, target: Target, grant: Grant) -> Self {
        Self { user, target, grant, webhooks: true, act: PhantomData }
    }

    /// What the server does of itself, and nobody has asked for: nobody is asked. For its own controllers (roles, quotas,
    /// priority classes, the fairness keeper, service CIDRs, its endpoints, what usage is measured on), and for what it must look
    /// up to answer a request that is authorized otherwise: the pod that a connection leads to, the Node of its kubelet.
    ///
    /// Nor are policies and webhooks: one that hangs or refuses must not take a healthy server out of the cluster, nor keep one from starting.
    ///
    /// Never with a target that a caller has named for anything but such a look-up: that is what
    /// [`Resources::authorize`](crate::resources::Resources::authorize) is for.
    pub(crate) fn own(target: Target) -> Self {
        Self { webhooks: false, ..Self::granted(Arc::new(itself()), target, Grant::default()) }
    }

    /// As if it had been allowed: for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn unasked(user: &User, target: &Target) -> Self {
        Self::granted(Arc::new(user.clone()), target.clone(), Grant::default())
    }

    /// Who asks.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }
    /// What it is about.
    pub fn target(&self) -> &Target {
        &self.target
    }
    /// Whether policies and webhooks are asked about what is written by it.
    pub(crate) fn asks_webhooks(&self) -> bool {
        self.webhooks
    }
    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl<V: to::Act> Authorized<V> {
    /// By the roles alone, for what is told of a kind's objects and is none of them: the Node authorizer speaks of objects. Allows
    /// nothing that the whole authorizer would not.
    pub(crate) fn by_roles(authorizer: &Authorizer, user: &Arc<User>, target: Target) -> Result<Self, ApiError> {
        authorizer.authorize(user, Attributes::Resource { verb: V::VERB.as_str(), target: &target })?;
        Ok(Self::granted(user.clone(), target, Grant::default()))
    }
}

impl Authorized<to::Create> {
    /// The older way to write `pods/binding`: who may create a namespace's `bindings` may bind its pods. The pod's name stands in
    /// the body.
    pub(crate) fn as_binding_of(&self, pod: String) -> Result<Self, ApiError> {
        let Target { group, resource, subresource, .. } = &self.target;
        if (group.as_str(), resource.as_str(), subresource.as_str()) != ("", "bindings", "") {
            return Err(ApiError::internal(format!("who may create {resource} may not bind pods for that")));
        }
        let (resource, subresource) = ("pods".into(), "binding".into());
        let target = Target { resource, subresource, name: pod, ..self.target.clone() };
        Ok(Self::granted(self.user.clone(), target, self.grant.clone()))
    }
}

/// A proof for whichever verb a request turned out to have: what a door goes by that reads the verb from a request.
#[derive(Debug)]
#[must_use]
pub enum Allowed {
    Get(Authorized<to::Get>),
    List(Authorized<to::List>),
    Watch(Authorized<to::Watch>),
    Create(Authorized<to::Create>),
    Update(Authorized<to::Update>),
    Patch(Authorized<to::Patch>),
    Delete(Authorized<to::Delete>),
    DeleteCollection(Authorized<to::DeleteCollection>),
}

impl Allowed {
    /// Who asks.
    pub fn user(&self) -> &Arc<User> {
        match self {
            Self::Get(may) => may.user(),
            Self::List(may) => may.user(),
            Self::Watch(may) => may.user(),
            Self::Create(may) => may.user(),
            Self::Update(may) => may.user(),
            Self::Patch(may) => may.user(),
            Self::Delete(may) => may.user(),
            Self::DeleteCollection(may) => may.user(),
        }
    }
    pub(super) fn granted(user: Arc<User>, verb: Verb, target: Target, grant: Grant) -> Self {
        match verb {
            Verb::Get => Self::Get(Authorized::granted(user, target, grant)),
            Verb::List => Self::List(Authorized::granted(user, target, grant)),
            Verb::Watch => Self::Watch(Authorized::granted(user, target, grant)),
            Verb::Create => Self::Create(Authorized::granted(user, target, grant)),
            Verb::Update => Self::Update(Authorized::granted(user, target, grant)),
            Verb::Patch => Self::Patch(Authorized::granted(user, target, grant)),
            Verb::Delete => Self::Delete(Authorized::granted(user, target, grant)),
            Verb::DeleteCollection => Self::DeleteCollection(Authorized::granted(user, target, grant)),
        }
    }
}

/// That somebody may do this to a path beside resources.
#[derive(Debug)]
#[must_use]
pub struct AuthorizedPath {
    verb: String,
    path: String,
}

impl AuthorizedPath {
    /// Asks the roles: no node has paths of its own. The error is upstream's 403.
    pub(crate) fn ask(authorizer: &Authorizer, user: &User, verb: &str, path: &str) -> Result<Self, ApiError> {
        authorizer.authorize(user, Attributes::Path { verb, path })?;
        Ok(Self { verb: verb.to_owned(), path: path.to_owned() })
    }
    /// The request's method, in lower case.
    pub fn verb(&self) -> &str {
        &self.verb
    }
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A proof for whichever request it was that a door let in.
#[derive(Debug)]
#[must_use]
pub enum Permit {
    Resource(Allowed),
    Connection(Authorized<to::Connect>),
    Path(AuthorizedPath),
}
