//! What gathering threads wait with. A name of its own, so that a test can compile them over primitives whose every interleaving it
//! decides (`gather/model.rs`).

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
