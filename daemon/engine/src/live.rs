//! The live index: the catalogue in memory with its dense and lexical caches, brought up with the store and kept so.
//!
//! On open each cache says which revision it was built from; it is caught up from the store's change log, or rebuilt
//! when it is damaged, of another model, or ahead of the store.

mod probe;
mod sealing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fitment_catalog::{LexicalField, Lifecycle, Manifest};
use fitment_index::{DenseIndex, DenseOptions, DocId, FieldSpec, LexicalIndex, LexicalSearcher};
use fitment_models::ModelInfo;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::probe::IndexRecall;
pub(crate) use self::sealing::SealPolicy;
use crate::clues::{Clues, text_profile};
use crate::error::EngineError;
use crate::rank::FieldWeights;
use crate::store::{Card, Change, Revision, Store, StoreReader};
use crate::view::CatalogView;

/// Reports how far a long step has come: what, done, of how many.
pub type OnProgress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// The index as searches see it.
pub(crate) struct LiveIndex {
    searchable: RwLock<Searchable>,
    words: LexicalSearcher,
    word_writer: Mutex<LexicalIndex>,
    revision: AtomicU64,
    segment_path: PathBuf,
    model_digest: String,
    sealing: sealing::State,
    probe: probe::Probe,
    /// Removed with this index; `None`: it is for the next start.
    scratch: Option<PathBuf>,
}

/// What one search holds still.
pub(crate) struct Searchable {
    /// Vectors.
    pub dense: DenseIndex,
    /// Cards and filters.
    pub view: CatalogView,
}

/// One version for the index.
pub(crate) struct Entry<'a> {
    /// Its document.
    pub doc: DocId,
    /// Its card.
    pub card: Card,
    /// Its manifest, for the words.
    pub manifest: &'a Manifest,
    /// Its vectors: facets, then counter-examples.
    pub vectors: Vec<&'a [f32]>,
}

impl LiveIndex {
    /// Brings the index up from the store and what lies in `folder`.
    pub(crate) fn open(
        store: &Store,
        folder: &Path,
        model: &ModelInfo,
        fields: &FieldWeights,
        on_progress: OnProgress<'_>,
    ) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(|source| EngineError::Io { path: folder.to_path_buf(), source })?;
        let reader = store.read()?;
        let revision = reader.revision()?;
        let model_digest = model.digest.to_string();
        let view = load_view(&reader, model, on_progress)?;
        let segment_path = folder.join("dense.segment");
        sweep(folder)?;
        let dense = open_dense(&reader, &segment_path, model, revision, &view, on_progress)?;
        let words = open_words(&reader, &folder.join("lexical"), fields, revision, &view, on_progress)?;
        Ok(Self {
            searchable: RwLock::new(Searchable { dense, view }),
            words: words.searcher(),
            word_writer: Mutex::new(words),
            revision: AtomicU64::new(revision),
            segment_path,
            model_digest,
            sealing: sealing::State::default(),
            probe: probe::Probe::default(),
            scratch: None,
        })
    }

    /// Has its folder go with it.
    #[must_use]
    pub(crate) fn in_scratch(mut self, folder: PathBuf) -> Self {
        self.scratch = Some(folder);
        self
    }

    /// The revision that searches see.
    pub(crate) fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Holds the index still for one search.
    pub(crate) fn searchable(&self) -> RwLockReadGuard<'_, Searchable> {
        self.searchable.read()
    }

    /// Holds every search off; for moments only.
    pub(crate) fn searchable_mut(&self) -> RwLockWriteGuard<'_, Searchable> {
        self.searchable.write()
    }

    /// The words.
    pub(crate) fn words(&self) -> &LexicalSearcher {
        &self.words
    }

    /// Applies one commit of the store. Callers serialise their calls in the order of revisions.
    pub(crate) fn apply(&self, revision: Revision, puts: &[Entry<'_>], deletes: &[DocId]) -> Result<(), EngineError> {
        {
            // Deleted versions leave every answer before their words leave the lexical index.
            let mut searchable = self.searchable.write();
            for &doc in deletes {
                searchable.view.remove(doc);
                searchable.dense.remove(doc);
            }
        }
        {
            let mut words = self.word_writer.lock();
            if let Err(error) = write_words(&mut words, revision, puts, deletes) {
                // Half of a commit must not come with the next one.
                words.rollback();
                return Err(EngineError::IndexBehind {
                    path: self.segment_path.with_file_name("lexical"),
                    revision,
                    detail: with_causes(&error),
                });
            }
        }
        {
            let mut searchable = self.searchable.write();
            for entry in puts {
                let (facets, counter_examples) = split(&entry.vectors, &entry.card);
                searchable.dense.upsert(entry.doc, facets)?;
                let clues = Clues {
                    text: text_profile(entry.manifest),
                    counter_examples: counter_examples.concat().into(),
                    second_stage: None,
                };
                searchable.view.insert(entry.doc, entry.card.clone(), clues);
            }
        }
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }
}

