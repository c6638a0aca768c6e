//! Namespaces for everybody of `cases.rs`, linked as a cluster is, with servers that say who came.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use corten_api::hardware_address;
use corten_proxy::conntrack;
use corten_proxy::nft::base;
use corten_proxy::nft::kernel::Kernel;
use corten_proxy::nft::socket::NetfilterSocket;
use corten_proxy::routes::apply::POD_BRIDGE;
use corten_proxy::routes::switches;
use corten_proxy::ruleset::diff::Flow;
use corten_proxy::ruleset::elements::Map;
use corten_proxy::ruleset::trace::{Arrival, Outcome};
use corten_proxy::ruleset::{End, Front};
use corten_proxy::view::Protocol;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::cases::{
    API_PORT, BRIDGE_A, CLOSED, Case, EVERYBODY, EXTERNAL, LIMITED, NODE_A, SERVER_PORT, STICKY, Scenario, Setting,
    Who, scenario,
};

/// How long a connection that should be made may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one must stay without any answer to count as dropped.
const SILENCE: Duration = Duration::from_millis(300);
/// Enough to meet each of three ends; missing one of them has a chance of one in ten thousand.
const TRIES: usize = 24;

pub(crate) struct World {
    prefix: String,
    pub(crate) scenario: Scenario,
    setting: Setting,
}

/// What a client sees.
#[derive(Debug, PartialEq)]
enum Seen {
    /// The server's name, and the address that it saw.
    Answer(String, IpAddr),
    Refused,
    Silence,
}

