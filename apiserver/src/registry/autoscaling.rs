//! The kinds of the group autoscaling: how many pods there should be, by what is measured.

pub mod horizontalpodautoscaler;
