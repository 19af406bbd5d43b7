//! How the engine stands at this moment, for who watches it.

use std::time::Duration;

use fitment_index::DenseFigures;
use jiff::SignedDuration;

use crate::drift::IntentDrift;
use crate::encoder::Encoder;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::feedback::PromiseWatch;
use crate::gaps::GapFigures;
use crate::live::IndexRecall;
use crate::store::Revision;
use crate::vector_cache::CacheUse;

/// Whether answers promise anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationStanding {
    /// A calibration is applied.
    InForce,
    /// There is one that does not fit any more, or whose promise was broken.
    Stale,
    /// None was fitted.
    Absent,
}

/// How an encoder stands.
#[derive(Clone, Copy, Debug)]
pub struct EncoderFigures {
    /// Which one: `first`, or `second` for the second stage's.
    pub name: &'static str,
    /// Interactive jobs that wait.
    pub interactive_waiting: usize,
    /// Their tokens.
    pub tokens_waiting: usize,
    /// Bulk jobs that wait.
    pub bulk_waiting: usize,
    /// Interactive jobs that may wait.
    pub queue_capacity: usize,
    /// Tokens that may wait.
    pub queue_tokens: usize,
    /// How long what waits now will take.
    pub estimated_wait: Duration,
    /// Tokens a second of the latest passes; 0 before the first.
    pub tokens_per_second: f64,
    /// How remembered vectors have served.
    pub cache: CacheUse,
}

/// Days ahead for which versions are counted whose certification ends.
pub const EXPIRY_DAYS: [u32; 3] = [1, 7, 30];

/// How computations of one sort stand.
#[derive(Clone, Copy, Debug)]
pub struct GateFigures {
    /// Which ones: `search` or `read`.
    pub name: &'static str,
    /// How many wait.
    pub waiting: usize,
    /// How many may wait.
    pub capacity: usize,
    /// How long what waits now will take.
    pub estimated_wait: Duration,
}

/// Everything that changes while an engine runs.
#[derive(Clone, Debug)]
pub struct EngineFigures {
    /// Commits so far.
    pub revision: Revision,
    /// Components of which there is a version.
    pub components: usize,
    /// Versions stored.
    pub versions: usize,
    /// Versions that may answer.
    pub matchable: usize,
    /// Versions whose certification ends by the clock within each of [`EXPIRY_DAYS`].
    pub expiring: [usize; EXPIRY_DAYS.len()],
    /// The dense index.
    pub dense: DenseFigures,
    /// What its graph misses.
    pub recall: IndexRecall,
    /// The first encoder, then the second stage's where that is on.
    pub encoders: Vec<EncoderFigures>,
    /// Searches of matches, then everything else that is computed for a call.
    pub gates: [GateFigures; 3],
    /// Whether answers promise anything.
    pub calibration: CalibrationStanding,
    /// What verdicts say about the calibration that was last put into force; `None` without one.
    pub promise: Option<PromiseWatch>,
    /// Whether intents look like earlier ones.
    pub drift: IntentDrift,
    /// Decisions that can be given an outcome.
    pub decisions: u64,
    /// Decisions since the start that were lost before they were written.
    pub decisions_lost: u64,
    /// What is asked for and nothing meets.
    pub gaps: GapFigures,
}

impl Engine {
    /// How everything stands. Reads a few records of the store, so it blocks; about a millisecond.
    pub fn figures(&self) -> Result<EngineFigures, EngineError> {
        let shared = self.shared();
        let now = (shared.clock)();
        let (components, versions, matchable, expiring, dense) = {
            let index = shared.index.searchable();
            let view = &index.view;
            // A clock at the end of time has nothing before it.
            let within = |days: u32| now.checked_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
            let expiring = EXPIRY_DAYS.map(|days| view.expiring(within(days)));
            (view.components(), view.all().len(), view.matchable().len(), expiring, index.dense.figures())
        };
        let watched = shared.watched()?;
        let second = shared.second.as_ref().map(|second| &*second.encoder);
        Ok(EngineFigures {
            revision: shared.index.revision(),
            components,
            versions,
            matchable,
            expiring,
            dense,
            recall: shared.index.recall(),
            encoders: std::iter::once(&*shared.encoder).chain(second).map(Encoder::figures).collect(),
            gates: [shared.searches.figures(), shared.reads.figures(), shared.writes.figures()],
            calibration: shared.calibration.standing(),
            promise: watched.promise,
            drift: watched.intents,
            decisions: watched.decisions,
            decisions_lost: watched.decisions_lost,
            gaps: shared.gaps.figures(),
        })
    }
}
