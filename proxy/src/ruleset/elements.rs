//! Fronts spelled as elements of the kernel's maps: the names and byte layouts that `nft/base.rs` declares. Pure.
//!
//! Concatenated keys and values are their fields, each padded to four bytes; addresses and ports are in network
//! order, the index of an end is in the machine's own, as `numgen` makes it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{End, Fate, Front, FrontRules, Place};

/// Ends for connections from outside stand in the same map, above this index.
pub const OUTSIDE_OFFSET: u32 = 0x1_0000;

/// The maps and sets that hold elements of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    /// index . front → end
    Endpoints,
    /// front → chain that picks an end
    Frontends,
    /// The same, asked first for connections from outside.
    Outside,
    /// front → chain that refuses
    Refused,
    RefusedOutside,
    /// front → chain that notes which end a client got
    Remember,
    /// Set of pod . the same pod
    Hairpin,
    /// Set of node addresses
    Nodes,
    /// Set of fronts that not everybody may use
    Limited,
    /// Set of front . those who may, as the first and last address of a range
    Sources,
}

impl Map {
    pub const ALL: [Self; 10] = [
        Self::Endpoints,
        Self::Frontends,
        Self::Outside,
        Self::Refused,
        Self::RefusedOutside,
        Self::Remember,
        Self::Hairpin,
        Self::Nodes,
        Self::Limited,
        Self::Sources,
    ];
    /// Its name in the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Frontends => "frontends",
            Self::Outside => "outside",
            Self::Refused => "refused",
            Self::RefusedOutside => "refused-outside",
            Self::Remember => "remember",
            Self::Hairpin => "hairpin",
            Self::Nodes => "nodes",
            Self::Limited => "limited",
            Self::Sources => "sources",
        }
    }
}

/// A chain that an element can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chain {
    /// Sends to one of `count` ends at random.
    Pick { count: u16, outside: bool, sticky: bool },
    /// Notes the end for so long.
    Remember { secs: u32 },
    /// Answers that nothing is there.
    Refuse,
    /// Answers nothing.
    Discard,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pick { count, outside, sticky } => {
                let (outside, sticky) = (if *outside { "-outside" } else { "" }, if *sticky { "-sticky" } else { "" });
                write!(f, "pick{outside}{sticky}-{count}")
            }
            Self::Remember { secs } => write!(f, "remember-{secs}"),
            Self::Refuse => f.write_str("refuse"),
            Self::Discard => f.write_str("discard"),
        }
    }
}

/// The longest key: address . protocol . port . first source . last source.
pub const KEY_MAX: usize = 20;
/// A range ends with its last field, which stands behind those of the key that it begins with.
pub const FIELD: usize = 4;

/// A key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyBytes {
    bytes: [u8; KEY_MAX],
    len: u8,
}

impl KeyBytes {
    /// `None` for more than a key can hold, or for no bytes at all.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { bytes, len: u8::try_from(from.len()).ok()? })
    }
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
    fn fields<const N: usize>(fields: [[u8; 4]; N]) -> Self {
        let mut key = Self { bytes: [0; KEY_MAX], len: 0 };
        for (slot, field) in key.bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field);
            key.len += 4;
        }
        key
    }
}

fn front_fields(front: &Front) -> [[u8; 4]; 3] {
    [front.address.octets(), [front.protocol as u8, 0, 0, 0], port_field(front.port)]
}
fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// Where an element stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub map: Map,
    pub key: KeyBytes,
}

impl Slot {
    pub fn front(map: Map, front: &Front) -> Self {
        Self { map, key: KeyBytes::fields(front_fields(front)) }
    }
    pub fn end(index: u32, front: &Front) -> Self {
        let [address, protocol, port] = front_fields(front);
        Self { map: Map::Endpoints, key: KeyBytes::fields([index.to_ne_bytes(), address, protocol, port]) }
    }
    pub fn source(front: &Front, range: Ipv4Net) -> Self {
        let [address, protocol, port] = front_fields(front);
        let (first, last) = (range.network().octets(), range.broadcast().octets());
        Self { map: Map::Sources, key: KeyBytes::fields([address, protocol, port, first, last]) }
    }
}

impl Slot {
    /// The key, and the one that a range ends with.
    pub fn bounds(&self) -> (KeyBytes, Option<KeyBytes>) {
        if self.map != Map::Sources {
            return (self.key, None);
        }
        let len = self.key.len.saturating_sub(FIELD as u8);
        let (start, mut end) = (KeyBytes { len, ..self.key }, KeyBytes { len, ..self.key });
        end.bytes.copy_within(KEY_MAX - FIELD.., KEY_MAX - 2 * FIELD);
        (start, Some(end))
    }
}

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// It is in the set.
    Member,
    Goto(Chain),
    /// address . port
    To(End),
}

