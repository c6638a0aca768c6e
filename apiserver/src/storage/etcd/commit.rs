//! A commit: one Txn that compares mod revisions, sent again when no answer comes.
//!
//! One that got no answer (a member died, a leader changed) may have been done, or be done yet. Its conditions let only
//! one sending of it succeed, so it may be sent again: a second one that is refused because all its keys hold what it
//! writes was done before.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{PbTxnOpResponse, PbTxnResponse};
use etcd_client::{Compare, CompareOp, Error, PutOptions, Txn, TxnOp};

use super::{Etcd, failed, may_pass, stored, unavailable};
use crate::storage::{Outcome, StorageError, Stored, Write};

/// Sendings of one commit, and how long each may take.
const TRIES: u32 = 3;
const TRY_DEADLINE: Duration = Duration::from_secs(4);
const RETRY_AFTER: Duration = Duration::from_millis(100);
const WHAT: &str = "writing";

/// What etcd said to one sending.
enum Answer {
    Done { revision: i64 },
    Refused { revision: i64, found: Vec<Option<Stored>> },
}

/// Why one sending got no answer that counts.
enum Failed {
    /// Nothing was written: the lease that we share by the minute is gone (etcd lost time, or was restored).
    LeaseGone,
    /// It may have been done.
    Silence(StorageError),
    /// It was not done, and will not be.
    Refused(StorageError),
}

pub(super) async fn commit(etcd: &Etcd, writes: &[Write]) -> Result<Outcome, StorageError> {
    let mut silence = None;
    for tries in 1..=TRIES {
        match send(etcd, writes).await {
            Ok(Answer::Done { revision }) => return Ok(Outcome::Committed { revision }),
            Ok(Answer::Refused { revision, found }) => return settle(writes, revision, found, silence),
            Err(Failed::LeaseGone) => etcd.leases.forget().await,
            Err(Failed::Silence(err)) => {
                tracing::warn!(error = %err, source = ?std::error::Error::source(&err), tries, "etcd did not answer a commit");
                silence = Some(err);
                tokio::time::sleep(RETRY_AFTER * tries).await;
            }
            Err(Failed::Refused(err)) => return Err(silence.map_or(err, |silence| unknown(writes, silence))),
        }
    }
    Err(match silence {
        Some(silence) => unknown(writes, silence),
        None => unavailable("writing: etcd forgot each lease it granted", "lease not found".into()),
    })
}

fn unknown(writes: &[Write], silence: StorageError) -> StorageError {
    let what = writes.first().map_or_else(String::new, |w| w.key().to_owned());
    StorageError::Unknown { what, source: Some(Box::new(silence)) }
}

/// What a refusal means. `silence`: an earlier sending got no answer.
fn settle(
    writes: &[Write],
    revision: i64,
    found: Vec<Option<Stored>>,
    silence: Option<StorageError>,
) -> Result<Outcome, StorageError> {
    match silence {
        None => refusal(writes, found),
        Some(_) if is_done(writes, &found) => {
            // All of a commit has one revision; one that only deletes leaves no key to tell it, but was done by now.
            let of_put = found.iter().flatten().map(|s| s.revision).next();
            Ok(Outcome::Committed { revision: of_put.unwrap_or(revision) })
        }
        Some(silence) => Err(unknown(writes, silence)),
    }
}

/// Whether all keys are as the commit leaves them: as one revision has put them, or gone.
fn is_done(writes: &[Write], found: &[Option<Stored>]) -> bool {
    let mut revisions = found.iter().flatten().map(|s| s.revision);
    let first = revisions.next();
    let as_left = |(write, found): (&Write, &Option<Stored>)| match (write, found) {
        (Write::Create { value, .. }, Some(stored)) => stored.value == *value,
        (Write::Update { value, expected, .. }, Some(stored)) => stored.value == *value && stored.revision > *expected,
        (Write::Delete { .. }, None) => true,
        _ => false,
    };
    revisions.all(|r| Some(r) == first) && writes.len() == found.len() && writes.iter().zip(found).all(as_left)
}

