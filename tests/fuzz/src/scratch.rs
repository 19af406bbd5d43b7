//! A folder for what must be a file to be read.

use std::path::Path;

use tempfile::TempDir;

/// A folder of the process's own, in memory where the system has such a place.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}
