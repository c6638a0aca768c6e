//! An etcd and an apiserver of our own on loopback, with certificates, in a directory that is removed at the end.
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cortenadm::pki::{ClusterPlan, Pki};

use crate::lab::{Api, lab_root, program_dir, tail, wait_until};
use crate::rest;

const READY_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOG_TAIL_LINES: usize = 20;

pub(super) struct ControlPlane {
    dir: PathBuf,
    pki: Pki,
    etcd: Process,
    apiserver: Option<(Process, SocketAddr)>,
    /// Scheduler and controllers.
    others: Vec<Process>,
    etcd_port: u16,
}

/// Process ids of a master's programs.
#[derive(Clone, Copy)]
pub(super) struct Pids {
    pub(super) apiserver: u32,
    pub(super) etcd: u32,
    pub(super) scheduler: u32,
    pub(super) controllers: u32,
}

/// A child that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.others.clear();
        self.apiserver.take();
        // etcd may still write while it dies; what it leaves then is in a directory of ours and does no harm.
        self.etcd.0.kill().ok();
        self.etcd.0.wait().ok();
        fs::remove_dir_all(&self.dir).ok();
    }
}

impl ControlPlane {
    /// Certificates and a running etcd.
    pub(super) fn with_etcd() -> anyhow::Result<Self> {
        let dir = lab_root().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let pki = Pki::new(dir.join("pki"), jiff::Timestamp::now());
        pki.init(&ClusterPlan::default())?;
        let (etcd_port, peer_port) = (free_port()?, free_port()?);
        let etcd = Process(start_etcd(&dir, &pki, etcd_port, peer_port)?);
        let plane = Self { dir, pki, etcd, apiserver: None, others: Vec::new(), etcd_port };
        let etcd = SocketAddr::from((Ipv4Addr::LOCALHOST, etcd_port));
        wait_until("etcd listens", READY_WITHIN, LOOK_EVERY, || Ok(std::net::TcpStream::connect(etcd).ok().map(drop)))
            .with_context(|| format!("etcd's log says:\n{}", tail(&plane.dir.join("etcd.log"), LOG_TAIL_LINES)))?;
        Ok(plane)
    }

    /// Starts the apiserver (again); the time from exec until /readyz says yes, and a way to it.
    pub(super) fn start_apiserver(&mut self) -> anyhow::Result<(Duration, rest::Client)> {
        self.apiserver.take();
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let client = rest::Client::new(address, self.pki.dir(), "admin")?;
        let api = Api::new(client.clone())?;
        let started = Instant::now();
        self.apiserver = Some((Process(self.spawn_apiserver(port)?), address));
        if let Err(error) = api.wait_ready_every(READY_WITHIN, LOOK_EVERY) {
            bail!("{error}; the apiserver's log says:\n{}", tail(&self.dir.join("apiserver.log"), LOG_TAIL_LINES));
        }
        Ok((started.elapsed(), client))
    }

    /// Process ids of apiserver and etcd.
    pub(super) fn pids(&self) -> anyhow::Result<(u32, u32)> {
        let (apiserver, _) = self.apiserver.as_ref().context("the apiserver is not started")?;
        Ok((apiserver.0.id(), self.etcd.0.id()))
    }

    /// Another way to the apiserver, as whom `stem`'s certificate names.
    pub(super) fn client(&self, stem: &str) -> anyhow::Result<rest::Client> {
        rest::Client::new(self.address()?, self.pki.dir(), stem)
    }
    fn address(&self) -> anyhow::Result<SocketAddr> {
        self.apiserver.as_ref().map(|(_, address)| *address).context("the apiserver is not started")
    }

    /// One of each, for as long as this lives.
    pub(super) fn start_scheduler_and_controllers(&mut self) -> anyhow::Result<()> {
        for (program, stem) in [("corten-scheduler", "scheduler"), ("corten-controllers", "controller-manager")] {
            let mut command = Command::new(program_dir()?.join(program));
            command.arg(format!("--apiserver=https://{}", self.address()?)).arg("--identity=bench");
            for (flag, file) in
                [("ca-file", self.pki.cert("ca")), ("cert-file", self.pki.cert(stem)), ("key-file", self.pki.key(stem))]
            {
                command.arg(format!("--{flag}={}", file.display()));
            }
            if program == "corten-controllers" {
                command.arg("--cluster-cidr=10.244.0.0/16").arg("--node-cidr-mask-size=24");
                command.arg(format!("--root-ca-file={}", self.pki.cert("ca").display()));
            }
            self.others.push(Process(spawn(&mut command, &self.dir.join(format!("{stem}.log")))?));
        }
        Ok(())
    }

