//! A flood of connections that never say what they want, for doors that bound them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

/// How a TLS handshake begins.
const HANDSHAKE: u8 = 0x16;

/// Connections of one address, each of which says one byte and no more: the oldest of `kept` is given up for the next, so that
/// none is ever slow. Counts them in `made`. Ends when it is dropped.
#[expect(clippy::expect_used, reason = "a test that cannot make sockets fails")]
pub async fn one_byte_handshakes(to: SocketAddr, from: [u8; 4], kept: usize, made: Arc<AtomicUsize>) {
    let mut all = VecDeque::new();
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of this machine");
        // One that is closed at once, for lack of a place, cannot be written to.
        if let Ok(mut stream) = socket.connect(to).await
            && stream.write_all(&[HANDSHAKE]).await.is_ok()
        {
            all.push_back(stream);
        }
        made.fetch_add(1, Ordering::Relaxed);
        if all.len() > kept {
            all.pop_front();
        }
    }
}
