//! The one truth: a redb file that holds every version, its vectors and what was done when.
//!
//! Everything else (dense segment, lexical index) is a cache of it. A write is durable when its function returns. The
//! tables are written down in docs/storage.md.

mod assemblies;
mod audit;
mod bundles;
mod carried;
mod certificates;
mod changes;
mod columns;
mod economics;
#[cfg(test)]
mod faults;
mod feedback;
mod gaps;
mod handle;
mod medium;
mod models;
mod rankers;
mod reader;
mod records;
mod second_stage;
mod snapshot;
mod standing;
mod tables;
mod versions;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fitment_models::ModelInfo;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition};

pub(crate) use self::assemblies::{StoredAssembly, StoredClaim, StoredPart, StoredPolicies};
use self::audit::AUDIT;
pub(crate) use self::bundles::{AppliedBundle, BundleRecord, BundleWrite};
pub use self::carried::CarriedStanding;
pub(crate) use self::carried::Taken;
pub(crate) use self::certificates::NewCertificate;
pub use self::certificates::StoredCertificate;
use self::changes::CHANGES;
pub(crate) use self::changes::Change;
pub(crate) use self::feedback::FeedbackWrite;
use self::handle::Handle;
pub(crate) use self::models::NewVectors;
pub use self::models::StoredModel;
pub(crate) use self::rankers::RankerRecord;
pub(crate) use self::reader::StoreReader;
use self::records::encode;
pub use self::records::{Card, Deletion, Facet, ImportMark, Move, StoredVersion};
pub(crate) use self::records::{centroid_norm, text};
pub use self::snapshot::{
    Pruned, Restored, SnapshotListing, SnapshotSummary, Work, WrittenSnapshot, list_snapshots, prune_snapshots,
    restore_snapshot, snapshot_file, verify_snapshot,
};
pub(crate) use self::standing::Moved;
pub use self::standing::Standing;
pub(crate) use self::versions::{NewVersion, Updated, Written};
use self::versions::{known_request, remember_request};
use crate::audit::{Act, Author};
use crate::calibration::Calibration;
use crate::error::{EngineError, Kept};

/// Bytes of a store's pages that are kept in memory where nothing else is said.
pub const DEFAULT_CACHE_BYTES: usize = 128 << 20;
/// Version of the file's layout.
pub const FORMAT_VERSION: u32 = 1;
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// doc id -> [`StoredVersion`] as JSON.
const VERSIONS: TableDefinition<u32, &[u8]> = TableDefinition::new("versions");
/// doc id -> RFC 8785 canonical manifest.
const MANIFESTS: TableDefinition<u32, &[u8]> = TableDefinition::new("manifests");
/// (name, version) -> [`NameRecord`]; kept after a delete, so that a version stays immutable.
const NAMES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("names");
/// digest -> doc id.
const DIGESTS: TableDefinition<&[u8], u32> = TableDefinition::new("digests");
/// (model digest, doc id) -> facet vectors one after the other, f32 little-endian.
const VECTORS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("vectors");
/// request id -> [`RequestRecord`].
const REQUESTS: TableDefinition<&str, &[u8]> = TableDefinition::new("requests");
/// order of arrival -> request id.
const REQUEST_ORDER: TableDefinition<u64, &str> = TableDefinition::new("request_order");
/// document -> the words of its version, as [`fitment_ranking::TextProfile::to_bytes`] writes them.
const PROFILES: TableDefinition<u32, &[u8]> = TableDefinition::new("profiles");
/// model digest -> the calibration in force as JSON.
const CALIBRATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("calibrations");

/// The store's commit counter.
pub type Revision = u64;

/// The store.
#[derive(Debug)]
pub struct Store {
    database: Arc<Handle>,
    path: PathBuf,
}

