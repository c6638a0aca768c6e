//! Requests to servers that answer for group versions.
//!
//! - [`reach`]: how such a server is connected to; [`identity`]: as whom a request is passed on
//! - [`forward`]: one of a client's; [`ask`]: one of this server's own

pub mod ask;
pub mod forward;
pub mod identity;
pub mod reach;
