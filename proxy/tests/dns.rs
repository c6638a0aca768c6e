//! The DNS server over real sockets on the loopback: UDP, TCP, truncation, and questions passed on.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_api::Key;
use corten_proxy::directory::Directory;
use corten_proxy::dns::forward::Forwarder;
use corten_proxy::dns::server::{DnsError, Handler, Listening, listen};
use corten_proxy::dns::zone::Zone;
use corten_proxy::view::{Endpoint, Hints, Service, Slice};
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// More addresses than 512 bytes hold.
const MANY: u8 = 60;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: usize = 20;

/// One Service `web` of one address and one headless `many`, and aliases.
fn directory() -> Directory {
    let mut directory = Directory::default();
    let key = |name| Key::new("default", name);
    let address = Ipv4Addr::new(10, 96, 1, 1);
    directory.set_service(Arc::new(Service { key: key("web"), cluster_ips: vec![address], ..Service::default() }));
    directory.set_service(Arc::new(Service { key: key("many"), headless: true, ..Service::default() }));
    for (name, target) in [("away", "example.org"), ("round", "web.default.svc.cluster.local")] {
        let external_name = Some(target.to_owned());
        directory.set_service(Arc::new(Service { key: key(name), external_name, ..Service::default() }));
    }
    let end = |last| Endpoint {
        address: Ipv4Addr::new(10, 244, 1, last),
        ready: true,
        serving: true,
        terminating: false,
        local: false,
        hostname: None,
        hints: Hints::default(),
    };
    let slice =
        Slice { key: key("many"), service: key("many"), ports: vec![], endpoints: (1..=MANY).map(end).collect() };
    directory.set_slice(&key("many"), Some(Arc::new(slice)));
    directory
}

async fn serve(upstream: Vec<SocketAddr>) -> SocketAddr {
    let handler = Handler {
        zone: Zone::new("cluster.local", "10.244.0.0/16".parse().unwrap()).unwrap(),
        directory: Arc::new(RwLock::new(directory())),
        forwarder: Forwarder::new(upstream),
    };
    let listening = listen_somewhere().await;
    let address = listening.address().unwrap();
    tokio::spawn(async move { listening.serve(handler, &CancellationToken::new()).await });
    address
}

/// A port that the kernel gives for UDP may be somebody's for TCP; then another one is taken.
async fn listen_somewhere() -> Listening {
    for _ in 0..TRIES {
        match listen(Ipv4Addr::LOCALHOST, Some(0)).await {
            Err(DnsError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
            other => return other.unwrap(),
        }
    }
    panic!("no port is free for UDP and TCP in {TRIES} tries");
}

fn question(name: &str) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.metadata.recursion_desired = true;
    message
}

async fn ask_udp(server: SocketAddr, question: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 4096];
    let len = tokio::time::timeout(ANSWER_TIMEOUT, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

async fn ask_tcp(server: SocketAddr, question: &Message) -> Message {
    let bytes = question.to_vec().unwrap();
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut buffer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut buffer).await.unwrap();
    Message::from_vec(&buffer).unwrap()
}

#[tokio::test]
async fn answers_are_authoritative_and_truncated_over_udp_only() {
    let server = serve(vec![]).await;
    let asked = question("web.default.svc.cluster.local.");
    let answer = ask_udp(server, &asked).await;
    assert_eq!(answer.metadata.id, asked.metadata.id);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!(answer.answers[0].data, RData::A(A::new(10, 96, 1, 1)));
    let many = question("many.default.svc.cluster.local.");
    assert!(ask_udp(server, &many).await.metadata.truncation, "512 bytes do not hold it");
    let whole = ask_tcp(server, &many).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, usize::from(MANY)));
}

/// A resolver that knows one address for all names.
async fn upstream() -> SocketAddr {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = upstream.recv_from(&mut buffer).await {
            let mut answer = Message::from_vec(&buffer[..len]).unwrap();
            answer.metadata.message_type = MessageType::Response;
            let name = answer.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(198, 51, 100, 1))));
            upstream.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn an_alias_comes_with_what_it_stands_for() {
    let server = serve(vec![upstream().await]).await;
    for (alias, address) in [("away", A::new(198, 51, 100, 1)), ("round", A::new(10, 96, 1, 1))] {
        let answer = ask_udp(server, &question(&format!("{alias}.default.svc.cluster.local."))).await;
        let kinds: Vec<RecordType> = answer.answers.iter().map(Record::record_type).collect();
        assert_eq!((kinds, &answer.answers[1].data), (vec![RecordType::CNAME, RecordType::A], &RData::A(address)));
    }
    let alone = serve(vec![]).await;
    let answer = ask_udp(alone, &question("away.default.svc.cluster.local.")).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1), "nobody to ask");
}