impl LiveIndex {
    /// Takes note of a commit that changed nothing that is indexed.
    pub(crate) fn reach(&self, revision: Revision) {
        self.revision.store(revision, Ordering::Release);
    }

    /// Applies one commit that moved a version along its life: from here on it is, or is not, among the answers. Callers
    /// serialise their calls in the order of revisions.
    pub(crate) fn apply_move(&self, revision: Revision, doc: DocId, lifecycle: Lifecycle) {
        self.searchable.write().view.move_to(doc, lifecycle);
        self.revision.store(revision, Ordering::Release);
    }
}

/// A version's facets and its counter-examples.
fn split<'a, T>(vectors: &'a [T], card: &Card) -> (&'a [T], &'a [T]) {
    vectors.split_at(vectors.len() - card.counter_examples.min(vectors.len()))
}

fn put_words(words: &mut LexicalIndex, doc: DocId, manifest: &Manifest) -> Result<(), EngineError> {
    let fields = fitment_catalog::lexical_fields(manifest);
    let texts: Vec<(&str, &str)> = fields.iter().map(|(field, text)| (field.as_str(), text.as_str())).collect();
    Ok(words.upsert(doc, &texts)?)
}

/// An error with what it came from.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// One commit's words, on disk when it returns.
fn write_words(
    words: &mut LexicalIndex,
    revision: Revision,
    puts: &[Entry<'_>],
    deletes: &[DocId],
) -> Result<(), EngineError> {
    words.ready()?;
    for entry in puts {
        put_words(words, entry.doc, entry.manifest)?;
    }
    for &doc in deletes {
        words.remove(doc);
    }
    Ok(words.commit(&revision.to_string())?)
}

/// Removes what a crash left of segments that were being written.
fn sweep(folder: &Path) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(".tmp") && entry.file_type().map_err(failed)?.is_file() {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn load_view(reader: &StoreReader, model: &ModelInfo, on_progress: OnProgress<'_>) -> Result<CatalogView, EngineError> {
    let mut view = CatalogView::default();
    let total = reader.len()?;
    let mut loaded = 0u64;
    let mut profiles = HashMap::new();
    reader.profiles(|doc, profile| {
        profiles.insert(doc, profile);
    })?;
    let model_digest = model.digest.to_string();
    reader.cards(|doc, mut card| {
        complete_card(reader, doc, &mut card)?;
        let text = match profiles.remove(&doc) {
            Some(profile) => profile,
            // Written by a build that kept none.
            None => stored_manifest(reader, doc)?.map(|manifest| text_profile(&manifest)).unwrap_or_default(),
        };
        let mut counter_examples = Vec::new();
        if card.counter_examples > 0 {
            let floats = reader.vectors(&model_digest, doc)?.unwrap_or_default();
            let vectors: Vec<&[f32]> = floats.chunks_exact(model.dimension).collect();
            counter_examples = split(&vectors, &card).1.concat();
        }
        // The card's is of the model that wrote it.
        let card = match reader.norm(&model_digest, doc)? {
            Some(centroid_norm) => Card { centroid_norm, ..card },
            None => card,
        };
        view.insert(doc, card, Clues { text, counter_examples: counter_examples.into(), second_stage: None });
        loaded += 1;
        if loaded.is_multiple_of(10_000) {
            on_progress("reading the catalogue", loaded, total);
        }
        Ok(())
    })?;
    Ok(view)
}

/// Reads from the manifest what an earlier build did not keep in its card.
fn complete_card(reader: &StoreReader, doc: DocId, card: &mut Card) -> Result<(), EngineError> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Claims {
        supersedes: String,
        owner: Box<str>,
        access: Box<[String]>,
    }
    if card.supersedes.is_some() && card.owner.is_some() && card.access.is_some() {
        return Ok(());
    }
    let claims: Claims = match reader.manifest(doc)? {
        None => Claims::default(),
        Some(manifest) => serde_json::from_slice(&manifest)
            .map_err(|error| EngineError::Internal(format!("a stored manifest cannot be read: {error}")))?,
    };
    (card.supersedes, card.owner, card.access) = (Some(claims.supersedes), Some(claims.owner), Some(claims.access));
    Ok(())
}

/// What a dense segment was built from.
pub(crate) fn stamp(revision: Revision, model_digest: &str) -> String {
    format!("{revision} {model_digest}")
}

fn stamped_revision(stamp: &[u8], model_digest: &str) -> Option<Revision> {
    let (revision, digest) = std::str::from_utf8(stamp).ok()?.split_once(' ')?;
    (digest == model_digest).then(|| revision.parse().ok())?
}

fn open_dense(
    reader: &StoreReader,
    path: &Path,
    model: &ModelInfo,
    revision: Revision,
    view: &CatalogView,
    on_progress: OnProgress<'_>,
) -> Result<DenseIndex, EngineError> {
    let model_digest = model.digest.to_string();
    if path.exists() {
        match DenseIndex::open(path, model.dimension, DenseOptions::default()) {
            Ok(mut dense) => match stamped_revision(dense.stamp().unwrap_or_default(), &model_digest) {
                Some(built) if built <= revision => {
                    for change in reader.changes_since(built)? {
                        match change {
                            Change::Put(doc) | Change::Restore(doc) => {
                                put_vectors(reader, &mut dense, &model_digest, view, doc)?;
                            }
                            Change::Delete(doc) => {
                                dense.remove(doc);
                            }
                            Change::Move(_) => {}
                        }
                    }
                    if dense.len_docs() == view.all().len() {
                        return Ok(dense);
                    }
                    tracing::warn!(path = %path.display(), "the dense segment does not hold what the store holds; rebuilding");
                }
                _ => {
                    tracing::warn!(path = %path.display(), "the dense segment is of another model or revision; rebuilding");
                }
            },
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the dense segment cannot be used; rebuilding");
            }
        }
    }
    let mut dense = DenseIndex::new(model.dimension, DenseOptions::default())?;
    let total = view.all().len() as u64;
    for (done, doc) in view.all().iter().enumerate() {
        put_vectors(reader, &mut dense, &model_digest, view, doc)?;
        if done.is_multiple_of(10_000) {
            on_progress("loading vectors", done as u64, total);
        }
    }
    Ok(dense)
}

