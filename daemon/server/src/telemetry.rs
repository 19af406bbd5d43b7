//! Logs, to standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{Config, LogFormat};

/// Reads a log filter.
pub fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder()
        .parse(text)
        .with_context(|| format!("log: `{text}` is no log filter; write for example `info` or `fitment=debug`"))
}

/// Changes what is logged while the process runs.
pub struct LogFilter(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogFilter {
    /// Changes nothing.
    #[cfg(test)]
    pub(crate) fn unmoved() -> Self {
        Self(Box::new(|_filter| Ok(())))
    }

    /// From now on logs what this filter lets through.
    ///
    /// Errors: it is no filter.
    pub fn set(&self, text: &str) -> anyhow::Result<()> {
        (self.0)(filter(text)?).context("the log's filter")
    }
}

/// Starts logging as configured.
pub fn start(config: &Config) -> anyhow::Result<LogFilter> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    Ok(match config.log_format {
        LogFormat::Text => {
            let builder = builder.with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            LogFilter(Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            LogFilter(Box::new(move |filter| handle.reload(filter)))
        }
    })
}