    /// Scheduler and controllers too, for as long as this lives.
    pub(super) fn start_all(&mut self) -> anyhow::Result<Pids> {
        let (apiserver, etcd) = self.pids()?;
        let scheduler = self.start_scheduler()?;
        let args = [
            "--identity=bench".to_owned(),
            // 8,192 networks.
            "--cluster-cidr=10.0.0.0/11".into(),
            "--node-cidr-mask-size=24".into(),
            format!("--root-ca-file={}", self.ca().display()),
        ];
        let controllers = self.spawn_client("corten-controllers", "controller-manager", self.address()?, &args)?;
        let pid = controllers.id();
        self.others.push(Process(controllers));
        Ok(Pids { apiserver, etcd, scheduler, controllers: pid })
    }

    /// For as long as this lives; its process id.
    pub(super) fn start_scheduler(&mut self) -> anyhow::Result<u32> {
        let scheduler =
            self.spawn_client("corten-scheduler", "scheduler", self.address()?, &["--identity=bench".into()])?;
        let pid = scheduler.id();
        self.others.push(Process(scheduler));
        Ok(pid)
    }

    pub(super) fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The CA of all certificates.
    pub(super) fn ca(&self) -> PathBuf {
        self.pki.cert("ca")
    }

    /// Starts a client of the apiserver, which its caller ends.
    pub(super) fn spawn_client(
        &self,
        program: &str,
        stem: &str,
        apiserver: SocketAddr,
        args: &[String],
    ) -> anyhow::Result<Child> {
        let mut command = Command::new(program_dir()?.join(program));
        command.arg(format!("--apiserver=https://{apiserver}")).arg(format!("--ca-file={}", self.ca().display()));
        command.arg(format!("--cert-file={}", self.pki.cert(stem).display()));
        command.arg(format!("--key-file={}", self.pki.key(stem).display())).args(args);
        spawn(&mut command, &self.dir.join(format!("{stem}.log")))
    }

    fn spawn_apiserver(&self, port: u16) -> anyhow::Result<Child> {
        let program = program_dir()?.join("corten-apiserver");
        let mut command = Command::new(&program);
        command.arg(format!("--listen=127.0.0.1:{port}")).arg("--advertise-address=127.0.0.1");
        command.arg(format!("--etcd=https://127.0.0.1:{}", self.etcd_port));
        command.arg("--service-cidr=10.96.0.0/16").arg("--node-port-range=30000-32767");
        for (flag, file) in [
            ("etcd-ca-file", self.pki.cert("etcd/ca")),
            ("etcd-cert-file", self.pki.cert("apiserver-etcd-client")),
            ("etcd-key-file", self.pki.key("apiserver-etcd-client")),
            ("tls-cert-file", self.pki.cert("apiserver")),
            ("tls-key-file", self.pki.key("apiserver")),
            ("client-ca-file", self.pki.cert("ca")),
            ("kubelet-client-cert-file", self.pki.cert("apiserver-kubelet-client")),
            ("kubelet-client-key-file", self.pki.key("apiserver-kubelet-client")),
            ("service-account-signing-key-file", self.pki.key("sa")),
        ] {
            command.arg(format!("--{flag}={}", file.display()));
        }
        spawn(&mut command, &self.dir.join("apiserver.log"))
    }
}

fn start_etcd(dir: &Path, pki: &Pki, port: u16, peer_port: u16) -> anyhow::Result<Child> {
    let (client, peer) = (format!("https://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new("etcd");
    command.arg(format!("--data-dir={}", dir.join("etcd").display()));
    command.arg("--name=bench").arg(format!("--initial-cluster=bench={peer}"));
    command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
    command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
    command.arg("--client-cert-auth=true").arg("--logger=zap");
    command.arg(format!("--trusted-ca-file={}", pki.cert("etcd/ca").display()));
    command.arg(format!("--cert-file={}", pki.cert("etcd/server").display()));
    command.arg(format!("--key-file={}", pki.key("etcd/server").display()));
    spawn(&mut command, &dir.join("etcd.log"))
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}
