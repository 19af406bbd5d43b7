//! The one truth: a redb file that holds every version, its vectors and what was done when.
//!
//! Everything else (dense segment, lexical index) is a cache of it. A write is durable when its function returns. The
//! tables are written down in docs/storage.md.

mod feedback;
mod rankers;
mod records;
mod second_stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fitment_catalog::{ComponentName, Digest, Manifest};
use fitment_index::DocId;
use fitment_models::{ModelInfo, UnitVector};
use fitment_ranking::TextProfile;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

pub(crate) use self::feedback::FeedbackWrite;
pub(crate) use self::rankers::RankerRecord;
pub(crate) use self::records::text;
pub use self::records::{Card, Facet, StoredVersion};
use self::records::{CardOfVersion, NameRecord, RequestRecord, decode, encode};
use crate::calibration::Calibration;
use crate::clues::text_profile;
use crate::error::EngineError;

/// Version of the file's layout.
pub const FORMAT_VERSION: u32 = 1;
/// Idempotency keys that are remembered.
const MAX_REQUEST_IDS: u64 = 100_000;

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
/// (revision, position) -> (operation, doc id).
const CHANGES: TableDefinition<(u64, u32), (u8, u32)> = TableDefinition::new("changes");
/// request id -> [`RequestRecord`].
const REQUESTS: TableDefinition<&str, &[u8]> = TableDefinition::new("requests");
/// order of arrival -> request id.
const REQUEST_ORDER: TableDefinition<u64, &str> = TableDefinition::new("request_order");
/// document -> the words of its version, as [`TextProfile::to_bytes`] writes them.
const PROFILES: TableDefinition<u32, &[u8]> = TableDefinition::new("profiles");
/// model digest -> the calibration in force as JSON.
const CALIBRATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("calibrations");

const OP_PUT: u8 = 1;
const OP_DELETE: u8 = 2;

/// The store's commit counter.
pub type Revision = u64;

/// A version that is about to be written, with one vector for each facet.
#[derive(Debug)]
pub struct NewVersion {
    /// The manifest.
    pub manifest: Manifest,
    /// One unit vector a facet, in the order of [`fitment_catalog::facets`], then one a counter-example.
    pub vectors: Vec<UnitVector>,
    /// Idempotency key; empty: none.
    pub request_id: String,
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// Written in this commit.
    Created(DocId, Box<StoredVersion>),
    /// The same manifest was there.
    Unchanged(DocId, Box<StoredVersion>),
    /// Refused.
    Refused(EngineError),
}

/// One entry of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A version was written.
    Put(DocId),
    /// A version was deleted.
    Delete(DocId),
}

