//! Leaders: only who has the lease writes, and nobody takes it from who has it.

use serde_json::Value;

use crate::cluster::{Cluster, Step};

/// The programs of which one leads, and their leases.
const LEADERS: [(&str, &str); 2] = [("controllers", "kube-controller-manager"), ("scheduler", "kube-scheduler")];
/// What they write without leading: who they are, and what they have to say.
const FREE: [&str; 2] = ["leases", "events"];

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

pub(super) fn only_leaders_write(cluster: &Cluster, step: &Step) -> Option<String> {
    let (_, lease) = LEADERS.iter().find(|(program, _)| step.author.starts_with(program))?;
    if FREE.contains(&step.place.kind.as_str()) {
        return None;
    }
    let lease = cluster.get("leases", "kube-system", lease)?;
    // Identities are a program's name and something that is its process's alone.
    let leads = holder(lease).split('_').next() == Some(step.author.as_str());
    (!leads).then(|| format!("{} writes, and {:?} leads", step.author, holder(lease)))
}

pub(super) fn leases(_: &Cluster, step: &Step) -> Option<String> {
    let (old, new) = (step.old.as_ref().filter(|_| step.is_of("leases"))?, step.new.as_ref()?);
    if step.place.namespace != "kube-system" || holder(old) == holder(new) || holder(new).is_empty() {
        return None;
    }
    let transitions = |lease: &Value| crate::read::number(lease, "/spec/leaseTransitions");
    (transitions(new) <= transitions(old)).then(|| "another holds it, and its transitions did not grow".to_owned())
}
