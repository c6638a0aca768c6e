//! What must hold of a cluster at each of its revisions, whatever fails ([`invariants`]), and where it must come to once nothing fails
//! any more ([`convergence`]). Pure functions over [`cluster::Cluster`], the history of all that was committed.
//!
//! `tests/simulation` runs the real programs in one process under made-up time and shows each commit to them.

pub mod cluster;
pub mod convergence;
pub mod invariants;
pub mod read;
