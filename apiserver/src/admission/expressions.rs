//! What expressions of webhooks and policies see of a write, and what they may ask of rights. Pure: what they ask of the cluster is its
//! view.

use std::borrow::Cow;
use std::collections::BTreeMap;

use corten_api::selector::FieldSelector;
use corten_cel::{Authorizer, Decision, PathCheck, ResourceCheck, ServiceAccount, Value};
use serde_json::Value as Json;

use super::asking::Asking;
use crate::authn::account;
use crate::request::{Target, User};

/// The parts of a write.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) object: Option<&'a Json>,
    pub(super) old: Option<&'a Json>,
    pub(super) namespace: Option<&'a Json>,
    /// `None`: nobody may name them; they may be null all the same.
    pub(super) params: Option<Option<&'a Json>>,
    pub(super) request: &'a Json,
}

/// By their names.
pub(super) fn values<'a>(
    asking: &Asking<'_>,
    seen: &Seen<'a>,
    host: &'a dyn Authorizer,
) -> BTreeMap<&'static str, Value<'a>> {
    let or_null = |json: Option<&'a Json>| json.map_or(Value::Null, Value::dynamic);
    let target = asking.target;
    let own = ResourceCheck {
        group: target.group.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        namespace: asking.namespace().to_owned(),
        name: asking.name.to_owned(),
        ..ResourceCheck::default()
    };
    let mut values = BTreeMap::from([
        ("object", or_null(seen.object)),
        ("oldObject", or_null(seen.old)),
        ("namespaceObject", or_null(seen.namespace)),
        ("request", Value::dynamic(seen.request)),
        ("authorizer", Value::authorizer(host)),
        ("authorizer.requestResource", Value::resource_check(host, own)),
    ]);
    if let Some(params) = seen.params {
        values.insert("params", or_null(params));
    }
    values
}

/// Answers what expressions ask of rights.
pub(super) struct Host<'a>(pub(super) &'a Asking<'a>);

impl Host<'_> {
    /// Who is meant: the account, or who writes.
    fn user(&self, account: Option<&ServiceAccount>) -> Cow<'_, User> {
        let Some(ServiceAccount { namespace, name }) = account else { return Cow::Borrowed(self.0.user) };
        let (name, groups) = (account::user_name(namespace, name), account::groups(namespace));
        Cow::Owned(User { name, groups, ..User::default() })
    }
}

fn decision(told: Result<String, String>) -> Decision {
    let allowed = told.is_ok();
    Decision { allowed, reason: told.unwrap_or_else(|why| why), error: None }
}

impl Authorizer for Host<'_> {
    fn check_path(&self, check: &PathCheck) -> Decision {
        let user = self.user(check.service_account.as_ref());
        decision(self.0.view.may_use_and_why(&user, &check.verb, &check.path))
    }
    fn check_resource(&self, check: &ResourceCheck) -> Decision {
        let target = Target {
            group: check.group.clone(),
            version: "*".into(),
            resource: check.resource.clone(),
            subresource: check.subresource.clone(),
            namespace: check.namespace.clone(),
            name: check.name.clone(),
        };
        let fields = check.field_selector.as_deref().and_then(|text| FieldSelector::parse(text).ok());
        let user = self.user(check.service_account.as_ref());
        match self.0.view.may_and_why(&user, &check.verb, &target, &fields.unwrap_or_default()) {
            Ok(told) => decision(told),
            Err(err) => Decision { error: Some(err.message().to_owned()), ..Decision::default() },
        }
    }
}
