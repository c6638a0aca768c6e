//! One HTTP/2 connection to whichever apiserver answers; when it dies or is of no use, to the next.
//!
//! Guarantees: a dead apiserver is left within [`KEEP_ALIVE`] + [`KEEP_ALIVE_TIMEOUT`], one that has no store with the
//! first answer that says so. Each client has an order of its own, at random, in which it likes the apiservers, so that
//! a fleet spreads evenly over those that live; a client that had to take a later one returns to an earlier one within
//! [`RETURN_MIN`] + [`RETURN_SPREAD`] after it is well. What streams on a connection that is left is told, and resumes.

mod connect;
mod standing;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
pub use connect::{Connect, Credentials, pinged};
use corten_api::{ApiError, Reason};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use standing::Standing;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Uri};
use tracing::{debug, info};

use crate::args::ConnectError;

const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// A client that is not where it likes to be looks for a way back after this time, and up to so much more at random:
/// a server that has just started is not met by all of its clients at once.
const RETURN_MIN: Duration = Duration::from_secs(30);
const RETURN_SPREAD: Duration = Duration::from_secs(30);

/// The apiservers, and the connection in use.
#[derive(Debug)]
pub struct Endpoints {
    /// In the order in which we like them.
    uris: Vec<Uri>,
    connector: Arc<dyn Connect>,
    active: ArcSwapOption<Connection>,
    /// The `left` of the connection that was given up last, until another stands. Locked while `active` changes.
    given_up: Mutex<Option<CancellationToken>>,
    standing: Mutex<Standing>,
    /// Held while connecting: one at a time.
    connecting: tokio::sync::Mutex<()>,
}

/// A channel that connected once. `Arc` identity tells one connection from the next.
#[derive(Debug)]
pub struct Connection {
    pub channel: Channel,
    pub uri: Uri,
    /// The place of its endpoint in our order.
    rank: usize,
    left: CancellationToken,
}

impl Connection {
    /// Returns once this connection is left for a better one. What has begun on it still ends; streams go over.
    pub async fn left(&self) {
        self.left.cancelled().await;
    }
}

