//! Probes: when they are due and what they mean (pure), and how they are made.
//!
//! <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/>

pub mod run;
pub mod threshold;