impl World {
    /// `None`, with a word, where this machine cannot show the setting.
    pub(crate) fn new(setting: Setting) -> Option<Self> {
        let blind = setting == Setting::BridgeBlind;
        let prefix = format!("cpx{}{}", std::process::id(), if blind { "b" } else { "s" });
        let world = Self { prefix, scenario: scenario(setting), setting };
        world.build();
        let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let value: &'static [u8] = if blind { b"0" } else { b"1" };
        let switched = world.inside("A", move || std::fs::write(switch, value));
        if switched.is_err() && !blind {
            eprintln!("skipped: br_netfilter is not loaded here, so bridges show IP nothing");
            return None;
        }
        world.serve();
        Some(world)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
    fn ip(&self, name: &str, command: &str) {
        let namespace = self.namespace(name);
        run(&format!("ip -n {namespace} {command}"));
    }
    /// A link between two namespaces: `device` in `a`, `peer` in `b`.
    fn link(&self, (a, device): (&str, &str), (b, peer): (&str, &str)) {
        let (a, b) = (self.namespace(a), self.namespace(b));
        run(&format!("ip link add {device} netns {a} type veth peer name {peer} netns {b}"));
        run(&format!("ip -n {a} link set {device} up"));
        run(&format!("ip -n {b} link set {peer} up"));
    }

    fn build(&self) {
        for name in EVERYBODY.map(Who::name).into_iter().chain(["hub"]) {
            run(&format!("ip netns add {}", self.namespace(name)));
            self.ip(name, "link set lo up");
            self.inside(name, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
        }
        self.ip("hub", "link add br0 type bridge");
        self.ip("hub", "link set br0 up");
        for (name, port) in [("A", "toA"), ("B", "toB"), ("client", "toC")] {
            self.link((name, "eth0"), ("hub", port));
            self.ip("hub", &format!("link set {port} master br0"));
        }
        for (node, subnet, pods) in [("A", 1, &["a1", "a2"][..]), ("B", 2, &["b1"][..])] {
            self.ip(node, "link add corten-br type bridge");
            self.ip(node, "link set corten-br up");
            self.ip(node, &format!("addr add 10.244.{subnet}.1/24 dev corten-br"));
            for pod in pods {
                self.link((pod, "eth0"), (node, pod));
                self.ip(node, &format!("link set {pod} master corten-br"));
                // A frame may go back where it came from: a pod that reaches itself through a Service.
                self.ip(node, &format!("link set {pod} type bridge_slave hairpin on"));
            }
        }
        self.pin("A", [Who::Pod1OnA, Who::Pod2OnA]);
        for who in EVERYBODY {
            self.ip(who.name(), &format!("addr add {}/24 dev eth0", who.address()));
        }
        for (pod, subnet) in [("a1", 1), ("a2", 1), ("b1", 2)] {
            self.ip(pod, &format!("route add default via 10.244.{subnet}.1"));
        }
        self.ip("A", "route add 10.244.2.0/24 via 192.0.2.2");
        self.ip("A", "route add default via 192.0.2.2");
        self.ip("B", "route add 10.244.1.0/24 via 192.0.2.1");
        for address in [EXTERNAL, LIMITED, CLOSED] {
            self.ip("client", &format!("route add {address}/32 via {NODE_A}"));
        }
    }

    /// As the kubelet makes pods' links: each with the hardware address that belongs to its address, and with no other.
    fn pin(&self, node: &str, pods: [Who; 2]) {
        for pod in pods {
            let (name, own) = (pod.name(), hardware(pod));
            self.ip(name, &format!("link set eth0 address {own}"));
            run(&format!("bridge -n {} fdb replace {own} dev {name} master static", self.namespace(node)));
            self.ip(node, &format!("link set {name} type bridge_slave locked on"));
        }
    }

    fn serve(&self) {
        for who in EVERYBODY {
            let name = who.name();
            let port = if who == Who::NodeB { API_PORT } else { SERVER_PORT };
            let (tcp, udp) = self
                .inside(name, move || {
                    let any = (Ipv4Addr::UNSPECIFIED, port);
                    io::Result::Ok((TcpListener::bind(any)?, UdpSocket::bind(any)?))
                })
                .unwrap();
            std::thread::spawn(move || {
                for stream in tcp.incoming().flatten() {
                    answer_tcp(stream, name);
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    // The client that left does not need its answer.
                    let _ = udp.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
                }
            });
        }
    }

    /// Runs `work` on a thread of the namespace.
    fn inside<T: Send + 'static>(&self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/run/netns/{}", self.namespace(name));
        let thread = std::thread::spawn(move || {
            let namespace = std::fs::File::open(path).unwrap();
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// Writes the rules on node A.
    pub(crate) fn load(&self) {
        let (place, elements) = (self.scenario.place.clone(), self.scenario.elements.clone());
        self.inside("A", move || {
            switches::let_loopback_through(POD_BRIDGE).unwrap();
            let mut kernel = Kernel::open().unwrap();
            let mended = kernel.reconcile(&place, &elements).unwrap();
            assert_eq!(mended.added, elements.len());
            assert_eq!(kernel.elements().unwrap(), elements, "what is read back is what was written");
            assert_eq!(kernel.reconcile(&place, &elements).unwrap(), Default::default(), "the second time, nothing");
        });
    }

    fn attempt(&self, case: &Case, wait: Duration) -> Seen {
        let to = SocketAddr::from((case.to.address, case.to.port));
        let udp = case.to.protocol == Protocol::Udp;
        self.inside(case.from.name(), move || if udp { ask_udp(to, wait) } else { ask_tcp(to, wait) })
    }

    /// Sends the case's packets and compares with what the trace says.
    pub(crate) fn check(&self, case: &Case, traced: &Outcome) {
        let context = format!("{} ({:?})", case.why, self.setting);
        match traced {
            Outcome::Refused => assert_eq!(self.attempt(case, CONNECT_TIMEOUT), Seen::Refused, "{context}"),
            Outcome::Dropped => assert_eq!(self.attempt(case, SILENCE), Seen::Silence, "{context}"),
            Outcome::Broken(why) => panic!("{context}: {why}"),
            // Addresses that are nobody's lead nowhere in this world, each in its own way.
            Outcome::Untouched { .. } if Who::named(case.to.address) == "?" => {
                assert!(!matches!(self.attempt(case, SILENCE), Seen::Answer(..)), "{context}");
            }
            Outcome::Untouched { masqueraded } => {
                let seen = self.attempt(case, CONNECT_TIMEOUT);
                let Seen::Answer(name, from) = seen else { panic!("{context}: {seen:?}") };
                assert_eq!(name, Who::named(case.to.address), "{context}");
                self.check_source(case, from, *masqueraded, &context);
            }
            Outcome::Delivered(arrivals) => self.check_delivery(case, arrivals, &context),
        }
    }

    fn check_delivery(&self, case: &Case, arrivals: &[Arrival], context: &str) {
        let mut unmet: Vec<&'static str> = arrivals.iter().map(|a| Who::named(a.end.address)).collect();
        for attempt in 0..TRIES {
            let seen = self.attempt(case, CONNECT_TIMEOUT);
            let Seen::Answer(name, from) = seen else { panic!("{context}, attempt {attempt}: {seen:?}") };
            let arrival = arrivals.iter().find(|a| Who::named(a.end.address) == name);
            let arrival = arrival.unwrap_or_else(|| panic!("{context}: {name} is no end of it"));
            self.check_source(case, from, arrival.masqueraded, &format!("{context}, at {name}"));
            unmet.retain(|n| **n != name);
            // A sticky client meets one end only.
            if unmet.is_empty() || case.to == STICKY || case.to.port == 31087 {
                return;
            }
        }
        panic!("{context}: never met {unmet:?}");
    }

    fn check_source(&self, case: &Case, seen: IpAddr, masqueraded: bool, context: &str) {
        let node = [NODE_A, BRIDGE_A].map(IpAddr::from);
        if masqueraded {
            assert!(node.contains(&seen), "{context}: came under {seen}, not the node's address");
        } else {
            assert_eq!(seen, IpAddr::from(case.source()), "{context}: came under another address");
        }
    }

    /// The same client meets the same end each time, and another one once that end is gone.
    pub(crate) fn clients_stick_to_their_end(&self) {
        let case = Case { why: "sticky", from: Who::Pod2OnA, to: STICKY, expected: "", blind: None };
        let meet = || match self.attempt(&case, CONNECT_TIMEOUT) {
            Seen::Answer(name, _) => name,
            other => panic!("a sticky client got {other:?}"),
        };
        let first = meet();
        for _ in 0..TRIES {
            assert_eq!(meet(), first);
        }
        let forgotten = self.inside("A", || {
            let front = corten_proxy::ruleset::elements::Slot::front(Map::Frontends, &STICKY);
            Kernel::open().unwrap().forget_clients(|c| c.key[4..] == *front.key.as_slice()).unwrap()
        });
        // The pod of the table's case and this one.
        assert_eq!(forgotten, 2);
        let mut met: Vec<String> = Vec::new();
        for _ in 0..TRIES {
            met.push(meet());
        }
        assert!(met.iter().all(|name| *name == met[0]), "{met:?}");
    }

    /// A client that keeps its port goes on to an end that has left until its flow is forgotten.
    pub(crate) fn a_stale_udp_flow_is_forgotten(&self) {
        let front = Front { protocol: Protocol::Udp, ..crate::cases::front(8, 80) };
        let seen = self.inside("a1", move || ask_udp((front.address, front.port).into(), CONNECT_TIMEOUT));
        let Seen::Answer(name, _) = seen else { panic!("no UDP answer: {seen:?}") };
        let end = EVERYBODY.into_iter().find(|w| w.name() == name).unwrap().address();
        let forget = |address: Ipv4Addr| {
            let end = Some(End { address, port: SERVER_PORT });
            let is_stale = move |flow: &Flow| flow.front == front && flow.end == end && flow.balanced;
            self.inside("A", move || {
                conntrack::forget(&mut NetfilterSocket::open().unwrap(), Some(&[front]), is_stale).unwrap().removed
            })
        };
        assert_eq!(forget(Who::Client.address()), 0, "no flow of this front went there");
        assert!(forget(end) > 0, "the flow to {name}");
        assert_eq!(forget(end), 0, "all are gone");
    }

    /// A node tracks the flows of all its pods: those of other fronts are not even listed.
    pub(crate) fn flows_of_one_front_are_listed_alone(&self) {
        const OTHERS: usize = 20;
        let front = Front { protocol: Protocol::Udp, ..crate::cases::front(8, 80) };
        for _ in 0..OTHERS {
            self.inside("a1", || ask_udp((Who::PodOnB.address(), SERVER_PORT).into(), CONNECT_TIMEOUT));
        }
        self.inside("a1", move || ask_udp((front.address, front.port).into(), CONNECT_TIMEOUT));
        let look = |fronts: Option<Vec<Front>>| {
            self.inside("A", move || {
                let mut socket = NetfilterSocket::open().unwrap();
                conntrack::forget(&mut socket, fronts.as_deref(), |_| false).unwrap().listed
            })
        };
        let (all, one) = (look(None), look(Some(vec![front])));
        // Tests before may have left some of the front's own.
        assert!(one >= 1 && all >= one + OTHERS, "{one} of {all} flows are listed");
    }

    /// Packets from a pod that get through to a pod of another node, by what conntrack thinks of them.
    pub(crate) fn packets_that_conntrack_cannot_place_are_dropped(&self) {
        let (from, to) = (Who::Pod1OnA, Who::PodOnB);
        let listening = self.inside(to.name(), raw_socket);
        for (why, flags, passes) in
            [("a SYN begins a connection", 0x02, true), ("SYN and RST make no sense", 0x06, false)]
        {
            // Flags tell packets apart; ports that nobody uses keep servers out of it.
            let packet = segment(from.address(), to.address(), 40_000 + u16::from(flags), flags);
            self.inside(from.name(), move || send_raw(&raw_socket(), to.address(), &packet));
            let arrived =
                hears_raw(&listening, 40_000 + u16::from(flags), if passes { CONNECT_TIMEOUT } else { SILENCE });
            assert_eq!(arrived, passes, "{why}");
        }
    }

    /// The switch that lets hostPorts on 127.0.0.1 work opens the machine's own ports to nobody.
    pub(crate) fn nobody_else_comes_as_the_loopback(&self) {
        let (secret, impostor) = (9999, Ipv4Addr::new(127, 0, 0, 7));
        let listening = self.inside("A", move || TcpListener::bind((Ipv4Addr::LOCALHOST, secret)).unwrap());
        let heard = self.inside("A", raw_socket);
        // A pod with CAP_NET_ADMIN and CAP_NET_RAW leads these addresses to the node.
        self.inside("a1", || std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")).unwrap();
        self.ip("a1", "route del local 127.0.0.0/8 dev lo table local");
        self.ip("a1", "route del local 127.0.0.1 dev lo table local");
        self.ip("a1", "route add 127.0.0.0/8 via 10.244.1.1");
        let reaches = || {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, secret));
            self.inside("a1", move || TcpStream::connect_timeout(&to, SILENCE).is_ok())
        };
        let impersonates = || {
            let packet = datagram(impostor, NODE_A, &segment(impostor, NODE_A, secret, 0x02));
            self.inside("a1", move || {
                let raw =
                    socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
                send_raw(&raw, NODE_A, &packet);
            });
            hears_raw(&heard, secret, SILENCE)
        };
        assert!(!reaches(), "a pod reaches a port that is open on the node's loopback only");
        assert!(!impersonates(), "a pod comes under a loopback address");
        drop(listening);
    }

    /// Packets and ARP under a neighbour's address get nowhere, and nobody's neighbour table believes them. It comes last: its pod
    /// has been waiting for an answer to ARP, and goes on for a second.
    pub(crate) fn nobody_comes_as_its_neighbour(&self) {
        let port = 40_100;
        for target in [Who::PodOnB, Who::NodeA] {
            let heard = self.inside(target.name(), raw_socket);
            for (why, from, passes) in
                [("its own address", Who::Pod1OnA, true), ("its neighbour's address", Who::Pod2OnA, false)]
            {
                let packet =
                    datagram(from.address(), target.address(), &segment(from.address(), target.address(), port, 0x02));
                self.inside("a1", move || {
                    let raw =
                        socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
                    send_raw(&raw, target.address(), &packet);
                });
                let wait = if passes { CONNECT_TIMEOUT } else { SILENCE };
                assert_eq!(hears_raw(&heard, port, wait), passes, "{why}, to {target:?}");
            }
        }
        let (forged, gateway) = (Who::Pod2OnA.address(), SocketAddr::from((BRIDGE_A, SERVER_PORT)));
        self.ip("a1", &format!("addr add {forged}/32 dev eth0"));
        self.ip("a1", "neigh flush all");
        let answered = self.inside("a1", move || {
            let socket = UdpSocket::bind((forged, 0)).unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket.connect(gateway).and_then(|()| socket.send(b"?")).and_then(|_| socket.recv(&mut [0; 64])).is_ok()
        });
        assert!(!answered, "a pod speaks under its neighbour's address");
        let known =
            Command::new("ip").args(["-n", &self.namespace("A"), "neigh", "show", &forged.to_string()]).output();
        let known = String::from_utf8(known.unwrap().stdout).unwrap();
        assert!(!known.contains(&hardware(Who::Pod1OnA)), "{known}");
        self.ip("a1", &format!("addr del {forged}/32 dev eth0"));
    }

    /// One pod floods cluster DNS; what reaches the queue is its share, and another pod's question is there.
    pub(crate) fn one_pods_questions_do_not_crowd_out_anothers(&self) {
        const FLOOD: usize = 60_000;
        let dns = self.scenario.place.cluster_dns;
        self.ip("A", "link add corten-dns type bridge");
        self.ip("A", &format!("addr add {dns}/32 dev corten-dns"));
        self.ip("A", "link set corten-dns up");
        let server = self.inside("A", move || UdpSocket::bind((dns, 53)).unwrap());
        server.set_read_timeout(Some(SILENCE)).unwrap();
        let counting = std::thread::spawn(move || {
            let (mut heard, mut buffer) = (std::collections::HashMap::<IpAddr, usize>::new(), [0; 64]);
            while let Ok((_, from)) = server.recv_from(&mut buffer) {
                *heard.entry(from.ip()).or_default() += 1;
            }
            heard
        });
        let began = std::time::Instant::now();
        let ask = move |times: usize| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.connect((dns, 53)).unwrap();
            // A full buffer of the sender's own loses it a packet, which is fine here.
            (0..times).filter(|_| socket.send(b"?").is_ok()).count()
        };
        let sent = self.inside("a1", move || ask(FLOOD));
        self.inside("a2", move || ask(1));
        let took = began.elapsed();
        let heard = counting.join().unwrap();
        let of = |who: Who| heard.get(&IpAddr::from(who.address())).copied().unwrap_or_default();
        let share = base::DNS_QUESTIONS_BURST as f64 + f64::from(base::DNS_QUESTIONS_PER_SEC) * took.as_secs_f64();
        let flooded = of(Who::Pod1OnA);
        assert!(flooded as f64 <= share * 1.1, "{flooded} of {sent} came through in {took:?}, the share is {share}");
        assert_eq!(of(Who::Pod2OnA), 1, "the other pod's question, of {heard:?}");
    }

    /// A client outside asks under more addresses than are counted: those beyond are not answered. It comes after the flood,
    /// whose device and address it uses.
    pub(crate) fn who_asks_under_many_addresses_is_limited_too(&self) {
        const BEYOND: u32 = 1000;
        let dns = self.scenario.place.cluster_dns;
        let server = self.inside("A", move || UdpSocket::bind((dns, 53)).unwrap());
        server.set_read_timeout(Some(CONNECT_TIMEOUT)).unwrap();
        let counting = std::thread::spawn(move || {
            let (mut heard, mut buffer) = (std::collections::HashSet::new(), [0; 64]);
            while let Ok((_, from)) = server.recv_from(&mut buffer) {
                server.set_read_timeout(Some(SILENCE)).unwrap();
                heard.insert(from.ip());
            }
            heard.len()
        });
        self.ip("client", &format!("route add {dns}/32 via {NODE_A}"));
        self.inside("client", move || {
            let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
            for n in 0..base::DNS_SOURCES_MAX + BEYOND {
                let from = Ipv4Addr::from(0xc612_0001 + n);
                // A UDP header without a checksum, and nothing behind it.
                let question = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
                let mut packet = datagram(from, dns, &question);
                packet[9] = 17;
                (packet[10], packet[11]) = (0, 0);
                let sum = checksum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                send_raw(&raw, dns, &packet);
            }
        });
        let heard = counting.join().unwrap();
        let most = base::DNS_SOURCES_MAX as usize;
        assert!(heard > most / 2, "{heard} were answered: is anybody?");
        assert!(heard <= most, "{heard} were answered, of whom {most} are counted");
    }

    /// Rules and elements that somebody changed are put right, and the rest stays.
    pub(crate) fn an_altered_table_is_mended(&self) {
        let namespace = self.namespace("A");
        for harm in
            ["flush map ip corten frontends", "flush chain ip corten nat-prerouting", "flush chain ip corten pick-3"]
        {
            run(&format!("ip netns exec {namespace} nft {harm}"));
            let (place, elements) = (self.scenario.place.clone(), self.scenario.elements.clone());
            self.inside("A", move || Kernel::open().unwrap().reconcile(&place, &elements).unwrap());
            let to = crate::cases::front(1, 80);
            let case = Case { why: "mended", from: Who::Pod2OnA, to, expected: "", blind: None };
            let seen = self.attempt(&case, CONNECT_TIMEOUT);
            assert!(matches!(seen, Seen::Answer(..)), "after {harm}: {seen:?}");
        }
    }
}

fn hardware(who: Who) -> String {
    hardware_address::of(who.address().into()).map(|byte| format!("{byte:02x}")).join(":")
}

impl Drop for World {
    fn drop(&mut self) {
        for name in EVERYBODY.map(Who::name).into_iter().chain(["hub"]) {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(name)]).output();
        }
    }
}

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn answer_tcp(mut stream: TcpStream, name: &str) {
    if let Ok(peer) = stream.peer_addr() {
        // A client that left does not need its answer.
        let _ = stream.write_all(format!("{name} {}", peer.ip()).as_bytes());
    }
}

