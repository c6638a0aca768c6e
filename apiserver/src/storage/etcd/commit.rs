//! A commit: one Txn that compares mod revisions, sent again when no answer comes.
//!
//! One that got no answer (a member died, a leader changed) may have been done, or be done yet. Its conditions let only
//! one sending of it succeed, so it may be sent again: a second one that is refused because all its keys hold what it
//! writes was done before; of another, [`history`](super::history) may tell whether it was. One that deletes tells it by its
//! [`mark`](super::mark): others delete, too.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{PbKeyValue, PbTxnOpResponse, PbTxnResponse};
use etcd_client::{Compare, CompareOp, Error, PutOptions, Txn, TxnOp};

use super::history::{Fate, Held, fate};
use super::mark::{self, Mark};
use super::members::View;
use super::{Etcd, RETRY_AFTER, failed, may_pass, stored, unavailable};
use crate::storage::{Outcome, StorageError, Write};
use tokio::time::Instant;

/// How long one sending may take, and for how long a commit is sent again: longer than etcd takes to choose a leader.
const TRY_DEADLINE: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(8);
/// Leases that are found to be gone in one commit.
const LEASES_MAX: u32 = 3;
const WHAT: &str = "writing";

/// What etcd said to one sending.
enum Answer {
    Done {
        revision: i64,
    },
    /// `marked`: what stands under its mark, if it has one.
    Refused {
        found: Vec<Option<Held>>,
        marked: Option<Held>,
    },
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
    let deletes = writes.iter().any(|write| matches!(write, Write::Delete { .. }));
    let mark = deletes.then(|| etcd.marks.make());
    let outcome = try_commit(etcd, writes, mark.as_ref()).await;
    // After all other errors it will not be done either.
    if let Some(mark) = mark.filter(|_| !matches!(outcome, Err(StorageError::Unknown { .. }))) {
        mark.settled();
    }
    outcome
}

async fn try_commit(etcd: &Etcd, writes: &[Write], mark: Option<&Mark>) -> Result<Outcome, StorageError> {
    let (began, before) = (Instant::now(), etcd.members.revision());
    let (mut silence, mut leases_gone) = (None, 0);
    loop {
        let view = etcd.members.view();
        match send(etcd, writes, mark, view).await {
            Ok(Answer::Done { revision }) => return Ok(Outcome::Committed { revision }),
            Ok(Answer::Refused { found, marked }) => {
                let Some(silence) = silence else { return refusal(writes, found) };
                let Some(mark) = mark else {
                    return settle(etcd, writes, Refused { found, before, silence }).await;
                };
                let own = marked.filter(|held| held.stored.value == mark.value);
                return own.map_or_else(
                    || refusal(writes, found),
                    |held| Ok(Outcome::Committed { revision: held.stored.revision }),
                );
            }
            Err(Failed::LeaseGone) if leases_gone < LEASES_MAX => {
                leases_gone += 1;
                etcd.leases.forget().await;
            }
            Err(Failed::LeaseGone) => {
                let err = unavailable("writing: etcd forgot each lease it granted", "lease not found".into());
                return Err(silence.map_or(err, |silence| unknown(writes, silence)));
            }
            Err(Failed::Silence(err)) => {
                tracing::warn!(error = %err, source = ?std::error::Error::source(&err), "etcd did not answer a commit");
                if began.elapsed() >= PATIENCE {
                    return Err(unknown(writes, err));
                }
                silence = Some(err);
                etcd.members.failed(view, RETRY_AFTER).await;
            }
            Err(Failed::Refused(err)) => return Err(silence.map_or(err, |silence| unknown(writes, silence))),
        }
    }
}

fn unknown(writes: &[Write], silence: StorageError) -> StorageError {
    let what = writes.first().map_or_else(String::new, |w| w.key().to_owned());
    StorageError::Unknown { what, source: Some(Box::new(silence)) }
}

/// A refusal of a commit without a mark that was sent before and got no answer.
struct Refused {
    found: Vec<Option<Held>>,
    /// A revision that the store had before the first sending.
    before: i64,
    silence: StorageError,
}

/// What such a refusal means.
async fn settle(etcd: &Etcd, writes: &[Write], refused: Refused) -> Result<Outcome, StorageError> {
    if let Some(revision) = done_at(writes, &refused.found) {
        return Ok(Outcome::Committed { revision });
    }
    match fate(etcd, writes, &refused.found, refused.before).await {
        Ok(Fate::Done { revision }) => Ok(Outcome::Committed { revision }),
        Ok(Fate::NotDone) => refusal(writes, refused.found),
        Ok(Fate::Unknown) | Err(_) => Err(unknown(writes, refused.silence)),
    }
}

/// Where all keys are as the commit leaves them, as one revision has put them: that revision. Not of one that deletes: a key that is
/// gone may be so by others.
fn done_at(writes: &[Write], found: &[Option<Held>]) -> Option<i64> {
    let mut revisions = written(writes, found).map(|(_, held)| held.as_ref().map(|held| held.stored.revision));
    let first = revisions.next()??;
    let as_left = |(write, found): (&Write, &Option<Held>)| match (write, found.as_ref().map(|held| &held.stored)) {
        (Write::Create { value, .. }, Some(stored)) => stored.value == *value,
        (Write::Update { value, expected, .. }, Some(stored)) => stored.value == *value && stored.revision > *expected,
        _ => false,
    };
    let is_done = revisions.all(|revision| revision == Some(first))
        && writes.len() == found.len()
        && written(writes, found).all(as_left);
    is_done.then_some(first)
}

