//! Where packets end: every case is traced through the ruleset in memory, then sent through the real kernel between
//! network namespaces, and both must agree. The real half needs root and `nft`; it says so and passes where it has
//! neither.

#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod cases;
mod world;

use corten_proxy::ruleset::trace::{Packet, trace};

use cases::{Setting, cases, render, scenario};

#[test]
fn traced_packets_end_where_the_table_says() {
    for setting in [Setting::BridgeSeesIp, Setting::BridgeBlind] {
        let scenario = scenario(setting);
        for case in cases() {
            let packet = Packet { from: case.source(), to: case.to };
            let outcome = trace(&scenario.elements, &scenario.place, packet);
            let expected =
                if setting == Setting::BridgeBlind { case.blind.unwrap_or(case.expected) } else { case.expected };
            assert_eq!(render(&outcome), expected, "{} ({setting:?})", case.why);
        }
    }
}

#[test]
fn real_packets_end_where_traced_ones_do() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making network namespaces takes root");
        return;
    }
    for setting in [Setting::BridgeSeesIp, Setting::BridgeBlind] {
        let Some(world) = world::World::new(setting) else { continue };
        world.load();
        for case in cases() {
            let packet = Packet { from: case.source(), to: case.to };
            let outcome = trace(&world.scenario.elements, &world.scenario.place, packet);
            world.check(&case, &outcome);
        }
        if setting == Setting::BridgeSeesIp {
            world.clients_stick_to_their_end();
            world.a_stale_udp_flow_is_forgotten();
            world.flows_of_one_front_are_listed_alone();
            world.packets_that_conntrack_cannot_place_are_dropped();
            world.nobody_else_comes_as_the_loopback();
            world.one_pods_questions_do_not_crowd_out_anothers();
            world.who_asks_under_many_addresses_is_limited_too();
            world.an_altered_table_is_mended();
            world.nobody_comes_as_its_neighbour();
        }
    }
}
