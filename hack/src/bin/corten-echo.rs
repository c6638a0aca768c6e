//! A server for tests: answers on TCP and UDP with the host's name, the client's address, and what it was sent.
//! And the client that BusyBox lacks: `corten-echo ask-udp HOST:PORT MESSAGE` prints the answer to a datagram.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, io, thread};

const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const CONNECTIONS_MAX: usize = 256;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().collect();
    if let [_, verb, to, message] = args.as_slice()
        && verb == "ask-udp"
    {
        return ask_udp(to, message);
    }
    let port: u16 = args
        .get(1)
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "usage: corten-echo PORT"))?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    // One socket takes IPv4 and IPv6.
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let udp = UdpSocket::bind(address)?;
    let tcp = TcpListener::bind(address)?;
    println!("{host} answers on port {port}");
    let name = host.clone();
    thread::spawn(move || answer_udp(&udp, &name));
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    for connection in tcp.incoming() {
        let Ok(connection) = connection else { continue };
        if OPEN.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let host = host.clone();
        thread::spawn(move || {
            if let Err(error) = answer_tcp(connection, &host) {
                println!("a connection failed: {error}");
            }
            OPEN.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(())
}

fn ask_udp(to: &str, message: &str) -> io::Result<()> {
    let udp = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    udp.set_read_timeout(Some(ANSWER_WITHIN))?;
    udp.connect(to)?;
    udp.send(message.as_bytes())?;
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let length = udp.recv(&mut buffer)?;
    io::stdout().write_all(&buffer[..length])
}

fn answer_udp(udp: &UdpSocket, host: &str) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let answered = udp
            .recv_from(&mut buffer)
            .and_then(|(length, client)| udp.send_to(reply(host, client, &buffer[..length]).as_bytes(), client));
        if let Err(error) = answered {
            println!("a datagram failed: {error}");
        }
    }
}

fn answer_tcp(connection: TcpStream, host: &str) -> io::Result<()> {
    let client = connection.peer_addr()?;
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = Vec::new();
        if reader.by_ref().take(MESSAGE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        writer.write_all(reply(host, client, &line).as_bytes())?;
    }
}

fn reply(host: &str, client: SocketAddr, message: &[u8]) -> String {
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    format!("{host} {client} {}\n", String::from_utf8_lossy(message).trim_end())
}