/// The store.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens or creates the store file and checks its format.
    ///
    /// Errors: [`EngineError::StoreInUse`], [`EngineError::StoreDamaged`], [`EngineError::StoreFormat`], IO.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| EngineError::Io { path: folder.to_path_buf(), source })?;
        }
        let damaged = |detail: String| EngineError::StoreDamaged { path: path.to_path_buf(), detail };
        if !path.exists() {
            create(path)?;
        } else if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            // redb would take an empty file for a new one; a store is never empty once it has its name.
            return Err(damaged("it is empty".into()));
        }
        // redb answers most damage with an error, some with a panic; neither may take the daemon down unexplained.
        let opened = catch_unwind(AssertUnwindSafe(|| Database::open(path)))
            .map_err(|panic| damaged(panic_message(panic.as_ref())))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => EngineError::StoreInUse { path: path.to_path_buf() },
            DatabaseError::UpgradeRequired(version) => EngineError::StoreFormat {
                path: path.to_path_buf(),
                found: format!("redb file format {version}"),
                supported: FORMAT_VERSION,
            },
            DatabaseError::Storage(redb::StorageError::Io(source))
                if !matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
            {
                EngineError::Io { path: path.to_path_buf(), source }
            }
            other => damaged(other.to_string()),
        })?;
        let store = Self { database, path: path.to_path_buf() };
        catch_unwind(AssertUnwindSafe(|| store.initialize()))
            .map_err(|panic| damaged(panic_message(panic.as_ref())))?
            .map_err(|error| match error {
                EngineError::Store(source) => damaged(source.to_string()),
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

    /// Writes versions in one durable commit; each is written, found unchanged or refused by itself.
    ///
    /// Returns the revision after the commit and one result a version, in order. Nothing new: the revision stays.
    pub fn put(
        &self,
        model: &ModelInfo,
        versions: &[NewVersion],
        now: jiff::Timestamp,
    ) -> Result<(Revision, Vec<Written>), EngineError> {
        let transaction = self.database.begin_write()?;
        let mut results = Vec::with_capacity(versions.len());
        let mut revision;
        {
            let mut meta = transaction.open_table(META)?;
            let mut names = transaction.open_table(NAMES)?;
            let mut digests = transaction.open_table(DIGESTS)?;
            let mut stored_versions = transaction.open_table(VERSIONS)?;
            let mut manifests = transaction.open_table(MANIFESTS)?;
            let mut vectors = transaction.open_table(VECTORS)?;
            let mut profiles = transaction.open_table(PROFILES)?;
            let mut changes = transaction.open_table(CHANGES)?;
            let mut requests = transaction.open_table(REQUESTS)?;
            let mut request_order = transaction.open_table(REQUEST_ORDER)?;
            revision = meta_u64(&meta, "revision")?;
            let next_revision = revision + 1;
            let mut next_doc = meta_u32(&meta, "next_doc")?;
            let mut position = 0u32;
            let model_digest = model.digest.to_string();
            for version in versions {
                let digest = version.manifest.digest();
                let name = version.manifest.name().to_string();
                let semver = version.manifest.version().to_string();
                if let Some(request) = known_request(&requests, &version.request_id)? {
                    if !request.fingerprint_is("put", digest.to_string().as_str()) {
                        results.push(Written::Refused(EngineError::RequestIdReused {
                            request_id: version.request_id.clone(),
                        }));
                        continue;
                    }
                    if let Some(record) = stored_versions.get(request.doc)? {
                        results.push(Written::Unchanged(DocId(request.doc), Box::new(decode(record.value())?)));
                        continue;
                    }
                }
                let taken: Option<NameRecord> =
                    names.get((name.as_str(), semver.as_str()))?.map(|record| decode(record.value())).transpose()?;
                if let Some(taken) = taken {
                    if taken.digest != digest {
                        results.push(Written::Refused(EngineError::VersionTaken {
                            name,
                            version: semver,
                            existing: taken.digest.to_string(),
                        }));
                        continue;
                    }
                    if let Some(doc) = taken.doc {
                        let record = stored_versions
                            .get(doc)?
                            .ok_or_else(|| EngineError::Internal(format!("{name}@{semver} has no record")))?;
                        results.push(Written::Unchanged(DocId(doc), Box::new(decode(record.value())?)));
                        continue;
                    }
                }
                let doc = next_doc;
                next_doc = next_doc
                    .checked_add(1)
                    .ok_or_else(|| EngineError::Internal("the store has handed out all of its document ids".into()))?;
                let record = StoredVersion::new(&version.manifest, &version.vectors, next_revision, now);
                stored_versions.insert(doc, encode(&record)?.as_slice())?;
                manifests.insert(doc, version.manifest.canonical_json().as_slice())?;
                names.insert(
                    (name.as_str(), semver.as_str()),
                    encode(&NameRecord { digest, doc: Some(doc) })?.as_slice(),
                )?;
                digests.insert(digest.to_string().as_bytes(), doc)?;
                let floats: Vec<f32> =
                    version.vectors.iter().flat_map(fitment_models::UnitVector::as_slice).copied().collect();
                vectors.insert((model_digest.as_str(), doc), bytemuck::cast_slice(&floats))?;
                profiles.insert(doc, text_profile(&version.manifest).to_bytes().as_slice())?;
                changes.insert((next_revision, position), (OP_PUT, doc))?;
                position += 1;
                if !version.request_id.is_empty() {
                    let request = RequestRecord::new("put", &digest.to_string(), doc, next_revision);
                    remember_request(&mut meta, &mut requests, &mut request_order, &version.request_id, &request)?;
                }
                results.push(Written::Created(DocId(doc), Box::new(record)));
            }
            if position > 0 {
                revision = next_revision;
                meta.insert("revision", revision.to_le_bytes().as_slice())?;
                meta.insert("next_doc", next_doc.to_le_bytes().as_slice())?;
            }
        }
        transaction.commit()?;
        Ok((revision, results))
    }

    /// Deletes one version in one durable commit. Returns the revision and the document, `None` for it when the same
    /// `request_id` deleted it before.
    pub fn delete(
        &self,
        name: &ComponentName,
        version: &semver::Version,
        etag: &str,
        request_id: &str,
    ) -> Result<(Revision, Option<DocId>), EngineError> {
        let transaction = self.database.begin_write()?;
        let outcome;
        {
            let mut meta = transaction.open_table(META)?;
            let mut names = transaction.open_table(NAMES)?;
            let mut stored_versions = transaction.open_table(VERSIONS)?;
            let mut requests = transaction.open_table(REQUESTS)?;
            let (name, version) = (name.to_string(), version.to_string());
            let subject = format!("{name}@{version}");
            if let Some(request) = known_request(&requests, request_id)? {
                if !request.fingerprint_is("delete", &subject) {
                    return Err(EngineError::RequestIdReused { request_id: request_id.to_owned() });
                }
                return Ok((request.revision, None));
            }
            let not_found = || EngineError::NotFound { what: subject.clone() };
            let mut record: NameRecord = names
                .get((name.as_str(), version.as_str()))?
                .map(|record| decode(record.value()))
                .transpose()?
                .ok_or_else(not_found)?;
            let doc = record.doc.take().ok_or_else(not_found)?;
            let stored: StoredVersion = stored_versions
                .get(doc)?
                .map(|record| decode(record.value()))
                .transpose()?
                .ok_or_else(|| EngineError::Internal(format!("{subject} has no record")))?;
            if !etag.is_empty() && stored.etag() != etag {
                return Err(EngineError::EtagMismatch {
                    name,
                    version,
                    expected: etag.to_owned(),
                    actual: stored.etag(),
                });
            }
            let revision = meta_u64(&meta, "revision")? + 1;
            stored_versions.remove(doc)?;
            transaction.open_table(MANIFESTS)?.remove(doc)?;
            transaction.open_table(PROFILES)?.remove(doc)?;
            second_stage::forget(&transaction, doc)?;
            transaction.open_table(DIGESTS)?.remove(record.digest.to_string().as_bytes())?;
            let model = meta.get("model")?.map(|value| String::from_utf8_lossy(value.value()).into_owned());
            if let Some((digest, _name)) = model.as_deref().and_then(|model| model.split_once('\n')) {
                transaction.open_table(VECTORS)?.remove((digest, doc))?;
            }
            names.insert((name.as_str(), version.as_str()), encode(&record)?.as_slice())?;
            transaction.open_table(CHANGES)?.insert((revision, 0), (OP_DELETE, doc))?;
            meta.insert("revision", revision.to_le_bytes().as_slice())?;
            if !request_id.is_empty() {
                let mut order = transaction.open_table(REQUEST_ORDER)?;
                let request = RequestRecord::new("delete", &subject, doc, revision);
                remember_request(&mut meta, &mut requests, &mut order, request_id, &request)?;
            }
            outcome = (revision, Some(DocId(doc)));
        }
        transaction.commit()?;
        Ok(outcome)
    }

    /// Puts a calibration into force for its model.
    pub fn put_calibration(&self, calibration: &Calibration) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        transaction
            .open_table(CALIBRATIONS)?
            .insert(calibration.model_digest.as_str(), encode(calibration)?.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

/// Makes a store under another name and gives it its own once it is whole, so that a crash leaves none or a good one.
fn create(path: &Path) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io { path: path.to_path_buf(), source };
    let new = path.with_extension("redb.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    drop(Database::create(&new).map_err(|error| EngineError::Store(Box::new(error.into())))?);
    std::fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// A consistent view of one revision of the store.
pub struct StoreReader {
    transaction: ReadTransaction,
}

impl StoreReader {
    /// The revision that is seen.
    pub fn revision(&self) -> Result<Revision, EngineError> {
        meta_u64(&self.transaction.open_table(META)?, "revision")
    }

    /// How many versions are stored.
    pub fn len(&self) -> Result<u64, EngineError> {
        Ok(self.transaction.open_table(VERSIONS)?.len()?)
    }

    /// One version's record; `None` when it was deleted.
    pub fn version(&self, doc: DocId) -> Result<Option<StoredVersion>, EngineError> {
        self.transaction.open_table(VERSIONS)?.get(doc.0)?.map(|record| decode(record.value())).transpose()
    }

    /// One version's canonical manifest.
    pub fn manifest(&self, doc: DocId) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.transaction.open_table(MANIFESTS)?.get(doc.0)?.map(|bytes| bytes.value().to_vec()))
    }

    /// The document of a digest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<DocId>, EngineError> {
        Ok(self.transaction.open_table(DIGESTS)?.get(digest.to_string().as_bytes())?.map(|doc| DocId(doc.value())))
    }

    /// What is needed in memory of every version, in the order of document ids.
    pub fn cards(&self, mut each: impl FnMut(DocId, Card) -> Result<(), EngineError>) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(VERSIONS)?.iter()? {
            let (doc, record) = entry?;
            each(DocId(doc.value()), decode::<CardOfVersion>(record.value())?.card)?;
        }
        Ok(())
    }

    /// One version's facet vectors, one after the other.
    pub fn vectors(&self, model_digest: &str, doc: DocId) -> Result<Option<Vec<f32>>, EngineError> {
        let table = self.transaction.open_table(VECTORS)?;
        table.get((model_digest, doc.0))?.map(|bytes| floats(bytes.value())).transpose()
    }

    /// What was written after a revision, oldest first.
    pub fn changes_since(&self, revision: Revision) -> Result<Vec<Change>, EngineError> {
        let mut changes = Vec::new();
        for entry in self.transaction.open_table(CHANGES)?.range((revision + 1, 0)..)? {
            let (_, change) = entry?;
            match change.value() {
                (OP_PUT, doc) => changes.push(Change::Put(DocId(doc))),
                (OP_DELETE, doc) => changes.push(Change::Delete(DocId(doc))),
                (operation, _) => return Err(EngineError::Internal(format!("change log holds operation {operation}"))),
            }
        }
        Ok(changes)
    }

    /// The words of every version that has them here, in the order of document ids.
    pub fn profiles(&self, mut each: impl FnMut(DocId, TextProfile)) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(PROFILES)?.iter()? {
            let (doc, bytes) = entry?;
            if let Some(profile) = TextProfile::from_bytes(bytes.value()) {
                each(DocId(doc.value()), profile);
            }
        }
        Ok(())
    }

    /// The calibration in force for a model. One that an older build wrote in another form is as good as none: a threshold
    /// can be fitted again, a promise must not be guessed.
    pub fn calibration(&self, model_digest: &str) -> Result<Option<Calibration>, EngineError> {
        let table = self.transaction.open_table(CALIBRATIONS)?;
        let Some(bytes) = table.get(model_digest)? else { return Ok(None) };
        Ok(match decode(bytes.value()) {
            Ok(calibration) => Some(calibration),
            Err(error) => {
                tracing::warn!(%error, "the stored calibration is of another form and is not used; fit it again");
                None
            }
        })
    }
}