#[tokio::test]
async fn other_names_go_upstream_under_another_id() {
    let server = serve(vec![upstream().await]).await;
    let asked = question("example.org.");
    let answer = ask_udp(server, &asked).await;
    assert_eq!((answer.metadata.id, answer.metadata.authoritative), (asked.metadata.id, false));
    assert_eq!(answer.answers[0].data, RData::A(A::new(198, 51, 100, 1)));
    let ours = ask_udp(server, &question("nothing.default.svc.cluster.local.")).await;
    assert_eq!(ours.metadata.response_code, ResponseCode::NXDomain, "our own names never go upstream");
}

#[tokio::test]
async fn headless_answers_rotate() {
    let server = serve(vec![]).await;
    let many = question("many.default.svc.cluster.local.");
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let answer = ask_tcp(server, &many).await;
        assert_eq!(answer.answers.len(), usize::from(MANY));
        firsts.insert(answer.answers[0].data.to_string());
    }
    // 100 draws of 60 meet 49 of them on average.
    assert!(firsts.len() > 20, "{firsts:?}");
}

/// A resolver that never answers for names that begin with `slow`.
async fn slow_upstream() -> SocketAddr {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = upstream.recv_from(&mut buffer).await {
            let mut answer = Message::from_vec(&buffer[..len]).unwrap();
            if !answer.queries[0].name().to_string().starts_with("slow") {
                answer.metadata.message_type = MessageType::Response;
                upstream.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn one_pods_questions_that_nobody_answers_do_not_starve_anothers() {
    let server = serve(vec![slow_upstream().await]).await;
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let slow = question("slow.example.org.").to_vec().unwrap();
    let other = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    // For as long as two time-outs of the resolver, so that it counts as failing, too.
    let until = Instant::now() + Duration::from_secs(4);
    let mut buffer = [0; 4096];
    while Instant::now() < until {
        for _ in 0..400 {
            flood.send_to(&slow, server).await.unwrap();
        }
        other.send_to(&question("fast.example.org.").to_vec().unwrap(), server).await.unwrap();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, other.recv(&mut buffer)).await.expect("an answer").unwrap();
        let answer = Message::from_vec(&buffer[..answer]).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }
}

#[tokio::test]
async fn without_a_resolver_other_names_fail_at_once() {
    let server = serve(vec![]).await;
    let started = Instant::now();
    let answer = ask_udp(server, &question("example.org.")).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn nonsense_does_not_stop_the_server() {
    let server = serve(vec![]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for bytes in [&b""[..], b"\0", &[0xff; 512], &[0; 12]] {
        socket.send_to(bytes, server).await.unwrap();
    }
    let answer = ask_udp(server, &question("web.default.svc.cluster.local.")).await;
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn made_up_messages_are_answered_or_refused() {
    let valid: Vec<Vec<u8>> = [
        question("web.default.svc.cluster.local.").to_vec().unwrap(),
        question("round.default.svc.cluster.local.").to_vec().unwrap(),
        question("2.1.244.10.in-addr.arpa.").to_vec().unwrap(),
        question("10-244-1-3.many.default.svc.cluster.local.").to_vec().unwrap(),
        question("_http._tcp.web.default.svc.cluster.local.").to_vec().unwrap(),
    ]
    .into();
    let valid: Vec<&[u8]> = valid.iter().map(Vec::as_slice).collect();
    // Labels: a pointer to the start and one to itself, the longest, an empty one; types and counts at their ends.
    let tokens: [&[u8]; 8] =
        [b"\xc0\x0c", b"\xc0\xff", b"\x3f", b"\0", b"\x05local\0", b"\0\xff", b"\xff\xff", b"\x04\x5f.*\\"];
    let inputs = corten_fuzz::Inputs { valid: &valid, tokens: &tokens };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(serve(vec![]));
    let runtime = std::sync::Mutex::new(runtime);
    let (zone, directory) = (Zone::new("cluster.local", "10.244.0.0/16".parse().unwrap()).unwrap(), directory());
    corten_fuzz::run("dns_messages", |random| {
        let bytes = inputs.mutate(random);
        if let Ok(message) = Message::from_vec(&bytes) {
            for query in &message.queries {
                if let Some(answer) = zone.answer(&directory, query.name(), query.query_type()) {
                    assert_eq!(answer.soa.is_some(), answer.answers.is_empty());
                }
            }
        }
        // A datagram is a datagram; the server must answer the next one whatever this one was.
        if bytes.len() <= 9000 && random.one_in(16) {
            runtime.lock().unwrap().block_on(async {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.send_to(&bytes, server).await.unwrap();
                assert_eq!(ask_udp(server, &question("web.default.svc.cluster.local.")).await.answers.len(), 1);
            });
        }
    });
}
