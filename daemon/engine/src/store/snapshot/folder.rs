//! A folder of snapshots: documents, and below `chunks/` files that are named by the sha256 of what they hold.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;

use super::document::{Chunk, Document, SUFFIX};
use crate::error::EngineError;

/// End of the name of a file that is not whole yet.
const UNFINISHED: &str = ".new";

/// Where snapshots lie.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    chunks: PathBuf,
}

/// Held while a folder is written to; free again when dropped or when the process ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _lock: File,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), chunks: path.join("chunks") }
    }

    /// Makes the folder where there is none and keeps others from writing to it.
    ///
    /// Errors: [`EngineError::JobRunning`], IO.
    pub(super) fn lock(&self) -> Result<FolderLock, EngineError> {
        std::fs::create_dir_all(&self.chunks).map_err(failed(&self.chunks))?;
        let path = self.path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(FolderLock { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(EngineError::JobRunning { running: "work on the same snapshots" }),
            Err(TryLockError::Error(source)) => Err(EngineError::Io { path, source }),
        }
    }

    /// Files of documents, by name; none where there is no folder.
    pub(super) fn documents(&self) -> Result<Vec<PathBuf>, EngineError> {
        let mut paths = files(&self.path)?;
        paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX)));
        Ok(paths)
    }

    /// Files below `chunks/`, by name.
    pub(super) fn chunk_files(&self) -> Result<Vec<PathBuf>, EngineError> {
        files(&self.chunks)
    }

    /// The file of a chunk.
    pub(super) fn chunk_file(&self, digest: &Digest) -> PathBuf {
        self.chunks.join(digest.to_hex())
    }

    /// Keeps bytes as a chunk. Returns its digest and whether it was not there before. A damaged one is replaced.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<(Digest, bool), EngineError> {
        let digest = Digest::of(bytes);
        let path = self.chunk_file(&digest);
        let there = match std::fs::metadata(&path) {
            Ok(file) if file.len() == bytes.len() as u64 => std::fs::read(&path).map_err(failed(&path))? == bytes,
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(source) => return Err(EngineError::Io { path, source }),
        };
        if !there {
            write_whole(&path, bytes)?;
        }
        Ok((digest, !there))
    }

    /// Makes the names of chunks durable.
    pub(super) fn sync_chunks(&self) -> Result<(), EngineError> {
        sync_folder(&self.chunks)
    }

    /// Writes a document whose chunks are durable.
    pub(super) fn publish(&self, document: &Document) -> Result<PathBuf, EngineError> {
        let path = self.path.join(format!("{}{SUFFIX}", document.name()));
        write_whole(&path, &document.to_bytes()?)?;
        sync_folder(&self.path)?;
        Ok(path)
    }

    /// Removes what an interrupted write left.
    pub(super) fn sweep(&self, _lock: &FolderLock) -> Result<(), EngineError> {
        for path in files(&self.path)?.into_iter().chain(self.chunk_files()?) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(UNFINISHED)) {
                std::fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Reads a chunk and checks it.
    ///
    /// Errors: [`EngineError::SnapshotDamaged`], IO.
    pub(super) fn read(&self, chunk: &Chunk) -> Result<Vec<u8>, EngineError> {
        let path = self.chunk_file(&chunk.digest);
        let damaged = |detail: String| EngineError::SnapshotDamaged { path: path.clone(), detail };
        let length = match std::fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("the chunk is missing".into())),
            Err(source) => return Err(EngineError::Io { path, source }),
        };
        if length != chunk.bytes {
            return Err(damaged(format!("it has {length} bytes, not {}", chunk.bytes)));
        }
        let bytes = std::fs::read(&path).map_err(failed(&path))?;
        let found = Digest::of(&bytes);
        if found == chunk.digest { Ok(bytes) } else { Err(damaged(format!("its bytes have digest {found}"))) }
    }
}

/// An IO error with its file.
pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> EngineError + use<> {
    let path = path.to_path_buf();
    |source| EngineError::Io { path, source }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), EngineError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed(path))
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let mut new = path.as_os_str().to_owned();
    new.push(UNFINISHED);
    let new = PathBuf::from(new);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed(&new))?;
    std::fs::rename(&new, path).map_err(failed(path))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(folder))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(folder))?;
        if entry.file_type().map_err(failed(folder))?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
