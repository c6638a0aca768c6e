//! How many objects there are: what a list of them is thought to cost.

use bytes::Bytes;

use super::{Allowed, Resources};
use crate::request::Target;
use crate::view::ClusterView;

impl Resources {
    /// Objects of the target's kind in all namespaces; 0 where it is no kind of ours. Costs nothing: the cache counts them.
    pub fn stored(&self, target: &Target) -> usize {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let place = resource.and_then(|resource| self.place_of(resource).ok());
        place.map_or(0, |place| place.cached.snapshot(0).items.len())
    }

    /// Bytes of the object that a write changes, as the cache has it now: what is to be gone through, however little the write
    /// says; of an eviction, the budgets too. 0 for what is not there yet, and for what reads.
    pub fn stored_bytes(&self, may: &Allowed) -> usize {
        let target = match may {
            Allowed::Create(may) => may.target(),
            Allowed::Update(may) => may.target(),
            Allowed::Patch(may) => may.target(),
            Allowed::Delete(may) => may.target(),
            // Of a collection each object is a write of its own.
            Allowed::Get(_) | Allowed::List(_) | Allowed::Watch(_) | Allowed::DeleteCollection(_) => return 0,
        };
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let place = resource.and_then(|resource| self.place_of(resource).ok());
        let item = place.and_then(|place| place.cached.get(&place.short_key(&target.namespace, &target.name)));
        let budgets = match target.subresource.as_str() {
            "eviction" => ClusterView::list(self, "policy", "poddisruptionbudgets", &target.namespace),
            _ => Vec::new(),
        };
        item.map_or(0, |item| item.weight()) + budgets.iter().map(Bytes::len).sum::<usize>()
    }
}
