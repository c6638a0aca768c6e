//! The apiserver's process: arguments in, a running server out.

use std::process::ExitCode;

use clap::Parser;
use corten_api::error::with_causes;
use corten_apiserver::config::{Config, LogFormat};
use corten_apiserver::start::{self, Started};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = Config::parse();
    init_logging(config.log_format);
    // The allocator asks for huge pages, which a small heap fills only in part.
    if let Err(err) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!("huge pages cannot be turned off: {err}");
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::error!("another TLS provider is installed in this process");
        return ExitCode::FAILURE;
    }
    // A thread for each core, as tokio does by itself.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(err) => {
            tracing::error!("no threads to run on: {err}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(config));
    // Connections into containers that outlive the drain are not waited for.
    runtime.shutdown_background();
    code
}

async fn run(config: Config) -> ExitCode {
    let stop = async {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("signals cannot be listened for: stop this process with SIGKILL");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: going down"),
            _ = int.recv() => tracing::info!("SIGINT: going down"),
        }
        notify(NotifyState::Stopping);
    };
    let mut stop = std::pin::pin!(stop);
    let started = tokio::select! {
        started = start::start(&config) => started,
        () = &mut stop => return ExitCode::SUCCESS,
    };
    let Started { server, listener, tokens, key_files } = match started {
        Ok(started) => started,
        Err(err) => {
            tracing::error!("{}", with_causes(&err));
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(listen = %config.listen, etcd = config.etcd.join(","), "serving");
    notify(NotifyState::Ready);
    let tls = server.tls.clone();
    tokio::select! {
        () = server.run(listener, stop) => {}
        () = tls.keep() => {}
        () = key_files.keep(tokens) => {}
    }
    ExitCode::SUCCESS
}

/// Tells systemd, where it is there.
fn notify(state: NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told: {err}");
    }
}

fn init_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
