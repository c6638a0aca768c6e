//! Listens on the cluster's DNS address, UDP and TCP, and answers from the zone or from upstream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol as Transport;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::RwLock;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::forward::{ForwardError, Forwarder};
use super::zone::{Answer, Zone};
use crate::directory::Directory;
use crate::ruleset::desired::DNS_PORT;

/// Questions that wait in the kernel: a burst of all pods at once, while we are busy.
const UDP_BUFFER_BYTES: usize = 4 << 20;
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that one TCP connection may leave unread.
const TCP_ANSWERS_MAX: usize = 32;
/// Aliases of aliases that are followed; more are a circle.
const ALIASES_MAX: usize = 8;
/// What fits any path without fragments, <https://dnsflagday.net/2020/>.
const UDP_PAYLOAD_BYTES: u16 = 1232;

pub struct Handler {
    pub zone: Zone,
    pub directory: Arc<RwLock<Directory>>,
    pub forwarder: Forwarder,
}

/// Who asks, and how.
#[derive(Clone, Copy)]
struct Client {
    source: IpAddr,
    tcp: bool,
}

/// Puts another address first: many clients use no other. `by` may be any number. What stands before the addresses, aliases,
/// stays there.
fn rotate(records: &mut [Record], by: usize) {
    let first = records.iter().position(|r| r.record_type() == RecordType::A).unwrap_or(records.len());
    let addresses = &mut records[first..];
    if !addresses.is_empty() {
        let by = by % addresses.len();
        addresses.rotate_left(by);
    }
}

/// A reply before it is written.
struct Reply {
    answer: Answer,
    authoritative: bool,
    truncated: bool,
    authorities: Vec<Record>,
}

impl Reply {
    fn failure(code: ResponseCode) -> Self {
        let answer = Answer { code, answers: Vec::new(), additionals: Vec::new(), soa: None };
        Self { answer, authoritative: false, truncated: false, authorities: Vec::new() }
    }
}

impl Handler {
    /// Adds what an alias stands for: the resolvers in C libraries do not ask again for it.
    async fn follow(&self, mut reply: Reply, kind: RecordType, from: Client) -> Reply {
        for _ in 0..ALIASES_MAX {
            let Some(RData::CNAME(alias)) = reply.answer.answers.last().map(|record| &record.data) else { break };
            if matches!(kind, RecordType::CNAME | RecordType::ANY) {
                break;
            }
            let target = alias.0.clone();
            let ours = self.zone.answer(&self.directory.read(), &target, kind);
            let (code, more) = match ours {
                Some(answer) => (answer.code, answer.answers),
                None => match self.ask_for(&target, kind, from).await {
                    Ok(message) => {
                        reply.truncated |= message.metadata.truncation;
                        (message.metadata.response_code, message.answers)
                    }
                    Err(err) => {
                        tracing::debug!(name = %target, %err, "an alias leads nowhere");
                        break;
                    }
                },
            };
            reply.answer.code = code;
            if more.is_empty() {
                break;
            }
            reply.answer.answers.extend(more);
        }
        reply
    }

