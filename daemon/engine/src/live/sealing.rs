//! Building the graph of a large catalogue in the background, while searches and writes go on: what was written lately as soon
//! as there is enough of it, everything when writes are quiet. Only the latter is kept on disk; the former is soon built again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fitment_index::{IndexError, SealScope};
use parking_lot::Mutex;

use super::{LiveIndex, OnProgress, stamp};
use crate::engine::Shared;
use crate::error::EngineError;

/// When everything is sealed in the background; what is recent is sealed as soon as that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealPolicy {
    /// How often it is looked.
    pub every: Duration,
    /// How long writes must have been quiet.
    pub quiet: Duration,
    /// How long quiet is waited for at most.
    pub patience: Duration,
    /// How often recall is probed.
    pub probe: Duration,
}

impl Default for SealPolicy {
    fn default() -> Self {
        Self {
            every: Duration::from_millis(500),
            quiet: Duration::from_secs(3),
            patience: Duration::from_secs(60),
            probe: Duration::from_secs(60),
        }
    }
}

/// Shortest and longest pause after a seal that failed.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// Bookkeeping of seals.
#[derive(Debug, Default)]
pub(super) struct State {
    /// One seal of everything at a time.
    all: Mutex<()>,
    /// And one of what is recent beside it.
    recent: Mutex<()>,
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
    /// Starts the background threads. They end with the engine.
    pub(crate) fn seal_in_background(shared: &Arc<Shared>, policy: SealPolicy) -> Result<(), EngineError> {
        let recently = SealPolicy { quiet: Duration::ZERO, ..policy };
        for (name, scope, policy) in
            [("sealer", SealScope::All, policy), ("sealer-recent", SealScope::Recent, recently)]
        {
            let shared = Arc::downgrade(shared);
            thread::Builder::new()
                .name(name.into())
                .spawn(move || watch(&shared, scope, policy))
                .map(drop)
                .map_err(|source| EngineError::Io { path: format!("{name} thread").into(), source })?;
        }
        Self::probe_in_background(shared, policy.every, policy.probe)
    }

    /// Builds a segment, and takes it into use. One of everything is written to disk before. Nothing to do: returns at once.
    pub(crate) fn seal(&self, scope: SealScope, on_progress: OnProgress<'_>) -> Result<(), EngineError> {
        let _one = match scope {
            SealScope::All => self.sealing.all.lock(),
            SealScope::Recent => self.sealing.recent.lock(),
        };
        let (input, revision) = {
            // Writers apply dense rows before they publish the revision, so rows may be newer than the stamp, never
            // older; catching up from the stamp writes those rows again, which changes nothing.
            let revision = self.revision();
            let mut searchable = self.searchable.write();
            if searchable.dense.needs_seal(scope).is_none() {
                return Ok(());
            }
            (searchable.dense.sealing_input(scope), revision)
        };
        let progress = |done: usize, total: usize| on_progress("building the graph", done as u64, total as u64);
        let segment = match input.build(&progress, &self.sealing.stop) {
            Ok(segment) if scope == SealScope::All => {
                segment.persist(&self.segment_path, stamp(revision, &self.model_digest).as_bytes())?
            }
            Ok(segment) => segment,
            Err(IndexError::Cancelled { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if scope == SealScope::All {
            self.note_build(segment.self_recall());
        }
        let installed = self.searchable.write().dense.install(segment);
        match installed {
            // Freed here, where no search waits.
            Ok(retired) => drop(retired),
            // Everything is being sealed meanwhile, this among it.
            Err(IndexError::StaleSegment) if scope == SealScope::Recent => {}
            Err(error) => return Err(error.into()),
        }
        drop(input);
        Ok(())
    }
}

fn watch(shared: &Weak<Shared>, scope: SealScope, policy: SealPolicy) {
    let mut seen = None;
    let mut since = Instant::now();
    let mut needed_since = None;
    // After a failure it is left alone for longer and longer: a graph that is built to be thrown away costs much.
    let (mut rest, mut failed) = (Duration::ZERO, Instant::now());
    loop {
        thread::sleep(policy.every);
        if failed.elapsed() < rest {
            continue;
        }
        let Some(shared) = shared.upgrade() else { return };
        let revision = shared.index.revision();
        if seen != Some(revision) {
            seen = Some(revision);
            since = Instant::now();
        }
        let Some(reason) = shared.index.searchable().dense.needs_seal(scope) else {
            needed_since = None;
            continue;
        };
        let needed = *needed_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= policy.quiet || needed.elapsed() >= policy.patience {
            let started = Instant::now();
            match shared.index.seal(scope, &|_, _, _| {}) {
                Ok(()) => {
                    rest = Duration::ZERO;
                    let seconds = started.elapsed().as_secs_f64();
                    tracing::info!(?scope, ?reason, seconds, "sealed the dense index");
                }
                Err(error) => {
                    (rest, failed) = ((rest * 2).clamp(FIRST_REST, LONGEST_REST), Instant::now());
                    tracing::error!(%error, again_in = ?rest, "sealing the dense index failed; searching goes on without");
                }
            }
        }
    }
}
