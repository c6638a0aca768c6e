//! The kubelet's server over real TLS, with the runtime's fake behind it: who may call, and what the streams carry.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corten_client::pulse::Hang;
use corten_kubelet::cgroup::Hierarchy;
use corten_kubelet::images::ImageHandle;
use corten_kubelet::runtime::fake::FakeRuntime;
use corten_kubelet::runtime::{ContainerSpec, Network, Runtime, SandboxSpec};
use corten_kubelet::server::{self, ContainerView, Instance, PodView, Pods, Server};
use corten_proto::node::node_client::NodeClient;
use corten_proto::node::{
    ExecInput, ExecOutput, ExecStart, LogsRequest, PortForwardInput, PortForwardStart, StatsRequest, Target,
    exec_input, exec_output, port_forward_input,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

struct OnePod {
    container_id: String,
    log_path: PathBuf,
}

impl Pods for OnePod {
    fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<PodView> {
        self.all().into_iter().find(|p| p.namespace == namespace && p.name == name && (uid.is_empty() || uid == p.uid))
    }
    fn all(&self) -> Vec<PodView> {
        let current = Instance { id: self.container_id.clone(), running: true, log_path: self.log_path.clone() };
        let web = ContainerView { name: "web".into(), image: "web:1".into(), current: Some(current), previous: None };
        let waiting = ContainerView { name: "waiting".into(), image: "web:1".into(), current: None, previous: None };
        let view = |name: &str, network, containers| PodView {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
            started_at: Some(jiff::Timestamp::UNIX_EPOCH),
            network,
            containers,
            default_container: "web".into(),
        };
        let gone = Network::Pod { netns: "/nowhere/netns".into() };
        vec![
            view("pod", Some(Network::Host), vec![web, waiting]),
            view("down", None, vec![]),
            view("gone", Some(gone), vec![]),
        ]
    }
    fn is_moving(&self) -> Result<(), Hang> {
        Ok(())
    }
    fn pod_list_json(&self) -> Vec<u8> {
        br#"{"kind":"PodList","apiVersion":"v1","items":[]}"#.to_vec()
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
    fn issue(&self, common_name: &str, organization: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Running {
    dir: tempfile::TempDir,
    address: SocketAddr,
    authority: Authority,
    stop: CancellationToken,
}

impl Running {
    async fn start() -> Option<Self> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let Ok(hierarchy) = Hierarchy::detect() else { return None };
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let (cert, key) = authority.issue("system:node:n", "system:nodes");
        let log_path = write("0.log", "2023-11-14T22:13:20.000000000Z stdout F hello\n");
        let runtime = FakeRuntime::default();
        let container_id = running_container(&runtime, &log_path).await;
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server {
            node_name: "n".into(),
            listen: address,
            cert_file: write("tls.crt", &cert),
            key_file: write("tls.key", &key),
            client_ca_file: write("ca.crt", &authority.pem),
            pods: Arc::new(OnePod { container_id, log_path }),
            runtime: Arc::new(runtime),
            hierarchy,
            cgroup_root: "/".into(),
            rates: server::Rates::default(),
            credentials: server::Credentials::default(),
        };
        let stop = CancellationToken::new();
        tokio::spawn(server::serve(server, stop.clone()));
        Some(Self { dir, address, authority, stop })
    }

    async fn client(&self, common_name: &str, organization: &str) -> NodeClient<Channel> {
        let (cert, key) = self.authority.issue(common_name, organization);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority.pem))
            .domain_name("localhost")
            .identity(Identity::from_pem(cert, key));
        let endpoint = Channel::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match endpoint.connect().await {
                Ok(channel) => return NodeClient::new(channel),
                Err(why) => assert!(std::time::Instant::now() < deadline, "the server never listened: {why:?}"),
            }
            tokio::task::yield_now().await;
        }
    }
    /// The common name in the certificate that a new connection is shown.
    async fn served_name(&self) -> String {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let (cert, key) = self.authority.issue("kube-apiserver-kubelet-client", "any");
        let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        // The server listens before the first client is told of it.
        self.apiserver().await;
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let (_, parsed) = x509_parser::parse_x509_certificate(&shown).unwrap();
        parsed.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
    }
    async fn apiserver(&self) -> NodeClient<Channel> {
        self.client("kube-apiserver-kubelet-client", "any").await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn running_container(runtime: &FakeRuntime, log_path: &Path) -> String {
    let sandbox = SandboxSpec {
        pod_uid: "u1".into(),
        namespace: "default".into(),
        name: "pod".into(),
        attempt: 0,
        hostname: "pod".into(),
        network: Network::Host,
        host_pid: false,
        host_ipc: false,
        share_process_namespace: false,
        cgroup_parent: "/".into(),
        sysctls: Default::default(),
        labels: Default::default(),
    };
    let sandbox = runtime.create_sandbox(&sandbox).await.unwrap();
    let spec = ContainerSpec {
        name: "web".into(),
        attempt: 0,
        image: ImageHandle::default(),
        command: vec![],
        args: vec![],
        env: vec![],
        working_dir: None,
        mounts: vec![],
        user: Default::default(),
        security: Default::default(),
        resources: Default::default(),
        tty: false,
        stdin: true,
        stdin_once: false,
        log_path: log_path.into(),
        labels: Default::default(),
        target: None,
    };
    let id = runtime.create_container(&sandbox, &spec).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    id
}

fn target(container: &str) -> Option<Target> {
    Some(Target { namespace: "default".into(), pod: "pod".into(), uid: String::new(), container: container.into() })
}

#[tokio::test]
async fn only_the_apiserver_and_masters_may_call() {
    let Some(running) = Running::start().await else { return };
    let cases = [
        ("kube-apiserver-kubelet-client", "any", true),
        ("kubernetes-admin", "system:masters", true),
        ("system:node:other", "system:nodes", false),
    ];
    for (common_name, organization, allowed) in cases {
        let reply = running.client(common_name, organization).await.stats(StatsRequest {}).await;
        assert_eq!(reply.is_ok(), allowed, "{common_name}: {reply:?}");
    }
}

#[tokio::test]
async fn logs_are_streamed_and_refusals_say_why() {
    let Some(running) = Running::start().await else { return };
    let mut client = running.apiserver().await;
    let request = LogsRequest { target: target(""), tail_lines: -1, timestamps: true, ..LogsRequest::default() };
    let mut chunks = client.logs(request.clone()).await.unwrap().into_inner();
    assert_eq!(chunks.message().await.unwrap().unwrap().data, "2023-11-14T22:13:20.000000000Z hello\n");
    assert!(chunks.message().await.unwrap().is_none());
    let cases = [
        (LogsRequest { target: target("none"), ..request.clone() }, "container none is not valid for pod pod"),
        (LogsRequest { target: target("waiting"), ..request.clone() }, "is waiting to start"),
        (
            LogsRequest { previous: true, ..request.clone() },
            "previous terminated container \"web\" in pod \"pod\" not found",
        ),
        (LogsRequest { target: None, ..request.clone() }, "names no pod"),
        (LogsRequest { stream: "Both".into(), ..request }, "want All, Stdout or Stderr"),
    ];
    for (request, expected) in cases {
        let refused = client.logs(request).await.unwrap_err();
        assert!(refused.message().contains(expected), "{refused:?}");
    }
}

#[tokio::test]
async fn a_command_is_talked_to() {
    let Some(running) = Running::start().await else { return };
    let mut client = running.apiserver().await;
    let start = ExecStart {
        target: target("web"),
        command: vec!["cat".into()],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let inputs = [
        exec_input::Input::Start(start),
        exec_input::Input::Stdin("hello".into()),
        exec_input::Input::CloseStdin(true),
    ];
    let inputs = tokio_stream::iter(inputs.map(|input| ExecInput { input: Some(input) }));
    let mut outputs = client.exec(inputs).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(message) = outputs.message().await.unwrap() {
        seen.extend(message.output);
    }
    use exec_output::Output;
    assert_eq!(seen, [Output::Started(true), Output::Stdout("hello".into()), Output::ExitCode(0)]);
}

#[tokio::test]
async fn a_port_of_the_pod_is_reached_and_of_a_pod_that_is_not_up_none() {
    let Some(running) = Running::start().await else { return };
    let mut client = running.apiserver().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let inputs = |pod: &str, port| {
        let target = target("").map(|t| Target { pod: pod.into(), ..t });
        let all = [
            port_forward_input::Input::Start(PortForwardStart { target, port }),
            port_forward_input::Input::Data("hello".into()),
            port_forward_input::Input::Close(true),
        ];
        tokio_stream::iter(all.map(|input| PortForwardInput { input: Some(input) }))
    };
    for (pod, expected) in [("down", "pod down is not running"), ("gone", "inside pod gone")] {
        let refused = client.port_forward(inputs(pod, port)).await.unwrap_err();
        assert!(refused.message().contains(expected), "a port of the node's was reached: {refused:?}");
    }
    let echo = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        socket.write_all(text.to_uppercase().as_bytes()).await.unwrap();
    });
    let mut outputs = client.port_forward(inputs("pod", port)).await.unwrap().into_inner();
    let mut text = Vec::new();
    while let Some(message) = outputs.message().await.unwrap() {
        text.extend_from_slice(&message.data);
    }
    assert_eq!(text, b"HELLO", "the answer comes though the client has closed its side");
    echo.await.unwrap();
    let refused = client.port_forward(inputs("pod", port)).await.unwrap_err();
    assert!(refused.message().contains("failed to connect to localhost"), "{refused:?}");
    assert!(client.port_forward(inputs("pod", 70_000)).await.is_err());
}

/// Both directions of a session, which ends when they are dropped.
type Attached = (tokio::sync::mpsc::Sender<ExecInput>, tonic::Streaming<ExecOutput>);

/// An attach to the container, which answers at once; `Err` is a refusal. Panics when there is no answer at all.
async fn attached(client: &mut NodeClient<Channel>) -> Result<Attached, tonic::Status> {
    let start = ExecStart { target: target("web"), stdin: true, stdout: true, ..ExecStart::default() };
    let first = ExecInput { input: Some(exec_input::Input::Start(start)) };
    let (tx, rx) = tokio::sync::mpsc::channel(1);
    tx.send(first).await.unwrap();
    let inputs = tokio_stream::wrappers::ReceiverStream::new(rx);
    let answered = async {
        let mut outputs = client.attach(inputs).await?.into_inner();
        for expected in [exec_output::Output::Started(true), exec_output::Output::Stdout("attached\n".into())] {
            assert_eq!(outputs.message().await?.and_then(|m| m.output), Some(expected));
        }
        Ok((tx, outputs))
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.expect("an answer, also a refusal")
}

#[tokio::test]
async fn the_201st_stream_works_and_one_too_many_is_refused_with_a_reason() {
    let Some(running) = Running::start().await else { return };
    let mut client = running.apiserver().await;
    let mut open = Vec::new();
    for number in 1..=server::STREAMS_MAX {
        let stream = attached(&mut client).await;
        open.push(stream.unwrap_or_else(|why| panic!("stream {number}: {why:?}")));
    }
    let refused = attached(&mut client).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    open.pop();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while let Err(why) = attached(&mut client).await {
        assert!(std::time::Instant::now() < deadline, "the place of a stream that ended: {why:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_half_of_one_is_not() {
    let Some(running) = Running::start().await else { return };
    assert_eq!(running.served_name().await, "system:node:n");
    let (cert, key) = running.authority.issue("system:node:renewed", "system:nodes");
    std::fs::write(running.dir.path().join("tls.crt"), cert).unwrap();
    assert_eq!(running.served_name().await, "system:node:n", "its key is not there yet");
    std::fs::write(running.dir.path().join("tls.key"), key).unwrap();
    assert_eq!(running.served_name().await, "system:node:renewed");
}