fn ask_tcp(to: SocketAddr, wait: Duration) -> Seen {
    let mut stream = match TcpStream::connect_timeout(&to, wait) {
        Ok(stream) => stream,
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => return Seen::Refused,
        Err(_) => return Seen::Silence,
    };
    let mut text = String::new();
    match stream.set_read_timeout(Some(wait)).and_then(|()| stream.read_to_string(&mut text)) {
        Ok(_) => parse(&text),
        Err(_) => Seen::Silence,
    }
}

fn ask_udp(to: SocketAddr, wait: Duration) -> Seen {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let mut buffer = [0; 64];
    let asked = socket
        .connect(to)
        .and_then(|()| socket.set_read_timeout(Some(wait)))
        .and_then(|()| socket.send(b"?"))
        .and_then(|_| socket.recv(&mut buffer));
    match asked {
        Ok(len) => parse(&String::from_utf8_lossy(&buffer[..len])),
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => Seen::Refused,
        Err(_) => Seen::Silence,
    }
}

fn parse(text: &str) -> Seen {
    let (name, from) = text.split_once(' ').unwrap();
    Seen::Answer(name.into(), from.parse().unwrap())
}

fn raw_socket() -> OwnedFd {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp).unwrap();
    setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100)).unwrap();
    raw
}

fn send_raw(raw: &OwnedFd, to: Ipv4Addr, segment: &[u8]) {
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    sendto(raw.as_raw_fd(), segment, &to, MsgFlags::empty()).unwrap();
}

/// A whole IP packet, under any source address.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let len = u16::try_from(packet.len() + segment.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(segment);
    packet
}

/// Whether a TCP segment to this port arrives within the time.
fn hears_raw(raw: &OwnedFd, port: u16, wait: Duration) -> bool {
    let began = std::time::Instant::now();
    let mut buffer = [0; 256];
    while began.elapsed() < wait {
        let Ok(len) = recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
        if len >= 24 && buffer[22..24] == port.to_be_bytes() {
            return true;
        }
    }
    false
}

/// A TCP segment of nothing but a header.
fn segment(from: Ipv4Addr, to: Ipv4Addr, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = Vec::from(50_000u16.to_be_bytes());
    segment.extend(port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 6, 0, segment.len() as u8], &segment].concat();
    let sum = checksum(&pseudo);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], *c.get(1).unwrap_or(&0)]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum + (sum >> 16)) as u16)
}
