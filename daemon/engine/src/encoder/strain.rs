//! Whether more is asked than can be done, and not for a moment only.
//!
//! A queue that takes bursts in must be long; under a load that lasts, its whole length is what everybody waits, and nothing is
//! gained by it. So the queue is long until somebody has to be refused, and short from then on until there is leisure again: the
//! controlled delay of Nichols and Jacobson (ACM Queue, 2012), with refusals in place of drops, since callers are to know at once.

use std::time::{Duration, Instant};

/// How long is looked back.
const WINDOW: Duration = Duration::from_secs(1);
/// What of a window nothing may have waited for at most, where the strain lasts.
const LEISURE: Duration = Duration::from_millis(100);

/// Begins with a refusal, and ends once nothing waited for a tenth of a second within one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strain {
    window: Option<Window>,
    /// Since when nothing waits.
    idle: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    leisure: Duration,
}

impl Strain {
    /// Somebody was refused for want of time or room. Returns whether it begins with that.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        let begins = self.window.is_none();
        if begins {
            self.window = Some(Window { began: now, leisure: Duration::ZERO });
        }
        begins
    }

    /// Nothing waits.
    pub(super) fn idle(&mut self, now: Instant) {
        self.idle.get_or_insert(now);
    }

    /// Work is begun.
    pub(super) fn busy(&mut self, now: Instant) {
        self.lasts(now);
        let idle = self.idle.take();
        if let (Some(since), Some(window)) = (idle, &mut self.window) {
            window.leisure += now.saturating_duration_since(since.max(window.began));
        }
    }

    /// Whether it lasts.
    pub(super) fn lasts(&mut self, now: Instant) -> bool {
        let Some(Window { began, leisure }) = self.window else { return false };
        let idle = self.idle.map_or(Duration::ZERO, |since| now.saturating_duration_since(since.max(began)));
        if leisure + idle >= LEISURE {
            self.window = None;
        } else if now.saturating_duration_since(began) >= WINDOW {
            self.window = Some(Window { began: now, leisure: Duration::ZERO });
        }
        self.window.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that takes `busy` of every 20 ms, from a moment on. Returns how many ms the strain lasted, 5 s at most.
    fn lasted(busy: u64) -> u64 {
        let (mut strain, start) = (Strain::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!strain.lasts(at(0)));
        strain.refused(at(0));
        for round in (0..5000).step_by(20) {
            strain.busy(at(round));
            strain.idle(at(round + busy));
            // More refusals do not prolong it.
            if !strain.lasts(at(round + 19)) {
                return round;
            }
            strain.refused(at(round + 19));
        }
        5000
    }

    #[test]
    fn it_lasts_as_long_as_there_is_no_leisure() {
        assert_eq!(lasted(20), 5000);
        assert_eq!(lasted(19), 5000, "50 ms of a second");
        assert!((160..=240).contains(&lasted(10)), "{}", lasted(10));
        assert!(lasted(0) <= 120);
    }

    #[test]
    fn a_queue_that_was_left_alone_is_not_strained() {
        let (mut strain, start) = (Strain::default(), Instant::now());
        strain.idle(start);
        strain.refused(start + Duration::from_secs(5));
        assert!(strain.lasts(start + Duration::from_secs(5)), "idle times of before do not count");
        assert!(!strain.lasts(start + Duration::from_secs(3600)));
    }
}
