//! A few threads that share the pieces of a work's steps.
//!
//! A step's pieces are taken one at a time, by whoever is free: the calling thread from the front, helpers from the
//! back, so that each tends to meet the weights that it read last time. A step ends when all its pieces are done, and the
//! thread that did the last one opens the next. Nobody ever waits for a thread to *come*: on a busy machine a helper
//! that the system does not run takes no piece, and the caller does the work alone. What can be waited for is one piece
//! that somebody has begun; a waiting thread spins a little, then gives its processor away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Builder, Condvar, Instant, JoinHandle, Mutex, Ordering, mpsc,
    spin_loop, yield_now,
};
use super::threads::{PinFailed, Processors, Threads, stand_back};

/// How long a thread looks for more to do before it gives its processor away: about what waking it again would cost.
const SPIN: Duration = Duration::from_micros(50);
/// How long a helper that was told of work to come looks out for it.
const ALERT: Duration = Duration::from_micros(200);

/// Work in steps of pieces. Pieces of one step may run at the same time; steps follow one another.
pub(super) trait Work: Send + Sync {
    /// Steps of this work.
    fn steps(&self) -> u32;
    /// Pieces of a step, `1..=65535`.
    fn pieces(&self, step: u32) -> u16;
    /// Does one piece. `worker` is a number under the team's size that no other thread has in this work.
    fn run(&self, step: u32, piece: u16, worker: usize);
    /// Where the work stands.
    fn progress(&self) -> &Progress;
}

/// Where a work stands.
#[derive(Default)]
pub(super) struct Progress {
    /// The step in the high half, then the next piece from the front and the end of those from the back.
    open: AtomicU64,
    /// Pieces of the open step that are done.
    done: AtomicU32,
    /// Numbers given to workers.
    workers: AtomicUsize,
    failed: AtomicBool,
}

impl Progress {
    /// Back to the beginning of a work whose first step has `pieces` pieces.
    pub(super) fn reset(&mut self, pieces: u16) {
        *self = Self { open: AtomicU64::new(state(0, 0, pieces)), ..Self::default() };
    }
}

fn state(step: u32, front: u16, back: u16) -> u64 {
    u64::from(step) << 32 | u64::from(front) << 16 | u64::from(back)
}

/// The step, the next piece from the front and the end of those from the back.
fn parts(state: u64) -> (u32, u16, u16) {
    let half = |at: u32| u16::try_from(state >> at & 0xffff).unwrap_or_default();
    (u32::from(half(48)) << 16 | u32::from(half(32)), half(16), half(0))
}

/// A piece panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece of the work panicked")]
pub(crate) struct PieceFailed;

/// Why there is no team.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTeam {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Pin(#[from] PinFailed),
}

/// The calling thread and its helpers.
pub(super) struct Team {
    shared: Arc<Shared>,
    /// Where its threads run; `None`: wherever the system puts them.
    processors: Option<Processors>,
    /// Steps of niceness.
    nice: u8,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// The newest work, and whether the team is to end.
    board: Mutex<Board>,
    changed: Condvar,
    /// Counts the board's changes: looked at without the lock.
    edition: AtomicU32,
    size: usize,
}

#[derive(Default)]
struct Board {
    work: Option<Arc<dyn Work>>,
    ended: bool,
}

impl Team {
    /// The caller's thread is counted. Helpers run as `threads` says, and the caller too once it says which thread that is
    /// ([`Team::adopt_caller`]).
    pub(super) fn new(threads: Threads) -> Result<Self, NoTeam> {
        let Threads { count, pin, nice } = threads;
        let processors = pin.then(|| Processors::allowed(count.max(1))).transpose()?;
        let shared = Arc::new(Shared {
            board: Mutex::default(),
            changed: Condvar::new(),
            edition: AtomicU32::new(0),
            size: count.max(1),
        });
        let mut team = Self { shared, processors, nice, helpers: Vec::new() };
        let (pinned, outcomes) = mpsc::channel();
        for number in 1..count {
            let (shared, processors, pinned) = (Arc::clone(&team.shared), team.processors.clone(), pinned.clone());
            let help = move || {
                let outcome = processors.map_or(Ok(()), |processors| processors.pin(number));
                // Whoever makes the team waits for this.
                drop(pinned.send(outcome));
                drop(pinned);
                stand_back(nice);
                shared.help();
            };
            team.helpers.push(Builder::new().name(format!("encoder-{number}")).spawn(help)?);
        }
        drop(pinned);
        outcomes.iter().collect::<Result<(), _>>()?;
        Ok(team)
    }

