//! Questions of who may do what, to whom the host names.

use std::fmt;
use std::sync::Arc;

/// Who answers. Asked while an expression is evaluated, so it answers from memory.
pub trait Authorizer: Send + Sync {
    fn check_path(&self, check: &PathCheck) -> Decision;
    fn check_resource(&self, check: &ResourceCheck) -> Decision;
}

/// May the requester, or a service account in its place, use a path?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathCheck {
    pub service_account: Option<ServiceAccount>,
    pub path: String,
    pub verb: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

/// What is empty is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceCheck {
    pub service_account: Option<ServiceAccount>,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As they are written. What does not parse counts as not there.
    pub field_selector: Option<String>,
    pub label_selector: Option<String>,
    pub verb: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    /// What went wrong when it was asked.
    pub error: Option<String>,
}

/// How far a question has come.
#[derive(Clone)]
pub struct Asked<'a> {
    pub(crate) host: &'a dyn Authorizer,
    pub(crate) of: Of,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Authorizer(Option<ServiceAccount>),
    Path(Arc<PathCheck>),
    /// A resource check without its resource.
    Group(Arc<ResourceCheck>),
    Resource(Arc<ResourceCheck>),
    Decision(Arc<Decision>),
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)
    }
}

impl Asked<'_> {
    pub(super) fn type_name(&self) -> &'static str {
        match self.of {
            Of::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Of::Path(_) => "kubernetes.authorization.PathCheck",
            Of::Group(_) => "kubernetes.authorization.GroupCheck",
            Of::Resource(_) => "kubernetes.authorization.ResourceCheck",
            Of::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
    /// What its names take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let account = |account: &Option<ServiceAccount>| {
            account.as_ref().map_or(0, |account| account.namespace.len() + account.name.len())
        };
        match &self.of {
            Of::Authorizer(of) => account(of),
            Of::Path(check) => account(&check.service_account) + check.path.len() + check.verb.len(),
            Of::Group(check) | Of::Resource(check) => {
                let ResourceCheck { service_account, group, resource, subresource, namespace, name, verb, .. } =
                    &**check;
                let selectors = [&check.field_selector, &check.label_selector].into_iter().flatten();
                let names = [group, resource, subresource, namespace, name, verb].into_iter().chain(selectors);
                account(service_account) + names.map(String::len).sum::<usize>()
            }
            Of::Decision(decision) => decision.reason.len() + decision.error.as_ref().map_or(0, String::len),
        }
    }
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.of == other.of
    }
}
