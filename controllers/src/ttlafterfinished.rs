//! Finished Jobs that have said how long they may stay.

pub mod decide;
