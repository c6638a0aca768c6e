//! Edits as one netlink transaction: all of them happen at once, or none.

use std::collections::BTreeSet;
use std::io;

use super::NftError;
use super::base::TABLE;
use super::pick;
use super::socket::NetfilterSocket;
use super::wire::{self, Writer};
use crate::ruleset::diff::Edit;
use crate::ruleset::elements::{Chain, Map, Slot, Value};

/// Elements in one message: its list must fit an attribute (64 KiB); the largest element takes about 100 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// One message's worth of the same operation on the same map.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    map: Map,
    add: bool,
}

/// Writes `chains` and `edits` to `writer` between batch edges. Returns the sequence numbers of the first message and of the
/// last operation, which is the one that is acknowledged.
fn encode(writer: &mut Writer, chains: &BTreeSet<Chain>, edits: &[Edit], mut next: impl FnMut() -> u32) -> (u32, u32) {
    let first = next();
    writer.batch_edge(wire::BATCH_BEGIN, first);
    chains.iter().for_each(|chain| pick::encode(writer, *chain, &mut next));
    let steps: Vec<(Run, Slot, Option<Value>)> = edits.iter().flat_map(steps).collect();
    let mut rest = steps.as_slice();
    while let Some((run, ..)) = rest.first() {
        let len = rest.iter().take(ELEMENTS_PER_MESSAGE).take_while(|(r, ..)| r == run).count();
        let (now, later) = rest.split_at(len);
        let (kind, flags) =
            if run.add { (wire::NEW_ELEMENTS, wire::F_CREATE | wire::F_EXCL) } else { (wire::DELETE_ELEMENTS, 0) };
        writer.begin(kind, wire::F_REQUEST | flags, next(), wire::FAMILY_IPV4, 0);
        writer.text(wire::LIST_TABLE, TABLE);
        writer.text(wire::LIST_SET, run.map.name());
        let list = writer.open(wire::LIST_ELEMENTS);
        now.iter().for_each(|(_, slot, value)| element(writer, slot, value.as_ref()));
        writer.close(list);
        writer.end();
        rest = later;
    }
    let last = writer.ask_for_answer();
    writer.batch_edge(wire::BATCH_END, next());
    (first, last)
}

/// A replacement is two steps in a row: the kernel answers EEXIST to an addition with other data.
fn steps(edit: &Edit) -> impl Iterator<Item = (Run, Slot, Option<Value>)> {
    let step = |slot: Slot, value: Option<Value>| (Run { map: slot.map, add: value.is_some() }, slot, value);
    let (removal, addition) = match *edit {
        Edit::Add(slot, value) => (None, Some(step(slot, Some(value)))),
        Edit::Replace(slot, value) => (Some(step(slot, None)), Some(step(slot, Some(value)))),
        Edit::Remove(slot) => (Some(step(slot, None)), None),
    };
    removal.into_iter().chain(addition)
}

fn element(writer: &mut Writer, slot: &Slot, value: Option<&Value>) {
    let elem = writer.open(wire::LIST_ELEM);
    let (start, end) = slot.bounds();
    for (kind, bytes) in [(wire::ELEM_KEY, Some(start)), (wire::ELEM_KEY_END, end)] {
        let Some(bytes) = bytes else { continue };
        let key = writer.open(kind);
        writer.attribute(wire::DATA_VALUE, bytes.as_slice());
        writer.close(key);
    }
    match value {
        None | Some(Value::Member) => {}
        Some(Value::Goto(chain)) => {
            let data = writer.open(wire::ELEM_DATA);
            let verdict = writer.open(wire::DATA_VERDICT);
            writer.attribute(wire::VERDICT_CODE, &wire::GOTO.to_be_bytes());
            writer.text(wire::VERDICT_CHAIN, &chain.to_string());
            writer.close(verdict);
            writer.close(data);
        }
        Some(to @ Value::To(_)) => {
            let data = writer.open(wire::ELEM_DATA);
            writer.attribute(wire::DATA_VALUE, &to.data().unwrap_or_default());
            writer.close(data);
        }
    }
    writer.close(elem);
}

/// Does all `edits`, or none of them, after writing the pick chains among `chains`. All other chains that the edits
/// lead to must be there.
pub fn apply(socket: &mut NetfilterSocket, chains: &BTreeSet<Chain>, edits: &[Edit]) -> Result<(), NftError> {
    if edits.is_empty() && chains.is_empty() {
        return Ok(());
    }
    let mut writer = Writer::default();
    let (first, last) = encode(&mut writer, chains, edits, || socket.next_sequence());
    transact(socket, &writer.bytes, first, last, edits.len())
}

/// Clients that are forgotten in one transaction.
const CLIENTS_PER_BATCH: usize = 256;

/// Removes entries of the affinity map by their keys; those that have timed out meanwhile do not matter.
pub fn forget_clients(socket: &mut NetfilterSocket, keys: &[Vec<u8>]) -> Result<(), NftError> {
    keys.chunks(CLIENTS_PER_BATCH).try_for_each(|keys| forget_some(socket, keys))
}

/// An entry that is gone has the kernel refuse them all: then each half is tried for itself.
fn forget_some(socket: &mut NetfilterSocket, keys: &[Vec<u8>]) -> Result<(), NftError> {
    let mut writer = Writer::default();
    let first = socket.next_sequence();
    writer.batch_edge(wire::BATCH_BEGIN, first);
    let only = socket.next_sequence();
    writer.begin(wire::DELETE_ELEMENTS, wire::F_REQUEST | wire::F_ACK, only, wire::FAMILY_IPV4, 0);
    writer.text(wire::LIST_TABLE, TABLE);
    writer.text(wire::LIST_SET, super::dump::AFFINITY);
    let list = writer.open(wire::LIST_ELEMENTS);
    for key in keys {
        let elem = writer.open(wire::LIST_ELEM);
        let nest = writer.open(wire::ELEM_KEY);
        writer.attribute(wire::DATA_VALUE, key);
        writer.close(nest);
        writer.close(elem);
    }
    writer.close(list);
    writer.end();
    writer.batch_edge(wire::BATCH_END, socket.next_sequence());
    match transact(socket, &writer.bytes, first, only, keys.len()) {
        Err(NftError::Batch { source, .. }) if source.raw_os_error() == Some(nix::libc::ENOENT) => {
            let (left, right) = keys.split_at(keys.len() / 2);
            if left.is_empty() {
                return Ok(());
            }
            forget_some(socket, left)?;
            forget_some(socket, right)
        }
        other => other,
    }
}

/// Sends a batch and reads answers until the one that ends it: the acknowledgement of the last operation, or a
/// refusal of the batch as a whole, which bears the first message's number.
fn transact(socket: &mut NetfilterSocket, bytes: &[u8], first: u32, last: u32, edits: usize) -> Result<(), NftError> {
    socket.send(bytes).map_err(|source| NftError::Netlink { doing: "sending a batch", source })?;
    let mut refused: Option<i32> = None;
    loop {
        let received =
            socket.receive().map_err(|source| NftError::Netlink { doing: "waiting for a batch's answer", source })?;
        for message in wire::messages(received)? {
            // Answers to an earlier batch that was given up on.
            if message.sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                continue;
            }
            let Some(errno) = message.error_number() else { continue };
            if errno != 0 {
                refused.get_or_insert(errno);
            }
            if message.sequence == last || message.sequence == first && errno != 0 {
                return match refused {
                    None => Ok(()),
                    Some(errno) => Err(NftError::Batch { edits, source: io::Error::from_raw_os_error(errno) }),
                };
            }
        }
    }
}
