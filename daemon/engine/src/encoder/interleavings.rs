//! The queue under every order of its threads that a randomised scheduler finds. `FITMENT_SCHEDULES` is how many are tried,
//! 2,000 without it.

use std::sync::Arc;
use std::time::Instant;

use shuttle::thread;

use self::queue::{Bounds, Next, Queue, Refused, Wait};
use super::lanes::{self, LaneKey, Waiting};
use super::{pace, strain};
use crate::admission::WorkClass;

/// The locks of the checker.
mod sync {
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

#[path = "queue.rs"]
#[expect(
    dead_code,
    clippy::duplicate_mod,
    reason = "the same source under other locks; what only moves figures is tested elsewhere"
)]
mod queue;

const BOUNDS: Bounds = Bounds { jobs: 3, tokens: 12, pass_tokens: 8 };
const WAIT: Wait = Wait { most: None, deadline: None };

fn orders() -> usize {
    std::env::var("FITMENT_SCHEDULES").map_or(2000, |text| text.parse().expect("a number"))
}

fn key(principal: &str) -> LaneKey {
    LaneKey { principal: principal.into(), work: WorkClass::Single }
}

fn work(items: &[usize]) -> Vec<Waiting<usize>> {
    items.iter().map(|&item| Waiting { tokens: 2, item }).collect()
}

#[test]
fn what_is_taken_is_served_or_displaced_once_and_nobody_sleeps_on_work() {
    let scenario = || {
        let queue = Arc::new(Queue::new(BOUNDS));
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut served = Vec::new();
                // Ends by the marker, which is bulk work and comes last: a wake-up that was lost would hang here.
                loop {
                    match queue.next() {
                        Some(Next::Interactive { item, tokens }) => {
                            served.push(item);
                            queue.began(tokens, Instant::now());
                            served.extend(queue.more(2).map(|more| more.item));
                            queue.ended(tokens, None);
                        }
                        Some(Next::Bulk(_)) => return served,
                        None => panic!("nobody closed it"),
                    }
                }
            })
        };
        let callers: Vec<_> = [("a", [0, 1, 2]), ("b", [10, 11, 12])]
            .into_iter()
            .map(|(principal, items)| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let (mut taken, mut displaced) = (Vec::new(), Vec::new());
                    for items in [&items[..2], &items[2..]] {
                        match queue.offer(&key(principal), work(items), WAIT, Instant::now()) {
                            Ok(victims) => {
                                taken.extend_from_slice(items);
                                displaced.extend(victims);
                            }
                            Err(Refused::Overloaded(..)) => {}
                            Err(Refused::Closed) => panic!("nobody closed it"),
                        }
                    }
                    (taken, displaced)
                })
            })
            .collect();
        let (mut taken, mut gone) = (Vec::new(), Vec::new());
        for caller in callers {
            let (more, displaced) = caller.join().expect("no panic");
            taken.extend(more);
            gone.extend(displaced);
        }
        assert!(queue.offer_bulk(usize::MAX).is_ok());
        gone.extend(worker.join().expect("no panic"));
        taken.sort_unstable();
        gone.sort_unstable();
        assert_eq!(taken, gone);
    };
    shuttle::check_random(scenario, orders());
}

#[test]
fn closing_wakes_who_sleeps_and_refuses_who_comes() {
    let scenario = || {
        let queue = Arc::new(Queue::<usize>::new(BOUNDS));
        let sleeper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || while queue.next().is_some() {})
        };
        let caller = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || drop(queue.offer(&key("a"), work(&[1]), WAIT, Instant::now())))
        };
        queue.close();
        sleeper.join().expect("no panic");
        caller.join().expect("no panic");
        assert!(matches!(queue.offer(&key("a"), work(&[2]), WAIT, Instant::now()), Err(Refused::Closed)));
    };
    shuttle::check_random(scenario, orders());
}
