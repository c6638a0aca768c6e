//! Server-side apply as stories: who writes what, what comes of it, and whose it is then.

mod appliers;
mod builtin;
mod conversion;
mod laws;
pub(super) mod random;
mod updates;
