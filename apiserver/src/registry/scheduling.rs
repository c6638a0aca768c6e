//! scheduling.k8s.io: which pods matter more than others.

pub mod priorityclass;
