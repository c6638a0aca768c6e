//! Who is asked about one object a second time, which is the last: what is remembered from the first.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::registry::AnyObject;

/// Of those that change objects, each known by a key of its own.
#[derive(Default)]
pub struct Rounds {
    is_second: bool,
    /// Were asked and are to be asked again, should somebody change the object after them.
    asked: BTreeSet<Arc<str>>,
    /// Somebody has.
    again: BTreeSet<Arc<str>>,
    /// The object after the last of them.
    left: Option<Box<dyn AnyObject>>,
}

impl Clone for Rounds {
    fn clone(&self) -> Self {
        let left = self.left.as_ref().map(|object| object.boxed_clone());
        Self { is_second: self.is_second, asked: self.asked.clone(), again: self.again.clone(), left }
    }
}

impl Rounds {
    /// `object`: as it is after all others have seen it again.
    pub fn begin_second(&mut self, object: &dyn AnyObject) {
        self.is_second = true;
        if self.left.as_ref().is_some_and(|left| !left.same_as(object)) {
            self.changed();
        }
    }
    /// From zero.
    pub(super) fn round(&self) -> usize {
        usize::from(self.is_second)
    }
    /// One of them has changed the object.
    pub(super) fn changed(&mut self) {
        self.again.append(&mut self.asked);
    }
    pub(super) fn is_asked(&self, key: &str) -> bool {
        !self.is_second || self.again.contains(key)
    }
    /// One was asked that wants to be asked again.
    pub(super) fn asked(&mut self, key: &Arc<str>) {
        self.asked.insert(key.clone());
    }
    /// All were asked.
    pub(super) fn leave(&mut self, object: &dyn AnyObject) {
        self.left = Some(object.boxed_clone());
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn who_wants_to_is_asked_again_about_what_came_after() {
        let (again, once): (Arc<str>, Arc<str>) = ("again".into(), "once".into());
        let object: Box<dyn AnyObject> = Box::new(ConfigMap::default());
        let mut named = ConfigMap::default();
        named.metadata.name = Some("a".into());
        let rounds = || Rounds { left: Some(object.boxed_clone()), ..Rounds::default() };
        let asked = |rounds: &Rounds| [&again, &once].map(|key| rounds.is_asked(key));

        let mut first = rounds();
        first.asked(&again);
        assert_eq!(asked(&first), [true, true]);

        // One that came later has changed it.
        let mut later = rounds();
        later.asked(&again);
        later.changed();
        later.begin_second(&*object);
        assert_eq!(asked(&later), [true, false]);

        // It was the last that changed it, itself; but a plugin of the server's has changed it then.
        let last = || {
            let mut last = rounds();
            last.changed();
            last.asked(&again);
            last
        };
        let (mut plugin, mut alone) = (last(), last());
        plugin.begin_second(&named);
        assert_eq!(asked(&plugin), [true, false]);
        alone.begin_second(&*object);
        assert_eq!(asked(&alone), [false, false], "nobody has changed what it left");
    }
}
