//! What is said of a write to whom is asked about it: an AdmissionRequest. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::asking::{Asking, Names};
use crate::registry::ApiResource;

#[derive(Serialize)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct Resource<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

#[derive(Serialize)]
struct UserInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    uid: &'a str,
    kind: Kind<'a>,
    resource: Resource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_resource: &'a str,
    request_kind: Kind<'a>,
    request_resource: Resource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_sub_resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    operation: &'static str,
    user_info: UserInfo<'a>,
    object: Option<&'a RawValue>,
    old_object: Option<&'a RawValue>,
    dry_run: bool,
    options: Option<&'a Value>,
}

impl<'a> From<Names<'a>> for Kind<'a> {
    fn from(names: Names<'a>) -> Self {
        Self { group: names.group, version: names.version, kind: names.name }
    }
}

impl<'a> From<&'a ApiResource> for Resource<'a> {
    fn from(of: &'a ApiResource) -> Self {
        Self { group: of.group(), version: of.version(), resource: of.plural() }
    }
}

/// An object's JSON.
pub(super) type Json = Box<RawValue>;

/// What expressions know of a write: all of the question but its objects, which they know apart.
pub(super) fn request(asking: &Asking<'_>, as_resource: &ApiResource) -> Result<Value, serde_json::Error> {
    serde_json::to_value(question("", asking, as_resource, (None, None)))
}

/// `as_resource`: in which version the objects are.
pub(super) fn question<'a>(
    uid: &'a str,
    asking: &'a Asking<'_>,
    as_resource: &'a ApiResource,
    (object, old): (Option<&'a RawValue>, Option<&'a RawValue>),
) -> Request<'a> {
    let sub_resource = asking.target.subresource.as_str();
    let user = asking.user;
    Request {
        uid,
        kind: asking.kind_in(as_resource).into(),
        resource: as_resource.into(),
        sub_resource,
        request_kind: asking.kind_in(asking.resource).into(),
        request_resource: (&**asking.resource).into(),
        request_sub_resource: sub_resource,
        name: asking.name,
        namespace: asking.namespace(),
        operation: asking.operation.as_str(),
        user_info: UserInfo { username: &user.name, uid: &user.uid, groups: &user.groups, extra: &user.extra },
        object,
        old_object: old,
        dry_run: asking.dry_run,
        options: asking.options.as_ref(),
    }
}