/// What a commit changes, with what those keys hold. What it only expects may have changed since it was done.
fn written<'a>(writes: &'a [Write], found: &'a [Option<Held>]) -> impl Iterator<Item = (&'a Write, &'a Option<Held>)> {
    writes.iter().zip(found).filter(|(write, _)| !matches!(write, Write::Expect { .. }))
}

/// The first write whose condition does not hold, given what each write's key holds.
fn refusal(writes: &[Write], found: Vec<Option<Held>>) -> Result<Outcome, StorageError> {
    let holds =
        |write: &Write, current: &Option<Held>| write.holds_at(current.as_ref().map(|held| held.stored.revision));
    let mut pairs = writes.iter().zip(found).enumerate();
    pairs
        .find(|(_, (write, current))| !holds(write, current))
        .map(|(index, (_, current))| Outcome::Refused { index, current: current.map(|held| held.stored) })
        .ok_or_else(|| unavailable("writing: etcd refused a commit whose conditions hold", "odd reply".into()))
}

async fn send(etcd: &Etcd, writes: &[Write], mark: Option<&Mark>, view: View) -> Result<Answer, Failed> {
    let txn = txn(etcd, writes, mark).await.map_err(Failed::Refused)?;
    let mut kv = etcd.members.kv(view);
    let answered = tokio::select! {
        answered = tokio::time::timeout(TRY_DEADLINE, kv.txn(txn)) => answered,
        () = etcd.members.overtaken(view) => {
            let why = "the member that it was sent to, or the leader, is gone";
            return Err(Failed::Silence(unavailable(WHAT, why.into())));
        }
    };
    match answered {
        Err(late) => Err(Failed::Silence(unavailable(WHAT, Box::new(late)))),
        Ok(Ok(response)) => {
            etcd.members.saw(response.0.header.as_ref().map_or(0, |h| h.revision));
            answer(response.0, mark.is_some()).map_err(Failed::Refused)
        }
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
                Write::Delete { .. } | Write::Expect { .. } => 0,
            };
            Failed::Refused(StorageError::TooLarge { what, bytes: writes.iter().map(size).sum() })
        }
        err if may_pass(&err) => Failed::Silence(unavailable(WHAT, Box::new(err))),
        err => Failed::Refused(failed(WHAT, 0, err)),
    }
}

async fn txn(etcd: &Etcd, writes: &[Write], mark: Option<&Mark>) -> Result<Txn, StorageError> {
    let mut compares = Vec::with_capacity(writes.len());
    let mut puts = Vec::with_capacity(writes.len());
    let mut gets = Vec::with_capacity(writes.len());
    for write in writes {
        let key = write.key();
        gets.push(TxnOp::get(key, None));
        let (expected, op) = match write {
            Write::Create { value, ttl_secs, .. } => (0, Some(put(etcd, key, value, *ttl_secs).await?)),
            Write::Update { value, expected, ttl_secs, .. } => {
                (*expected, Some(put(etcd, key, value, *ttl_secs).await?))
            }
            Write::Delete { expected, .. } => (*expected, Some(TxnOp::delete(key, None))),
            Write::Expect { expected, .. } => (*expected, None),
        };
        compares.push(Compare::mod_revision(key, CompareOp::Equal, expected));
        puts.extend(op);
    }
    if let Some(Mark { key, value, .. }) = mark {
        gets.push(TxnOp::get(key.as_str(), None));
        puts.push(put(etcd, key, value, Some(mark::TTL_SECS)).await?);
    }
    Ok(Txn::new().when(compares).and_then(puts).or_else(gets))
}

async fn put(etcd: &Etcd, key: &str, value: &Bytes, ttl_secs: Option<u32>) -> Result<TxnOp, StorageError> {
    let options = match ttl_secs {
        Some(ttl) => Some(PutOptions::new().with_lease(etcd.leases.of(&etcd.members, ttl).await?)),
        None => None,
    };
    Ok(TxnOp::put(key, value.clone(), options))
}

/// `has_mark`: it was read behind all keys.
fn answer(response: PbTxnResponse, has_mark: bool) -> Result<Answer, StorageError> {
    let revision = response.header.map_or(0, |h| h.revision);
    if response.succeeded {
        return Ok(Answer::Done { revision });
    }
    let ranges = response.responses.into_iter().filter_map(|op| match op.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => Some(range),
        _ => None,
    });
    let held = |kv: PbKeyValue| Ok(Held { created: kv.create_revision, stored: stored(kv)? });
    let found = ranges.map(|range| range.kvs.into_iter().next().map(held).transpose());
    let mut found = found.collect::<Result<Vec<_>, StorageError>>()?;
    let marked = if has_mark { found.pop().flatten() } else { None };
    Ok(Answer::Refused { found, marked })
}

#[cfg(test)]
mod tests;