/// The first write whose condition does not hold, given what each write's key holds.
fn refusal(writes: &[Write], found: Vec<Option<Stored>>) -> Result<Outcome, StorageError> {
    let holds = |write: &Write, current: &Option<Stored>| match write {
        Write::Create { .. } => current.is_none(),
        Write::Update { expected, .. } | Write::Delete { expected, .. } => {
            current.as_ref().is_some_and(|s| s.revision == *expected)
        }
    };
    let mut pairs = writes.iter().zip(found).enumerate();
    pairs
        .find(|(_, (write, current))| !holds(write, current))
        .map(|(index, (_, current))| Outcome::Refused { index, current })
        .ok_or_else(|| unavailable("writing: etcd refused a commit whose conditions hold", "odd reply".into()))
}

async fn send(etcd: &Etcd, writes: &[Write]) -> Result<Answer, Failed> {
    let txn = txn(etcd, writes).await.map_err(Failed::Refused)?;
    let mut kv = etcd.kv.clone();
    match tokio::time::timeout(TRY_DEADLINE, kv.txn(txn)).await {
        Err(late) => Err(Failed::Silence(unavailable(WHAT, Box::new(late)))),
        Ok(Ok(response)) => answer(response.0).map_err(Failed::Refused),
        Ok(Err(err)) => Err(why(writes, err)),
    }
}

fn why(writes: &[Write], err: Error) -> Failed {
    match err {
        Error::GRpcStatus(status) if status.message().contains("lease not found") => Failed::LeaseGone,
        Error::GRpcStatus(status) if status.message().contains("request is too large") => {
            let what = writes.first().map_or_else(String::new, |w| w.key().to_owned());
            let size = |w: &Write| match w {
                Write::Create { value, .. } | Write::Update { value, .. } => value.len(),
                Write::Delete { .. } => 0,
            };
            Failed::Refused(StorageError::TooLarge { what, bytes: writes.iter().map(size).sum() })
        }
        err if may_pass(&err) => Failed::Silence(unavailable(WHAT, Box::new(err))),
        err => Failed::Refused(failed(WHAT, 0, err)),
    }
}

async fn txn(etcd: &Etcd, writes: &[Write]) -> Result<Txn, StorageError> {
    let mut compares = Vec::with_capacity(writes.len());
    let mut puts = Vec::with_capacity(writes.len());
    let mut gets = Vec::with_capacity(writes.len());
    for write in writes {
        let key = write.key();
        gets.push(TxnOp::get(key, None));
        let (expected, op) = match write {
            Write::Create { value, ttl_secs, .. } => (0, put(etcd, key, value, *ttl_secs).await?),
            Write::Update { value, expected, ttl_secs, .. } => (*expected, put(etcd, key, value, *ttl_secs).await?),
            Write::Delete { expected, .. } => (*expected, TxnOp::delete(key, None)),
        };
        compares.push(Compare::mod_revision(key, CompareOp::Equal, expected));
        puts.push(op);
    }
    Ok(Txn::new().when(compares).and_then(puts).or_else(gets))
}

async fn put(etcd: &Etcd, key: &str, value: &Bytes, ttl_secs: Option<u32>) -> Result<TxnOp, StorageError> {
    let options = match ttl_secs {
        Some(ttl) => Some(PutOptions::new().with_lease(etcd.leases.of(ttl).await?)),
        None => None,
    };
    Ok(TxnOp::put(key, value.clone(), options))
}

fn answer(response: PbTxnResponse) -> Result<Answer, StorageError> {
    let revision = response.header.map_or(0, |h| h.revision);
    if response.succeeded {
        return Ok(Answer::Done { revision });
    }
    let ranges = response.responses.into_iter().filter_map(|op| match op.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => Some(range),
        _ => None,
    });
    let found = ranges.map(|range| range.kvs.into_iter().next().map(stored).transpose()).collect::<Result<_, _>>()?;
    Ok(Answer::Refused { revision, found })
}

#[cfg(test)]
mod tests;