    async fn ask_for(&self, name: &Name, kind: RecordType, from: Client) -> Result<Message, ForwardError> {
        let mut question = Message::query();
        question.add_query(Query::query(name.clone(), kind));
        question.metadata.recursion_desired = true;
        let bytes = question.to_vec().map_err(ForwardError::Question)?;
        self.forwarder.ask(from.source, &bytes, from.tcp).await
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.message_type != MessageType::Query || request.metadata.op_code != OpCode::Query {
            return Reply::failure(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Reply::failure(ResponseCode::FormErr) };
        if info.query.query_class() != DNSClass::IN {
            return Reply::failure(ResponseCode::Refused);
        }
        let question = info.query.original();
        let from = Client { source: request.src().ip(), tcp: request.protocol() == Transport::Tcp };
        let ours = self.zone.answer(&self.directory.read(), question.name(), question.query_type());
        if let Some(answer) = ours {
            let reply = Reply { answer, authoritative: true, truncated: false, authorities: Vec::new() };
            let mut reply = self.follow(reply, question.query_type(), from).await;
            rotate(&mut reply.answer.answers, rand::random_range(0..=usize::MAX));
            return reply;
        }
        match self.forwarder.ask(from.source, request.as_slice(), from.tcp).await {
            Ok(message) => Reply {
                answer: Answer {
                    code: message.metadata.response_code,
                    answers: message.answers,
                    additionals: message.additionals,
                    soa: None,
                },
                authoritative: false,
                truncated: message.metadata.truncation,
                authorities: message.authorities,
            },
            Err(err) => {
                tracing::debug!(name = %question.name(), %err, "not answered");
                Reply::failure(ResponseCode::ServFail)
            }
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut out: R) -> ResponseInfo {
        let reply = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.answer.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        metadata.truncation = reply.truncated;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        let mut edns = Edns::new();
        if request.edns.is_some() {
            edns.set_max_payload(request.max_payload().min(UDP_PAYLOAD_BYTES));
            builder.edns(&edns);
        }
        let Answer { answers, additionals, soa, .. } = &reply.answer;
        let response = builder.build(metadata, answers, &reply.authorities, soa, additionals);
        match out.send_response(response).await {
            Ok(info) => info,
            Err(err) => {
                tracing::debug!(%err, client = %request.src(), "an answer could not be sent");
                failed(metadata)
            }
        }
    }
}

fn failed(mut metadata: Metadata) -> ResponseInfo {
    metadata.response_code = ResponseCode::ServFail;
    hickory_proto::op::Header { metadata, counts: Default::default() }.into()
}

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("cannot listen on {address}: is another DNS server on this address?")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the DNS server stopped")]
    Stopped(#[source] NetError),
}

/// Takes the address; [`Listening::serve`] answers on it.
pub async fn listen(address: Ipv4Addr, port: Option<u16>) -> Result<Listening, DnsError> {
    let address = SocketAddr::from((address, port.unwrap_or(DNS_PORT)));
    let failed = |source| DnsError::Listen { address, source };
    let udp = UdpSocket::bind(address).await.map_err(failed)?;
    // Beyond what the machine allows by itself where we may; a smaller buffer is still one.
    if setsockopt(&udp, sockopt::RcvBufForce, &UDP_BUFFER_BYTES).is_err() {
        setsockopt(&udp, sockopt::RcvBuf, &UDP_BUFFER_BYTES).map_err(|errno| failed(errno.into()))?;
    }
    let tcp = TcpListener::bind(udp.local_addr().map_err(failed)?).await.map_err(failed)?;
    Ok(Listening { udp, tcp })
}

#[derive(Debug)]
pub struct Listening {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Listening {
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
    /// Answers until `stop`.
    pub async fn serve(self, handler: Handler, stop: &CancellationToken) -> Result<(), DnsError> {
        let mut server = Server::new(handler);
        server.register_socket(self.udp);
        server.register_listener(self.tcp, TCP_IDLE_TIMEOUT, TCP_ANSWERS_MAX);
        tokio::select! {
            ended = server.block_until_done() => return ended.map_err(DnsError::Stopped),
            () = stop.cancelled() => {}
        }
        server.shutdown_gracefully().await.map_err(DnsError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    #[test]
    fn every_address_comes_first_in_its_turn_and_an_alias_stays_before_them() {
        let record = |data| Record::from_rdata(Name::root(), 5, data);
        let addresses = (1..=4).map(|n| record(RData::A(A::new(10, 244, 1, n))));
        let alias = record(RData::CNAME(CNAME(Name::root())));
        let all: Vec<Record> = [alias.clone()].into_iter().chain(addresses).collect();
        for by in 0..8 {
            let mut turned = all.clone();
            rotate(&mut turned, by);
            assert_eq!((&turned[0], &turned[1]), (&alias, &all[1 + by % 4]), "by {by}");
            assert!(all.iter().all(|record| turned.contains(record)), "by {by}: none is lost");
        }
        rotate(&mut [], 3);
        rotate(&mut [alias], 3);
    }
}
