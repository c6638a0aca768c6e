//! Shows the steps of a long command: what is done, how long it took, and a bar while it lasts.
use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar on a terminal moves.
const TICK: Duration = Duration::from_millis(100);

/// Runs `work` and prints one line with its time when it is done.
pub(crate) fn step<T>(title: &str, work: impl FnOnce(&Progress) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    let progress = Progress::new(title);
    let result = work(&progress);
    progress.bar.finish_and_clear();
    let secs = started.elapsed().as_secs_f64();
    match &result {
        Ok(_) => show(&format!("  ok    {title:<46} {secs:>6.2} s\n")),
        Err(_) => show(&format!("  FAIL  {title:<46} {secs:>6.2} s\n")),
    }
    result
}

/// `println!` for whoever may have seen enough: `hack/up | head` must not end `up` half-way.
macro_rules! say {
    ($($text:tt)*) => { $crate::step::show(&(format!($($text)*) + "\n")) };
}

/// Prints a text. A reader that has seen enough is no failure.
pub(crate) fn show(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).ok();
}

/// The bar of one step. On anything but a terminal it draws nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(title: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(title.to_owned());
        if let Ok(style) = ProgressStyle::with_template("  {spinner}     {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// From now on the bar shows `done` of `total`.
    pub(crate) fn total(&self, total: u64) {
        self.bar.set_length(total);
        if let Ok(style) = ProgressStyle::with_template("  {spinner}     {msg} [{bar:24}] {pos}/{len} {elapsed}") {
            self.bar.set_style(style);
        }
    }

    pub(crate) fn done(&self, done: u64) {
        self.bar.set_position(done);
    }
}
