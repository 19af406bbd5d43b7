//! Bringing the live index up with the store where it fell behind: a commit was made whose words could not be written, or one
//! whose answer was lost with the disk.

use std::collections::BTreeMap;

use fitment_catalog::Manifest;
use fitment_index::DocId;

use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::Entry;
use crate::store::{Change, StoreReader, StoredVersion};

/// A version that is to be indexed, as it is stored.
pub(crate) struct Stored {
    doc: DocId,
    version: StoredVersion,
    manifest: Manifest,
    floats: Vec<f32>,
}

impl Stored {
    /// Reads what else is kept of a version: its manifest and its vectors by the model in use.
    pub(crate) fn read(
        shared: &Shared,
        reader: &StoreReader,
        doc: DocId,
        version: StoredVersion,
    ) -> Result<Self, EngineError> {
        let missing =
            |what: &str| EngineError::Internal(format!("{}@{} has no {what}", version.card.name, version.card.version));
        let manifest = reader.manifest(doc)?.ok_or_else(|| missing("manifest"))?;
        let manifest = Manifest::from_canonical_json("store", &manifest)?;
        let model = shared.encoder.info().digest.to_string();
        let floats = reader.vectors(&model, doc)?.ok_or_else(|| missing("vectors"))?;
        Ok(Self { doc, version, manifest, floats })
    }

    /// As it is indexed, its vectors of `dimension` numbers each.
    pub(crate) fn entry(&self, dimension: usize) -> Entry<'_> {
        let Self { doc, version, manifest, floats } = self;
        Entry { doc: *doc, card: version.card.clone(), manifest, vectors: floats.chunks_exact(dimension).collect() }
    }
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
        let (mut puts, mut deletes, mut moves) = (Vec::new(), Vec::new(), Vec::new());
        for (doc, moved) in changed {
            match reader.version(doc)? {
                None => deletes.push(doc),
                Some(version) if moved => moves.push((doc, version.card.lifecycle)),
                Some(version) => puts.push(Stored::read(self, &reader, doc, version)?),
            }
        }
        let dimension = self.encoder.info().dimension;
        let entries: Vec<Entry<'_>> = puts.iter().map(|stored| stored.entry(dimension)).collect();
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
