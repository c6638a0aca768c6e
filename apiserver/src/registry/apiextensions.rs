//! apiextensions.k8s.io: kinds that users define.

pub mod customresourcedefinition;
