//! Containers of all three sorts, as far as rules that hold for all of them look at them.

use k8s_openapi::api::core::v1::{PodSpec, SecurityContext};

use crate::registry::path::Path;

pub(super) struct Seen<'a> {
    list: &'static str,
    index: usize,
    pub(super) name: &'a str,
    pub(super) context: Option<&'a SecurityContext>,
    pub(super) has_devices: bool,
}

impl Seen<'_> {
    /// Calls back with the path of the container in a spec.
    pub(super) fn at(&self, spec: &Path<'_>, mut called: impl FnMut(&Path<'_>)) {
        called(&spec.field(self.list).index(self.index));
    }
}

/// Each container of a pod: initial, main, and those that debug it.
pub(super) fn container(spec: &PodSpec) -> impl Iterator<Item = Seen<'_>> {
    let initial = spec.init_containers.iter().flatten().enumerate().map(|c| ("initContainers", c));
    let main = spec.containers.iter().enumerate().map(|c| ("containers", c));
    let shaped = initial.chain(main).map(|(list, (index, c))| Seen {
        list,
        index,
        name: &c.name,
        context: c.security_context.as_ref(),
        has_devices: c.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()),
    });
    let debugging = spec.ephemeral_containers.iter().flatten().enumerate().map(|(index, c)| Seen {
        list: "ephemeralContainers",
        index,
        name: &c.name,
        context: c.security_context.as_ref(),
        has_devices: c.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()),
    });
    shaped.chain(debugging)
}
