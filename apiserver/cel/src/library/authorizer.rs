//! `authorizer.group('').resource('pods').check('create').allowed()`.

use std::sync::Arc;

use crate::error::EvalError;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::opaque::authorizer::{Asked, Authorizer, Of, PathCheck, ResourceCheck, ServiceAccount};
use crate::value::Value;

impl<'a> Value<'a> {
    /// The variable `authorizer`.
    pub fn authorizer(host: &'a dyn Authorizer) -> Self {
        Self::Opaque(Opaque::Authorizer(Asked { host, of: Of::Authorizer(None) }))
    }
    /// The variable `authorizer.requestResource`: the request's own resource is asked about.
    pub fn resource_check(host: &'a dyn Authorizer, check: ResourceCheck) -> Self {
        Self::Opaque(Opaque::Authorizer(Asked { host, of: Of::Resource(Arc::new(check)) }))
    }
}

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    let (Value::Opaque(Opaque::Authorizer(Asked { host, of })), rest) = args.split_first()? else { return None };
    // The next question has the names of this one and the arguments as its own.
    if let Err(e) = run.allocate(args.iter().map(|arg| size_of::<Value<'_>>() + arg.bytes()).sum()) {
        return Some(Err(e));
    }
    let host = *host;
    let next = |of: Of| Ok(Value::Opaque(Opaque::Authorizer(Asked { host, of })));
    Some(match (of, function, rest) {
        (Of::Authorizer(account), "path", [Value::String(path)]) => {
            if path.trim().is_empty() {
                return Some(Err(EvalError::function("path must not be empty")));
            }
            let service_account = account.clone();
            next(Of::Path(Arc::new(PathCheck { service_account, path: path.to_string(), verb: String::new() })))
        }
        (Of::Authorizer(account), "group", [Value::String(group)]) => {
            let service_account = account.clone();
            next(Of::Group(Arc::new(ResourceCheck { service_account, group: group.to_string(), ..Default::default() })))
        }
        (Of::Authorizer(_), "serviceAccount", [Value::String(namespace), Value::String(name)]) => {
            let wrong = [("namespace", namespace, corten_api::names::is_dns1123_label(namespace))];
            let named = [("name", name, corten_api::names::is_dns1123_subdomain(name))];
            if let Some((which, text, _)) = wrong.iter().chain(&named).find(|(_, _, is_good)| !is_good) {
                return Some(Err(EvalError::function(format!("Invalid service account {which}: {}", &***text))));
            }
            let account = ServiceAccount { namespace: namespace.to_string(), name: name.to_string() };
            next(Of::Authorizer(Some(account)))
        }
        (Of::Group(check), "resource", [Value::String(resource)]) => {
            if resource.trim().is_empty() {
                return Some(Err(EvalError::function("resource must not be empty")));
            }
            next(Of::Resource(Arc::new(ResourceCheck { resource: resource.to_string(), ..(**check).clone() })))
        }
        (Of::Resource(check), function, [Value::String(text)]) => {
            let mut check = (**check).clone();
            let text = text.to_string();
            match function {
                "subresource" => check.subresource = text,
                "namespace" => check.namespace = text,
                "name" => check.name = text,
                "fieldSelector" => check.field_selector = Some(text),
                "labelSelector" => check.label_selector = Some(text),
                "check" => {
                    check.verb = text;
                    return Some(next(Of::Decision(Arc::new(host.check_resource(&check)))));
                }
                _ => return None,
            }
            next(Of::Resource(Arc::new(check)))
        }
        (Of::Path(check), "check", [Value::String(verb)]) => {
            let check = PathCheck { verb: verb.to_string(), ..(**check).clone() };
            next(Of::Decision(Arc::new(host.check_path(&check))))
        }
        (Of::Decision(decision), "allowed", []) => Ok(Value::Bool(decision.allowed)),
        (Of::Decision(decision), "reason", []) => Ok(Value::text(decision.reason.as_str())),
        (Of::Decision(decision), "errored", []) => Ok(Value::Bool(decision.error.is_some())),
        (Of::Decision(decision), "error", []) => Ok(Value::text(decision.error.as_deref().unwrap_or(""))),
        _ => return None,
    })
}
