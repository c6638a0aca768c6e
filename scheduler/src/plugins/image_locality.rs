//! Prefers nodes that have the pod's images already, the larger and the more common the better. Common ones count more, so
//! that not all pods of an image go to the first node that pulled it.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::framework::{Cycle, MAX_NODE_SCORE, Plugin, Scorer};
use crate::snapshot::images::ImageId;
use crate::snapshot::{NodeId, NodeInfo};

const MIB: i64 = 1 << 20;
/// Less than this is not worth a preference, and more than this of each container no greater one.
const MIN_BYTES: i64 = 23 * MIB;
const MAX_BYTES_OF_EACH: i64 = 1000 * MIB;

#[derive(Debug)]
pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        let (images, nodes) = (cycle.snapshot.images(), cycle.snapshot.len());
        let known = cycle.class.ask.images.iter().filter_map(|name| images.id(name));
        let images: Vec<(ImageId, f64)> = known.map(|id| (id, images.nodes(id) as f64 / nodes.max(1) as f64)).collect();
        let containers = i64::try_from(cycle.class.ask.images.len()).unwrap_or(i64::MAX / MAX_BYTES_OF_EACH);
        let scorer = Having { images, max_bytes: containers * MAX_BYTES_OF_EACH };
        (!scorer.images.is_empty()).then(|| Box::new(scorer) as Box<dyn Scorer + 'a>)
    }
    fn scores_hold_for(&self, cycle: &Cycle<'_>) -> u64 {
        let images = cycle.snapshot.images();
        let counts = cycle.class.ask.images.iter().filter_map(|name| images.id(name)).map(|id| (id, images.nodes(id)));
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (counts, cycle.snapshot.len()).hash(&mut hasher);
        hasher.finish()
    }
}

struct Having {
    /// With the part of all nodes that have it.
    images: Vec<(ImageId, f64)>,
    max_bytes: i64,
}

impl Scorer for Having {
    fn score(&self, node: &NodeInfo) -> i64 {
        let has = |id: ImageId| {
            let list = &node.spec.images;
            list.binary_search_by_key(&id, |(id, _)| *id).map_or(0, |at| list[at].1)
        };
        let bytes: i64 = self.images.iter().map(|(id, spread)| (has(*id) as f64 * spread) as i64).sum();
        let bytes = bytes.clamp(MIN_BYTES, self.max_bytes);
        MAX_NODE_SCORE * (bytes - MIN_BYTES) / (self.max_bytes - MIN_BYTES)
    }
}