    /// Makes the calling thread, which is going to be the one that calls [`Team::run`], run as the helpers do.
    pub(super) fn adopt_caller(&self) -> Result<(), PinFailed> {
        stand_back(self.nice);
        self.processors.as_ref().map_or(Ok(()), |processors| processors.pin(0))
    }

    /// Threads, the caller's counted.
    pub(super) fn size(&self) -> usize {
        self.shared.size
    }

    /// Tells helpers that work is about to come.
    pub(super) fn rouse(&self) {
        if !self.helpers.is_empty() {
            self.shared.post(|_| {});
        }
    }

    /// Does `work`, which has been reset, with this thread and those helpers that come. Works of several callers run at
    /// the same time; a helper joins the newest.
    pub(super) fn run(&self, work: &Arc<dyn Work>) -> Result<(), PieceFailed> {
        if !self.helpers.is_empty() {
            self.shared.post(|board| board.work = Some(Arc::clone(work)));
        }
        join(&**work, self.size());
        if !self.helpers.is_empty() {
            let mut board = self.shared.board.lock().unwrap_or_else(PoisonError::into_inner);
            if board.work.as_ref().is_some_and(|posted| Arc::ptr_eq(posted, work)) {
                board.work = None;
            }
        }
        if work.progress().failed.load(Ordering::Acquire) { Err(PieceFailed) } else { Ok(()) }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.post(|board| board.ended = true);
        for helper in self.helpers.drain(..) {
            // Its pieces' panics were caught; there is nothing to learn from how it ended.
            drop(helper.join());
        }
    }
}

impl Shared {
    fn post(&self, change: impl FnOnce(&mut Board)) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut board);
        self.edition.fetch_add(1, Ordering::Release);
        drop(board);
        self.changed.notify_all();
    }

    /// A helper's life: look out for a while, then sleep until the board changes.
    fn help(&self) {
        let mut seen = 0;
        let mut patience = SPIN;
        loop {
            let since = Instant::now();
            while self.edition.load(Ordering::Acquire) == seen && since.elapsed() < patience {
                pause();
            }
            let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
            while self.edition.load(Ordering::Relaxed) == seen && !board.ended {
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
            }
            seen = self.edition.load(Ordering::Relaxed);
            if board.ended {
                return;
            }
            let work = board.work.clone();
            drop(board);
            patience = ALERT;
            if let Some(work) = work {
                join(&*work, self.size);
                patience = SPIN;
            }
        }
    }
}

/// Takes pieces of `work` until all its steps are done.
fn join(work: &dyn Work, size: usize) {
    let progress = work.progress();
    let worker = progress.workers.fetch_add(1, Ordering::Relaxed);
    // More threads than the team has: one came back to a work that it had left.
    if worker >= size {
        return;
    }
    let steps = work.steps();
    let mut waiting: Option<Instant> = None;
    loop {
        let open = progress.open.load(Ordering::Acquire);
        let (step, front, back) = parts(open);
        if step >= steps {
            return;
        }
        if front >= back {
            let since = *waiting.get_or_insert_with(Instant::now);
            if since.elapsed() < SPIN {
                pause();
            } else {
                yield_now();
            }
            continue;
        }
        let (piece, rest) =
            if worker == 0 { (front, state(step, front + 1, back)) } else { (back - 1, state(step, front, back - 1)) };
        if progress.open.compare_exchange_weak(open, rest, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        waiting = None;
        // A panic must not leave the others waiting for this piece.
        if catch_unwind(AssertUnwindSafe(|| work.run(step, piece, worker))).is_err() {
            progress.failed.store(true, Ordering::Release);
        }
        if progress.done.fetch_add(1, Ordering::AcqRel) + 1 == u32::from(work.pieces(step)) {
            progress.done.store(0, Ordering::Relaxed);
            let next = step + 1;
            let pieces = if next < steps { work.pieces(next) } else { 0 };
            progress.open.store(state(next, 0, pieces), Ordering::Release);
        }
    }
}

/// A few dozen nanoseconds without work.
fn pause() {
    for _ in 0..8 {
        spin_loop();
    }
}
