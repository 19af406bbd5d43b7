//! A team of real threads.

#![expect(clippy::cast_possible_truncation, reason = "a few steps and pieces")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::team::{NoTeam, PieceFailed, Progress, Team, Work};
use super::threads::{PinFailed, Threads};

/// Counts how often each piece was done, and sees that steps follow one another.
struct Counted {
    progress: Progress,
    pieces: Vec<Vec<AtomicU32>>,
    slow: bool,
    panics_at: Option<(u32, u16)>,
}

impl Counted {
    fn new(steps: usize, slow: bool) -> Arc<Self> {
        let pieces = (0..steps).map(|step| (0..=step % 7).map(|_| AtomicU32::new(0)).collect()).collect();
        let mut work = Self { progress: Progress::default(), pieces, slow, panics_at: None };
        work.progress.reset(1);
        Arc::new(work)
    }

    fn check(&self) {
        for (step, pieces) in self.pieces.iter().enumerate() {
            for (piece, done) in pieces.iter().enumerate() {
                assert_eq!(done.load(Ordering::SeqCst), 1, "step {step} piece {piece}");
            }
        }
    }
}

impl Work for Counted {
    fn steps(&self) -> u32 {
        self.pieces.len() as u32
    }

    fn pieces(&self, step: u32) -> u16 {
        self.pieces[step as usize].len() as u16
    }

    fn run(&self, step: u32, piece: u16, worker: usize) {
        assert!(worker < 4);
        assert_ne!(self.panics_at, Some((step, piece)), "on purpose");
        if let Some(before) = (step as usize).checked_sub(1) {
            let done = self.pieces[before].iter().all(|done| done.load(Ordering::SeqCst) == 1);
            assert!(done, "step {step} began before step {before} had ended");
        }
        if self.slow {
            std::thread::sleep(Duration::from_micros(30));
        }
        self.pieces[step as usize][usize::from(piece)].fetch_add(1, Ordering::SeqCst);
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

#[test]
fn each_piece_is_done_once_and_steps_follow_one_another() {
    for threads in [1, 2, 4] {
        let team = Team::new(Threads::of(threads)).unwrap();
        for round in 0..200 {
            let work = Counted::new(60, round % 8 == 0);
            if round % 3 == 0 {
                team.rouse();
            }
            team.run(&(Arc::clone(&work) as Arc<dyn Work>)).unwrap();
            work.check();
        }
    }
}

#[test]
fn callers_at_the_same_time_do_not_disturb_one_another() {
    let team = Team::new(Threads::of(3)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for round in 0..60 {
                    let work = Counted::new(40, round % 5 == 0);
                    team.run(&(Arc::clone(&work) as Arc<dyn Work>)).unwrap();
                    work.check();
                }
            });
        }
    });
}

#[test]
fn a_panic_ends_the_work_and_not_the_team() {
    let team = Team::new(Threads::of(2)).unwrap();
    let mut work = Counted::new(20, false);
    Arc::get_mut(&mut work).unwrap().panics_at = Some((9, 1));
    // Later pieces see that a step is not done and panic as well: all are caught.
    assert_eq!(team.run(&(work as Arc<dyn Work>)), Err(PieceFailed));
    let work = Counted::new(20, false);
    team.run(&(Arc::clone(&work) as Arc<dyn Work>)).unwrap();
    work.check();
}

#[test]
#[cfg(target_os = "linux")]
fn a_pinned_team_does_its_work_and_one_without_enough_processors_is_refused() {
    let team = Team::new(Threads { pin: true, ..Threads::of(1) }).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            team.adopt_caller().unwrap();
            assert_eq!(core_affinity::get_core_ids().unwrap().len(), 1);
            let work = Counted::new(20, false);
            team.run(&(Arc::clone(&work) as Arc<dyn Work>)).unwrap();
            work.check();
        });
    });
    assert!(matches!(
        Team::new(Threads { pin: true, ..Threads::of(100_000) }),
        Err(NoTeam::Pin(PinFailed::TooFew { threads: 100_000, .. }))
    ));
}
