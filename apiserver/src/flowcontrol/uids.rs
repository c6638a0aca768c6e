//! How a response says where its request was sorted: headers with the UIDs of the two objects.
//!
//! <https://kubernetes.io/docs/reference/debug-cluster/flow-control/#debug-http-endpoints>.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// `None`: there is no such object yet, and no header.
#[derive(Clone, Debug)]
pub(super) struct Uids {
    flow_schema: Option<HeaderValue>,
    priority_level: Option<HeaderValue>,
}

impl Uids {
    pub(super) fn new(flow_schema: &str, priority_level: &str) -> Self {
        let value = |uid: &str| Some(uid).filter(|uid| !uid.is_empty()).and_then(|uid| HeaderValue::from_str(uid).ok());
        Self { flow_schema: value(flow_schema), priority_level: value(priority_level) }
    }

    pub(super) fn put(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(FLOW_SCHEMA, &self.flow_schema), (PRIORITY_LEVEL, &self.priority_level)] {
            if let Some(uid) = uid {
                headers.insert(name, uid.clone());
            }
        }
    }
}
