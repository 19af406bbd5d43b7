//! A folder, zip archive or wheel that files are taken out of, one at a time and by name.
//!
//! Nothing is ever written under a name from inside an archive; names that would leave its folder are refused all the
//! same, since an archive that holds one is not what it seems.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::files::{Incoming, copy, copy_checked};
use crate::digest::FileDigest;
use crate::error::ModelError;
use crate::known::ModelFile;
use crate::progress::Progress;

/// More entries than any model's archive has.
const MAX_ENTRIES: usize = 20_000;
/// A folder is searched this deep: enough for a hub cache (`models--x/snapshots/REVISION/1_Pooling/config.json`).
const MAX_DEPTH: usize = 5;

/// Files by name, wherever they lie.
pub(super) struct Bundle {
    path: PathBuf,
    entries: Vec<Entry>,
    content: Content,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// With `/` between folders, relative to the bundle.
    pub(super) path: String,
    /// Bytes, as the folder or the archive's directory says.
    pub(super) size: u64,
}

enum Content {
    Folder,
    Zip(Box<ZipArchive<File>>),
}

impl Bundle {
    /// A folder with all it holds, links followed.
    pub(super) fn folder(path: &Path) -> Result<Self, ModelError> {
        let mut entries = Vec::new();
        collect(path, "", 0, &mut entries)?;
        entries.sort_unstable();
        Ok(Self { path: path.to_path_buf(), entries, content: Content::Folder })
    }

    /// A zip archive or a wheel, which is one.
    pub(super) fn zip(path: &Path) -> Result<Self, ModelError> {
        let bad = |error: zip::result::ZipError| bad_archive(path, &error);
        let file = File::open(path).map_err(ModelError::io("open", path))?;
        let mut archive = ZipArchive::new(file).map_err(bad)?;
        if archive.len() > MAX_ENTRIES {
            return Err(bad_archive(path, &format!("it has {} entries, {MAX_ENTRIES} are allowed", archive.len())));
        }
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(bad)?;
            let name = entry.name().map_err(bad)?.into_owned();
            if leaves_its_folder(&name) {
                return Err(ModelError::UnsafePath { entry: name, archive: path.to_path_buf() });
            }
            if !entry.is_dir() {
                entries.push(Entry { path: name, size: entry.size() });
            }
        }
        entries.sort_unstable();
        Ok(Self { path: path.to_path_buf(), entries, content: Content::Zip(Box::new(archive)) })
    }

    /// All files, by path.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where this bundle lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of `entry`; `None` when there is none.
    pub(super) fn size_of(&self, entry: &str) -> Option<u64> {
        self.entries.iter().find(|candidate| candidate.path == entry).map(|entry| entry.size)
    }

    /// Copies `entry` to `target`, at most `limit` bytes.
    pub(super) fn copy(
        &mut self,
        entry: &str,
        target: &Path,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<(u64, FileDigest), ModelError> {
        self.with_incoming(entry, limit, |incoming| copy(incoming, target, progress))
    }

    /// Copies `entry` to `target`; the bytes must be those of `expected`.
    pub(super) fn copy_checked(
        &mut self,
        entry: &str,
        target: &Path,
        expected: &ModelFile,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        // What the directory claims decides nothing: no more than the expected size is unpacked.
        self.with_incoming(entry, expected.size, |incoming| copy_checked(incoming, target, expected, progress))
    }

    fn with_incoming<T>(
        &mut self,
        entry: &str,
        limit: u64,
        take: impl FnOnce(Incoming<'_>) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        let path = self.path.clone();
        let place = path.join(entry);
        if self.size_of(entry).is_none() {
            return Err(ModelError::MissingFile { file: entry.to_owned(), place: path });
        }
        match &mut self.content {
            Content::Folder => {
                let mut file = File::open(&place).map_err(ModelError::io("open", &place))?;
                let on_read_error = |error| ModelError::io("read", &place)(error);
                take(Incoming { reader: &mut file, place: place.clone(), limit, on_read_error: &on_read_error })
            }
            Content::Zip(archive) => {
                let mut file = archive.by_name(entry).map_err(|error| bad_archive(&path, &error))?;
                if file.is_symlink() {
                    return Err(ModelError::UnsafePath { entry: entry.to_owned(), archive: path });
                }
                let on_read_error = |error: std::io::Error| bad_archive(&path, &format!("{entry}: {error}"));
                take(Incoming { reader: &mut file, place, limit, on_read_error: &on_read_error })
            }
        }
    }
}

pub(super) fn bad_archive(path: &Path, reason: &dyn std::fmt::Display) -> ModelError {
    ModelError::BadArchive { path: path.to_path_buf(), reason: reason.to_string() }
}

/// Absolute, with a drive, with backslashes, or climbing with `..`.
fn leaves_its_folder(name: &str) -> bool {
    name.starts_with('/') || name.contains(['\\', '\0', ':']) || name.split('/').any(|part| part == "..")
}

fn collect(folder: &Path, prefix: &str, depth: usize, entries: &mut Vec<Entry>) -> Result<(), ModelError> {
    for item in fs::read_dir(folder).map_err(ModelError::io("list", folder))? {
        let path = item.map_err(ModelError::io("list", folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // A dangling link is no file; whoever needs it will miss it by name.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if metadata.is_file() {
            entries.push(Entry { path: name, size: metadata.len() });
        } else if metadata.is_dir() && depth < MAX_DEPTH {
            collect(&path, &name, depth + 1, entries)?;
        }
        if entries.len() > MAX_ENTRIES {
            return Err(bad_archive(folder, &format!("more than {MAX_ENTRIES} files; name the model's own folder")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_seen() {
        for bad in ["../x", "a/../../x", "/etc/x", "..", "a\\..\\x", "C:x", "a/..", "x\0"] {
            assert!(leaves_its_folder(bad), "{bad}");
        }
        for good in ["x", "a/b", "a/..b", "a./b..", "..a"] {
            assert!(!leaves_its_folder(good), "{good}");
        }
    }
}
