//! Logs, to standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Reads a log filter.
pub fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder()
        .parse(text)
        .with_context(|| format!("log: `{text}` is no log filter; write for example `info` or `fitment=debug`"))
}

/// Starts logging as configured.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
