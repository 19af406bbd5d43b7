//! Snapshots of the store: written while it is in use, checked without it, restored into another.
//!
//! `document` says what a snapshot is made of, `folder` keeps chunks by their digests, `create`, `verify`, `restore` and
//! `prune` work on them. The format is written down in docs/storage.md.

mod create;
mod document;
mod folder;
mod prune;
mod restore;
mod verify;

use std::path::{Path, PathBuf};

use fitment_ranking::Stop;
use serde::Serialize;

pub use self::create::WrittenSnapshot;
use self::document::Document;
use self::folder::Folder;
pub use self::prune::{Pruned, prune_snapshots};
pub use self::restore::{Restored, restore_snapshot};
pub use self::verify::verify_snapshot;
use super::Revision;
use crate::audit::AuditHead;
use crate::error::EngineError;
use crate::live::OnProgress;

/// What long work tells, and what ends it.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// Told how far it has come.
    pub tell: OnProgress<'a>,
    /// Asked now and then whether to go on.
    pub stop: &'a Stop,
}

impl Work<'_> {
    /// Errors: [`EngineError::Stopping`] once nobody waits any more.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        self.stop.check().map_err(|_stopped| EngineError::Stopping)
    }
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotSummary {
    /// `REVISION-DIGITS`, where the digits begin its digest.
    pub name: String,
    /// Digest of all that it says, and so of all that it holds.
    pub digest: String,
    /// When it was taken.
    pub time: jiff::Timestamp,
    /// The catalogue's revision.
    pub revision: Revision,
    /// Name of the model that embedded it.
    pub model: String,
    /// Digest of that model.
    pub model_digest: String,
    /// Where the audit chain ends.
    pub audit_head: AuditHead,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of its chunks, those that it shares with others too.
    pub bytes: u64,
    /// How many chunks.
    pub chunks: u64,
}

/// What lies in a folder of snapshots.
#[derive(Debug, Default)]
pub struct SnapshotListing {
    /// Those that can be read, oldest first. Their chunks are not looked at.
    pub snapshots: Vec<SnapshotSummary>,
    /// Those that cannot, and why.
    pub damaged: Vec<EngineError>,
}

/// Lists the snapshots of a folder; one that is not there holds none.
pub fn list_snapshots(folder: &Path) -> Result<SnapshotListing, EngineError> {
    let mut listing = SnapshotListing::default();
    for (path, read) in documents(&Folder::new(folder))? {
        match read {
            Ok(document) => listing.snapshots.push(document.summary(&path)),
            Err(error) => listing.damaged.push(error),
        }
    }
    listing.snapshots.sort_by(|one, other| (one.time, &one.name).cmp(&(other.time, &other.name)));
    Ok(listing)
}

/// The file of a snapshot by its name.
///
/// Errors: a name that no snapshot can have, one that is not there.
pub fn snapshot_file(folder: &Path, name: &str) -> Result<PathBuf, EngineError> {
    let well_formed = name.split_once('-').is_some_and(|(revision, digits)| {
        !revision.is_empty()
            && revision.len() <= 20
            && revision.bytes().all(|byte| byte.is_ascii_digit())
            && digits.len() == document::NAME_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    if !well_formed {
        return Err(EngineError::field("name", "is no name of a snapshot; `fitment snapshot list` shows them"));
    }
    let path = folder.join(format!("{name}{}", document::SUFFIX));
    if path.is_file() { Ok(path) } else { Err(EngineError::SnapshotUnknown { name: name.to_owned() }) }
}

type ReadDocument = (PathBuf, Result<Document, EngineError>);

/// Every document of a folder, by name.
fn documents(folder: &Folder) -> Result<Vec<ReadDocument>, EngineError> {
    let paths = folder.documents()?;
    Ok(paths.into_iter().map(|path| (path.clone(), Document::read(&path))).collect())
}

#[cfg(test)]
mod tests;
