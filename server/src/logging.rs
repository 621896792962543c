//! Structured logs on standard error: text for people, JSON for machines. `RUST_LOG` filters, `info` by default.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Form of the log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; the first call counts.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("info,raft_engine=warn,rumqttd=off,rumqttc=warn,datafusion=warn,delta_kernel=warn,buoyant_kernel=warn")
    });
    // Colours only for eyes: in a file or a journal they are noise between name and value.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
