//! Forgets UDP flows whose translation no longer holds, over netlink. TCP needs none of this: its clients notice.

use std::io;
use std::net::Ipv4Addr;

use crate::nft::NftError;
use crate::nft::base::BALANCED_MARK;
use crate::nft::socket::NetfilterSocket;
use crate::nft::wire::{self, Attributes, Writer};
use crate::ruleset::diff::Flow;
use crate::ruleset::{End, Front};
use crate::view::Protocol;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
// Attributes of `linux/netfilter/nfnetlink_conntrack.h`.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const PROTO_DESTINATION_PORT: u16 = 3;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;
const NESTED: u16 = 0x8000;

fn tuple(attributes: Attributes<'_>, ip: u16, port: u16) -> Option<(Ipv4Addr, u16)> {
    let address: [u8; 4] = attributes.nested(TUPLE_IP)?.find(ip)?.try_into().ok()?;
    let port: [u8; 2] = attributes.nested(TUPLE_PROTO)?.find(port)?.try_into().ok()?;
    Some((address.into(), u16::from_be_bytes(port)))
}

fn udp_flow(attributes: Attributes<'_>) -> Option<Flow> {
    let (original, reply) = (attributes.nested(TUPLE_ORIGINAL)?, attributes.nested(TUPLE_REPLY)?);
    if original.nested(TUPLE_PROTO)?.find(PROTO_NUMBER)? != [Protocol::Udp as u8] {
        return None;
    }
    let (address, port) = tuple(original, IP_V4_DESTINATION, PROTO_DESTINATION_PORT)?;
    let front = Front { address, protocol: Protocol::Udp, port };
    let (address, port) = tuple(reply, IP_V4_SOURCE, PROTO_SOURCE_PORT)?;
    let untranslated = address == front.address && port == front.port;
    // In network order, unlike the mark in a rule.
    let mark = attributes.find(MARK).and_then(|mark| mark.try_into().ok()).map_or(0, u32::from_be_bytes);
    let end = (!untranslated).then_some(End { address, port });
    Some(Flow { front, end, balanced: mark & BALANCED_MARK != 0 })
}

/// So many fronts are asked for one by one; for more, all flows are listed once.
const FRONTS_FILTERED_MAX: usize = 16;

/// What became of a look through the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Flows that the kernel listed.
    pub listed: usize,
    pub removed: usize,
}

/// Removes UDP flows of these fronts, or of any, that are stale. The kernel lists those of few fronts alone: a node may track
/// hundreds of thousands of others. Blocks.
pub fn forget(
    socket: &mut NetfilterSocket,
    fronts: Option<&[Front]>,
    is_stale: impl Fn(&Flow) -> bool,
) -> Result<Forgotten, NftError> {
    let mut done = Forgotten::default();
    let mut stale = Vec::new();
    match fronts.filter(|fronts| fronts.len() <= FRONTS_FILTERED_MAX) {
        None => list(socket, None, &is_stale, &mut done, &mut stale)?,
        Some(fronts) => {
            for front in fronts {
                list(socket, Some(front), &is_stale, &mut done, &mut stale)?;
            }
        }
    }
    for attributes in stale {
        done.removed += usize::from(remove(socket, &attributes)?);
    }
    Ok(done)
}

/// Collects requests to delete what is stale. Kernels before 5.8 list all flows whatever the filter says.
fn list(
    socket: &mut NetfilterSocket,
    front: Option<&Front>,
    is_stale: &impl Fn(&Flow) -> bool,
    done: &mut Forgotten,
    stale: &mut Vec<Vec<u8>>,
) -> Result<(), NftError> {
    let mut writer = Writer::default();
    let sequence = socket.next_sequence();
    writer.begin(GET, wire::F_REQUEST | wire::F_DUMP, sequence, wire::FAMILY_IPV4, 0);
    if let Some(front) = front {
        filter(&mut writer, front);
    }
    writer.end();
    send(socket, &writer)?;
    // A flow that changes meanwhile may be listed twice or not at all; neither harms: new ones follow the new rules.
    loop {
        for message in receive(socket)?.iter().filter(|m| m.sequence == sequence) {
            match message.kind {
                wire::NLMSG_DONE => return Ok(()),
                wire::NLMSG_ERROR => return Err(refused("listing flows", message.errno)),
                _ => {
                    done.listed += 1;
                    stale.extend(deletion(is_stale, Attributes(&message.attributes)));
                }
            }
        }
    }
}

/// Only flows whose clients addressed this front.
fn filter(writer: &mut Writer, front: &Front) {
    let tuple = writer.open(TUPLE_ORIGINAL);
    let ip = writer.open(TUPLE_IP);
    writer.attribute(IP_V4_DESTINATION, &front.address.octets());
    writer.close(ip);
    let proto = writer.open(TUPLE_PROTO);
    writer.attribute(PROTO_NUMBER, &[front.protocol as u8]);
    writer.attribute(PROTO_DESTINATION_PORT, &front.port.to_be_bytes());
    writer.close(proto);
    writer.close(tuple);
    let by = writer.open(FILTER);
    writer.attribute(FILTER_ORIGINAL, &(BY_DESTINATION | BY_PROTOCOL | BY_DESTINATION_PORT).to_ne_bytes());
    writer.close(by);
}

/// Whether the flow was still there.
fn remove(socket: &mut NetfilterSocket, attributes: &[u8]) -> Result<bool, NftError> {
    let mut writer = Writer::default();
    let sequence = socket.next_sequence();
    writer.begin(DELETE, wire::F_REQUEST | wire::F_ACK, sequence, wire::FAMILY_IPV4, 0);
    writer.bytes.extend(attributes);
    writer.end();
    send(socket, &writer)?;
    let answer = loop {
        if let Some(answer) = receive(socket)?.into_iter().find(|m| m.sequence == sequence) {
            break answer;
        }
    };
    match answer.errno {
        0 => Ok(true),
        // It ended by itself.
        nix::libc::ENOENT => Ok(false),
        errno => Err(refused("removing a flow", errno)),
    }
}

/// The attributes of a request to delete the flow, if it is stale.
fn deletion(is_stale: impl Fn(&Flow) -> bool, attributes: Attributes<'_>) -> Option<Vec<u8>> {
    if !is_stale(&udp_flow(attributes)?) {
        return None;
    }
    let mut writer = Writer::default();
    for (kind, nested) in [(TUPLE_ORIGINAL, NESTED), (ID, 0), (ZONE, 0)] {
        if let Some(value) = attributes.find(kind) {
            writer.attribute(kind | nested, value);
        }
    }
    Some(writer.bytes)
}

/// A received message, kept.
struct Received {
    kind: u16,
    sequence: u32,
    errno: i32,
    attributes: Vec<u8>,
}

fn receive(socket: &mut NetfilterSocket) -> Result<Vec<Received>, NftError> {
    let bytes = socket.receive().map_err(|source| NftError::Netlink { doing: "reading flows", source })?;
    let keep = |m: wire::Message<'_>| Received {
        kind: m.kind,
        sequence: m.sequence,
        errno: m.error_number().unwrap_or_default(),
        attributes: m.attributes().0.to_vec(),
    };
    Ok(wire::messages(bytes)?.into_iter().map(keep).collect())
}
fn send(socket: &NetfilterSocket, writer: &Writer) -> Result<(), NftError> {
    socket.send(&writer.bytes).map_err(|source| NftError::Netlink { doing: "asking for flows", source })
}
fn refused(doing: &'static str, errno: i32) -> NftError {
    NftError::Netlink { doing, source: io::Error::from_raw_os_error(errno) }
}
