//! One principal's counts. Rates by the generic cell rate algorithm (GCRA): no timer, one number a rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fitment_engine::TokenBudget;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use super::Limits;

/// A call that is open may not know when another ends: how long to wait before asking again.
const CONCURRENT_RETRY: Duration = Duration::from_millis(100);

/// What a principal has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// Requests a second.
    Requests {
        /// How many are allowed.
        allowed: u32,
        /// When the next one is.
        retry_after: Duration,
    },
    /// Calls at once.
    Concurrent {
        /// How many are allowed.
        allowed: u32,
        /// When to try again.
        retry_after: Duration,
    },
}

type Rate<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A rate with its clock; `None`: no limit.
struct Meter<C: Clock> {
    rate: Option<(Rate<C>, NonZeroU32)>,
    clock: C,
}

impl<C: Clock + Clone> Meter<C> {
    /// `per_second` on average and `burst` at once; 0 a second: no limit, 0 at once: a second's.
    fn new(per_second: u32, burst: u32, clock: C) -> Self {
        let rate = NonZeroU32::new(per_second).map(|per_second| {
            let burst = NonZeroU32::new(burst).unwrap_or(per_second);
            let quota = Quota::per_second(per_second).allow_burst(burst);
            (RateLimiter::direct_with_clock(quota, clock.clone()), burst)
        });
        Self { rate, clock }
    }

    /// Takes so many, or says when to try again. What is more than may ever come at once takes all of that.
    fn take(&self, count: usize) -> Result<(), Duration> {
        let Some((rate, burst)) = &self.rate else { return Ok(()) };
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(burst.get());
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match rate.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.clock.now())),
            // Not for a count within the burst.
            Err(_insufficient) => Err(Duration::from_secs(1)),
        }
    }
}

/// What one principal has asked for.
pub(crate) struct Account<C: Clock = DefaultClock> {
    limits: Limits,
    requests: Meter<C>,
    tokens: Meter<C>,
    open: AtomicU32,
    used: Mutex<Instant>,
}

impl Account {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self::with_clock(limits, now, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Account<C> {
    fn with_clock(limits: Limits, now: Instant, clock: &C) -> Self {
        let Limits { requests_per_second, burst, concurrent: _, tokens_per_second } = limits;
        Self {
            limits,
            requests: Meter::new(requests_per_second, burst, clock.clone()),
            // A second's worth at once: an intent is far less.
            tokens: Meter::new(tokens_per_second, 0, clock.clone()),
            open: AtomicU32::new(0),
            used: Mutex::new(now),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether tokens are counted.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.tokens.rate.is_some()
    }

    /// Notes that it is in use.
    pub(super) fn touch(&self, now: Instant) {
        *self.used.lock() = now;
    }

    /// How long nobody has used it; 0 while a call is open.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.used.lock())
    }

    /// Takes a request.
    pub(crate) fn request(&self) -> Result<(), Exceeded> {
        self.requests
            .take(1)
            .map_err(|retry_after| Exceeded::Requests { allowed: self.limits.requests_per_second, retry_after })
    }

    /// Opens a call: it takes a request, and is open until what this returns is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Result<Open<C>, Exceeded> {
        let allowed = self.limits.concurrent;
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(self));
        if allowed > 0 && before >= allowed {
            return Err(Exceeded::Concurrent { allowed, retry_after: CONCURRENT_RETRY });
        }
        // After that: who has too many open does not pay for another.
        self.request()?;
        Ok(open)
    }
}

impl<C> TokenBudget for Account<C>
where
    C: Clock + Clone + Send + Sync,
    C::Instant: Send + Sync,
{
    fn take(&self, tokens: usize) -> Result<(), Duration> {
        self.tokens.take(tokens)
    }
}

/// A call that is open.
pub(super) struct Open<C: Clock = DefaultClock>(Arc<Account<C>>);

impl<C: Clock> Drop for Open<C> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn account(limits: Limits) -> (Arc<Account<FakeRelativeClock>>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Arc::new(Account::with_clock(limits, Instant::now(), &clock)), clock)
    }

    #[test]
    fn a_burst_is_spent_and_comes_back_with_time() {
        let (account, clock) = account(Limits { requests_per_second: 10, burst: 3, ..Limits::default() });
        for _ in 0..3 {
            account.request().expect("within the burst");
        }
        let Err(Exceeded::Requests { allowed: 10, retry_after }) = account.request() else { panic!("over the burst") };
        assert_eq!(retry_after, Duration::from_millis(100));
        clock.advance(retry_after);
        account.request().expect("one came back");
        account.request().expect_err("and no more");
    }

    #[test]
    fn calls_are_counted_while_they_are_open() {
        let (account, _clock) = account(Limits { concurrent: 2, ..Limits::default() });
        let first = account.open().expect("one");
        let _second = account.open().expect("two");
        assert!(matches!(account.open(), Err(Exceeded::Concurrent { allowed: 2, .. })));
        drop(first);
        drop(account.open().expect("one ended"));
    }

    #[test]
    fn tokens_are_counted_apart_and_a_large_text_takes_a_whole_second() {
        let (account, clock) = account(Limits { tokens_per_second: 100, ..Limits::default() });
        account.request().expect("no limit on requests");
        account.take(5000).expect("nothing was spent before");
        assert!(account.take(1).is_err());
        clock.advance(Duration::from_secs(1));
        account.take(100).expect("a second's worth");
        assert_eq!(account.take(50), Err(Duration::from_millis(500)));
    }

    #[test]
    fn without_limits_nothing_is_refused() {
        let (account, _clock) = account(Limits::default());
        let open: Vec<_> = (0..1000).map(|_| account.open().expect("no limit")).collect();
        account.take(usize::MAX).expect("no limit");
        assert_eq!(account.idle(Instant::now() + Duration::from_secs(60)), Duration::ZERO);
        drop(open);
        assert!(account.idle(Instant::now() + Duration::from_secs(60)) > Duration::from_secs(50));
    }
}
