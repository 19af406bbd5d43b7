//! The encoder's queue: callers leave work and go on, one thread takes it.
//!
//! Bounded in tokens and in jobs. What somebody waits for goes before bulk work, which is bounded by whoever offers it. The
//! lock is held for moves only; `super::sync` says whose lock it is, so that a model checker can bring its own.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::lanes::{LaneKey, Lanes, Waiting};
use super::pace::Pace;
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::admission::OverloadCause;

/// How long a pass of several pieces of work may take: who comes meanwhile waits for its end, and larger ones gain little.
const PASS_TIME: Duration = Duration::from_millis(25);

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) jobs: usize,
    pub(super) tokens: usize,
    /// Tokens of a pass.
    pub(super) pass_tokens: usize,
}

/// How long work may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// Until it is begun; `None`: as long as it takes.
    pub(super) most: Option<Duration>,
    /// Until it is done.
    pub(super) deadline: Option<Instant>,
}

/// Why work is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Cannot be done in time, and how long the queue is.
    Overloaded(OverloadCause, Duration),
    /// Nobody takes work any more.
    Closed,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Next<T> {
    Interactive { tokens: usize, item: T },
    Bulk(T),
}

/// How a queue stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) jobs: usize,
    pub(super) tokens: usize,
    pub(super) bulk: usize,
    /// How long new work of somebody who has none waiting would wait behind everything.
    pub(super) wait: Duration,
    pub(super) tokens_per_second: f64,
}

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    bounds: Bounds,
}

struct State<T> {
    lanes: Lanes<T>,
    bulk: VecDeque<T>,
    pace: Pace,
    closed: bool,
}

impl<T> State<T> {
    fn wait(&self, tokens: usize, bounds: Bounds, now: Instant) -> Duration {
        self.pace.wait(tokens, bounds.pass_tokens.min(self.pace.tokens_within(PASS_TIME)), now)
    }
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State { lanes: Lanes::new(), bulk: VecDeque::new(), pace: Pace::default(), closed: false };
        Self { state: Mutex::new(state), work: Condvar::new(), bounds }
    }

    /// Whether work of at least so many tokens would be refused now; nothing is taken.
    pub(super) fn check(&self, key: &LaneKey, least: usize, wait: Wait, now: Instant) -> Result<(), Refused> {
        self.in_time(&self.state(), key, least, wait, now)
    }

    /// Takes all of it or nothing. Returns what had to make room for it.
    pub(super) fn offer(
        &self,
        key: &LaneKey,
        work: Vec<Waiting<T>>,
        wait: Wait,
        now: Instant,
    ) -> Result<Vec<T>, Refused> {
        let mut state = self.state();
        let tokens = work.iter().map(|work| work.tokens).sum();
        self.in_time(&state, key, tokens, wait, now)?;
        let mut displaced = Vec::new();
        // Work that is larger than the queue is taken when nothing else waits.
        while state.lanes.jobs() > 0 && !self.fits(&state, work.len(), tokens) {
            let Some(victim) = state.lanes.displace(key, tokens) else {
                let full = OverloadCause::Full { jobs: state.lanes.jobs(), tokens: state.lanes.tokens() };
                let length = state.wait(state.lanes.tokens(), self.bounds, now);
                for (key, work) in displaced.into_iter().rev() {
                    state.lanes.push(key, work);
                }
                return Err(Refused::Overloaded(full, length));
            };
            displaced.push(victim);
        }
        for work in work {
            state.lanes.push(key.clone(), work);
        }
        drop(state);
        self.work.notify_one();
        Ok(displaced.into_iter().map(|(_, work)| work.item).collect())
    }

    fn fits(&self, state: &State<T>, jobs: usize, tokens: usize) -> bool {
        state.lanes.jobs() + jobs <= self.bounds.jobs && state.lanes.tokens() + tokens <= self.bounds.tokens
    }

    fn in_time(&self, state: &State<T>, key: &LaneKey, tokens: usize, wait: Wait, now: Instant) -> Result<(), Refused> {
        if state.closed {
            return Err(Refused::Closed);
        }
        let ahead = state.lanes.ahead_of(key, tokens);
        let begun = state.wait(ahead, self.bounds, now);
        if let Some(allowed) = wait.most.filter(|most| begun > *most) {
            let excess = begun.saturating_sub(allowed);
            return Err(Refused::Overloaded(OverloadCause::Wait { wait: begun, allowed }, excess));
        }
        if let Some(deadline) = wait.deadline {
            let left = deadline.saturating_duration_since(now);
            let done = state.wait(ahead + tokens, self.bounds, now);
            if left.is_zero() || done > left {
                return Err(Refused::Overloaded(OverloadCause::Deadline { wait: done, left }, begun));
            }
        }
        Ok(())
    }

    /// Takes bulk work, behind everything else.
    pub(super) fn offer_bulk(&self, item: T) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        state.bulk.push_back(item);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for work; `None` once the queue is closed.
    pub(super) fn next(&self) -> Option<Next<T>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(Waiting { tokens, item }) = state.lanes.pop(usize::MAX) {
                return Some(Next::Interactive { tokens, item });
            }
            if let Some(item) = state.bulk.pop_front() {
                return Some(Next::Bulk(item));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next work that somebody waits for, when it is there and of at most `most` tokens.
    pub(super) fn more(&self, most: usize) -> Option<Waiting<T>> {
        let mut state = self.state();
        if state.closed { None } else { state.lanes.pop(most) }
    }

    /// Tokens of the next pass at most.
    pub(super) fn pass_tokens(&self) -> usize {
        self.bounds.pass_tokens.min(self.state().pace.tokens_within(PASS_TIME))
    }

    /// A pass begins.
    pub(super) fn began(&self, tokens: usize, now: Instant) {
        self.state().pace.began(tokens, now);
    }

    /// It has ended, or failed (`None`).
    pub(super) fn ended(&self, tokens: usize, took: Option<Duration>) {
        self.state().pace.ended(tokens, took);
    }

    /// How long so many tokens take from now on, were they next.
    pub(super) fn time_of(&self, tokens: usize, now: Instant) -> Duration {
        self.state().wait(tokens, self.bounds, now)
    }

    /// Takes no more work, and drops what waits.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let dropped = (std::mem::replace(&mut state.lanes, Lanes::new()), std::mem::take(&mut state.bulk));
        drop(state);
        self.work.notify_all();
        drop(dropped);
    }

    /// How it stands.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let state = self.state();
        let tokens = state.lanes.tokens();
        Standing {
            jobs: state.lanes.jobs(),
            tokens,
            bulk: state.bulk.len(),
            wait: state.wait(tokens, self.bounds, now),
            tokens_per_second: state.pace.tokens_per_second(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way: what a lock guards is whole whoever held it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
