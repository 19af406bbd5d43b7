//! Who asks, until when, and what happens to work that cannot be done in time.
//!
//! Every call carries a [`CallContext`] inwards. Whatever it waits for (the encoder, a search) is told at once whether the
//! wait fits: a call that would be answered too late is refused while it has cost nothing.

pub(crate) mod gate;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least time after which a refused caller is asked back: sooner, retries alone would be a load.
const SHORTEST_RETRY: Duration = Duration::from_millis(25);
/// Longest time after which a refused caller is asked back.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How a call's work stands to that of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WorkClass {
    /// One intent that somebody waits for.
    #[default]
    Single,
    /// One of several that were asked for together: it may wait longer.
    Several,
    /// Part of a job: it waits as long as it takes, and is never refused.
    Background,
}

/// A principal's right to have tokens encoded, counted by whoever knows principals.
pub trait TokenBudget: Send + Sync {
    /// Takes tokens, or says after what time to try again.
    fn take(&self, tokens: usize) -> Result<(), Duration>;
}

/// Who asks and until when.
#[derive(Clone, Default)]
pub struct CallContext {
    /// Id of who asks: principals take turns. Empty for the engine's own work.
    pub principal: Arc<str>,
    /// When the caller stops waiting; `None`: nobody knows.
    pub deadline: Option<Instant>,
    /// How the work stands to that of others.
    pub work: WorkClass,
    /// What the principal may have encoded; `None`: as much as there is room for.
    pub budget: Option<Arc<dyn TokenBudget>>,
}

impl CallContext {
    /// The engine's own work of a sort.
    pub(crate) fn own(work: WorkClass) -> Self {
        Self { work, ..Self::default() }
    }

    /// The same caller, asking for one of several.
    #[must_use]
    pub fn several(&self) -> Self {
        Self { work: WorkClass::Several, ..self.clone() }
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, deadline, work, budget } = self;
        formatter
            .debug_struct("CallContext")
            .field("principal", principal)
            .field("deadline", deadline)
            .field("work", work)
            .field("budget", &budget.is_some())
            .finish()
    }
}

/// Longest waits, by class of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Of a single intent.
    pub single: Duration,
    /// Of one of several.
    pub several: Duration,
}

impl Patience {
    /// The longest wait of a class; `None`: as long as it takes.
    pub(crate) fn of(self, work: WorkClass) -> Option<Duration> {
        match work {
            WorkClass::Single => Some(self.single),
            WorkClass::Several => Some(self.several),
            WorkClass::Background => None,
        }
    }
}

/// Why work was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverloadCause {
    /// The queue holds all that it may.
    #[error("is full: {jobs} jobs of {tokens} tokens wait")]
    Full {
        /// Jobs that wait.
        jobs: usize,
        /// Their tokens; 0 where none are counted.
        tokens: usize,
    },
    /// The wait would be longer than any accepted work has.
    #[error("would keep this waiting for {wait:?}, and {allowed:?} is the most")]
    Wait {
        /// Estimated.
        wait: Duration,
        /// Configured.
        allowed: Duration,
    },
    /// The caller would not be there any more.
    #[error("would answer after {wait:?}, and the deadline is in {left:?}")]
    Deadline {
        /// Estimated.
        wait: Duration,
        /// What is left of the deadline.
        left: Duration,
    },
    /// Made room for somebody who had less waiting.
    #[error("is full, and others had less waiting than this caller")]
    Displaced,
}

impl OverloadCause {
    /// One word, for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Wait { .. } => "wait",
            Self::Deadline { .. } => "deadline",
            Self::Displaced => "displaced",
        }
    }
}

/// When to ask a refused caller back: once `excess` has been worked off. Callers that are refused one after the other, as
/// `turn` counts them, are spread over as long again, so that they do not come back together.
pub(crate) fn retry_after(excess: Duration, turn: u64) -> Duration {
    let eighths = u32::try_from(turn % 8).unwrap_or_default();
    let base = excess.clamp(SHORTEST_RETRY, LONGEST_RETRY / 2);
    let retry = base + base * eighths / 8;
    // Whole milliseconds read better, and nothing hangs on less.
    Duration::from_millis(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_callers_come_back_apart_and_within_bounds() {
        let times: Vec<u128> = (0..9).map(|turn| retry_after(Duration::from_millis(80), turn).as_millis()).collect();
        assert_eq!(times, [80, 90, 100, 110, 120, 130, 140, 150, 80]);
        assert_eq!(retry_after(Duration::ZERO, 0), SHORTEST_RETRY);
        assert!(retry_after(Duration::from_secs(1 << 20), 7) <= LONGEST_RETRY);
    }
}
