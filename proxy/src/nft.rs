//! The kernel's side of the rules: the only folder that runs `nft` or speaks nftables over netlink.
//!
//! `base` holds the constant chains and declares the maps, written through `nft -f -`; `pick` writes the chains that
//! choose an end; `antispoof` keeps pods to their own addresses; `wire` lays out netlink messages; `batch` and `dump` change and read elements; `kernel` puts these together behind one type.

pub mod antispoof;
pub mod base;
pub mod batch;
pub mod dump;
pub mod kernel;
pub mod pick;
pub mod socket;
pub mod wire;

use std::io;

/// Why the kernel does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("nft cannot be run: install the nftables package")]
    NoNft(#[source] io::Error),
    #[error("nft refused the base table: {said}")]
    Refused { said: String },
    #[error("no netlink socket to nftables: the proxy must run as root with CAP_NET_ADMIN")]
    Socket(#[source] io::Error),
    #[error("netlink: {doing} failed")]
    Netlink { doing: &'static str, source: io::Error },
    #[error("the kernel refused a batch of {edits} edits; nothing of it was done")]
    Batch { edits: usize, source: io::Error },
    #[error("the kernel's answer is not understood: {0}")]
    Garbled(&'static str),
}
