//! Bringing the live index up with the store where it fell behind: a commit was made whose words could not be written, or one
//! whose answer was lost with the disk.

use std::collections::BTreeMap;

use fitment_catalog::Manifest;
use fitment_index::DocId;

use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::Entry;
use crate::store::{Change, StoredVersion};

/// A version that is to be indexed, as it is stored.
struct Stored {
    doc: DocId,
    version: StoredVersion,
    manifest: Manifest,
    floats: Vec<f32>,
}

impl Engine {
    /// Brings the index up with the store before anything is answered from either.
    pub(crate) async fn keep_up(&self) -> Result<(), EngineError> {
        let shared = self.current();
        tokio::task::spawn_blocking(move || {
            // Mostly a commit that is being indexed; that is not waited for among the searches.
            if shared.lags()? {
                let _writing = shared.writing.lock();
                shared.catch_up()?;
            }
            Ok(())
        })
        .await
        .map_err(|error| EngineError::Internal(format!("catching up was lost: {error}")))?
    }
}

impl Shared {
    fn lags(&self) -> Result<bool, EngineError> {
        Ok(self.store.read()?.revision()? > self.index.revision())
    }

    /// Indexes what the store holds beyond the index. Callers hold `writing`, and write nothing when it fails: at most one
    /// commit is ever ahead.
    pub(crate) fn catch_up(&self) -> Result<(), EngineError> {
        let reader = self.store.read()?;
        let revision = reader.revision()?;
        let seen = self.index.revision();
        if revision <= seen || self.is_retired() {
            return Ok(());
        }
        tracing::warn!(revision, seen, "the index is behind the store and is brought up");
        // Whether only its place in its life changed.
        let mut changed: BTreeMap<DocId, bool> = BTreeMap::new();
        for change in reader.changes_since(seen)? {
            let moved = matches!(change, Change::Move(_));
            changed.entry(change.doc()).and_modify(|only| *only &= moved).or_insert(moved);
        }
        let model = self.encoder.info();
        let model_digest = model.digest.to_string();
        let (mut puts, mut deletes, mut moves) = (Vec::new(), Vec::new(), Vec::new());
        for (doc, moved) in changed {
            let missing = |what: &str| EngineError::Internal(format!("document {} has no {what}", doc.0));
            match reader.version(doc)? {
                None => deletes.push(doc),
                Some(version) if moved => moves.push((doc, version.card.lifecycle)),
                Some(version) => {
                    let bytes = reader.manifest(doc)?.ok_or_else(|| missing("manifest"))?;
                    let manifest = Manifest::from_canonical_json("store", &bytes)?;
                    let floats = reader.vectors(&model_digest, doc)?.ok_or_else(|| missing("vectors"))?;
                    puts.push(Stored { doc, version, manifest, floats });
                }
            }
        }
        let entries: Vec<Entry<'_>> = puts
            .iter()
            .map(|Stored { doc, version, manifest, floats }| Entry {
                doc: *doc,
                card: version.card.clone(),
                manifest,
                vectors: floats.chunks_exact(model.dimension).collect(),
            })
            .collect();
        self.index.apply(revision, &entries, &deletes)?;
        for (doc, lifecycle) in moves {
            self.index.apply_move(revision, doc, lifecycle);
        }
        self.bring_up_trust()?;
        self.refresh_calibration()?;
        self.announce();
        Ok(())
    }
}
