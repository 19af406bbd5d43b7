//! Mapping a segment file into memory.

#![expect(unsafe_code, reason = "memmap2 cannot know who else writes to the file; the argument stands at the call")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole segment file for reading.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: a mapping is unsound when the file changes under it. Segment files lie in the daemon's own folder with
    // rights for its user alone, are written under a temporary name, renamed into place when complete, and never
    // written or truncated afterwards: a newer segment is a new file that takes over the name, and the old bytes live as
    // long as this mapping does.
    unsafe { Mmap::map(file) }
}