impl Endpoints {
    pub fn new(urls: &[String], credentials: Credentials) -> Result<Self, ConnectError> {
        let parse = |given: &String| {
            let uri: Option<Uri> = given.parse().ok();
            uri.filter(|u| u.scheme_str() == Some("https") && u.host().is_some())
                .ok_or_else(|| ConnectError::Endpoint { given: given.clone() })
        };
        let uris: Vec<Uri> = urls.iter().map(parse).collect::<Result<_, _>>()?;
        if uris.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Self::with_connector(uris, Arc::new(credentials)))
    }

    /// The apiservers over another network than TCP's.
    pub fn with_connector(mut uris: Vec<Uri>, connector: Arc<dyn Connect>) -> Self {
        uris.shuffle(&mut rand::rng());
        let standing = Mutex::new(Standing::of(uris.len()));
        let (active, connecting) = (ArcSwapOption::empty(), tokio::sync::Mutex::new(()));
        Self { uris, connector, active, given_up: Mutex::default(), standing, connecting }
    }

    /// A channel that is there already, and is used again though it broke: a test's.
    #[cfg(feature = "test-support")]
    pub(crate) fn over(channel: Channel) -> Self {
        Self::with_connector(vec![Uri::default()], Arc::new(connect::Only(channel)))
    }

    /// The same apiservers and credentials, not connected yet.
    pub(crate) fn separate(&self) -> Self {
        Self::with_connector(self.uris.clone(), self.connector.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.uris.len()
    }

    /// Each apiserver alone.
    pub(crate) fn each(&self) -> Vec<Self> {
        self.uris.iter().map(|uri| Self::with_connector(vec![uri.clone()], self.connector.clone())).collect()
    }

    /// The connection in use, or a new one to the first apiserver that answers.
    pub async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, ApiError> {
        if let Some(active) = self.active.load_full() {
            return Ok(active);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(active) = self.active.load_full() {
            return Ok(active);
        }
        let mut failures = Vec::new();
        let order = self.standing.lock().order(Instant::now());
        for rank in order {
            match self.connector.connect(&self.uris[rank]).await {
                Ok(channel) => return Ok(self.take(rank, channel)),
                Err(why) => {
                    self.standing.lock().avoid(rank, Instant::now());
                    failures.push(format!("{}: {why}", self.uris[rank]));
                }
            }
        }
        Err(ApiError::unavailable(format!("no apiserver answers ({})", failures.join("; "))))
    }

    /// Says that `failed` is broken, so that the next call connects anew.
    pub fn drop_connection(&self, failed: &Arc<Connection>) {
        self.standing.lock().avoid(failed.rank, Instant::now());
        // What broke may have been this one call: streams stay on it until there is another to go over to.
        self.give_up(failed);
    }

    /// Takes note of what an apiserver has answered. One that cannot serve for lack of its store is left, if there is
    /// another to go to: true then.
    pub fn note(&self, connection: &Arc<Connection>, answer: &ApiError) -> bool {
        let is_unwell = matches!(answer.reason(), Reason::ServiceUnavailable | Reason::Timeout);
        if !is_unwell {
            return false;
        }
        let has_other = {
            let mut standing = self.standing.lock();
            standing.avoid(connection.rank, Instant::now());
            standing.has_well(Instant::now())
        };
        if has_other {
            debug!(uri = %connection.uri, %answer, "leaving an apiserver that cannot serve");
            self.give_up(connection);
            connection.left.cancel();
        }
        has_other
    }

    fn give_up(&self, connection: &Arc<Connection>) {
        let mut given_up = self.given_up.lock();
        if self.active.load().as_ref().is_some_and(|active| Arc::ptr_eq(active, connection)) {
            self.active.store(None);
            *given_up = Some(connection.left.clone());
        }
    }

    fn take(self: &Arc<Self>, rank: usize, channel: Channel) -> Arc<Connection> {
        let (uri, left) = (self.uris[rank].clone(), CancellationToken::new());
        let connection = Arc::new(Connection { channel, uri, rank, left });
        let (before, given_up) = {
            let mut given_up = self.given_up.lock();
            (self.active.swap(Some(connection.clone())), given_up.take())
        };
        // Streams on a connection that nobody uses would never be spread anew.
        before.map(|before| before.left.clone()).into_iter().chain(given_up).for_each(|left| left.cancel());
        if rank > 0 {
            tokio::spawn(return_from(Arc::downgrade(self), Arc::downgrade(&connection)));
        }
        connection
    }

    /// An apiserver that we like better than the one with `rank`, if one is well now.
    async fn better_than(&self, rank: usize) -> Option<(usize, Channel)> {
        for better in 0..rank {
            let uri = &self.uris[better];
            match self.connector.connect(uri).await {
                Ok(channel) if self.connector.is_ready(&channel).await => return Some((better, channel)),
                Ok(_) => debug!(%uri, "not back yet: it is not ready"),
                Err(why) => debug!(%uri, why, "not back yet"),
            }
        }
        None
    }
}

/// Looks for a better apiserver as long as `connection` is the one in use.
async fn return_from(endpoints: Weak<Endpoints>, connection: Weak<Connection>) {
    loop {
        sleep(RETURN_MIN + RETURN_SPREAD.mul_f64(rand::random())).await;
        let (Some(endpoints), Some(used)) = (endpoints.upgrade(), connection.upgrade()) else { return };
        let is_used = || endpoints.active.load().as_ref().is_some_and(|active| Arc::ptr_eq(active, &used));
        if !is_used() {
            return;
        }
        let Some((rank, channel)) = endpoints.better_than(used.rank).await else { continue };
        let _one_at_a_time = endpoints.connecting.lock().await;
        if is_used() {
            info!(from = %used.uri, to = %endpoints.uris[rank], "going back to an apiserver that is well again");
            endpoints.take(rank, channel);
        }
        return;
    }
}

#[cfg(test)]
mod tests;
