//! A bounded number of computations at once, and a bounded wait before them.
//!
//! Those who wait are served in order. Who has waiters already gets the next one only into what is left when they are
//! counted twice, so that one caller alone never fills more than half of the wait and somebody else always finds room.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{CallContext, OverloadCause, Patience, retry_after};
use crate::error::EngineError;
use crate::figures::GateFigures;
use crate::meters::refused;

/// Weight of the newest computation in the estimate of how long one takes.
const NEWEST: f64 = 0.05;

/// Lets a bounded number in.
pub(crate) struct Gate {
    name: &'static str,
    slots: Arc<Semaphore>,
    size: usize,
    /// How many may wait.
    room: usize,
    patience: Patience,
    waiting: Mutex<Waiting>,
    /// Seconds that a computation takes, an exponentially weighted mean.
    seconds: Arc<Mutex<f64>>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    all: usize,
    by_principal: HashMap<Arc<str>, usize>,
}

/// Leave to compute, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    entered: Instant,
    seconds: Arc<Mutex<f64>>,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let took = self.entered.elapsed().as_secs_f64();
        let mut seconds = self.seconds.lock();
        *seconds = if *seconds == 0.0 { took } else { *seconds + NEWEST * (took - *seconds) };
    }
}

/// A place in the queue, given up when it is dropped.
struct Place<'a> {
    gate: &'a Gate,
    principal: Arc<str>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.gate.waiting.lock();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(mine) = waiting.by_principal.get_mut(&self.principal) {
            *mine -= 1;
            if *mine == 0 {
                waiting.by_principal.remove(&self.principal);
            }
        }
    }
}

impl Gate {
    /// A gate that lets `size` in at once and has room for so many that wait.
    pub(crate) fn new(name: &'static str, size: usize, room: usize, patience: Patience) -> Self {
        Self {
            name,
            slots: Arc::new(Semaphore::new(size)),
            size,
            room,
            patience,
            waiting: Mutex::default(),
            seconds: Arc::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// How it stands.
    pub(crate) fn figures(&self) -> GateFigures {
        let waiting = self.waiting.lock().all;
        GateFigures { name: self.name, waiting, capacity: self.room, estimated_wait: self.wait_behind(waiting) }
    }

    /// Waits for a slot. Errors: refused at once when the wait would be too long.
    pub(crate) async fn enter(&self, context: &CallContext) -> Result<Pass, EngineError> {
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_taken) => {
                let _place = self.place(context)?;
                Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| EngineError::Stopping)?
            }
        };
        Ok(Pass { entered: Instant::now(), seconds: Arc::clone(&self.seconds), _slot: slot })
    }

    fn place(&self, context: &CallContext) -> Result<Place<'_>, EngineError> {
        let mut waiting = self.waiting.lock();
        let mine = waiting.by_principal.get(&context.principal).copied().unwrap_or_default();
        if let Some(allowed) = self.patience.of(context.work) {
            let weighed = waiting.all + mine;
            let cause = if weighed >= self.room {
                Some(OverloadCause::Full { jobs: waiting.all, tokens: 0 })
            } else {
                self.too_late(context, self.wait_behind(waiting.all), self.wait_behind(weighed), allowed)
            };
            if let Some(cause) = cause {
                refused(self.name, cause);
                let turn = self.refused.fetch_add(1, Ordering::Relaxed);
                let excess = self.wait_behind(waiting.all);
                return Err(EngineError::Overloaded {
                    queue: self.name,
                    cause,
                    retry_after: retry_after(excess, turn),
                });
            }
        }
        waiting.all += 1;
        *waiting.by_principal.entry(Arc::clone(&context.principal)).or_default() += 1;
        Ok(Place { gate: self, principal: Arc::clone(&context.principal) })
    }

    fn too_late(
        &self,
        context: &CallContext,
        wait: Duration,
        weighed: Duration,
        allowed: Duration,
    ) -> Option<OverloadCause> {
        if weighed > allowed {
            return Some(OverloadCause::Wait { wait: weighed, allowed });
        }
        let left = context.deadline?.saturating_duration_since(Instant::now());
        let done = wait + Duration::from_secs_f64(*self.seconds.lock());
        (done > left).then_some(OverloadCause::Deadline { wait: done, left })
    }

    /// How long a newcomer waits behind so many.
    #[expect(clippy::cast_precision_loss, reason = "waiters are far below 2^52")]
    fn wait_behind(&self, waiting: usize) -> Duration {
        let each = *self.seconds.lock() / self.size as f64;
        Duration::try_from_secs_f64(each * waiting as f64).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::WorkClass;

    const PATIENCE: Patience = Patience { single: Duration::from_secs(1), several: Duration::from_secs(10) };

    fn by(principal: &str, work: WorkClass) -> CallContext {
        CallContext { principal: principal.into(), work, ..CallContext::default() }
    }

    #[tokio::test]
    async fn one_caller_fills_half_of_the_room_and_another_still_finds_some() {
        let gate = Arc::new(Gate::new("search", 1, 8, PATIENCE));
        let held = gate.enter(&CallContext::default()).await.expect("free");
        let wait = |principal: &'static str| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.enter(&by(principal, WorkClass::Single)).await.map(drop) })
        };
        let mut greedy: Vec<_> = (0..6).map(|_| wait("greedy")).collect();
        tokio::task::yield_now().await;
        let refused = greedy.split_off(4);
        for one in refused {
            let error = one.await.expect("joined").expect_err("refused");
            assert!(
                matches!(error, EngineError::Overloaded { cause: OverloadCause::Full { jobs: 4, .. }, .. }),
                "{error}"
            );
        }
        let modest = wait("modest");
        tokio::task::yield_now().await;
        assert_eq!(gate.figures().waiting, 5);
        // A caller that leaves gives its place up.
        greedy.pop().expect("one").abort();
        tokio::task::yield_now().await;
        assert_eq!(gate.figures().waiting, 4);
        drop(held);
        for one in greedy {
            one.await.expect("joined").expect("entered");
        }
        modest.await.expect("joined").expect("entered");
        assert_eq!(gate.figures().waiting, 0);
        assert!(gate.waiting.lock().by_principal.is_empty());
    }

    #[tokio::test]
    async fn a_wait_that_is_too_long_is_refused_and_a_job_waits_all_the_same() {
        let gate = Gate::new("search", 1, 64, PATIENCE);
        *gate.seconds.lock() = 0.4;
        let _held = gate.enter(&CallContext::default()).await.expect("free");
        let mut places = Vec::new();
        for expect in [true, true, true, false] {
            let principal = places.len().to_string();
            let place = gate.place(&by(&principal, WorkClass::Single));
            assert_eq!(place.is_ok(), expect);
            places.extend(place);
        }
        assert!(gate.place(&by("job", WorkClass::Several)).is_ok());
        for _ in 0..100 {
            places.push(gate.place(&by("job", WorkClass::Background)).expect("never refused"));
        }
        let hasty = CallContext { deadline: Some(Instant::now()), ..by("x", WorkClass::Several) };
        assert!(gate.place(&hasty).is_err());
    }
}
