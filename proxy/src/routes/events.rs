//! Tells when the node's links and addresses change: the kernel drops routes of a link that goes down without a word.

use std::io;

use corten_client::CancellationToken;
use futures::StreamExt as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::MulticastGroup;

use super::apply::OUR_PROTOCOL;

/// Calls `changed`, which must be quick, whenever routes of ours may have gone or may lead elsewhere; until `stop`.
pub fn watch(stop: &CancellationToken, changed: impl Fn() + Send + 'static) -> io::Result<()> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
    let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    tokio::spawn(async move {
        // The connection lives as long as its handle.
        let _handle = handle;
        while let Some((message, _)) = messages.next().await {
            let concerned = match message.payload {
                NetlinkPayload::InnerMessage(message) => concerns(&message),
                // Some were lost: they may have been about us.
                NetlinkPayload::Overrun(_) => true,
                _ => false,
            };
            if concerned {
                changed();
            }
        }
    });
    Ok(())
}

fn concerns(message: &Message) -> bool {
    match message {
        Message::NewAddress(_) | Message::DelAddress(_) => true,
        Message::DelRoute(route) => route.header.protocol == OUR_PROTOCOL,
        // Ports of a bridge, as pods' links are, come and go all the time and carry no routes.
        Message::NewLink(link) | Message::DelLink(link) => {
            !link.attributes.iter().any(|a| matches!(a, LinkAttribute::Controller(_)))
        }
        _ => false,
    }
}
