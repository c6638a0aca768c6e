//! `bench start`: how long a cluster and an apiserver take to come up.
use super::control_plane::ControlPlane;
use super::samples::Samples;
use super::table::{self, Row};
use crate::lab::{Lab, Size, UpOptions, down, up};
use crate::step::step;

const ROUNDS: usize = 5;
/// A lab of its own: the user's is left alone.
const LAB: &str = "bench";

pub(super) fn run() -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let mut plane = step("etcd is started", |_| ControlPlane::with_etcd())?;
    step("apiserver is started five times", |progress| {
        progress.total(ROUNDS as u64);
        for round in 1..=ROUNDS {
            samples.add(plane.start_apiserver()?.0);
            progress.done(round as u64);
        }
        Ok(())
    })?;
    drop(plane);
    let lab = Lab::named(LAB)?;
    let options = UpOptions { size: Size { masters: 1, workers: 2 }, demo: false, wait: true, fresh: true };
    let result = up(&lab, &options);
    down(&lab)?;
    let took = result?;
    let rows = [
        Row::new("hack/up until 3 nodes are Ready", format!("{:.2} s", took.as_secs_f64()), "10 s", ""),
        Row::new(
            "apiserver from exec to /readyz, median of 5",
            format!("{:.3} s", samples.percentile(50).as_secs_f64()),
            "0.5 s",
            "3.1 s",
        ),
    ];
    table::print("Start", &rows);
    Ok(())
}
