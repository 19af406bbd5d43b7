//! Removing old snapshots, and the chunks that no other one needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::documents;
use super::folder::{Folder, failed, sync_folder};
use crate::error::EngineError;

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Names of snapshots, oldest first.
    pub removed: Vec<String>,
    /// Chunks that went with them.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes all but the newest `keep` snapshots of a folder. A document goes before its chunks, so that one that is there is whole.
///
/// Errors: a damaged document, since nobody knows which chunks it needs; [`EngineError::JobRunning`], IO.
pub fn prune_snapshots(folder: &Path, keep: usize) -> Result<Pruned, EngineError> {
    let path = folder;
    let folder = Folder::new(path);
    let lock = folder.lock()?;
    folder.sweep(&lock)?;
    let mut all = Vec::new();
    for (path, document) in documents(&folder)? {
        all.push((path, document?));
    }
    all.sort_by(|(one_path, one), (other_path, other)| (one.time, one_path).cmp(&(other.time, other_path)));
    let kept = all.split_off(all.len().saturating_sub(keep));
    let needed: BTreeSet<PathBuf> = kept
        .iter()
        .flat_map(|(_, document)| &document.tables)
        .flat_map(|table| &table.chunks)
        .map(|chunk| folder.chunk_file(&chunk.digest))
        .collect();
    let mut pruned = Pruned::default();
    for (path, document) in &all {
        std::fs::remove_file(path).map_err(failed(path))?;
        pruned.removed.push(document.summary(path).name);
    }
    sync_folder(path)?;
    for chunk in folder.chunk_files()? {
        if !needed.contains(&chunk) {
            pruned.bytes += std::fs::metadata(&chunk).map_err(failed(&chunk))?.len();
            std::fs::remove_file(&chunk).map_err(failed(&chunk))?;
            pruned.chunks += 1;
        }
    }
    Ok(pruned)
}
