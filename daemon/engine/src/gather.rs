//! How a thread that writes what others leave in memory waits: until something is there, and a moment longer for more.

use std::time::{Duration, Instant};

use super::sync::{Condvar, Mutex, MutexGuard};

/// What gathers for a writer.
pub(crate) trait Gathering {
    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool;

    /// Whether nobody is left to add, so that the writer is to end.
    fn is_stopping(&self) -> bool;
}

/// Waits until something has gathered for `moment`, or the writer is to end. The lock is held then.
pub(crate) fn gather<'m, G: Gathering>(waiting: &'m Mutex<G>, wake: &Condvar, moment: Duration) -> MutexGuard<'m, G> {
    let mut waiting = waiting.lock();
    while waiting.is_empty() && !waiting.is_stopping() {
        wake.wait(&mut waiting);
    }
    let until = Instant::now() + moment;
    while !waiting.is_stopping() && !wake.wait_until(&mut waiting, until).timed_out() {}
    waiting
}
