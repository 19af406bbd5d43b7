//! Vectors of the second stage's model: one a version, and none when it was never on. A cache that survives restarts.

use fitment_index::DocId;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::reader::floats;
use super::{Store, StoreReader, VERSIONS};
use crate::error::EngineError;

/// (doc id, model digest) -> centroid of the facet vectors, unit length, f32 little-endian.
pub(super) const SECOND_STAGE: TableDefinition<(u32, &str), &[u8]> = TableDefinition::new("second_stage");

pub(super) fn create_table(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(SECOND_STAGE)?;
    Ok(())
}

/// Forgets a deleted version, whatever models it was encoded by.
pub(super) fn forget(transaction: &WriteTransaction, doc: u32) -> Result<(), EngineError> {
    let mut table = transaction.open_table(SECOND_STAGE)?;
    let mut digests = Vec::new();
    for entry in table.range((doc, "")..)? {
        let (key, _) = entry?;
        let (other, digest) = key.value();
        if other != doc {
            break;
        }
        digests.push(digest.to_owned());
    }
    for digest in digests {
        table.remove((doc, digest.as_str()))?;
    }
    Ok(())
}

impl Store {
    /// Keeps vectors of versions; those of versions that were deleted meanwhile are dropped. Raises no revision.
    pub fn put_second_stage(&self, model_digest: &str, centroids: &[(DocId, Box<[f32]>)]) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let versions = transaction.open_table(VERSIONS)?;
            let mut table = transaction.open_table(SECOND_STAGE)?;
            for (doc, centroid) in centroids {
                if versions.get(doc.0)?.is_some() {
                    table.insert((doc.0, model_digest), bytemuck::cast_slice(centroid))?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// Every vector of a model, in the order of document ids. One of another dimension is passed over: it is made again.
    pub fn second_stage(
        &self,
        model_digest: &str,
        dimension: usize,
        mut each: impl FnMut(DocId, Box<[f32]>),
    ) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(SECOND_STAGE)?.iter()? {
            let (key, bytes) = entry?;
            let (doc, digest) = key.value();
            if digest == model_digest && bytes.value().len() == dimension * size_of::<f32>() {
                each(DocId(doc), floats(bytes.value())?.into());
            }
        }
        Ok(())
    }
}
