//! What of the configuration is read again while the daemon runs: the filter of the log, and the limits of principals.
//!
//! Everything else is what sockets, models and stores were opened with; a change of it is named, and waits for a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{ConfigFlags, Origins};
use crate::limits::Limits;
use crate::telemetry::LogFilter;
use crate::transport::Reloads;

/// The limits of principals that have none of their own, as they are in force. Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct DefaultLimits(Arc<ArcSwap<Limits>>);

impl DefaultLimits {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(limits)))
    }

    pub(crate) fn current(&self) -> Limits {
        **self.0.load()
    }

    fn set(&self, limits: Limits) {
        self.0.store(Arc::new(limits));
    }
}

/// Where the configuration came from, and what of it is in force.
pub struct ConfigSource {
    flags: ConfigFlags,
    log: LogFilter,
    in_force: BTreeMap<String, String>,
}

impl ConfigSource {
    /// Of a daemon that was configured by these flags just now, as `origins` says, and logs as `log` says.
    pub fn new(flags: ConfigFlags, origins: Origins, log: LogFilter) -> Self {
        Self { flags, log, in_force: values(origins) }
    }

    /// Follows requests to read again, for as long as it is polled.
    pub(crate) async fn follow(mut self, limits: DefaultLimits, mut reloads: Reloads) {
        loop {
            reloads.next().await;
            if let Err(error) = self.reread(&limits) {
                tracing::error!("the configuration was read again and does not do; what was in force stays: {error:#}");
            }
        }
    }

    fn reread(&mut self, limits: &DefaultLimits) -> anyhow::Result<()> {
        let (config, origins) = self.flags.load_with_origins()?;
        let changed = values(origins).into_iter().filter(|(key, value)| self.in_force.get(key) != Some(value));
        let (now, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
            changed.partition(|(key, _)| key == "log" || key.starts_with("limits."));
        if now.contains_key("log") {
            self.log.set(&config.log)?;
        }
        limits.set(config.limits);
        if !now.is_empty() {
            tracing::info!("configuration read again; in force now: {}", keys(&now));
        }
        if !later.is_empty() {
            tracing::warn!("configuration read again; changed, and in force after a restart: {}", keys(&later));
        }
        // What waits for a restart is named again each time, until it is in force.
        self.in_force.extend(now);
        Ok(())
    }
}

fn values(origins: Origins) -> BTreeMap<String, String> {
    origins.into_iter().map(|(key, (value, _origin))| (key, value)).collect()
}

fn keys(of: &BTreeMap<String, String>) -> String {
    of.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_is_in_force_at_once_and_what_does_not_do_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("fitment.toml");
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        write("drain_seconds = 5\n[limits]\nrequests_per_second = 3");
        let flags = ConfigFlags { config: Some(file.clone()), ..ConfigFlags::default() };
        let (config, origins) = flags.load_with_origins().expect("sound");
        let limits = DefaultLimits::new(config.limits);
        let mut source = ConfigSource::new(flags, origins, LogFilter::unmoved());

        write("drain_seconds = 6\n[limits]\nrequests_per_second = 4");
        source.reread(&limits).expect("sound");
        assert_eq!(limits.current().requests_per_second, 4);
        assert_eq!(source.in_force["limits.requests_per_second"], "4");
        assert_eq!(source.in_force["drain_seconds"], "5", "named until a restart");

        for bad in ["[limits]\nburst = 5", "unknown = 1", "= ", "log = 'a=b=c'"] {
            write(bad);
            source.reread(&limits).expect_err(bad);
            assert_eq!(limits.current().requests_per_second, 4, "{bad}");
        }
        std::fs::remove_file(&file).expect("removed");
        source.reread(&limits).expect_err("no file");
    }
}
