//! Gathering, its own source, over shuttle's primitives: no order of pushing, waking, timing out and stopping loses what was left or
//! leaves the writer asleep. `FITMENT_SCHEDULES` is how many orders are tried, 2,000 without it.

use std::time::Duration;

use shuttle::sync::Arc;

use self::gather::{Gathering, gather};
use self::sync::{Condvar, Mutex};

/// `parking_lot`'s forms over shuttle's. A deadline may pass at any moment, and a wait for one may end for no reason, as the real
/// one may.
mod sync {
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    use shuttle::rand::Rng as _;

    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    pub(super) struct MutexGuard<'m, T> {
        lock: &'m Mutex<T>,
        held: Option<shuttle::sync::MutexGuard<'m, T>>,
    }

    pub(super) struct Condvar(shuttle::sync::Condvar);

    pub(super) struct Waited(bool);

    impl Waited {
        pub(super) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard { lock: self, held: Some(self.0.lock().expect("nobody panics")) }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.held.as_ref().expect("held")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.held.as_mut().expect("held")
        }
    }

    impl Condvar {
        pub(super) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(super) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(super) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.held.take().expect("held");
            guard.held = Some(self.0.wait(held).expect("nobody panics"));
        }

        pub(super) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _until: Instant) -> Waited {
            drop(guard.held.take());
            shuttle::thread::yield_now();
            guard.held = Some(guard.lock.0.lock().expect("nobody panics"));
            Waited(shuttle::rand::thread_rng().gen_bool(0.5))
        }
    }
}

#[path = "../gather.rs"]
#[expect(clippy::duplicate_mod, reason = "the same source over other primitives")]
mod gather;

#[derive(Default)]
struct Queue {
    waiting: Vec<u32>,
    stopping: bool,
}

impl Gathering for Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

#[test]
fn nothing_is_lost_and_the_writer_ends_in_any_order() {
    let schedules = std::env::var("FITMENT_SCHEDULES").map_or(2000, |text| text.parse().expect("a number"));
    let model = || {
        let shared = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let writer = {
            let shared = Arc::clone(&shared);
            shuttle::thread::spawn(move || {
                let (queue, wake) = &*shared;
                let mut written = Vec::new();
                loop {
                    let mut queue = gather(queue, wake, Duration::from_millis(1));
                    assert!(queue.stopping || !queue.waiting.is_empty(), "woken for nothing");
                    written.append(&mut queue.waiting);
                    if queue.stopping {
                        return written;
                    }
                }
            })
        };
        let leave = |from: u32| {
            let shared = Arc::clone(&shared);
            shuttle::thread::spawn(move || {
                for number in from..from + 2 {
                    shared.0.lock().waiting.push(number);
                    shared.1.notify_one();
                }
            })
        };
        for producer in [leave(0), leave(10)] {
            producer.join().expect("no panic");
        }
        shared.0.lock().stopping = true;
        shared.1.notify_one();
        let mut written = writer.join().expect("no panic");
        written.sort_unstable();
        assert_eq!(written, [0, 1, 10, 11]);
    };
    shuttle::check_random(model, schedules);
    shuttle::check_pct(model, schedules, 3);
}
