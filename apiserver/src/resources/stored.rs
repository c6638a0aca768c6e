//! How many objects there are: what a list of them is thought to cost.

use super::{Allowed, Resources};
use crate::aside::LARGE_BODY_BYTES;
use crate::request::Target;

impl Resources {
    /// Objects of the target's kind in all namespaces; 0 where it is no kind of ours. Costs nothing: the cache counts them.
    pub fn stored(&self, target: &Target) -> usize {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let place = resource.and_then(|resource| self.place_of(resource).ok());
        place.map_or(0, |place| place.cached.snapshot(0).items.len())
    }

    /// Whether a request with a message of so many bytes keeps a thread busy for long: of a write, for its object too, as the cache
    /// has it now, however little the write says, and for what is asked of it. Not for who waits in between, and finds a place by
    /// himself (`aside`): the place would be held for nothing meanwhile.
    pub fn is_large(&self, may: &Allowed, message: usize) -> bool {
        let target = match may {
            Allowed::Create(may) if may.target().subresource == "eviction" => return false,
            Allowed::Create(may) => may.target(),
            Allowed::Update(may) => may.target(),
            Allowed::Patch(may) => may.target(),
            Allowed::Delete(may) => may.target(),
            // Of a collection each object is a write of its own.
            Allowed::Get(_) | Allowed::List(_) | Allowed::Watch(_) | Allowed::DeleteCollection(_) => {
                return message > LARGE_BODY_BYTES;
            }
        };
        message.max(self.stored_bytes(target)) > LARGE_BODY_BYTES || self.is_costly(target)
    }

    fn is_costly(&self, target: &Target) -> bool {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        resource.is_some_and(|resource| resource.rules().is_costly())
    }

    /// Of the object itself; 0 for what is not there.
    pub(super) fn stored_bytes(&self, target: &Target) -> usize {
        let resource = self.inner.registry.find(&target.group, &target.version, &target.resource);
        let place = resource.and_then(|resource| self.place_of(resource).ok());
        let item = place.and_then(|place| place.cached.get(&place.short_key(&target.namespace, &target.name)));
        item.map_or(0, |item| item.weight())
    }
}
