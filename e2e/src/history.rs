//! Histories: what many clients asked of several servers, what they were told, and a judge of what cannot have been.
//!
//! - `record`: one line of a history: a request with its times and its answer, what a watcher was told, a fault
//! - `text`: histories as text, a record a line: what a failing run writes, and what the tests of `check` read
//! - `plan`: from a seed, what each client asks and what is broken when; the same seed gives the same plan
//! - `check`: pure: the rules that a history breaks, each with the records that show it
//!
//! Every write carries its own number as the object's value, so each state that anybody sees is traced to its write.

pub mod check;
pub mod plan;
pub mod record;
mod text;

pub use check::{Rule, Violation, check, report};
pub use plan::Plan;
pub use record::History;
