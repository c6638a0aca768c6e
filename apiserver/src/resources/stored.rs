//! How many objects there are: what a list of them is thought to cost.

use super::Resources;
use crate::request::Target;

impl Resources {
    /// Objects of the target's kind in all namespaces; 0 where it is no kind of ours. Costs nothing: the cache counts them.
    pub fn stored(&self, target: &Target) -> usize {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let place = resource.and_then(|resource| self.place_of(resource).ok());
        place.map_or(0, |place| place.cached.snapshot(0).items.len())
    }
}
