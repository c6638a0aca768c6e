//! A blocking netlink socket to netfilter with limits on time and size.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::NftError;

/// How long the kernel may take over one answer.
const ANSWER_TIMEOUT_SECS: i64 = 10;
/// Holds the largest batch that is sent, and the answers to it.
const BUFFER_BYTES: usize = 64 << 20;
/// The kernel's dumps come in pieces of at most 32 KiB.
const RECEIVE_BYTES: usize = 64 << 10;

pub struct NetfilterSocket {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl NetfilterSocket {
    pub fn open() -> Result<Self, NftError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(NftError::Socket)?;
        socket.bind_auto().map_err(NftError::Socket)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NftError::Socket)?;
        // A borrow of a descriptor that `socket` owns for longer.
        #[expect(unsafe_code, reason = "netlink-sys hands out the raw descriptor only")]
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let set = || -> nix::Result<()> {
            setsockopt(&fd, sockopt::SndBufForce, &BUFFER_BYTES)?;
            setsockopt(&fd, sockopt::RcvBufForce, &BUFFER_BYTES)?;
            setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_SECS))
        };
        set().map_err(|errno| NftError::Socket(errno.into()))?;
        Ok(Self { socket, sequence: 0, received: Vec::new() })
    }
    /// A number for the next message.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes, 0)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    }
    /// The next datagram of messages.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        self.received.clear();
        self.received.reserve(RECEIVE_BYTES);
        self.socket.recv(&mut self.received, 0)?;
        Ok(&self.received)
    }
}