impl Store {
    /// Opens or creates the store file, checks every page of it and its format.
    ///
    /// Errors: [`EngineError::StoreInUse`], [`EngineError::StoreDamaged`], [`EngineError::StoreFormat`], IO.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        Self::open_with(path, DEFAULT_CACHE_BYTES)
    }

    /// The same with so many bytes of pages in memory at most.
    pub fn open_with(path: &Path, cache_bytes: usize) -> Result<Self, EngineError> {
        let failed = |source| io_failed(path, source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| io_failed(folder, source))?;
        }
        if !path.exists() {
            create(path)?;
        } else if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            // redb would take an empty file for a new one; a store is never empty once it has its name.
            return Err(EngineError::StoreDamaged { path: path.to_path_buf(), detail: "it is empty".into() });
        }
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let file = FileBackend::new(file).map_err(|error| open_failed(path, error))?;
        Self::open_over(path, Box::new(file), cache_bytes)
    }

    /// The same over any place that bytes can be kept in.
    fn open_over(path: &Path, file: Box<dyn StorageBackend>, cache_bytes: usize) -> Result<Self, EngineError> {
        let damaged = |detail: String| EngineError::StoreDamaged { path: path.to_path_buf(), detail };
        let handle = Handle::open(path, file, cache_bytes).map_err(|error| open_failed(path, error))?;
        let store = Self { database: Arc::new(handle), path: path.to_path_buf() };
        catch_unwind(AssertUnwindSafe(|| store.initialize()))
            .map_err(|panic| damaged(panic_message(panic.as_ref())))?
            .map_err(|error| match error {
                EngineError::Store(source) => match *source {
                    redb::Error::Io(source) => io_failed(path, source),
                    source => damaged(source.to_string()),
                },
                other => other,
            })?;
        Ok(store)
    }

    fn initialize(&self) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format_version")?.map(|value| value.value().to_vec());
            match found.as_deref() {
                None => {
                    meta.insert("format_version", FORMAT_VERSION.to_le_bytes().as_slice())?;
                    meta.insert("revision", 0u64.to_le_bytes().as_slice())?;
                    meta.insert("next_doc", 0u32.to_le_bytes().as_slice())?;
                }
                Some(bytes) if bytes == FORMAT_VERSION.to_le_bytes() => {}
                Some(bytes) => {
                    return Err(EngineError::StoreFormat {
                        path: self.path.clone(),
                        found: hex::encode(bytes),
                        supported: FORMAT_VERSION,
                    });
                }
            }
            transaction.open_table(VERSIONS)?;
            transaction.open_table(MANIFESTS)?;
            transaction.open_table(NAMES)?;
            transaction.open_table(DIGESTS)?;
            transaction.open_table(VECTORS)?;
            transaction.open_table(CHANGES)?;
            transaction.open_table(REQUESTS)?;
            transaction.open_table(REQUEST_ORDER)?;
            transaction.open_table(CALIBRATIONS)?;
            transaction.open_table(PROFILES)?;
        }
        feedback::create_tables(&transaction)?;
        rankers::create_tables(&transaction)?;
        second_stage::create_table(&transaction)?;
        gaps::create_tables(&transaction)?;
        audit::create_table(&transaction)?;
        certificates::create_tables(&transaction)?;
        bundles::create_tables(&transaction)?;
        models::create_table(&transaction)?;
        assemblies::create_tables(&transaction)?;
        economics::create_table(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    /// Ties an empty store to a model, or checks that this model embedded what is stored.
    ///
    /// Errors: [`EngineError::ModelMismatch`].
    pub fn bind_model(&self, model: &ModelInfo) -> Result<(), EngineError> {
        let wanted = format!("{}\n{}", model.digest, model.name);
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let stored = meta.get("model")?.map(|value| String::from_utf8_lossy(value.value()).into_owned());
            let empty = transaction.open_table(VERSIONS)?.is_empty()?;
            match stored {
                Some(stored) if stored.split('\n').next() == wanted.split('\n').next() => {}
                Some(stored) if !empty => {
                    let (digest, name) = stored.split_once('\n').unwrap_or((stored.as_str(), "an unnamed model"));
                    return Err(EngineError::ModelMismatch {
                        path: self.path.clone(),
                        stored_name: name.to_owned(),
                        stored: digest.to_owned(),
                        wanted_name: model.name.clone(),
                        wanted: model.digest.to_string(),
                    });
                }
                _ => {
                    meta.insert("model", wanted.as_bytes())?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A consistent view of one revision.
    pub fn read(&self) -> Result<StoreReader, EngineError> {
        Ok(StoreReader { transaction: self.database.begin_read()? })
    }

    /// Puts a calibration into force for its model.
    pub(crate) fn put_calibration(
        &self,
        calibration: &Calibration,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        audit::append_now(&transaction, author, now, [act])?;
        transaction
            .open_table(CALIBRATIONS)?
            .insert(calibration.model_digest.as_str(), encode(calibration)?.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

/// What an error of the operating system about the store's file means.
fn io_failed(path: &Path, source: std::io::Error) -> EngineError {
    let detail = source.to_string();
    if let Some(refused) = refused(source.kind(), path, &detail, Kept::Nothing) {
        return refused;
    }
    let path = path.to_path_buf();
    match source.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => EngineError::StoreDamaged { path, detail },
        _ => EngineError::Io { path, source },
    }
}

/// The disk takes no more bytes, or none at all; `None` for every other error.
fn refused(kind: ErrorKind, path: &Path, detail: &str, kept: Kept) -> Option<EngineError> {
    let (path, detail) = (path.to_path_buf(), detail.to_owned());
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some(EngineError::StoreFull { path, detail, kept })
        }
        ErrorKind::ReadOnlyFilesystem => Some(EngineError::StoreReadOnly { path, detail, kept }),
        _ => None,
    }
}

fn open_failed(path: &Path, error: DatabaseError) -> EngineError {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => EngineError::StoreInUse { path },
        DatabaseError::UpgradeRequired(version) => {
            EngineError::StoreFormat { path, found: format!("redb file format {version}"), supported: FORMAT_VERSION }
        }
        DatabaseError::Storage(redb::StorageError::Io(source)) => io_failed(&path, source),
        other => EngineError::StoreDamaged { path, detail: other.to_string() },
    }
}

/// Makes a store under another name and gives it its own once it is whole, so that a crash leaves none or a good one.
fn create(path: &Path) -> Result<(), EngineError> {
    let failed = |source| io_failed(path, source);
    let new = path.with_extension("redb.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    drop(Database::create(&new).map_err(|error| open_failed(path, error))?);
    std::fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn meta_bytes<const N: usize>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<[u8; N], EngineError> {
    meta.get(key)?
        .and_then(|value| value.value().try_into().ok())
        .ok_or_else(|| EngineError::Internal(format!("the store's `{key}` is missing or malformed")))
}

fn meta_u64(meta: &impl ReadableTable<&'static str, &'static [u8]>, key: &str) -> Result<u64, EngineError> {
    meta_bytes(meta, key).map(u64::from_le_bytes)
}

fn meta_u32(meta: &impl ReadableTable<&'static str, &'static [u8]>, key: &str) -> Result<u32, EngineError> {
    meta_bytes(meta, key).map(u32::from_le_bytes)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&message| message.to_owned()))
        .unwrap_or_else(|| "its pages contradict one another".to_owned())
}
