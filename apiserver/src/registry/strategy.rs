//! The writes that a kind's rules know, and what every kind does in each of them.

use corten_api::Problems;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{AnyObject, Kind, Part, status};
use crate::request::User;

/// A write: of a new object, or of one that is there (here as it was) through one of its subresources. What upstream has a
/// strategy for.
#[derive(Debug)]
pub enum Strategy<'a, O: ?Sized> {
    Create,
    Update(&'a O),
    Status(&'a O),
    Approval(&'a O),
    Finalize(&'a O),
    Part(Part, &'a O),
}

/// Who writes, and when.
#[derive(Clone, Debug)]
pub struct WriteContext<'a> {
    pub user: &'a User,
    pub now: Time,
}

impl<O: ?Sized> Clone for Strategy<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O: ?Sized> Copy for Strategy<'_, O> {}

impl<'a, O: ?Sized> Strategy<'a, O> {
    /// Of an object that is there. `None`: nothing is written through this subresource.
    pub fn of(subresource: &str, old: &'a O) -> Option<Self> {
        Some(match subresource {
            "" => Self::Update(old),
            "status" => Self::Status(old),
            "approval" => Self::Approval(old),
            "finalize" => Self::Finalize(old),
            _ => Self::Part(Part::of(subresource)?, old),
        })
    }
    /// Whether it may change what is wanted: what other writes take along of the spec does not count.
    pub fn may_want(self) -> bool {
        match self {
            Self::Create | Self::Update(_) | Self::Part(..) => true,
            Self::Status(_) | Self::Approval(_) | Self::Finalize(_) => false,
        }
    }
    fn map<P>(self, typed: impl FnOnce(&'a O) -> Option<&'a P>) -> Option<Strategy<'a, P>> {
        Some(match self {
            Self::Create => Strategy::Create,
            Self::Update(old) => Strategy::Update(typed(old)?),
            Self::Status(old) => Strategy::Status(typed(old)?),
            Self::Approval(old) => Strategy::Approval(typed(old)?),
            Self::Finalize(old) => Strategy::Finalize(typed(old)?),
            Self::Part(part, old) => Strategy::Part(part, typed(old)?),
        })
    }
}

impl<'a> Strategy<'a, dyn AnyObject> {
    /// `None`: the object is of another kind.
    pub(super) fn typed<K: Kind>(self) -> Option<Strategy<'a, K>> {
        self.map(|old| old.as_any().downcast_ref())
    }
}

impl<K: Kind> Strategy<'_, K> {
    /// Undoes what this write may not say, and sets what the server does.
    pub fn prepare(self, new: &mut K, context: &WriteContext<'_>) {
        match self {
            Self::Create => {
                new.start_status();
                new.prepare_create(context);
            }
            Self::Update(old) => {
                new.keep_status(old);
                new.prepare_update(old, context);
            }
            Self::Status(old) => {
                new.keep_spec(old);
                if K::STATUS_KEEPS_METADATA {
                    status::keep_metadata(new.metadata_mut(), old.metadata());
                }
                new.prepare_status(old, context);
            }
            Self::Approval(old) => {
                new.keep_spec(old);
                new.prepare_approval(old, context);
            }
            Self::Finalize(old) => new.keep_status(old),
            Self::Part(part, old) => {
                new.keep_status(old);
                status::keep_metadata(new.metadata_mut(), old.metadata());
                new.prepare_part(part, old);
            }
        }
    }
    pub fn validate(self, new: &K, problems: &mut Problems) {
        match self {
            Self::Create => new.validate(problems),
            Self::Update(old) => new.validate_over(old, problems),
            Self::Status(old) => new.validate_status(old, problems),
            Self::Approval(old) => new.validate_approval(old, problems),
            Self::Finalize(_) => {}
            Self::Part(part, old) => {
                new.validate(problems);
                new.validate_part(part, old, problems);
            }
        }
    }
}

/// Says which field of a kind is what is wanted, and which is what is seen: those that [`Kind`] wants to know of each.
/// `strategy!(spec, status)`, or `strategy!(spec, given status)` where whoever creates says what is seen; `strategy!(spec)` for a kind without status; `strategy!()` for one that has neither.
macro_rules! strategy {
    () => {
        no_status!();
        fn keep_spec(&mut self, _old: &Self) {}
        fn has_other_spec(&self, _old: &Self) -> bool {
            false
        }
    };
    ($spec:ident) => {
        no_status!();
        spec!($spec);
    };
    ($spec:ident, $status:ident) => {
        fn start_status(&mut self) {
            self.$status = Some(Default::default());
        }
        keep_status!($status);
        spec!($spec);
    };
    ($spec:ident, given $status:ident) => {
        fn start_status(&mut self) {
            self.$status.get_or_insert_default();
        }
        keep_status!($status);
        spec!($spec);
    };
}

macro_rules! keep_status {
    ($status:ident) => {
        fn keep_status(&mut self, old: &Self) {
            self.$status.clone_from(&old.$status);
        }
    };
}

macro_rules! spec {
    ($spec:ident) => {
        fn keep_spec(&mut self, old: &Self) {
            self.$spec.clone_from(&old.$spec);
        }
        fn has_other_spec(&self, old: &Self) -> bool {
            self.$spec != old.$spec
        }
    };
}

macro_rules! no_status {
    () => {
        fn start_status(&mut self) {}
        fn keep_status(&mut self, _old: &Self) {}
    };
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::ApiResource;
    use crate::registry::check::testing::now;
    use crate::schema::Shape;

    /// Its status after a plain write of this one.
    fn written(resource: &ApiResource, old: &Value, new: &Value) -> Option<Value> {
        let decode = |json: &Value| resource.decode(json.to_string().as_bytes()).unwrap();
        let (old, mut new) = (decode(old), decode(new));
        let context = WriteContext { user: &User::default(), now: now() };
        resource.rules().prepare(Strategy::Update(&*old), &mut *new, &context);
        new.to_value().unwrap().get("status").cloned()
    }

    #[test]
    fn no_plain_write_of_any_kind_changes_the_status() {
        let has_status =
            |resource: &ApiResource| resource.shape().is_some_and(|shape: Shape<'_>| shape.child("status").is_some());
        for resource in crate::registry::builtin() {
            assert_eq!(has_status(&resource), resource.has_subresource("status"), "{resource:?}");
            let (without, with) = (json!({}), json!({"status": {}}));
            assert_eq!(written(&resource, &without, &with), written(&resource, &without, &without), "{resource:?}");
        }
    }

    #[test]
    fn an_object_of_another_kind_is_no_old_one() {
        let pod = Pod::default();
        let write: Strategy<'_, dyn AnyObject> = Strategy::Update(&pod);
        assert!(write.typed::<Pod>().is_some() && write.typed::<Node>().is_none());
    }
}