/// f32 values from little-endian bytes of any alignment.
fn floats(bytes: &[u8]) -> Result<Vec<f32>, EngineError> {
    if !bytes.len().is_multiple_of(4) {
        return Err(EngineError::Internal(format!("a vector record has {} bytes", bytes.len())));
    }
    Ok(bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect())
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

fn known_request(
    requests: &impl ReadableTable<&'static str, &'static [u8]>,
    request_id: &str,
) -> Result<Option<RequestRecord>, EngineError> {
    if request_id.is_empty() {
        return Ok(None);
    }
    requests.get(request_id)?.map(|record| decode(record.value())).transpose()
}

fn remember_request(
    meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    requests: &mut redb::Table<'_, &'static str, &'static [u8]>,
    order: &mut redb::Table<'_, u64, &'static str>,
    request_id: &str,
    record: &RequestRecord,
) -> Result<(), EngineError> {
    let next = meta.get("next_request")?.and_then(|value| value.value().try_into().ok()).map_or(0, u64::from_le_bytes);
    meta.insert("next_request", (next + 1).to_le_bytes().as_slice())?;
    requests.insert(request_id, encode(record)?.as_slice())?;
    order.insert(next, request_id)?;
    if let Some(oldest) = next.checked_sub(MAX_REQUEST_IDS) {
        let forgotten = order.remove(oldest)?.map(|id| id.value().to_owned());
        if let Some(id) = forgotten {
            requests.remove(id.as_str())?;
        }
    }
    Ok(())
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&message| message.to_owned()))
        .unwrap_or_else(|| "its pages contradict one another".to_owned())
}
