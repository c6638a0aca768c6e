//! A phase of a benchmark: what is done, how long each of it took, and the CPU time that both servers used meanwhile.
use super::control_plane::ControlPlane;
use super::cpu;
use super::load::Done;
use super::table::Row;
use crate::rest::Client;
use crate::step::step;

/// An apiserver and an etcd that nobody else uses, and a runtime for those who load them.
pub(super) struct Bench {
    pub(super) plane: ControlPlane,
    pub(super) client: Client,
    pub(super) runtime: tokio::runtime::Runtime,
}

/// What a phase did, and what it cost.
pub(super) struct Phase {
    pub(super) done: Done,
    pub(super) apiserver_secs: f64,
    pub(super) etcd_secs: f64,
}

impl Bench {
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut plane = step("etcd is started", |_| ControlPlane::with_etcd())?;
        let (_, client) = step("apiserver is ready", |_| plane.start_apiserver())?;
        // One thread: the rest of the machine is the servers'.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { plane, client, runtime })
    }

    /// Runs a phase and takes the CPU time that both servers used meanwhile.
    pub(super) fn phase<F>(&self, name: &str, work: impl FnOnce() -> F) -> anyhow::Result<Phase>
    where
        F: Future<Output = anyhow::Result<Done>>,
    {
        let (apiserver, etcd) = self.plane.pids()?;
        step(name, |_| {
            let before = (cpu::seconds(apiserver)?, cpu::seconds(etcd)?);
            let done = self.runtime.block_on(work())?;
            let after = (cpu::seconds(apiserver)?, cpu::seconds(etcd)?);
            Ok(Phase { done, apiserver_secs: after.0 - before.0, etcd_secs: after.1 - before.1 })
        })
    }
}

impl Phase {
    pub(super) fn rows(&self, name: &str, goal: [&'static str; 2], go: [&'static str; 2]) -> Vec<Row> {
        let samples = &self.done.samples;
        let ops = samples.count() as f64;
        let per_1000 = |secs: f64| format!("{:.3} s", secs / ops * 1000.0);
        let ms = |percent| format!("{:.2} ms", samples.percentile(percent).as_secs_f64() * 1000.0);
        vec![
            Row::new(name, format!("{:.0}/s", ops / self.done.took.as_secs_f64()), goal[0], go[0]),
            Row::new("  p50", ms(50), "", ""),
            Row::new("  p99", ms(99), "", ""),
            Row::new("  apiserver CPU per 1,000", per_1000(self.apiserver_secs), goal[1], go[1]),
            Row::new("  etcd CPU per 1,000", per_1000(self.etcd_secs), "", ""),
        ]
    }
}
