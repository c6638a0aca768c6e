//! `up`: from nothing to a cluster with all nodes Ready and the demo applied.
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use cortenadm::kubeconfig::{self, Access};
use cortenadm::pki::{Pki, node_plan};

use super::plan::{Plan, REGISTRY_PORT, Size, first_subnet};
use super::state::{Lab, State, prepare_root};
use super::{Registry, cgroups, down, network, node, process, ready};
use crate::step::step;
use crate::{images, run};

/// For kubectl, which says what it waited for.
const DEMO_WITHIN: &str = "--timeout=60s";
/// What tells why the demo does not come up.
const SHOWN_OF_DEMO: [&[&str]; 3] =
    [&["get", "nodes,pods", "-A", "-o", "wide"], &["describe", "nodes"], &["describe", "pod/nginx-pod"]];
const TOOLS: [&str; 9] =
    ["etcd", "containerd", "runc", "nft", "docker-registry", "ip", "nsenter", "unshare", "kubectl"];
pub(crate) const PROGRAMS: [&str; 5] =
    ["corten-apiserver", "corten-scheduler", "corten-controllers", "corten-kubelet", "corten-proxy"];

pub(crate) struct UpOptions {
    pub(crate) size: Size,
    pub(crate) demo: bool,
    pub(crate) wait: bool,
    pub(crate) fresh: bool,
}

/// The time from the call until all nodes were Ready (or were started, without `wait`).
pub(crate) fn up(lab: &Lab, options: &UpOptions) -> anyhow::Result<Duration> {
    let started = Instant::now();
    preflight()?;
    let programs = Programs::find()?;
    let lock = lab.lock()?;
    let plan = match standing(lab, options, &programs)? {
        Some(plan) => {
            say!("  Lab {} runs already, with these programs and of this size.", lab.name);
            plan
        }
        None => build(lab, options, &programs)?,
    };
    // Who sees that it does not come up must be able to take it down.
    drop(lock);
    if !options.wait {
        print_what_next(lab, &plan, false);
        return Ok(started.elapsed());
    }
    let api = step("apiserver is ready", |_| ready::wait_api(lab, &plan))?;
    step("all nodes are Ready", |progress| ready::wait_nodes(lab, &plan, &api, progress))?;
    let took = started.elapsed();
    say!("        {:.2} s from the start to Ready", took.as_secs_f64());
    step("images are in the registry", |progress| images::ensure(&registry_address(&plan), progress))?;
    if options.demo {
        step("demo is applied", |_| apply_demo(lab, &plan))?;
    }
    print_what_next(lab, &plan, options.demo);
    Ok(took)
}

/// The plan of a lab that runs whole, is of the wanted size and of the same programs.
fn standing(lab: &Lab, options: &UpOptions, programs: &Programs) -> anyhow::Result<Option<Plan>> {
    let Some(state) = lab.state()? else { return Ok(None) };
    let same = state.complete && state.plan.size == options.size && state.programs == programs.fingerprint;
    let mut whole = same && !options.fresh;
    for node in &state.plan.nodes {
        whole = whole && process::node_init(&lab.name, &node.name)?.is_some();
    }
    Ok(whole.then_some(state.plan))
}

fn build(lab: &Lab, options: &UpOptions, programs: &Programs) -> anyhow::Result<Plan> {
    prepare_root()?;
    if lab.state()?.is_some() || !cgroups::dirs(&lab.name, None)?.is_empty() {
        step("the lab before is removed", |_| down::remove(lab))?;
    }
    let plan = Plan::new(&lab.name, options.size, network::free_subnet(first_subnet(&lab.name))?);
    let mut state = State { plan: plan.clone(), programs: programs.fingerprint.clone(), complete: false };
    // On record before anything is made: a `down` after a crash finds it all.
    lab.save(&state)?;
    step("programs are in place", |_| programs.install(&lab.bin_dir()))?;
    step("certificates and network", |_| {
        let (network, certificates) = thread::scope(|scope| {
            let certificates = scope.spawn(|| make_certificates(lab, &plan));
            (network::make_switch(&plan), certificates.join())
        });
        network.and(certificates.unwrap_or_else(|_| Err(anyhow!("the thread that makes certificates panicked"))))
    })?;
    step("nodes and registry are started", |progress| start_all(lab, &plan, progress))?;
    state.complete = true;
    lab.save(&state)?;
    Ok(plan)
}

