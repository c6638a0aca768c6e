//! Whether a volume is attached to a node, detached from it, or left. Pure.

use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::storage::v1::VolumeAttachment;

/// A node that is not ready has let go of what it uses after so long, or never will.
pub const FORCE_AFTER: Duration = Duration::from_mins(6);

/// What counts of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub exists: bool,
    pub is_ready: bool,
    /// Somebody vouches that nothing runs there.
    pub is_out_of_service: bool,
    pub uses_volume: bool,
    /// Its status says that the volume is attached.
    pub reports_volume: bool,
}

/// Everything the decision may look at.
pub struct Observed<'a> {
    /// Pods on the node may use the volume: their claim is bound to it.
    pub is_wanted: bool,
    /// Pods on the node name its claim, whatever has become of that: what they have mounted is not taken from them.
    pub is_kept: bool,
    pub attachment: Option<&'a VolumeAttachment>,
    /// Other nodes to which it is attached, if it may be attached to one alone.
    pub elsewhere: &'a [String],
    pub node: &'a NodeState,
    /// For how long it has been attached for nobody.
    pub idle: Duration,
    /// Whether a node that is not ready has only so long.
    pub may_force: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    Attach,
    /// It is attached to another node.
    Refuse,
    /// The node may let go of it, or stay silent.
    Wait(Duration),
    /// The node's status must not say any more that it is attached.
    Unreport,
    /// Without a look at what the node says that it uses, if forced.
    Detach {
        is_forced: bool,
    },
}

pub fn decide(seen: &Observed<'_>) -> Action {
    match seen.attachment {
        // One that goes is made anew when it is gone.
        Some(attachment) if seen.is_kept || attachment.is_deleting() => Action::Keep,
        Some(attachment) => detach(seen, attachment),
        // A node that comes asks for what its pods use.
        None if !seen.is_wanted || !seen.node.exists => Action::Keep,
        None if !seen.elsewhere.is_empty() => Action::Refuse,
        None => Action::Attach,
    }
}

fn detach(seen: &Observed<'_>, attachment: &VolumeAttachment) -> Action {
    let node = seen.node;
    // One that is gone says nothing: it may have in use what was attached to it, and nothing else.
    let was_attached = attachment.status.as_ref().is_some_and(|status| status.attached);
    let has_it = if node.exists { node.uses_volume } else { was_attached };
    let is_forced = node.is_out_of_service || !node.is_ready && seen.may_force && seen.idle >= FORCE_AFTER;
    if has_it && !is_forced {
        // A ready node tells when it lets go, and so does its end. Nobody tells when the last is gone for whose sake nothing is
        // forced: then it is looked at now and then.
        return match (node.is_ready, seen.may_force) {
            (true, _) => Action::Keep,
            (false, true) => Action::Wait(FORCE_AFTER - seen.idle),
            (false, false) => Action::Wait(FORCE_AFTER),
        };
    }
    if node.reports_volume { Action::Unreport } else { Action::Detach { is_forced } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const READY: NodeState =
        NodeState { exists: true, is_ready: true, is_out_of_service: false, uses_volume: true, reports_volume: true };
    const GONE: NodeState = NodeState {
        exists: false,
        is_ready: false,
        is_out_of_service: false,
        uses_volume: false,
        reports_volume: false,
    };

    fn attachment(deleting: Option<&str>, attached: bool) -> VolumeAttachment {
        let spec = json!({"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "pv"}});
        let metadata = json!({"name": "a", "deletionTimestamp": deleting});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"attached": attached}})).unwrap()
    }

    #[test]
    fn attaching_table() {
        let (there, going) = (attachment(None, true), attachment(Some("2030-01-01T00:00:00Z"), true));
        let other = ["n2".to_owned()];
        let (yes, named, no) = ((true, true), (false, true), (false, false));
        let cases = [
            ("a pod uses it", yes, None, &[][..], &READY, Action::Attach),
            ("it is attached", yes, Some(&there), &[], &READY, Action::Keep),
            ("it is another node's alone", yes, None, &other[..], &READY, Action::Refuse),
            ("it is here, and there: neither is taken away", yes, Some(&there), &other[..], &READY, Action::Keep),
            ("it goes, and is made anew then", yes, Some(&going), &[], &READY, Action::Keep),
            ("it goes", no, Some(&going), &[], &READY, Action::Keep),
            ("nobody uses it", no, None, &[], &READY, Action::Keep),
            ("a pod names its claim, which is lost", named, Some(&there), &[], &READY, Action::Keep),
            ("that is no reason to attach it", named, None, &[], &READY, Action::Keep),
            ("there is no such node", yes, None, &[], &GONE, Action::Keep),
            ("nor is anybody told that another has it", yes, None, &other[..], &GONE, Action::Keep),
        ];
        for (why, (is_wanted, is_kept), attachment, elsewhere, node, expected) in cases {
            let idle = Duration::ZERO;
            let seen = Observed { is_wanted, is_kept, attachment, elsewhere, node, idle, may_force: true };
            assert_eq!(decide(&seen), expected, "{why}");
        }
    }

    #[test]
    fn detaching_table() {
        let lost = || NodeState { is_ready: false, ..READY };
        let unused = |node: NodeState| NodeState { uses_volume: false, ..node };
        let untold = |node: NodeState| NodeState { reports_volume: false, ..node };
        let out = || NodeState { is_out_of_service: true, ..lost() };
        let (wait, plain, forced) = (
            |secs| Action::Wait(Duration::from_secs(secs)),
            Action::Detach { is_forced: false },
            Action::Detach { is_forced: true },
        );
        // why, the node, for how long it is idle, whether it may be forced, and what is done
        let cases = [
            ("the kubelet has not let go", READY, 0, true, Action::Keep),
            ("nor after an hour", READY, 3600, true, Action::Keep),
            ("it has: the status says first that it goes", unused(READY), 1, true, Action::Unreport),
            ("then it goes", untold(unused(READY)), 1, true, plain.clone()),
            ("a silent node may come back", lost(), 60, true, wait(300)),
            ("it has not", lost(), 360, true, Action::Unreport),
            ("then it goes, whatever the node said last", untold(lost()), 360, true, forced.clone()),
            ("a silent node that had let go", untold(unused(lost())), 1, true, plain.clone()),
            ("nothing is forced, however silent it is", lost(), 3600, false, wait(360)),
            ("what it does not use goes all the same", untold(unused(lost())), 1, false, plain.clone()),
            ("somebody vouches for it", out(), 0, false, Action::Unreport),
            ("then it goes at once", untold(out()), 0, false, forced.clone()),
            ("a node that is gone may have it", GONE, 0, true, wait(360)),
            ("not for ever", GONE, 360, true, forced),
        ];
        let there = attachment(None, true);
        for (why, node, secs, may_force, expected) in cases {
            let idle = Duration::from_secs(secs);
            let (is_wanted, is_kept, attachment, node) = (false, false, Some(&there), &node);
            let seen = Observed { is_wanted, is_kept, attachment, elsewhere: &[], node, idle, may_force };
            assert_eq!(decide(&seen), expected, "{why}");
        }
        let never = attachment(None, false);
        let (is_wanted, is_kept, attachment, idle) = (false, false, Some(&never), Duration::ZERO);
        let seen = Observed { is_wanted, is_kept, attachment, elsewhere: &[], node: &GONE, idle, may_force: true };
        assert_eq!(decide(&seen), plain, "what was never attached to a node that is not there is nobody's");
    }
}
