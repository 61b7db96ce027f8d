//! Runtime, signals and log of the process.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Creates the async runtime. Two threads are enough: watching, planning and probing are short tasks that rarely overlap.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start threads")
}

/// Returns a token that SIGTERM and Ctrl-C cancel.
pub fn cancelled_by_signals() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one task that must outlive all sets of tasks, because it ends them"
    )]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

/// Starts logging to standard error, filtered by `RUST_LOG` or else by `default_filter`.
pub fn init_log(default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
}
