//! A containerd of the test's own, a registry with one image, and where things lie.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// containerd's root must not lie on overlayfs, as a container's own root often does.
const NOT_OVERLAY: &[&str] = &["/var/tmp", "/tmp", "/dev/shm"];
const READY_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) dir: TempDir,
    containerd: Option<Child>,
    pub(crate) registry: SocketAddr,
}

impl Node {
    /// `None`, with a word on stderr, where this cannot be: not root, no containerd.
    pub(crate) async fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || Command::new("containerd").arg("--version").output().is_err() {
            eprintln!("skipped: needs root and containerd");
            return None;
        }
        rustls::crypto::ring::default_provider().install_default().ok();
        let dir = tempfile::Builder::new().prefix("corten-kubelet-test-").tempdir_in(place()).unwrap();
        let image = super::image::build();
        let lying = super::image::lying(&image);
        let registry = super::registry::serve(image, lying).await;
        let mut node = Self { dir, containerd: None, registry };
        node.start_containerd();
        Some(node)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start_containerd(&mut self) {
        let config = self.path("containerd.toml");
        std::fs::write(
            &config,
            format!(
                "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{0}/containerd.sock\"\n",
                self.dir.path().display()
            ),
        )
        .unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.path("containerd.log")).unwrap();
        let child = Command::new("containerd")
            .args(["--config", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.containerd = Some(child.unwrap());
        let deadline = Instant::now() + READY_MAX;
        while std::os::unix::net::UnixStream::connect(self.path("containerd.sock")).is_err() {
            assert!(
                Instant::now() < deadline,
                "containerd does not listen; see {}",
                self.path("containerd.log").display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What containerd's own client says.
    pub(crate) fn ctr(&self, words: &[&str]) -> String {
        let socket = self.path("containerd.sock");
        let mut ctr = Command::new("ctr");
        ctr.args(["--address", socket.to_str().unwrap(), "--namespace", "k8s.io"]).args(words);
        let done = ctr.output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// As `kill -9`.
    pub(crate) fn crash_containerd(&mut self) {
        let mut child = self.containerd.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Node {
    /// As a node that loses its power: containerd, its shims and all they run end at once, and nobody sees it.
    pub(crate) fn crash(&mut self, pids: &[u32]) {
        self.crash_containerd();
        let socket = self.path("containerd.sock");
        let of_ours = |process: &procfs::process::Process| {
            let words = process.cmdline().unwrap_or_default();
            words.first().is_some_and(|w| w.contains("containerd-shim")) && words.iter().any(|w| Path::new(w) == socket)
        };
        let shims = procfs::process::all_processes().unwrap().flatten().filter(of_ours).map(|p| p.pid());
        for pid in shims.chain(pids.iter().map(|pid| pid.cast_signed())).collect::<Vec<_>>() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
        }
        self.start_containerd();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.containerd.take() {
            // Asked first, so that it unmounts what is its own.
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(child.id().cast_signed()),
                nix::sys::signal::Signal::SIGTERM,
            )
            .ok();
            child.wait().ok();
        }
        unmount_below(self.dir.path());
    }
}

fn place() -> &'static Path {
    let overlay = |path: &&str| {
        let found = nix::sys::statfs::statfs(*path).map(|s| s.filesystem_type());
        found.is_ok_and(|kind| kind != nix::sys::statfs::OVERLAYFS_SUPER_MAGIC)
    };
    Path::new(NOT_OVERLAY.iter().copied().find(overlay).unwrap_or("/tmp"))
}

fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|p| Path::new(p).starts_with(dir));
    for path in ours.collect::<Vec<_>>().into_iter().rev() {
        nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH).ok();
    }
}
