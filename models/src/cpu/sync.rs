//! What a team synchronises with. A name of its own, so that a test can compile the team over primitives whose every
//! interleaving it decides (`team/model.rs`).

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(super) use std::sync::{Condvar, Mutex, mpsc};
pub(super) use std::thread::{Builder, JoinHandle, yield_now};
pub(super) use std::time::Instant;
