//! What may be done with the subresources of kinds, and of which kind their bodies are.

use crate::request::Verb;

/// What is known of a subresource by its name.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// Each in its own request: there is no list of a subresource.
    pub verbs: &'static [Verb],
    /// Group, version and kind of its body; `None`: the parent's own.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    /// It is answered over a connection, by a node or by what is behind the proxy. To read it is not to read the parent.
    pub is_connection: bool,
}

const CHANGE: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
const CREATE: &[Verb] = &[Verb::Create];
const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
/// What is behind the proxy has methods of its own.
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
const GET: &[Verb] = &[Verb::Get];
const UPDATE: &[Verb] = &[Verb::Update];

/// Of a resource (`pods`), by name: `status`, `scale`, `log`.
pub fn of(resource: &str, name: &str) -> Subresource {
    let part = |verbs, kind| Subresource { verbs, kind, is_connection: false };
    let connection = |verbs, kind| Subresource { verbs, kind, is_connection: true };
    match name {
        "scale" => part(CHANGE, Some(("autoscaling", "v1", "Scale"))),
        "binding" => part(CREATE, Some(("", "v1", "Binding"))),
        "eviction" => part(CREATE, Some(("policy", "v1", "Eviction"))),
        "token" => part(CREATE, Some(("authentication.k8s.io", "v1", "TokenRequest"))),
        "exec" => connection(CONNECT, Some(("", "v1", "PodExecOptions"))),
        "attach" => connection(CONNECT, Some(("", "v1", "PodAttachOptions"))),
        "portforward" => connection(CONNECT, Some(("", "v1", "PodPortForwardOptions"))),
        "log" => connection(GET, None),
        "proxy" => {
            let options = match resource {
                "pods" => "PodProxyOptions",
                "services" => "ServiceProxyOptions",
                _ => "NodeProxyOptions",
            };
            connection(PROXY, Some(("", "v1", options)))
        }
        "finalize" => part(UPDATE, None),
        _ => part(CHANGE, None),
    }
}
