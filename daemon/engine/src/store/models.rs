//! Which model serves, which did before, and vectors that another model made beside those in force.

use fitment_index::DocId;
use fitment_models::ModelInfo;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde_json::json;

use super::{META, Store, StoreReader, VECTORS, VERSIONS, audit};
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// (model digest, doc id) -> length of the mean of its facet vectors by that model, f32 little-endian; absent: the card's.
pub(super) const NORMS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("norms");

/// A model as the store names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
}

/// A version's vectors by another model.
pub(crate) struct NewVectors {
    pub(crate) doc: DocId,
    /// Facets, then counter-examples, one after the other.
    pub(crate) floats: Vec<f32>,
    /// Length of the mean of the facets' vectors.
    pub(crate) centroid_norm: f32,
}

pub(super) fn create_table(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(NORMS)?;
    Ok(())
}

fn read(bytes: &[u8]) -> StoredModel {
    let text = String::from_utf8_lossy(bytes);
    let (digest, name) = text.split_once('\n').unwrap_or((&text, ""));
    StoredModel { name: name.to_owned(), digest: digest.to_owned() }
}

impl Store {
    /// Keeps vectors of another model beside those in force. Raises no revision.
    pub(crate) fn put_vectors_of(&self, model: &str, vectors: &[NewVectors]) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(VECTORS)?;
            let mut norms = transaction.open_table(NORMS)?;
            for NewVectors { doc, floats, centroid_norm } in vectors {
                table.insert((model, doc.0), bytemuck::cast_slice(floats))?;
                norms.insert((model, doc.0), centroid_norm.to_le_bytes().as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Has another model serve from here on. Every version must have its vectors. Raises no revision.
    pub(crate) fn switch_model(
        &self,
        to: &ModelInfo,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        let digest = to.digest.to_string();
        let before;
        {
            let vectors = transaction.open_table(VECTORS)?;
            for entry in transaction.open_table(VERSIONS)?.iter()? {
                let doc = entry?.0.value();
                if vectors.get((digest.as_str(), doc))?.is_none() {
                    return Err(EngineError::Internal(format!("document {doc} has no vectors of model {}", to.name)));
                }
            }
            let mut meta = transaction.open_table(META)?;
            before = meta.get("model")?.map(|model| model.value().to_vec()).unwrap_or_default();
            meta.insert("model_before", before.as_slice())?;
            meta.insert("model", format!("{digest}\n{}", to.name).as_bytes())?;
        }
        let before = read(&before);
        let detail = json!({"digest": digest, "before": {"name": before.name, "digest": before.digest}});
        let act = Act { action: "model.switch", subject: to.name.clone(), detail };
        audit::append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// The model that serves; `None` in a store that never had one.
    pub(crate) fn model(&self) -> Result<Option<StoredModel>, EngineError> {
        let meta = self.transaction.open_table(META)?;
        Ok(meta.get("model")?.map(|model| read(model.value())))
    }

    /// The model that served before the last switch.
    pub(crate) fn model_before(&self) -> Result<Option<StoredModel>, EngineError> {
        let meta = self.transaction.open_table(META)?;
        Ok(meta.get("model_before")?.map(|model| read(model.value())))
    }

    /// Length of the mean of a version's facet vectors, where a migration made them.
    pub(crate) fn norm(&self, model: &str, doc: DocId) -> Result<Option<f32>, EngineError> {
        let table = self.transaction.open_table(NORMS)?;
        Ok(table.get((model, doc.0))?.and_then(|bytes| bytes.value().try_into().ok()).map(f32::from_le_bytes))
    }

    /// Documents, deleted ones too, that have no vectors of a model.
    pub(crate) fn without_vectors_of(&self, model: &str) -> Result<Vec<DocId>, EngineError> {
        let vectors = self.transaction.open_table(VECTORS)?;
        let mut missing = Vec::new();
        for entry in self.transaction.open_table(VERSIONS)?.iter()? {
            let doc = entry?.0.value();
            if vectors.get((model, doc))?.is_none() {
                missing.push(DocId(doc));
            }
        }
        Ok(missing)
    }
}
