//! Copying, hashing, syncing and installing files.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::digest::{FileDigest, Hasher};
use crate::error::ModelError;
use crate::known::ModelFile;
use crate::load::{check_digest, check_size};
use crate::progress::Progress;

const BLOCK: usize = 1 << 18;

/// The sha256 of a file; `None` when it is absent.
pub(super) fn hash_file(path: &Path) -> Result<Option<FileDigest>, ModelError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io("open", path)(error)),
    };
    let mut hasher = Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block).map_err(ModelError::io("read", path))? {
            0 => return Ok(Some(hasher.finish())),
            read => hasher.update(&block[..read]),
        }
    }
}

/// Bytes to be copied, and how to speak of them.
pub(super) struct Incoming<'a> {
    pub(super) reader: &'a mut dyn Read,
    /// Names the source in messages.
    pub(super) place: PathBuf,
    /// No more than this is written.
    pub(super) limit: u64,
    /// Turns a failed read into this crate's error: an archive's reader reports damage that way.
    pub(super) on_read_error: &'a dyn Fn(std::io::Error) -> ModelError,
}

/// Copies `incoming` to `target` by way of a file beside it, synced, so that `target` is whole or absent.
/// Returns size and digest.
pub(super) fn copy(
    incoming: Incoming<'_>,
    target: &Path,
    progress: &dyn Progress,
) -> Result<(u64, FileDigest), ModelError> {
    copy_then(incoming, target, progress, |_, _| Ok(()))
}

/// As [`copy`], and the bytes must be those of `expected`.
pub(super) fn copy_checked(
    incoming: Incoming<'_>,
    target: &Path,
    expected: &ModelFile,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let place = incoming.place.clone();
    copy_then(incoming, target, progress, |size, digest| {
        check_size(&place, expected.size, size)?;
        check_digest(&place, expected.sha256, digest)
    })
    .map(drop)
}

fn copy_then(
    incoming: Incoming<'_>,
    target: &Path,
    progress: &dyn Progress,
    accept: impl FnOnce(u64, FileDigest) -> Result<(), ModelError>,
) -> Result<(u64, FileDigest), ModelError> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = target.with_file_name(name);
    let result = write(incoming, &unfinished, progress).and_then(|(size, digest)| {
        accept(size, digest)?;
        fs::rename(&unfinished, target).map_err(ModelError::io("rename", &unfinished))?;
        Ok((size, digest))
    });
    if result.is_err() {
        // What is left of it is overwritten by the next try, so failing to remove it loses nothing.
        let _ = fs::remove_file(&unfinished);
    }
    result
}

fn write(incoming: Incoming<'_>, path: &Path, progress: &dyn Progress) -> Result<(u64, FileDigest), ModelError> {
    let Incoming { reader, place, limit, on_read_error } = incoming;
    let mut file = File::create(path).map_err(ModelError::io("create", path))?;
    let mut hasher = Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(on_read_error(error)),
        };
        size += read as u64;
        if size > limit {
            return Err(ModelError::TooLarge { path: place, limit });
        }
        file.write_all(&block[..read]).map_err(ModelError::io("write", path))?;
        hasher.update(&block[..read]);
        progress.advance_to(size);
    }
    file.sync_all().map_err(ModelError::io("sync", path))?;
    Ok((size, hasher.finish()))
}

/// Makes a file or folder last through a power cut.
pub(super) fn sync(path: &Path) -> Result<(), ModelError> {
    // Folders cannot be opened for it everywhere; where they can, they must be.
    if path.is_dir() && !cfg!(unix) {
        return Ok(());
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(ModelError::io("sync", path))
}

/// Puts the complete folder `from` in the place of `to`, whatever is there now; both have the same parent.
///
/// A crash between the two renames leaves no `to` and a complete `to.old`: the next pull starts anew, nothing half
/// installed is ever seen.
pub(super) fn install(from: &Path, to: &Path) -> Result<(), ModelError> {
    sync(from)?;
    let old = to.with_file_name(format!("{}.old", to.file_name().unwrap_or_default().display()));
    remove_all(&old)?;
    let replaces = to.exists();
    if replaces {
        fs::rename(to, &old).map_err(ModelError::io("rename", to))?;
    }
    if let Err(error) = fs::rename(from, to) {
        if replaces {
            fs::rename(&old, to).map_err(ModelError::io("restore", to))?;
        }
        return Err(ModelError::io("rename", from)(error));
    }
    if let Some(parent) = to.parent() {
        sync(parent)?;
    }
    remove_all(&old)
}

/// Removes a file or folder with all it holds; absent is fine.
pub(super) fn remove_all(path: &Path) -> Result<(), ModelError> {
    let result = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ModelError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Creates a folder and those above it.
pub(super) fn create_folder(path: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(path).map_err(ModelError::io("create", path))
}
