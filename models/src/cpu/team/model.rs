//! The team's own source over shuttle's primitives: threads run one at a time, in an order that a seed decides, and every access to
//! something shared is a place to switch. What is found is repeated by its seed.
//!
//! Every access is seen as sequentially consistent: what weaker orderings allow beyond that is not looked at here.
//! `FITMENT_SCHEDULES` is how many orders are tried of each form, 300 without it.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicU32, Ordering};

use self::team::{PieceFailed, Progress, Team, Work};
use super::threads::{self, Threads};

mod sync {
    pub(super) use shuttle::hint::spin_loop;
    pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex, mpsc};
    pub(super) use shuttle::thread::{Builder, JoinHandle, yield_now};

    use std::time::Duration;

    use shuttle::rand::Rng as _;

    /// Patience ends at any moment.
    #[derive(Clone, Copy)]
    pub(super) struct Instant;

    impl Instant {
        pub(super) fn now() -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "as the real one is called")]
        pub(super) fn elapsed(self) -> Duration {
            if shuttle::rand::thread_rng().gen_bool(0.5) { Duration::ZERO } else { Duration::MAX }
        }
    }
}

#[path = "../team.rs"]
#[expect(
    dead_code,
    clippy::duplicate_mod,
    reason = "the same source under other locks; pinning has no place in a model"
)]
mod team;

/// Three steps of 1, 2 and 3 pieces.
struct Counted {
    progress: Progress,
    pieces: Vec<Vec<AtomicU32>>,
    panics_at: Option<(u32, u16)>,
}

impl Counted {
    fn new(panics_at: Option<(u32, u16)>) -> Arc<Self> {
        let pieces = (1..=3).map(|count| (0..count).map(|_| AtomicU32::new(0)).collect()).collect();
        let mut work = Self { progress: Progress::default(), pieces, panics_at };
        work.progress.reset(1);
        Arc::new(work)
    }

    fn done(&self, step: usize) -> bool {
        self.pieces[step].iter().all(|done| done.load(Ordering::SeqCst) == 1)
    }
}

impl Work for Counted {
    fn steps(&self) -> u32 {
        3
    }

    fn pieces(&self, step: u32) -> u16 {
        u16::try_from(self.pieces[step as usize].len()).unwrap()
    }

    fn run(&self, step: u32, piece: u16, worker: usize) {
        assert!(worker < 3, "a number that buffers have no room for");
        assert_ne!(self.panics_at, Some((step, piece)), "on purpose");
        if self.panics_at.is_none() && step > 0 {
            assert!(self.done(step as usize - 1), "step {step} began before the one before had ended");
        }
        let before = self.pieces[step as usize][usize::from(piece)].fetch_add(1, Ordering::SeqCst);
        assert_eq!(before, 0, "step {step} piece {piece} twice");
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Tries orders at random, and orders with few switches at unlikely places.
fn in_many_orders(model: fn()) {
    let schedules = std::env::var("FITMENT_SCHEDULES").map_or(300, |number| number.parse().unwrap());
    shuttle::check_random(model, schedules);
    shuttle::check_pct(model, schedules, 3);
}

#[test]
fn each_piece_is_done_once_in_any_order_and_the_team_ends() {
    in_many_orders(|| {
        let team = Team::new(Threads::of(3)).unwrap();
        for _ in 0..2 {
            let work = Counted::new(None);
            assert_eq!(team.run(&(Arc::clone(&work) as Arc<dyn Work>)), Ok(()));
            assert!((0..3).all(|step| work.done(step)));
        }
    });
}

#[test]
fn two_callers_and_a_rouse_do_not_disturb_one_another_in_any_order() {
    in_many_orders(|| {
        let team = Arc::new(Team::new(Threads::of(2)).unwrap());
        let other = Arc::clone(&team);
        let second = shuttle::thread::spawn(move || {
            other.rouse();
            let work = Counted::new(None);
            assert_eq!(other.run(&(Arc::clone(&work) as Arc<dyn Work>)), Ok(()));
            assert!((0..3).all(|step| work.done(step)));
        });
        let work = Counted::new(None);
        assert_eq!(team.run(&(Arc::clone(&work) as Arc<dyn Work>)), Ok(()));
        assert!((0..3).all(|step| work.done(step)));
        second.join().unwrap();
    });
}

#[test]
fn a_panic_in_any_order_ends_the_work_and_not_the_team() {
    in_many_orders(|| {
        let team = Team::new(Threads::of(2)).unwrap();
        let work = Counted::new(Some((1, 1)));
        assert_eq!(team.run(&(work as Arc<dyn Work>)), Err(PieceFailed));
        let work = Counted::new(None);
        assert_eq!(team.run(&(Arc::clone(&work) as Arc<dyn Work>)), Ok(()));
        assert!((0..3).all(|step| work.done(step)));
    });
}
