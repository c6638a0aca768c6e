//! Parts of what is wanted that have a subresource of their own: a plain write may not touch them.

/// Such a part. The bodies of its subresource are whole objects of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The containers that debug a pod.
    EphemeralContainers,
    /// What a pod's containers ask for and may have.
    Resize,
}

impl Part {
    pub fn of(subresource: &str) -> Option<Self> {
        match subresource {
            "ephemeralcontainers" => Some(Self::EphemeralContainers),
            "resize" => Some(Self::Resize),
            _ => None,
        }
    }
}
