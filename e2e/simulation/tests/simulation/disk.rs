//! The store of all apiservers, as one of them reaches it: memory that is late, whose answers get lost, and that is out of reach
//! once the program has ended. Every commit is shown to the judge before anything else happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{ChangeStream, Changes, Listed, Outcome, Storage, StorageError, Stored, Write};
use corten_client::CancellationToken;
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::court::Court;
use crate::mutants::Mutant;
use crate::net::{Net, Way};

/// The longest that a commit takes without faults, in microseconds.
const LATE_MICROS: usize = 1000;
const FAULTY_LATE_MICROS: usize = 200_000;

/// How well the stores are reached; one for the world.
#[derive(Clone, Default)]
pub(crate) struct Weather {
    /// Of a hundred commits so many get no answer, half of them after they were done.
    pub(crate) unanswered: Arc<AtomicUsize>,
}

#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) memory: Memory,
    pub(crate) court: Court,
    pub(crate) net: Net,
    pub(crate) weather: Weather,
    /// The server's.
    pub(crate) life: CancellationToken,
    /// What the store tells of changes.
    pub(crate) news: watch::Receiver<Way>,
    pub(crate) mutant: Option<Mutant>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk")
    }
}

impl Disk {
    async fn alive(&self) {
        // Nobody waits for who has ended.
        if self.life.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
    async fn late(&self, micros: usize) {
        let micros = self.net.chance(|chance| chance.below(micros));
        tokio::time::sleep(Duration::from_micros(micros as u64)).await;
        self.alive().await;
    }
}

#[async_trait]
impl Storage for Disk {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.late(LATE_MICROS).await;
        self.memory.get(key).await
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        self.late(LATE_MICROS).await;
        self.memory.list(prefix, revision).await
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        self.late(LATE_MICROS).await;
        self.memory.current_revision().await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        let faults = self.weather.unanswered.load(Ordering::SeqCst);
        self.late(if faults > 0 { FAULTY_LATE_MICROS } else { LATE_MICROS }).await;
        let luck = self.net.chance(|chance| chance.below(200));
        let unknown = || StorageError::Unknown { what: writes[0].key().to_owned(), source: None };
        if luck < faults {
            return Err(unknown());
        }
        let done = match self.mutant {
            Some(mutant) => mutant.commit(&self.memory, writes.clone()).await?,
            None => (self.memory.commit(writes.clone()).await?, writes.clone()),
        };
        if let (Outcome::Committed { revision }, written) = &done {
            self.court.committed(*revision, written);
        }
        self.late(LATE_MICROS).await;
        if luck < 2 * faults {
            return Err(unknown());
        }
        Ok(done.0)
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        self.late(LATE_MICROS).await;
        let (changes, mutant) = (self.memory.watch(prefix, after).await?, self.mutant);
        let (news, disk) = (self.news.clone(), self.clone());
        let told = stream::unfold((changes, news, disk), |(mut changes, mut news, disk)| async move {
            let next = changes.next().await?;
            disk.late(LATE_MICROS).await;
            news.wait_for(|way| *way != Way::Held).await.ok()?;
            Some((next, (changes, news, disk)))
        });
        let told = told.map(move |next: Result<Changes, StorageError>| match mutant {
            Some(mutant) => next.map(|changes| mutant.told(changes)),
            None => next,
        });
        Ok(told.boxed())
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        self.alive().await;
        self.memory.compact(revision).await
    }
}
