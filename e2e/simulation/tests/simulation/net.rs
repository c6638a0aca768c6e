//! The network between the simulated programs: lines that are late, that are held in one direction or both, and that break.
//! What speaks over them is the product's own HTTP/2, pings and all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_apiserver::authn::Identity;
use corten_client::CancellationToken;
use corten_client::endpoints::{Connect, pinged};
use corten_client::seeds::Chance;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Uri};

/// A place where a program runs, one after the other.
pub(crate) type Host = u8;

const LINE_BYTES: usize = 256 << 10;
const PIECE_BYTES: usize = 64 << 10;
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How one direction between two hosts is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Each piece takes up to so many microseconds.
    Open { late_micros: usize },
    /// Nothing gets through, and nothing is lost yet.
    Held,
}

pub(crate) const FAST: Way = Way::Open { late_micros: 2000 };

/// A connection that a server is to accept.
pub(crate) struct Incoming {
    pub(crate) stream: DuplexStream,
    pub(crate) peer: SocketAddr,
    pub(crate) identity: Identity,
}

struct Served {
    accepts: mpsc::UnboundedSender<Incoming>,
    life: CancellationToken,
}

#[derive(Clone)]
pub(crate) struct Net {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    chance: Chance,
    ways: BTreeMap<(Host, Host), watch::Sender<Way>>,
    servers: BTreeMap<Host, Served>,
    /// Ends the lines of two hosts that are there now.
    lines: BTreeMap<(Host, Host), CancellationToken>,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        let (ways, servers, lines) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { inner: Arc::new(Mutex::new(Inner { chance: Chance(seed), ways, servers, lines })) }
    }

    pub(crate) fn chance<R>(&self, draw: impl FnOnce(&mut Chance) -> R) -> R {
        draw(&mut self.inner.lock().chance)
    }

    /// A server that lives as long as `life`.
    pub(crate) fn listen(&self, at: Host, life: &CancellationToken) -> mpsc::UnboundedReceiver<Incoming> {
        let (accepts, incoming) = mpsc::unbounded_channel();
        self.inner.lock().servers.insert(at, Served { accepts, life: life.clone() });
        incoming
    }

    pub(crate) fn set(&self, from: Host, to: Host, way: Way) {
        self.inner.lock().way(from, to).send_replace(way);
    }

    /// All connections between the two end, and new ones may be made.
    pub(crate) fn reset(&self, a: Host, b: Host) {
        if let Some(lines) = self.inner.lock().lines.remove(&(a.min(b), a.max(b))) {
            lines.cancel();
        }
    }

    /// All is well from now on.
    pub(crate) fn heal(&self) {
        self.inner.lock().ways.values().for_each(|way| {
            way.send_replace(FAST);
        });
    }

    async fn open(&self, from: &Wire, to: Host) -> std::io::Result<DuplexStream> {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let (mut out, mut back) = {
            let mut inner = self.inner.lock();
            (inner.way(from.host, to).subscribe(), inner.way(to, from.host).subscribe())
        };
        for way in [&mut out, &mut back] {
            way.wait_for(|way| *way != Way::Held).await.map_err(|_| refused())?;
        }
        let (near, near_end) = tokio::io::duplex(LINE_BYTES);
        let (far_end, far) = tokio::io::duplex(LINE_BYTES);
        let (reset, served_life) = {
            let mut inner = self.inner.lock();
            let pair = (from.host.min(to), from.host.max(to));
            let reset = inner.lines.entry(pair).or_default().clone();
            let is_over = |life: &CancellationToken| life.is_cancelled() || from.life.is_cancelled();
            let served = inner.servers.get(&to).filter(|served| !is_over(&served.life)).ok_or_else(refused)?;
            let peer = SocketAddr::from(([10, 0, 0, from.host], 1));
            let incoming = Incoming { stream: far, peer, identity: from.identity.clone() };
            served.accepts.send(incoming).map_err(|_| refused())?;
            (reset, served.life.clone())
        };
        let ((near_in, near_out), (far_in, far_out)) = (tokio::io::split(near_end), tokio::io::split(far_end));
        let (net, life) = (self.clone(), from.life.clone());
        tokio::spawn(async move {
            let both = async { tokio::join!(relay(&net, near_in, far_out, out), relay(&net, far_in, near_out, back)) };
            tokio::select! {
                _ = both => {}
                () = reset.cancelled() => {}
                () = served_life.cancelled() => {}
                () = life.cancelled() => {}
            }
        });
        Ok(near)
    }
}

impl Inner {
    fn way(&mut self, from: Host, to: Host) -> &watch::Sender<Way> {
        self.ways.entry((from, to)).or_insert_with(|| watch::Sender::new(FAST))
    }
}

/// Carries what comes, in order and in its time, until one end is closed.
async fn relay(
    net: &Net,
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut way: watch::Receiver<Way>,
) -> Option<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await.ok()?;
        if length == 0 {
            return to.shutdown().await.ok();
        }
        // The look ends before the wait: whoever changes the way waits for it.
        let now = *way.borrow();
        if let Way::Open { late_micros } = now {
            let micros = net.chance(|chance| chance.below(late_micros + 1));
            tokio::time::sleep(Duration::from_micros(micros as u64)).await;
        }
        way.wait_for(|way| *way != Way::Held).await.ok()?;
        to.write_all(&piece[..length]).await.ok()?;
    }
}

/// How a program reaches the apiservers.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) net: Net,
    pub(crate) host: Host,
    pub(crate) identity: Identity,
    /// The program's: with it all of its lines end, at whatever place in whatever message.
    pub(crate) life: CancellationToken,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({})", self.host)
    }
}

/// The address of the apiserver at a host.
pub(crate) fn uri(host: Host) -> Uri {
    format!("http://10.0.0.{host}").parse().unwrap()
}

#[tonic::async_trait]
impl Connect for Wire {
    async fn connect(&self, uri: &Uri) -> Result<Channel, String> {
        let to: Host = uri.host().and_then(|host| host.rsplit('.').next()?.parse().ok()).unwrap();
        let wire = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let wire = wire.clone();
            async move { wire.net.open(&wire, to).await.map(TokioIo::new) }
        });
        match tokio::time::timeout(CONNECT_DEADLINE, pinged(uri).connect_with_connector(connector)).await {
            Ok(connected) => connected.map_err(|err| err.to_string()),
            Err(_) => Err("timed out".into()),
        }
    }
}