/// Puts a document's stored vectors into the index; a document that was deleted since has none.
fn put_vectors(
    reader: &StoreReader,
    dense: &mut DenseIndex,
    model_digest: &str,
    view: &CatalogView,
    doc: DocId,
) -> Result<(), EngineError> {
    let dimension = dense.dimension();
    let Some(floats) = reader.vectors(model_digest, doc)? else { return Ok(()) };
    let facets: Vec<&[f32]> = floats.chunks_exact(dimension).collect();
    let facets = view.card(doc).map_or(&facets[..], |card| split(&facets, card).0);
    Ok(dense.upsert(doc, facets)?)
}

fn open_words(
    reader: &StoreReader,
    folder: &Path,
    fields: &FieldWeights,
    revision: Revision,
    view: &CatalogView,
    on_progress: OnProgress<'_>,
) -> Result<LexicalIndex, EngineError> {
    let specs: Vec<FieldSpec> =
        LexicalField::ALL.iter().map(|&field| FieldSpec::new(field.as_str(), fields.weight(field))).collect();
    let opened = LexicalIndex::open_or_create(Some(folder), &specs);
    let mut words = match opened {
        Ok(mut words) => {
            let built = words.stamp().and_then(|stamp| stamp.parse::<Revision>().ok());
            match built {
                Some(built) if built <= revision => {
                    let caught_up =
                        if built < revision { catch_up_words(reader, &mut words, built, revision) } else { Ok(()) };
                    match caught_up {
                        Ok(()) if words.len_docs() == view.all().len() => return Ok(words),
                        Ok(()) => {
                            tracing::warn!("the lexical index does not hold what the store holds; rebuilding");
                        }
                        Err(error) => {
                            let error = with_causes(&error);
                            tracing::warn!(error, "the lexical index cannot catch up with the store; rebuilding");
                        }
                    }
                }
                _ => {}
            }
            drop(words);
            recreate(folder, &specs)?
        }
        Err(error) => {
            tracing::warn!(path = %folder.display(), %error, "the lexical index cannot be used; rebuilding");
            recreate(folder, &specs)?
        }
    };
    let total = view.all().len() as u64;
    for (done, doc) in view.all().iter().enumerate() {
        if let Some(manifest) = stored_manifest(reader, doc)? {
            put_words(&mut words, doc, &manifest)?;
        }
        if done.is_multiple_of(1_000) {
            on_progress("indexing words", done as u64, total);
        }
    }
    words.commit(&revision.to_string())?;
    Ok(words)
}

fn recreate(folder: &Path, specs: &[FieldSpec]) -> Result<LexicalIndex, EngineError> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|source| EngineError::Io { path: folder.to_path_buf(), source })?;
    }
    Ok(LexicalIndex::open_or_create(Some(folder), specs)?)
}

fn catch_up_words(
    reader: &StoreReader,
    words: &mut LexicalIndex,
    built: Revision,
    revision: Revision,
) -> Result<(), EngineError> {
    for change in reader.changes_since(built)? {
        match change {
            Change::Put(doc) | Change::Restore(doc) => {
                if let Some(manifest) = stored_manifest(reader, doc)? {
                    put_words(words, doc, &manifest)?;
                }
            }
            Change::Delete(doc) => words.remove(doc),
            Change::Move(_) => {}
        }
    }
    Ok(words.commit(&revision.to_string())?)
}

fn stored_manifest(reader: &StoreReader, doc: DocId) -> Result<Option<Manifest>, EngineError> {
    let Some(bytes) = reader.manifest(doc)? else { return Ok(None) };
    Ok(Some(Manifest::from_canonical_json("store", &bytes)?))
}
