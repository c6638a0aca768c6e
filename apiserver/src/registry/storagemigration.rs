//! storagemigration.k8s.io: writing all objects of a kind anew, in the version that is stored now.

pub mod storageversionmigration;
