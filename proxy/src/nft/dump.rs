//! What the kernel's maps hold, read back over netlink.

use std::io;

use super::NftError;
use super::base::TABLE;
use super::socket::NetfilterSocket;
use super::wire::{self, Attributes, Writer};
use crate::ruleset::elements::{Chain, Elements, FIELD, KeyBytes, Map, Slot, Value};

pub const AFFINITY: &str = "affinity";
/// A dump that changes overtake is begun again this often before it counts as failed.
const DUMP_ATTEMPTS_MAX: usize = 5;

/// Our elements in the kernel, and those in our maps that we would not have written.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub elements: Elements,
    /// Elements whose data is none of ours (another version's, or someone's hand): to be removed.
    pub foreign: Vec<Slot>,
}

/// Reads all maps.
pub fn elements(socket: &mut NetfilterSocket) -> Result<Found, NftError> {
    let mut found = Found::default();
    for map in Map::ALL {
        for (key, value) in dump(socket, map.name(), |elem| decode(map, elem))? {
            let slot = Slot { map, key };
            match value {
                Some(value) => drop(found.elements.insert(slot, value)),
                None => found.foreign.push(slot),
            }
        }
    }
    Ok(found)
}

/// One remembered client: the element's key (client . front) and the end it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedClient {
    pub key: Vec<u8>,
    pub end: Option<Value>,
}

pub fn remembered_clients(socket: &mut NetfilterSocket) -> Result<Vec<RememberedClient>, NftError> {
    dump(socket, AFFINITY, |elem| {
        let key = elem.nested(wire::ELEM_KEY)?.find(wire::DATA_VALUE)?.to_vec();
        let data = elem.nested(wire::ELEM_DATA).and_then(|d| d.find(wire::DATA_VALUE));
        Some(RememberedClient { key, end: data.and_then(Value::from_data) })
    })
}

fn decode(map: Map, elem: Attributes<'_>) -> Option<(KeyBytes, Option<Value>)> {
    let key = elem.nested(wire::ELEM_KEY)?.find(wire::DATA_VALUE)?;
    let key = match elem.nested(wire::ELEM_KEY_END).and_then(|end| end.find(wire::DATA_VALUE)) {
        Some(end) if map == Map::Sources => [key, end.last_chunk::<FIELD>()?].concat(),
        _ => key.to_vec(),
    };
    let key = KeyBytes::new(&key)?;
    let data = elem.nested(wire::ELEM_DATA);
    let value = match map {
        Map::Hairpin | Map::Nodes | Map::Limited | Map::Sources => Some(Value::Member),
        Map::Endpoints => data.and_then(|d| d.find(wire::DATA_VALUE)).and_then(Value::from_data),
        Map::Frontends | Map::Outside | Map::Refused | Map::RefusedOutside | Map::Remember => {
            data.and_then(|d| d.nested(wire::DATA_VERDICT)).and_then(verdict)
        }
    };
    Some((key, value))
}

fn verdict(verdict: Attributes<'_>) -> Option<Value> {
    let code: [u8; 4] = verdict.find(wire::VERDICT_CODE)?.try_into().ok()?;
    let chain = std::str::from_utf8(verdict.find(wire::VERDICT_CHAIN)?).ok()?;
    (i32::from_be_bytes(code) == wire::GOTO).then(|| parse_chain(chain.trim_end_matches('\0')).map(Value::Goto))?
}

/// Reads back what `Chain`'s Display writes.
fn parse_chain(name: &str) -> Option<Chain> {
    let chain = match name.rsplit_once('-') {
        None if name == "refuse" => Chain::Refuse,
        None if name == "discard" => Chain::Discard,
        Some(("remember", secs)) => Chain::Remember { secs: secs.parse().ok()? },
        Some((kind, count)) => {
            let count = count.parse().ok()?;
            Chain::Pick { count, outside: kind.contains("-outside"), sticky: kind.contains("-sticky") }
        }
        None => return None,
    };
    (chain.to_string() == name).then_some(chain)
}

/// Every element of a set, each made into a `T`; what `read` does not understand is an error.
fn dump<T>(
    socket: &mut NetfilterSocket,
    set: &str,
    read: impl Fn(Attributes<'_>) -> Option<T>,
) -> Result<Vec<T>, NftError> {
    for _ in 0..DUMP_ATTEMPTS_MAX {
        if let Some(elements) = dump_once(socket, set, &read)? {
            return Ok(elements);
        }
    }
    Err(NftError::Netlink { doing: "reading a set that never stands still", source: io::ErrorKind::Interrupted.into() })
}

/// `None` if a change overtook the dump.
fn dump_once<T>(
    socket: &mut NetfilterSocket,
    set: &str,
    read: &impl Fn(Attributes<'_>) -> Option<T>,
) -> Result<Option<Vec<T>>, NftError> {
    let failed = |source| NftError::Netlink { doing: "reading a set", source };
    let mut writer = Writer::default();
    let sequence = socket.next_sequence();
    writer.begin(wire::GET_ELEMENTS, wire::F_REQUEST | wire::F_DUMP, sequence, wire::FAMILY_IPV4, 0);
    writer.text(wire::LIST_TABLE, TABLE);
    writer.text(wire::LIST_SET, set);
    writer.end();
    socket.send(&writer.bytes).map_err(failed)?;
    let (mut found, mut interrupted) = (Vec::new(), false);
    loop {
        for message in wire::messages(socket.receive().map_err(failed)?)? {
            if message.sequence != sequence {
                continue;
            }
            interrupted |= message.flags & wire::F_DUMP_INTERRUPTED != 0;
            match message.error_number() {
                Some(0) => return Ok((!interrupted).then_some(found)),
                Some(nix::libc::EINTR) => return Ok(None),
                Some(errno) => return Err(failed(io::Error::from_raw_os_error(errno))),
                None => {}
            }
            let list = message.attributes().nested(wire::LIST_ELEMENTS).into_iter().flatten();
            for (_, elem) in list {
                found.push(read(Attributes(elem)).ok_or(NftError::Garbled("an element without a key"))?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_read_back() {
        for chain in [
            Chain::Refuse,
            Chain::Discard,
            Chain::Remember { secs: 10_800 },
            Chain::Pick { count: 1, outside: false, sticky: false },
            Chain::Pick { count: 65_535, outside: true, sticky: true },
            Chain::Pick { count: 3, outside: true, sticky: false },
        ] {
            assert_eq!(parse_chain(&chain.to_string()), Some(chain));
        }
        for wrong in ["pick", "pick-", "pick-x", "pock-3", "refuse-1", "pick-sticky-outside-3", "pick-70000"] {
            assert_eq!(parse_chain(wrong), None, "{wrong}");
        }
    }
}