fn start_all(lab: &Lab, plan: &Plan, progress: &crate::step::Progress) -> anyhow::Result<()> {
    progress.total(plan.nodes.len() as u64 + 1);
    let mut problems = Vec::new();
    thread::scope(|scope| {
        let registry = scope.spawn(|| start_registry(lab, plan));
        // Masters are first in the plan. Links are made one after the other (the kernel does it so anyway).
        let nodes: Vec<_> = plan
            .nodes
            .iter()
            .map(|node| {
                let linked = network::make_node(plan, node);
                scope.spawn(move || linked.and_then(|()| node::start(lab, plan, node)))
            })
            .collect();
        for (done, thread) in nodes.into_iter().chain([registry]).enumerate() {
            match thread.join() {
                Ok(Ok(())) => progress.done(done as u64 + 1),
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("a thread panicked".to_owned()),
            }
        }
    });
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

fn start_registry(lab: &Lab, plan: &Plan) -> anyhow::Result<()> {
    let procs = cgroups::make(&plan.lab, cgroups::HOST)?.procs;
    Registry::start(&lab.dir.join("registry"), registry_address(plan), &procs)?.wait_ready()
}

fn registry_address(plan: &Plan) -> SocketAddr {
    (plan.gateway(), REGISTRY_PORT).into()
}

fn make_certificates(lab: &Lab, plan: &Plan) -> anyhow::Result<()> {
    let cluster = plan.cluster();
    let pki = Pki::new(lab.pki_dir(), jiff::Timestamp::now());
    pki.init(&cluster.certificates())?;
    for node in &plan.nodes {
        pki.issue_all(&node_plan(&node.name, &[node.ip.to_string()]))?;
    }
    let read = |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    let server = cluster.api_urls().into_iter().next().context("a lab has one master at least")?;
    let text = kubeconfig::render(&Access {
        cluster: &plan.lab,
        server: &server,
        user: "kubernetes-admin",
        ca_pem: &read(pki.cert("ca"))?,
        cert_pem: &read(pki.cert("admin"))?,
        key_pem: &read(pki.key("admin"))?,
    })?;
    kubeconfig::write(&lab.kubeconfig(), &text).context("cannot write the kubeconfig")
}

fn preflight() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a lab needs root for its namespaces: run this again with sudo -E");
    }
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !run::exists(tool)).collect();
    if !missing.is_empty() {
        bail!(
            "not found on PATH: {}: hack/setup installs what Debian has and says what to do for the rest",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Where our daemons were built: CORTEN_BIN_DIR, or beside this program.
pub(crate) fn program_dir() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    Ok(std::env::var_os("CORTEN_BIN_DIR").map_or(beside, PathBuf::from))
}

/// Our daemons, as built.
struct Programs {
    dir: PathBuf,
    /// Changes when one of them is built anew.
    fingerprint: String,
}

impl Programs {
    fn find() -> anyhow::Result<Self> {
        let dir = program_dir()?;
        let mut fingerprint = String::new();
        for program in PROGRAMS {
            let path = dir.join(program);
            let meta = fs::metadata(&path).with_context(|| {
                format!("{} is missing: build it with cargo build --release --workspace --bins", path.display())
            })?;
            fingerprint.push_str(&format!("{program}:{}:{}.{};", meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
        Ok(Self { dir, fingerprint })
    }

    /// A build while the lab runs must not change what `lab start` starts, and /tmp or a home may be hidden in a node.
    fn install(&self, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        for program in PROGRAMS {
            let (from, to) = (self.dir.join(program), to.join(program));
            fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
        Ok(())
    }
}

/// Applies the demo and waits until what is shown first of it works; the error of a wait says what the cluster says of it.
fn apply_demo(lab: &Lab, plan: &Plan) -> anyhow::Result<()> {
    let demo = demo_dir()?.display().to_string();
    let kubeconfig = format!("--kubeconfig={}", lab.kubeconfig().display());
    let kubectl = |args: &[&str]| run::output("kubectl", &[&[kubeconfig.as_str()], args].concat());
    kubectl(&["apply", "-f", &demo])?;
    let waits: [&[&str]; 2] = [
        &["wait", "--for=condition=Ready", "pod/nginx-pod", DEMO_WITHIN],
        &["rollout", "status", "deployment/nginx", DEMO_WITHIN],
    ];
    for wait in waits {
        if let Err(error) = kubectl(wait) {
            let shown = SHOWN_OF_DEMO.map(|args| match kubectl(args) {
                Ok(said) => format!("kubectl {}:\n{said}", args.join(" ")),
                Err(error) => format!("{error:#}\n"),
            });
            bail!("{error:#}\n{}{}", shown.concat(), ready::diagnosis(lab, plan));
        }
    }
    Ok(())
}

/// `hack/demo` of the sources this program was built from, or of the directory it is called in.
fn demo_dir() -> anyhow::Result<PathBuf> {
    let candidates = [Path::new("hack/demo").to_owned(), Path::new(env!("CARGO_MANIFEST_DIR")).join("demo")];
    candidates.into_iter().find(|dir| dir.is_dir()).context("hack/demo is not found: call this from the project's root")
}

fn print_what_next(lab: &Lab, plan: &Plan, demo: bool) {
    let env = if lab.name == "corten" { String::new() } else { format!("CORTEN_LAB={} ", lab.name) };
    say!("\nLab {} is up: {} master(s), {} worker(s). Try:", lab.name, plan.size.masters, plan.size.workers);
    say!("  export KUBECONFIG={}", lab.kubeconfig().display());
    say!("  kubectl get nodes -o wide");
    if let (true, Some(node)) = (demo, plan.nodes.last()) {
        say!("  kubectl get all");
        say!("  curl http://{}:31080        # any node's address will do", node.ip);
        say!("  kubectl exec -it nginx-pod -- sh");
    }
    say!("  {env}hack/status              # what runs, and where");
    say!("  less {}/nodes/*/logs/*.log", lab.dir.display());
    say!("  {env}hack/down                # removes it all");
}
