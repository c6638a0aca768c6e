//! Namespaces for everybody of `cases.rs`, linked as a cluster is, with servers that say who came.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use corten_proxy::conntrack;
use corten_proxy::nft::kernel::Kernel;
use corten_proxy::nft::socket::NetfilterSocket;
use corten_proxy::ruleset::diff::Flow;
use corten_proxy::ruleset::elements::Map;
use corten_proxy::ruleset::trace::{Arrival, Outcome};
use corten_proxy::ruleset::{End, Front};
use corten_proxy::view::Protocol;
use nix::sched::{CloneFlags, setns};

use crate::cases::{
    API_PORT, BRIDGE_A, Case, EVERYBODY, EXTERNAL, NODE_A, SERVER_PORT, STICKY, Scenario, Setting, Who, scenario,
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
        for who in EVERYBODY {
            self.ip(who.name(), &format!("addr add {}/24 dev eth0", who.address()));
        }
        for (pod, subnet) in [("a1", 1), ("a2", 1), ("b1", 2)] {
            self.ip(pod, &format!("route add default via 10.244.{subnet}.1"));
        }
        self.ip("A", "route add 10.244.2.0/24 via 192.0.2.2");
        self.ip("A", "route add default via 192.0.2.2");
        self.ip("B", "route add 10.244.1.0/24 via 192.0.2.1");
        self.ip("client", &format!("route add {EXTERNAL}/32 via {NODE_A}"));
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
            assert_eq!(seen, IpAddr::from(case.from.address()), "{context}: came under another address");
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
            self.inside("A", move || conntrack::forget(&mut NetfilterSocket::open().unwrap(), is_stale).unwrap())
        };
        assert_eq!(forget(Who::Client.address()), 0, "no flow of this front went there");
        assert!(forget(end) > 0, "the flow to {name}");
        assert_eq!(forget(end), 0, "all are gone");
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
