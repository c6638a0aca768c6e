//! Asks the machine's own resolvers what is not the cluster's to answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::shares::Shares;

/// As the C library's resolver: more are not read.
const RESOLVERS_MAX: usize = 3;
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
/// A resolver that failed so often in a row is not asked for a while; one packet that got lost proves nothing.
const FAILURES_BEFORE_REST: u32 = 3;
const REST: Duration = Duration::from_secs(5);
const UDP_ANSWER_MAX: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("no resolver is configured: /etc/resolv.conf names none but ourselves")]
    NoResolver,
    #[error("too many questions of this source are on their way")]
    Busy,
    #[error("no resolver answers; the last said")]
    Unanswered(#[source] io::Error),
    #[error("the question cannot be written")]
    Question(#[source] hickory_proto::ProtoError),
}

#[derive(Debug)]
pub struct Forwarder {
    resolvers: Vec<Resolver>,
    shares: Shares,
}

#[derive(Debug)]
struct Resolver {
    address: SocketAddr,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// In a row.
    failures: u32,
    resting_until: Option<Instant>,
}

impl Resolver {
    fn rests(&self) -> bool {
        self.trouble.lock().resting_until.is_some_and(|until| Instant::now() < until)
    }
    fn failed(&self) {
        let mut trouble = self.trouble.lock();
        trouble.failures = trouble.failures.saturating_add(1);
        if trouble.failures >= FAILURES_BEFORE_REST {
            trouble.resting_until = Some(Instant::now() + REST);
        }
    }
    fn answered(&self) {
        *self.trouble.lock() = Trouble::default();
    }
}

/// The resolvers that a resolv.conf names, without `own`, which would be ourselves.
pub fn resolvers(text: &str, own: Ipv4Addr) -> Vec<IpAddr> {
    let named = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let addresses = named.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    addresses.filter(|ip| *ip != IpAddr::V4(own)).take(RESOLVERS_MAX).collect()
}

impl Forwarder {
    /// Reads `path`; a file that is not there names no resolver.
    pub fn from_file(path: &Path, own: Ipv4Addr) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        Ok(Self::new(resolvers(&text, own).into_iter().map(|ip| SocketAddr::new(ip, 53)).collect()))
    }
    pub fn new(resolvers: Vec<SocketAddr>) -> Self {
        let resolver = |address| Resolver { address, trouble: Mutex::default() };
        Self { resolvers: resolvers.into_iter().map(resolver).collect(), shares: Shares::default() }
    }

    /// Passes a question on, as it came, over the transport it came by, and returns the answer under the same id. `source`
    /// asks.
    pub async fn ask(&self, source: IpAddr, question: &[u8], tcp: bool) -> Result<Message, ForwardError> {
        if self.resolvers.is_empty() {
            return Err(ForwardError::NoResolver);
        }
        let _share = self.shares.enter(source).await.ok_or(ForwardError::Busy)?;
        let mut last = ForwardError::NoResolver;
        // One that rests comes last, but is asked all the same: one pod's names that nobody answers for must not cost the
        // others their answers.
        let (rested, ready): (Vec<_>, Vec<_>) = self.resolvers.iter().partition(|resolver| resolver.rests());
        for resolver in ready.into_iter().chain(rested) {
            let asked = async {
                if tcp { ask_tcp(resolver.address, question).await } else { ask_udp(resolver.address, question).await }
            };
            let timed_out = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
            match tokio::time::timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(timed_out) {
                Ok(answer) => {
                    resolver.answered();
                    return Ok(answer);
                }
                Err(err) => {
                    resolver.failed();
                    last = ForwardError::Unanswered(err);
                }
            }
        }
        Err(last)
    }
}

/// A socket of its own for each question: its random port and a random id are what a forger has to guess.
async fn ask_udp(resolver: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let any = if resolver.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    let (question, id) = with_random_id(question)?;
    socket.send(&question).await?;
    let mut buffer = vec![0; UDP_ANSWER_MAX];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // What does not answer this question is not for us.
        if let Ok(answer) = accept(&buffer[..len], id, &question) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(resolver).await?;
    let (question, id) = with_random_id(question)?;
    let len = u16::try_from(question.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&len.to_be_bytes()[..], &question].concat()).await?;
    let len = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(len)];
    stream.read_exact(&mut buffer).await?;
    accept(&buffer, id, &question)
}

fn with_random_id(question: &[u8]) -> io::Result<(Vec<u8>, u16)> {
    let id: u16 = rand::random();
    let mut question = question.to_vec();
    let place = question.get_mut(..2).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    place.copy_from_slice(&id.to_be_bytes());
    Ok((question, id))
}

fn accept(bytes: &[u8], id: u16, question: &[u8]) -> io::Result<Message> {
    let invalid = |err| io::Error::new(io::ErrorKind::InvalidData, err);
    let answer = Message::from_vec(bytes).map_err(|err| invalid(err.to_string()))?;
    let asked = Message::from_vec(question).map_err(|err| invalid(err.to_string()))?;
    if answer.metadata.id != id || answer.queries != asked.queries {
        return Err(invalid("an answer to another question".into()));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn resolv_conf_table() {
        let own = Ipv4Addr::new(10, 96, 0, 10);
        let cases = [
            (
                "comments and options are passed over",
                "# nameserver 9.9.9.9\noptions ndots:5\nnameserver 1.1.1.1\n",
                "1.1.1.1",
            ),
            ("never ourselves", "nameserver 10.96.0.10\nnameserver 8.8.8.8", "8.8.8.8"),
            (
                "three at most",
                "nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4",
                "1.0.0.1 1.0.0.2 1.0.0.3",
            ),
            ("nonsense", "nameserver here\nnameserver\n", ""),
        ];
        for (why, text, expected) in cases {
            let found: Vec<String> = resolvers(text, own).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{why}");
        }
    }

    /// A resolver with the same answer for all, and how often it was asked.
    async fn resolver() -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; UDP_ANSWER_MAX];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                count.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&buffer[..len], from).await.unwrap();
            }
        });
        (address, asked)
    }

    const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2));

    #[tokio::test]
    async fn a_resolver_that_failed_several_times_comes_last_for_a_while_and_is_never_given_up() {
        // Nobody listens there any more: the kernel says so at once.
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let question = Message::query().to_vec().unwrap();
        let alone = Forwarder::new(vec![closed]);
        for _ in 0..2 * FAILURES_BEFORE_REST {
            let asked = alone.ask(POD, &question, false).await;
            assert!(matches!(asked, Err(ForwardError::Unanswered(_))), "{asked:?}");
        }
        let (open, asked) = resolver().await;
        let both = Forwarder::new(vec![closed, open]);
        for n in 1..=2 * FAILURES_BEFORE_REST as usize {
            both.ask(POD, &question, false).await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), n);
        }
        assert_eq!(both.resolvers[0].trouble.lock().failures, FAILURES_BEFORE_REST, "not asked since it rests");
        assert!(matches!(Forwarder::new(vec![]).ask(POD, &question, false).await, Err(ForwardError::NoResolver)));
    }
}
