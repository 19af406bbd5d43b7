//! Building the graph of a large catalogue in the background, while searches and writes go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fitment_index::IndexError;
use parking_lot::Mutex;

use super::{LiveIndex, OnProgress, stamp};
use crate::engine::Shared;
use crate::error::EngineError;

/// When the background thread seals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealPolicy {
    /// How often it looks.
    pub every: Duration,
    /// How long writes must have been quiet.
    pub quiet: Duration,
    /// How long it waits for quiet at most.
    pub patience: Duration,
}

impl Default for SealPolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), quiet: Duration::from_secs(3), patience: Duration::from_secs(300) }
    }
}

/// Bookkeeping of seals.
#[derive(Debug, Default)]
pub(super) struct State {
    /// One seal at a time.
    sealing: Mutex<()>,
    /// Set when the engine goes away, so that a long build stops.
    stop: AtomicBool,
}

impl Drop for LiveIndex {
    fn drop(&mut self) {
        self.sealing.stop.store(true, Ordering::Release);
        if let Some(folder) = &self.scratch
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::warn!(path = %folder.display(), %error, "an index that is not needed any more stays until the next start");
        }
    }
}

impl LiveIndex {
    /// Starts the background thread. It ends with the engine.
    pub(crate) fn seal_in_background(shared: &Arc<Shared>, policy: SealPolicy) -> Result<(), EngineError> {
        let shared = Arc::downgrade(shared);
        thread::Builder::new()
            .name("sealer".into())
            .spawn(move || watch(&shared, policy))
            .map(drop)
            .map_err(|source| EngineError::Io { path: "sealer thread".into(), source })
    }

    /// Builds a sealed segment from all rows, writes it to disk and takes it into use. Nothing to do: returns at once.
    pub(crate) fn seal(&self, on_progress: OnProgress<'_>) -> Result<(), EngineError> {
        let _one = self.sealing.sealing.lock();
        let (input, revision) = {
            // Writers apply dense rows before they publish the revision, so rows may be newer than the stamp, never
            // older; catching up from the stamp writes those rows again, which changes nothing.
            let revision = self.revision();
            let mut searchable = self.searchable.write();
            if searchable.dense.needs_seal().is_none() {
                return Ok(());
            }
            (searchable.dense.sealing_input(), revision)
        };
        let stamp = stamp(revision, &self.model_digest);
        let progress = |done: usize, total: usize| on_progress("building the graph", done as u64, total as u64);
        let segment = match input.build(&progress, &self.sealing.stop) {
            Ok(segment) => segment.persist(&self.segment_path, stamp.as_bytes())?,
            Err(IndexError::Cancelled { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.searchable.write().dense.install(segment)?;
        Ok(())
    }
}

fn watch(shared: &Weak<Shared>, policy: SealPolicy) {
    let mut seen = None;
    let mut since = Instant::now();
    let mut needed_since = None;
    loop {
        thread::sleep(policy.every);
        let Some(shared) = shared.upgrade() else { return };
        let revision = shared.index.revision();
        if seen != Some(revision) {
            seen = Some(revision);
            since = Instant::now();
        }
        if shared.index.searchable().dense.needs_seal().is_none() {
            needed_since = None;
            continue;
        }
        let needed = *needed_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= policy.quiet || needed.elapsed() >= policy.patience {
            let started = Instant::now();
            match shared.index.seal(&|_, _, _| {}) {
                Ok(()) => tracing::info!(seconds = started.elapsed().as_secs_f64(), "sealed the dense index"),
                Err(error) => tracing::error!(%error, "sealing the dense index failed; searching goes on without"),
            }
        }
    }
}
