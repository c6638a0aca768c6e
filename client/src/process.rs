//! What every daemon's `main` does: logging, TLS provider, a small runtime, orderly stops, an exit code.

use std::error::Error;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Daemons share small machines with what they run for others.
const WORKER_THREADS: usize = 2;
/// Every thread has a heap of its own: many of them, each for a moment, would leave much memory behind.
const BLOCKING_THREADS_MAX: usize = 32;
const STACK_BYTES: usize = 2 << 20;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Flatten into a component's arguments. Levels come from RUST_LOG (default: info).
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

impl LogArgs {
    fn init(&self) {
        let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = tracing_subscriber::fmt().with_env_filter(levels).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(false).init(),
            LogFormat::Json => lines.json().init(),
        }
    }
}

/// Runs a daemon until it ends by itself or SIGTERM or SIGINT cancels the token it is given.
pub fn run<F, E>(log: &LogArgs, daemon: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Error + 'static,
{
    log.init();
    take_small_pages();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(err) => {
            tracing::error!(%err, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        match watch_signals(stop.clone()) {
            Ok(()) => daemon(stop).await.map_err(|err| corten_api::error::with_causes(&err)),
            Err(err) => Err(format!("cannot listen for signals: {err}")),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The allocator asks for huge pages, which a daemon's small heap fills only in part: half of its memory would be air.
fn take_small_pages() {
    if let Err(err) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%err, "huge pages cannot be turned off");
    }
}

fn watch_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        stop.cancel();
    });
    Ok(())
}
