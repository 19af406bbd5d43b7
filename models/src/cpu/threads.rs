//! How many threads there are to share the work.

/// Threads that this process may run at once: the processors of its affinity mask, fewer where a control group's quota
/// says so, and not the host's.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
