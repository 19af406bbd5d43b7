//! Reading the store: everything that one reader is asked for is of one revision.

use fitment_catalog::{ComponentName, Digest};
use fitment_index::DocId;
use fitment_ranking::TextProfile;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::records::{Card, CardOfVersion, NameRecord, StoredVersion, decode};
use super::{CALIBRATIONS, DIGESTS, MANIFESTS, META, NAMES, PROFILES, Revision, VECTORS, VERSIONS, meta_u64};
use crate::calibration::Calibration;
use crate::error::EngineError;

/// A consistent view of one revision of the store.
pub struct StoreReader {
    pub(super) transaction: ReadTransaction,
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
        Ok(self.version_or_deleted(doc)?.filter(|version| version.deleted.is_none()))
    }

    /// One version's record, deleted or not.
    pub fn version_or_deleted(&self, doc: DocId) -> Result<Option<StoredVersion>, EngineError> {
        self.transaction.open_table(VERSIONS)?.get(doc.0)?.map(|record| decode(record.value())).transpose()
    }

    /// The document of a name and version, deleted or not; `None` where it never was or was deleted by a build that kept nothing.
    pub fn by_name(&self, name: &ComponentName, version: &semver::Version) -> Result<Option<DocId>, EngineError> {
        let key = (name.to_string(), version.to_string());
        let table = self.transaction.open_table(NAMES)?;
        let record = table.get((key.0.as_str(), key.1.as_str()))?.map(|record| decode::<NameRecord>(record.value()));
        Ok(record.transpose()?.and_then(|record| record.doc).map(DocId))
    }

    /// One version's canonical manifest.
    pub fn manifest(&self, doc: DocId) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.transaction.open_table(MANIFESTS)?.get(doc.0)?.map(|bytes| bytes.value().to_vec()))
    }

    /// The document of a digest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<DocId>, EngineError> {
        Ok(self.transaction.open_table(DIGESTS)?.get(digest.to_string().as_bytes())?.map(|doc| DocId(doc.value())))
    }

    /// What is needed in memory of every version that is not deleted, in the order of document ids.
    pub fn cards(&self, mut each: impl FnMut(DocId, Card) -> Result<(), EngineError>) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(VERSIONS)?.iter()? {
            let (doc, record) = entry?;
            let CardOfVersion { card, deleted } = decode(record.value())?;
            if deleted.is_none() {
                each(DocId(doc.value()), card)?;
            }
        }
        Ok(())
    }

    /// Every version's record, deleted ones too, in the order of document ids.
    pub(crate) fn every_version(
        &self,
        mut each: impl FnMut(DocId, StoredVersion) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(VERSIONS)?.iter()? {
            let (doc, record) = entry?;
            each(DocId(doc.value()), decode(record.value())?)?;
        }
        Ok(())
    }

    /// The digest that a name and version stand for, for ever.
    pub(crate) fn digest_of(
        &self,
        name: &ComponentName,
        version: &semver::Version,
    ) -> Result<Option<Digest>, EngineError> {
        let key = (name.to_string(), version.to_string());
        let table = self.transaction.open_table(NAMES)?;
        let record = table.get((key.0.as_str(), key.1.as_str()))?.map(|record| decode::<NameRecord>(record.value()));
        Ok(record.transpose()?.map(|record| record.digest))
    }

    /// Every calibration in force, of whichever model, that this build can read.
    pub(crate) fn calibrations(&self) -> Result<Vec<Calibration>, EngineError> {
        let mut found = Vec::new();
        for entry in self.transaction.open_table(CALIBRATIONS)?.iter()? {
            let (model, _) = entry?;
            found.extend(self.calibration(model.value())?);
        }
        Ok(found)
    }

    /// One version's facet vectors, one after the other.
    pub fn vectors(&self, model_digest: &str, doc: DocId) -> Result<Option<Vec<f32>>, EngineError> {
        let table = self.transaction.open_table(VECTORS)?;
        table.get((model_digest, doc.0))?.map(|bytes| floats(bytes.value())).transpose()
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
pub(super) fn floats(bytes: &[u8]) -> Result<Vec<f32>, EngineError> {
    if !bytes.len().is_multiple_of(4) {
        return Err(EngineError::Internal(format!("a vector record has {} bytes", bytes.len())));
    }
    Ok(bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect())
}
