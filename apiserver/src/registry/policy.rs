//! The kinds of the group policy: how much of an application may be disturbed.

pub mod poddisruptionbudget;