impl Value {
    /// The bytes of a data value; `None` for members and verdicts.
    pub fn data(&self) -> Option<[u8; 8]> {
        let Self::To(end) = self else { return None };
        let ([a, b, c, d], [high, low]) = (end.address.octets(), end.port.to_be_bytes());
        Some([a, b, c, d, high, low, 0, 0])
    }
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let [a, b, c, d, high, low, ..] = *data else { return None };
        Some(Self::To(End { address: [a, b, c, d].into(), port: u16::from_be_bytes([high, low]) }))
    }
}

pub type Elements = BTreeMap<Slot, Value>;

/// The ends that a front's slots hold, from slot `first` on.
pub fn ends_in(elements: &Elements, front: &Front, first: u32) -> Vec<End> {
    let at = |index| match elements.get(&Slot::end(index, front)) {
        Some(Value::To(end)) => Some(*end),
        _ => None,
    };
    (first..first.saturating_add(OUTSIDE_OFFSET)).map_while(at).collect()
}

/// Whether a front that not everybody may use lets this source in.
pub fn admits(elements: &Elements, front: &Front, from: Ipv4Addr) -> bool {
    let first = KeyBytes { bytes: Slot::front(Map::Sources, front).key.bytes, len: 0 };
    let ranges = elements.range(Slot { map: Map::Sources, key: first }..).map(|(slot, _)| slot);
    let of_front = ranges.take_while(|slot| slot.map == Map::Sources && slot.key.bytes[..12] == first.bytes[..12]);
    let octets = from.octets();
    of_front.map(|slot| slot.key.bytes).any(|key| (&key[12..16]..=&key[16..20]).contains(&&octets[..]))
}

/// All elements of one front.
pub fn of_front(front: &Front, rules: &FrontRules) -> Elements {
    let mut elements = Elements::new();
    let sticky = rules.affinity_secs.is_some();
    add_fate(&mut elements, front, &rules.inside, sticky, false);
    if let Some(fate) = &rules.outside {
        add_fate(&mut elements, front, fate, sticky, true);
    }
    if let Some(secs) = rules.affinity_secs {
        elements.insert(Slot::front(Map::Remember, front), Value::Goto(Chain::Remember { secs }));
    }
    if let Some(sources) = &rules.sources {
        elements.insert(Slot::front(Map::Limited, front), Value::Member);
        elements.extend(sources.iter().map(|range| (Slot::source(front, *range), Value::Member)));
    }
    elements
}

fn add_fate(elements: &mut Elements, front: &Front, fate: &Fate, sticky: bool, outside: bool) {
    let refused = if outside { Map::RefusedOutside } else { Map::Refused };
    match fate {
        Fate::Refuse => {
            elements.insert(Slot::front(refused, front), Value::Goto(Chain::Refuse));
        }
        Fate::Drop => {
            elements.insert(Slot::front(refused, front), Value::Goto(Chain::Discard));
        }
        Fate::Balance(ends) => {
            let first = if outside { OUTSIDE_OFFSET } else { 0 };
            for (index, end) in (first..).zip(ends.iter()) {
                elements.insert(Slot::end(index, front), Value::To(*end));
            }
            // `desired` keeps to MAX_ENDS.
            let count = u16::try_from(ends.len()).unwrap_or(u16::MAX);
            let map = if outside { Map::Outside } else { Map::Frontends };
            elements.insert(Slot::front(map, front), Value::Goto(Chain::Pick { count, outside, sticky }));
        }
    }
}

/// Where a node's address stands.
pub fn node(address: Ipv4Addr) -> Slot {
    Slot { map: Map::Nodes, key: KeyBytes::fields([address.octets()]) }
}

/// The elements that come from where the node is, not from any Service.
pub fn of_place(place: &Place) -> Elements {
    let mut elements: Elements = place.nodes.iter().map(|ip| (node(*ip), Value::Member)).collect();
    // nft has no "source equals destination"; a pod that reaches itself is always one of this node's.
    for pod in place.pod_cidr.iter().flat_map(|cidr| cidr.hosts()) {
        let key = KeyBytes::fields([pod.octets(), pod.octets()]);
        elements.insert(Slot { map: Map::Hairpin, key }, Value::Member);
    }
    elements
}
