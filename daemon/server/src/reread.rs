//! What of the configuration is read again while the daemon runs: the filter of the log, and the limits of principals.
//!
//! Everything else is what sockets, models and stores were opened with; a change of it is named, and waits for a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::ConfigFlags;
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
    /// Of a daemon that was configured by these just now, and logs as `log` says.
    ///
    /// Errors: the configuration cannot be read.
    pub fn new(flags: ConfigFlags, log: LogFilter) -> anyhow::Result<Self> {
        let in_force = values(&flags)?;
        Ok(Self { flags, log, in_force })
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
        let config = self.flags.load()?;
        let read = values(&self.flags)?;
        let changed = read.iter().filter(|(key, value)| self.in_force.get(*key) != Some(value));
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for (key, _) in changed {
            if key == "log" || key.starts_with("limits.") { now.push(key.as_str()) } else { later.push(key.as_str()) }
        }
        if now.contains(&"log") {
            self.log.set(&config.log)?;
        }
        limits.set(config.limits);
        if !now.is_empty() {
            tracing::info!("configuration read again; in force now: {}", now.join(", "));
        }
        if !later.is_empty() {
            tracing::warn!("configuration read again; changed, and in force after a restart: {}", later.join(", "));
        }
        // What waits for a restart is named again each time, until it is in force.
        let taken: Vec<String> = now.into_iter().map(str::to_owned).collect();
        for key in taken {
            if let Some(value) = read.get(&key) {
                self.in_force.insert(key, value.clone());
            }
        }
        Ok(())
    }
}

fn values(flags: &ConfigFlags) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(flags.origins()?.into_iter().map(|(key, (value, _origin))| (key, value)).collect())
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
        let limits = DefaultLimits::new(flags.load().expect("sound").limits);
        let mut source = ConfigSource::new(flags, LogFilter::unmoved()).expect("sound");

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
