//! The chains that pick an end, written as netlink rules and in the same batch as the elements that need them.
//!
//! Not through `nft`: once the map exists, nft 1.0.6 cannot write `numgen … map @endpoints` for more than one
//! protocol. In its words the rules of a sticky chain would be:
//! ```text
//! ct mark set ct mark or 0x4000
//! dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity
//! dnat ip to numgen random mod 3 . ip daddr . meta l4proto . th dport map @endpoints
//! ```
//! Numbers are those of `linux/netfilter/nf_tables.h`.

use super::base::{BALANCED_MARK, TABLE};
use super::dump::AFFINITY;
use super::wire::{self, Nest, Writer};
use crate::ruleset::elements::{Chain, Map, OUTSIDE_OFFSET};

const NEW_CHAIN: u16 = (10 << 8) | 3;
const NEW_RULE: u16 = (10 << 8) | 6;
const DELETE_RULE: u16 = (10 << 8) | 8;
const F_APPEND: u16 = 0x800;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

/// Four-byte registers that follow each other, so that loads into them make a concatenation.
const REGISTERS: [u32; 4] = [8, 9, 10, 11];
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_L4PROTO: u32 = 16;
const CT_MARK: u32 = 3;
const NUMGEN_RANDOM: u32 = 1;
const NAT_DNAT: u32 = 1;
/// Both the address and the port are given.
const NAT_FLAGS: u32 = 0x3;

/// Writes a pick chain, whether or not it was there: its rules are replaced. Takes one sequence number for each
/// message. Other chains are the base's business.
pub fn encode(writer: &mut Writer, chain: Chain, mut next: impl FnMut() -> u32) {
    let Chain::Pick { count, outside, sticky } = chain else { return };
    let name = chain.to_string();
    writer.begin(NEW_CHAIN, wire::F_REQUEST | wire::F_CREATE, next(), wire::FAMILY_IPV4, 0);
    writer.text(CHAIN_TABLE, TABLE);
    writer.text(CHAIN_NAME, &name);
    writer.end();
    writer.begin(DELETE_RULE, wire::F_REQUEST, next(), wire::FAMILY_IPV4, 0);
    writer.text(RULE_TABLE, TABLE);
    writer.text(RULE_CHAIN, &name);
    writer.end();
    rule(writer, &name, next(), mark_balanced);
    if sticky {
        rule(writer, &name, next(), |writer| {
            payload(writer, REGISTERS[0], NETWORK_HEADER, 12, 4);
            translate(writer, AFFINITY);
        });
    }
    rule(writer, &name, next(), |writer| {
        let offset = if outside { OUTSIDE_OFFSET } else { 0 };
        let fields = [(1, REGISTERS[0]), (2, u32::from(count)), (3, NUMGEN_RANDOM), (4, offset)];
        expression(writer, "numgen", &fields);
        translate(writer, Map::Endpoints.name());
    });
}

fn rule(writer: &mut Writer, chain: &str, sequence: u32, expressions: impl FnOnce(&mut Writer)) {
    writer.begin(NEW_RULE, wire::F_REQUEST | wire::F_CREATE | F_APPEND, sequence, wire::FAMILY_IPV4, 0);
    writer.text(RULE_TABLE, TABLE);
    writer.text(RULE_CHAIN, chain);
    let list = writer.open(RULE_EXPRESSIONS);
    expressions(writer);
    writer.close(list);
    writer.end();
}

/// Loads the front behind what the first register holds, looks both up, and sends the packet there.
fn translate(writer: &mut Writer, map: &str) {
    payload(writer, REGISTERS[1], NETWORK_HEADER, 16, 4);
    expression(writer, "meta", &[(1, REGISTERS[2]), (2, META_L4PROTO)]);
    payload(writer, REGISTERS[3], TRANSPORT_HEADER, 2, 2);
    let (elem, data) = open(writer, "lookup");
    writer.text(1, map);
    number(writer, 2, REGISTERS[0]);
    number(writer, 3, REGISTERS[0]);
    close(writer, elem, data);
    let [address, port, ..] = REGISTERS;
    let family = u32::from(wire::FAMILY_IPV4);
    let fields = [(1, NAT_DNAT), (2, family), (3, address), (4, address), (5, port), (6, port), (7, NAT_FLAGS)];
    expression(writer, "nat", &fields);
}

fn mark_balanced(writer: &mut Writer) {
    let register = REGISTERS[0];
    expression(writer, "ct", &[(1, register), (2, CT_MARK)]);
    let (elem, data) = open(writer, "bitwise");
    for (kind, value) in [(1, register), (2, register), (3, 4)] {
        number(writer, kind, value);
    }
    // Or, as the kernel has it: keep all but the bit, then flip the bit. Register contents are in the machine's order.
    for (kind, bytes) in [(4, (!BALANCED_MARK).to_ne_bytes()), (5, BALANCED_MARK.to_ne_bytes())] {
        let nest = writer.open(kind);
        writer.attribute(wire::DATA_VALUE, &bytes);
        writer.close(nest);
    }
    close(writer, elem, data);
    expression(writer, "ct", &[(2, CT_MARK), (4, register)]);
}

fn payload(writer: &mut Writer, register: u32, base: u32, offset: u32, len: u32) {
    expression(writer, "payload", &[(1, register), (2, base), (3, offset), (4, len)]);
}

/// An expression whose attributes are all numbers.
fn expression(writer: &mut Writer, name: &str, fields: &[(u16, u32)]) {
    let (elem, data) = open(writer, name);
    fields.iter().for_each(|(kind, value)| number(writer, *kind, *value));
    close(writer, elem, data);
}
fn number(writer: &mut Writer, kind: u16, value: u32) {
    writer.attribute(kind, &value.to_be_bytes());
}
fn open(writer: &mut Writer, name: &str) -> (Nest, Nest) {
    let elem = writer.open(wire::LIST_ELEM);
    writer.text(EXPRESSION_NAME, name);
    let data = writer.open(EXPRESSION_DATA);
    (elem, data)
}
fn close(writer: &mut Writer, elem: Nest, data: Nest) {
    writer.close(data);
    writer.close(elem);
}
