//! Which images nodes have, by number; and how many nodes have each.

use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(u32);

/// Image names that any node has. One that none has any more is forgotten.
#[derive(Debug, Default)]
pub struct Images {
    by_name: HashMap<String, ImageId>,
    images: Vec<Image>,
    free: Vec<ImageId>,
}

#[derive(Debug, Default)]
struct Image {
    name: String,
    nodes: usize,
}

impl Images {
    pub fn id(&self, name: &str) -> Option<ImageId> {
        self.by_name.get(name).copied()
    }
    pub fn nodes(&self, image: ImageId) -> usize {
        self.images.get(image.0 as usize).map_or(0, |i| i.nodes)
    }
    /// One node more has it.
    pub(super) fn add(&mut self, name: &str) -> ImageId {
        let id = self.id(name).unwrap_or_else(|| {
            let id = self.free.pop().unwrap_or_else(|| {
                self.images.push(Image::default());
                ImageId(u32::try_from(self.images.len() - 1).unwrap_or(u32::MAX))
            });
            self.by_name.insert(name.into(), id);
            id
        });
        let image = &mut self.images[id.0 as usize];
        (image.name, image.nodes) = (name.into(), image.nodes + 1);
        id
    }
    /// One node less has it.
    pub(super) fn remove(&mut self, id: ImageId) {
        let image = &mut self.images[id.0 as usize];
        image.nodes = image.nodes.saturating_sub(1);
        if image.nodes == 0 {
            self.by_name.remove(&std::mem::take(&mut image.name));
            self.free.push(id);
        }
    }
}
