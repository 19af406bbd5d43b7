//! Changing the encoding model of a catalogue that is served.
//!
//! Vectors of the new model are made by an encoder of its own and kept beside the old ones. A second engine over the same store is
//! built from them, which can be measured; the switch is one commit, and one change of what every engine handle points to,
//! between two matches. Until that commit a crash loses nothing but work that is not asked for twice: the old model serves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fitment_catalog::Manifest;
use fitment_models::{Embedder, TextRole, UnitVector};

use crate::audit::Author;
use crate::encoder::{Encoder, EncoderLimits};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::{LiveIndex, SealPolicy};
use crate::normalize::normalize_text;
use crate::second_stage::SecondStage;
use crate::store::{NewVectors, Revision, Store, StoredModel, Work, centroid_norm};

/// Versions that are encoded and kept in one go.
const VERSIONS_AT_ONCE: usize = 16;
/// Texts of one forward pass: few, since it shares the processors with intents.
const TEXTS_AT_ONCE: usize = 8;
/// Times that a switch tries to catch up with writers before it holds them off.
const TRIES: usize = 3;
/// Folders of indexes that a switch makes in the data folder begin so, and a number follows; they are removed at the next start.
const SCRATCH_INDEX: &str = "index-";

/// Whether a folder of that name is an index that a switch made.
pub(crate) fn is_scratch_index(name: &str) -> bool {
    name.strip_prefix(SCRATCH_INDEX)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The store of a data folder, with so many bytes of pages in memory at most, and the model that its catalogue is embedded by; `None`: there is no catalogue yet, or it has no
/// model. Hand the store on as [`EngineOptions::store`]: opening it again would check all of it again.
///
/// Errors: as [`Store::open`].
///
/// [`EngineOptions::store`]: crate::EngineOptions::store
pub fn stored_model(data_dir: &Path, cache_bytes: usize) -> Result<(Option<Store>, Option<StoredModel>), EngineError> {
    let path = data_dir.join("catalog.redb");
    if !path.exists() {
        return Ok((None, None));
    }
    let store = Store::open_with(&path, cache_bytes)?;
    let model = store.read()?.model()?;
    Ok((Some(store), model))
}

impl Engine {
    /// The model that served before the last switch.
    pub fn model_before(&self) -> Result<Option<StoredModel>, EngineError> {
        self.shared().store.read()?.model_before()
    }

    /// Makes what vectors of another model are missing, and an engine over the same store that answers with it. Blocks; this
    /// engine goes on serving. Both models are in memory from here on.
    ///
    /// Errors: the model that serves already; [`EngineError::Stopping`].
    pub fn prepare_model(
        &self,
        embedder: Box<dyn Embedder>,
        limits: EncoderLimits,
        work: Work<'_>,
    ) -> Result<Self, EngineError> {
        let shared = self.current();
        if embedder.info().digest == shared.encoder.info().digest {
            return Err(EngineError::field("model", format!("{} serves already", embedder.info().name)));
        }
        let encoder = Arc::new(Encoder::start(embedder, "first", limits)?);
        embed_missing(&shared.store, &encoder, work)?;
        let next = beside(&shared, encoder, work)?;
        Ok(Self::of(next))
    }

    /// Has a prepared engine's model serve: from here on every handle of this engine answers with it. Blocks; intents are
    /// answered meanwhile, writes wait for the last moment.
    ///
    /// Errors: [`EngineError::Stopping`] before the commit, and the old model serves.
    pub fn switch_to(&self, prepared: &Self, author: &Author, work: Work<'_>) -> Result<Revision, EngineError> {
        let mut next = prepared.current();
        for attempt in 0.. {
            let old = self.current();
            if embed_missing(&old.store, &next.encoder, work)? > 0 || is_behind(&next, &old.store)? {
                next = beside(&old, Arc::clone(&next.encoder), work)?;
            }
            work.check()?;
            let writing = old.writing.lock();
            if old.is_retired() {
                continue;
            }
            let behind = is_behind(&next, &old.store)?;
            if behind && attempt < TRIES {
                continue;
            }
            if behind {
                // Writers do not pause: they wait now.
                embed_missing(&old.store, &next.encoder, work)?;
                next = beside(&old, Arc::clone(&next.encoder), work)?;
            }
            old.store.switch_model(next.encoder.info(), author, (old.clock)())?;
            // What came into force while it was being prepared.
            next.bring_up_trust()?;
            next.feedback.forget_windows();
            next.refresh_ranker()?;
            next.refresh_calibration()?;
            self.point_to(Arc::clone(&next));
            old.retire();
            drop(writing);
            LiveIndex::seal_in_background(&next, SealPolicy::default())?;
            next.gaps.change_model(&next.encoder, work.tell)?;
            return Ok(next.index.revision());
        }
        Err(EngineError::Stopping)
    }
}

/// Whether something was written that the prepared parts do not know, or have no vectors of: a version may come between
/// those that were encoded and the index that was built of them.
fn is_behind(next: &Shared, store: &Store) -> Result<bool, EngineError> {
    let reader = store.read()?;
    let model = next.encoder.info().digest.to_string();
    Ok(next.index.revision() != reader.revision()? || !reader.without_vectors_of(&model)?.is_empty())
}

/// Makes the vectors that versions lack, deleted ones too: they may come back. Returns how many versions it was.
fn embed_missing(store: &Store, encoder: &Encoder, work: Work<'_>) -> Result<u64, EngineError> {
    let model = encoder.info().digest.to_string();
    let missing = store.read()?.without_vectors_of(&model)?;
    let total = missing.len() as u64;
    let mut done = 0;
    for docs in missing.chunks(VERSIONS_AT_ONCE) {
        work.check()?;
        let reader = store.read()?;
        let (mut texts, mut counts) = (Vec::new(), Vec::new());
        for &doc in docs {
            let Some(canonical) = reader.manifest(doc)? else { continue };
            let manifest = Manifest::from_canonical_json("store", &canonical)?;
            let facets = fitment_catalog::facets(&manifest);
            let examples = manifest.counter_examples();
            texts.extend(facets.iter().map(|facet| normalize_text(&facet.text)));
            texts.extend(examples.iter().map(|text| normalize_text(text)));
            counts.push((doc, facets.len(), examples.len()));
        }
        drop(reader);
        let mut vectors = encoder.encode_behind(&texts, TextRole::Document, TEXTS_AT_ONCE)?.into_iter();
        let made: Vec<NewVectors> = counts
            .into_iter()
            .map(|(doc, facets, examples)| {
                let of_this: Vec<UnitVector> = vectors.by_ref().take(facets + examples).collect();
                let centroid_norm = centroid_norm(&of_this[..facets.min(of_this.len())]);
                let floats = of_this.iter().flat_map(UnitVector::as_slice).copied().collect();
                NewVectors { doc, floats, centroid_norm }
            })
            .collect();
        store.put_vectors_of(&model, &made)?;
        done += docs.len() as u64;
        (work.tell)("encoding with the new model", done, total);
    }
    Ok(done)
}

/// Everything that answers with another model, over the same store.
fn beside(old: &Shared, encoder: Arc<Encoder>, work: Work<'_>) -> Result<Arc<Shared>, EngineError> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let data_dir = old.store.path().parent().unwrap_or(Path::new("."));
    let folder = data_dir.join(format!("{SCRATCH_INDEX}{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let index =
        LiveIndex::open(&old.store, &folder, encoder.info(), &old.ranking.fields, work.tell)?.in_scratch(folder);
    let (second, woken) = old.second.as_ref().map(SecondStage::beside).unzip();
    let next = Arc::new(old.with_model(encoder, second, index));
    next.bring_up_trust()?;
    next.refresh_ranker()?;
    if let Some(woken) = woken {
        next.bring_up_second_stage(woken)?;
    }
    Ok(next)
}
