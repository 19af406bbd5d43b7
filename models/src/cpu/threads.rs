//! How many threads there are to share the work, and which processors they run on.

use core_affinity::CoreId;

/// Threads that this process may run at once: the processors of its affinity mask, fewer where a control group's quota
/// says so, and not the host's.
///
/// On Linux the standard library reads the mask with `sched_getaffinity` and the quota from `cpu.max` (version 2) or from
/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1), of the process's group and those above it, rounded down, at
/// least 1. A quota of version 1 is found under the usual mount points only.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Threads that share a forward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads {
    /// At least 1.
    pub(crate) count: usize,
    /// Whether each runs on a processor of its own.
    pub(crate) pin: bool,
    /// Steps of niceness by which they stand behind the process's other threads, 0 to 19.
    pub(crate) nice: u8,
}

#[cfg(test)]
impl Threads {
    /// So many, which run like any others.
    pub(super) fn of(count: usize) -> Self {
        Self { count, pin: false, nice: 0 }
    }
}

/// Lets others go before the calling thread by so many steps of niceness more than it has. Where that is refused, it goes on as
/// it is.
pub(super) fn stand_back(steps: u8) {
    #[cfg(target_os = "linux")]
    if steps > 0 {
        use rustix::process::{getpriority_process, setpriority_process};
        let done =
            getpriority_process(None).and_then(|now| setpriority_process(None, (now + i32::from(steps)).min(19)));
        if let Err(error) = done {
            tracing::debug!(%error, "an encoder thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = steps;
}

/// Threads could not be pinned to processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PinFailed {
    #[error(
        "{threads} threads want a processor each and {allowed} are allowed; ask for fewer threads or do not pin them"
    )]
    TooFew { threads: usize, allowed: usize },
    #[error("the system does not say which processors are allowed; do not pin threads here")]
    Unknown,
    #[error("the system refused to pin a thread to processor {0}; do not pin threads here")]
    Refused(usize),
}

/// A processor for each thread of a team.
#[derive(Clone, Debug)]
pub(super) struct Processors(Vec<CoreId>);

impl Processors {
    /// The first `threads` processors of the calling thread's affinity mask.
    pub(super) fn allowed(threads: usize) -> Result<Self, PinFailed> {
        let mut allowed = core_affinity::get_core_ids().filter(|ids| !ids.is_empty()).ok_or(PinFailed::Unknown)?;
        if threads > allowed.len() {
            return Err(PinFailed::TooFew { threads, allowed: allowed.len() });
        }
        allowed.truncate(threads);
        Ok(Self(allowed))
    }

    /// Lets the calling thread, which is number `thread` of its team, run on its processor only.
    pub(super) fn pin(&self, thread: usize) -> Result<(), PinFailed> {
        let processor = *self.0.get(thread).ok_or(PinFailed::Unknown)?;
        if core_affinity::set_for_current(processor) { Ok(()) } else { Err(PinFailed::Refused(processor.id)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_stands_back_and_no_other_does() {
        use rustix::process::getpriority_process;
        let before = getpriority_process(None).unwrap();
        let stood_back = std::thread::spawn(|| {
            stand_back(5);
            let once = getpriority_process(None).unwrap();
            stand_back(19);
            (once, getpriority_process(None).unwrap())
        });
        assert_eq!(stood_back.join().unwrap(), ((before + 5).min(19), 19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_that_may_use_one_processor_counts_one() {
        let counted = std::thread::spawn(|| {
            let all = available_threads();
            Processors::allowed(1).unwrap().pin(0).unwrap();
            (all, available_threads(), Processors::allowed(2).unwrap_err())
        });
        let (all, pinned, refused) = counted.join().unwrap();
        assert!(all >= 1);
        assert_eq!(pinned, 1);
        assert_eq!(refused, PinFailed::TooFew { threads: 2, allowed: 1 });
    }
}
