//! The document of a snapshot: which chunks make which table, and what they add up to.
//!
//! The file is the RFC 8785 canonical JSON of it and nothing else, so that no byte of it can change unseen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;
use serde::{Deserialize, Serialize};

use super::super::{FORMAT_VERSION, Revision};
use super::SnapshotSummary;
use crate::audit::AuditHead;
use crate::error::EngineError;

/// End of a document's file name.
pub(super) const SUFFIX: &str = ".snapshot.json";
/// Hexadecimal digits of the digest in a name.
pub(super) const NAME_DIGITS: usize = 12;
/// Version of the form.
const SNAPSHOT_FORMAT: u32 = 1;
/// A document over this is none: a chunk takes some 120 bytes, and this is room for half a million.
const MAX_BYTES: u64 = 64 << 20;

/// What a snapshot is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Version of this form.
    pub(super) snapshot_format: u32,
    /// Version of the store's layout.
    pub(super) store_format: u32,
    /// The catalogue's revision.
    pub(super) revision: Revision,
    /// The model; `None` where the store was tied to none yet.
    pub(super) model: Option<Model>,
    /// When it was taken.
    pub(super) time: jiff::Timestamp,
    /// Where the audit chain ends.
    pub(super) audit_head: AuditHead,
    /// Every table.
    pub(super) tables: Vec<Table>,
    /// sha256 over the canonical JSON of all fields above.
    pub(super) digest: Digest,
}

/// The model that embedded a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) digest: String,
    pub(super) name: String,
}

impl Model {
    /// From what the store says of it.
    pub(super) fn from_store(bytes: &[u8]) -> Option<Self> {
        let (digest, name) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        Some(Self { digest: digest.to_owned(), name: name.to_owned() })
    }
}

/// One table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) rows: u64,
    /// In the order of their keys.
    pub(super) chunks: Vec<Chunk>,
}

/// Rows of one table that lie in one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    pub(super) digest: Digest,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Document {
    /// Puts its digest right.
    pub(super) fn sealed(mut self) -> Result<Self, EngineError> {
        self.digest = self.reckoned()?;
        Ok(self)
    }

    /// `REVISION-DIGITS`.
    pub(super) fn name(&self) -> String {
        let digits = self.digest.to_hex();
        format!("{}-{}", self.revision, &digits[..NAME_DIGITS])
    }

    /// Its file, byte for byte.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        canonical(self)
    }

    /// Reads a document and checks that it is whole. Its chunks are not looked at.
    ///
    /// Errors: [`EngineError::SnapshotDamaged`], [`EngineError::SnapshotFormat`], IO.
    pub(super) fn read(path: &Path) -> Result<Self, EngineError> {
        let damaged = |detail: String| EngineError::SnapshotDamaged { path: path.to_path_buf(), detail };
        let failed = |source| EngineError::Io { path: path.to_path_buf(), source };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > MAX_BYTES {
            return Err(damaged(format!("it has {length} bytes, more than any")));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let document: Self = serde_json::from_slice(&bytes).map_err(|error| match other_format(&bytes) {
            Some(found) => EngineError::SnapshotFormat { path: path.to_path_buf(), found },
            None => damaged(format!("it is no snapshot: {error}")),
        })?;
        if document.to_bytes()? != bytes {
            return Err(damaged("it is not written as it was".into()));
        }
        let reckoned = document.reckoned()?;
        if document.digest != reckoned {
            return Err(damaged(format!("what it says has digest {reckoned}, not {}", document.digest)));
        }
        if document.snapshot_format != SNAPSHOT_FORMAT || document.store_format != FORMAT_VERSION {
            let found =
                format!("snapshot format {} of store format {}", document.snapshot_format, document.store_format);
            return Err(EngineError::SnapshotFormat { path: path.to_path_buf(), found });
        }
        let names: BTreeSet<&str> = document.tables.iter().map(|table| table.name.as_str()).collect();
        if names.len() != document.tables.len() {
            return Err(damaged("it names a table twice".into()));
        }
        Ok(document)
    }

    /// The folder that the chunks of a document lie in.
    pub(super) fn folder_of(path: &Path) -> PathBuf {
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    /// A document that says nothing of its tables yet.
    pub(super) fn begun(
        revision: Revision,
        model: Option<Model>,
        time: jiff::Timestamp,
        audit_head: AuditHead,
    ) -> Self {
        Self {
            snapshot_format: SNAPSHOT_FORMAT,
            store_format: FORMAT_VERSION,
            revision,
            model,
            time,
            audit_head,
            tables: Vec::new(),
            digest: Digest::from_bytes([0; 32]),
        }
    }

    /// Rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().fold(0, |sum, table| sum.saturating_add(table.rows))
    }

    /// What is told of it.
    pub(super) fn summary(&self, path: &Path) -> SnapshotSummary {
        let chunks = || self.tables.iter().flat_map(|table| &table.chunks);
        let (model, model_digest) = self.model.clone().map(|model| (model.name, model.digest)).unwrap_or_default();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        SnapshotSummary {
            name: file.strip_suffix(SUFFIX).map_or_else(|| self.name(), str::to_owned),
            digest: self.digest.to_string(),
            time: self.time,
            revision: self.revision,
            model,
            model_digest,
            audit_head: self.audit_head.clone(),
            rows: self.rows(),
            bytes: chunks().fold(0, |sum, chunk| sum.saturating_add(chunk.bytes)),
            chunks: chunks().count() as u64,
        }
    }

    fn reckoned(&self) -> Result<Digest, EngineError> {
        let Self { snapshot_format, store_format, revision, model, time, audit_head, tables, digest: _ } = self;
        let covered = serde_json::json!({
            "snapshot_format": snapshot_format,
            "store_format": store_format,
            "revision": revision,
            "model": model,
            "time": time,
            "audit_head": audit_head,
            "tables": tables,
        });
        canonical(&covered).map(|bytes| Digest::of(&bytes))
    }
}

/// What a document of another form says of its own.
fn other_format(bytes: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let format = value.get("snapshot_format")?.as_u64()?;
    (format != u64::from(SNAPSHOT_FORMAT)).then(|| format!("snapshot format {format}"))
}

fn canonical(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|error| EngineError::Internal(format!("a snapshot's document cannot be written: {error}")))
}
