//! How much memory glibc's allocator may hold on to.

/// Gives the allocator as many arenas as there are processors, two at least, where nobody has chosen (`MALLOC_ARENA_MAX`,
/// `GLIBC_TUNABLES`). Its own bound is eight for each processor, and what threads gave back lies about in all of them. To be called
/// before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn bound_arenas() {
    if ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arenas = i32::try_from(processors.max(2)).unwrap_or(i32::MAX);
    #[expect(unsafe_code, reason = "there is no other way to say it but the environment of a start")]
    // SAFETY: the call takes two numbers and no pointer; one that it does not know is refused.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    debug_assert_eq!(taken, 1, "glibc knows M_ARENA_MAX");
}

/// Other allocators have no such arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn bound_arenas() {}
