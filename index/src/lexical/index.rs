//! The lexical index as its owner holds it: tantivy's files, one writer, and its searcher.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tantivy::directory::MmapDirectory;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError, Term};

use crate::doc_set::DocId;
use crate::error::IndexError;

use super::analyze::analyzer;
use super::search::LexicalSearcher;

/// Name of our analyzer in tantivy's schema. Another name for each way of cutting text, so that an index made by an older
/// way is seen to differ.
const ANALYZER: &str = "fitment1";
/// Name of the field that holds document numbers; fields of callers get a prefix, so none can be called this.
pub(super) const DOC_FIELD: &str = "doc";
const FIELD_PREFIX: &str = "f_";
const WRITER_HEAP_BYTES: usize = 32 << 20;
/// Segments of one size before they are merged: few, since every query looks every term up in every segment.
const MERGE_SEGMENTS: usize = 4;

/// A text field and what a term in it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// Its name, unique in an index.
    pub name: String,
    /// Its weight, finite and at least 0; 0 leaves it out of the score. Not kept on disk: it may change from run to run.
    pub weight: f32,
}

impl FieldSpec {
    /// A field of this name and weight.
    pub fn new(name: impl Into<String>, weight: f32) -> Self {
        Self { name: name.into(), weight }
    }
}

/// Documents of named text fields, searchable by their words.
///
/// Writes are collected by [`upsert`](Self::upsert) and [`remove`](Self::remove) and seen by searches after
/// [`commit`](Self::commit). Any number of searches run beside one writer.
pub struct LexicalIndex {
    path: Option<PathBuf>,
    index: Index,
    searcher: LexicalSearcher,
    /// `None` after a failure, until [`LexicalIndex::ready`] has made another.
    writer: Option<IndexWriter>,
    stamp: Option<String>,
}

/// An index is searched as its [`LexicalSearcher`] is.
impl Deref for LexicalIndex {
    type Target = LexicalSearcher;

    fn deref(&self) -> &LexicalSearcher {
        &self.searcher
    }
}

impl LexicalIndex {
    /// Opens the index in the folder `path`, or makes one there; none keeps it in memory.
    ///
    /// An existing folder is checked whole: checksums of all files, and that its fields are those asked for.
    /// [`IndexError::Damaged`] and [`IndexError::Mismatch`] mean: delete the folder and rebuild. Whether what was opened is
    /// current is told by [`LexicalIndex::stamp`].
    pub fn open_or_create(path: Option<&Path>, fields: &[FieldSpec]) -> Result<Self, IndexError> {
        check_weights(fields.iter().map(|field| field.weight))?;
        let (schema, doc_field, tantivy_fields) = schema(fields);
        let place = path.unwrap_or(Path::new("(memory)")).to_owned();
        let index = match path {
            None => Index::create_in_ram(schema),
            Some(path) => {
                std::fs::create_dir_all(path).map_err(IndexError::io(path))?;
                // tantivy is told to treat files as its own; on a damaged one it may return an error or panic.
                catch_unwind(AssertUnwindSafe(|| open_folder(path, &schema)))
                    .unwrap_or_else(|_panic| Err(IndexError::damaged(path, "the engine gave up reading it")))?
            }
        };
        index.tokenizers().register(ANALYZER, analyzer());
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .map_err(|error| unreadable(&place, &error))?;
        let stamp = index.load_metas().map_err(|error| unreadable(&place, &error))?.payload;
        let writer = Some(new_writer(&index)?);
        let opened = Self {
            path: path.map(Path::to_owned),
            index,
            searcher: LexicalSearcher::new(fields.to_vec(), tantivy_fields, doc_field, reader),
            writer,
            stamp,
        };
        opened.check_segments(&place)?;
        Ok(opened)
    }

    /// Checks what the search relies on and no checksum covers: that the parts of a segment are of one size.
    fn check_segments(&self, place: &Path) -> Result<(), IndexError> {
        for reader in self.reader().searcher().segment_readers() {
            let docs = reader.fast_fields().u64(DOC_FIELD).map_err(|error| unreadable(place, &error))?;
            if docs.num_docs() != reader.max_doc() {
                return Err(IndexError::damaged(place, "document numbers and documents differ in count"));
            }
            for &field in self.tantivy_fields() {
                let lengths = reader.get_fieldnorms_reader(field).map_err(|error| unreadable(place, &error))?;
                if lengths.num_docs() != reader.max_doc() {
                    return Err(IndexError::damaged(place, "field lengths and documents differ in count"));
                }
            }
        }
        Ok(())
    }

    /// Writes a document, over what it had before. A field may come several times; a field that does not come is empty.
    ///
    /// [`IndexError::UnknownField`] changes nothing.
    pub fn upsert(&mut self, doc: DocId, texts: &[(&str, &str)]) -> Result<(), IndexError> {
        let mut document = TantivyDocument::new();
        document.add_u64(self.doc_field(), u64::from(doc.0));
        for (name, text) in texts {
            document.add_text(self.tantivy_fields()[self.field(name)?], text);
        }
        self.remove(doc);
        self.writer()?.add_document(document).map_err(|source| lexical("take a document", source))?;
        Ok(())
    }

    /// Takes a document out; nothing happens when it is not there.
    pub fn remove(&mut self, doc: DocId) {
        let term = Term::from_field_u64(self.doc_field(), u64::from(doc.0));
        // Without a writer the commit fails.
        if let Some(writer) = &self.writer {
            writer.delete_term(term);
        }
    }

    fn writer(&mut self) -> Result<&mut IndexWriter, IndexError> {
        let lost = || lexical("write", TantivyError::SystemError("its writer gave up earlier".into()));
        self.writer.as_mut().ok_or_else(lost)
    }

    /// Makes sure that there is something to write with, after a [`LexicalIndex::rollback`] too.
    pub fn ready(&mut self) -> Result<(), IndexError> {
        if self.writer.is_none() {
            self.writer = Some(new_writer(&self.index)?);
        }
        Ok(())
    }

    /// Takes all documents out.
    pub fn clear(&mut self) -> Result<(), IndexError> {
        self.writer()?.delete_all_documents().map_err(|source| lexical("delete its documents", source))?;
        Ok(())
    }

    /// Puts everything written so far on disk, with `stamp`, and lets searches see it.
    pub fn commit(&mut self, stamp: &str) -> Result<(), IndexError> {
        let action = "commit";
        let mut commit = self.writer()?.prepare_commit().map_err(|source| lexical(action, source))?;
        commit.set_payload(stamp);
        commit.commit().map_err(|source| lexical(action, source))?;
        self.stamp = Some(stamp.to_owned());
        self.reader().reload().map_err(|source| lexical("load what it committed", source))
    }

    /// Forgets what was written since the last commit, also after a commit that failed. [`LexicalIndex::ready`] comes before the
    /// next write.
    pub fn rollback(&mut self) {
        // Its own way back needs the folder, which may be what failed, and cannot be tried twice.
        self.writer = None;
    }

    /// Merges all segments into one, which makes searches faster after a bulk load. Blocks until done; commit first.
    pub fn optimize(&mut self) -> Result<(), IndexError> {
        let action = "merge its segments";
        let segments = self.index.searchable_segment_ids().map_err(|source| lexical(action, source))?;
        if segments.len() > 1 {
            self.writer()?.merge(&segments).wait().map_err(|source| lexical(action, source))?;
            self.writer()?.garbage_collect_files().wait().map_err(|source| lexical(action, source))?;
        }
        self.reader().reload().map_err(|source| lexical("load what it merged", source))
    }

    /// Searches that go on beside writes: a handle that sees every commit once it is made, and never waits for one.
    pub fn searcher(&self) -> LexicalSearcher {
        self.searcher.clone()
    }

    /// The stamp of the last commit; none before the first.
    pub fn stamp(&self) -> Option<&str> {
        self.stamp.as_deref()
    }
}

fn new_writer(index: &Index) -> Result<IndexWriter, IndexError> {
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(WRITER_HEAP_BYTES)
        .build();
    let writer: IndexWriter =
        index.writer_with_options(options).map_err(|source| lexical("open its writer", source))?;
    let mut merging = LogMergePolicy::default();
    merging.set_min_num_segments(MERGE_SEGMENTS);
    writer.set_merge_policy(Box::new(merging));
    // What a process left that was killed, or failed, within a commit: the next one may want the same names.
    writer.garbage_collect_files().wait().map_err(|source| lexical("remove what is left of a commit", source))?;
    Ok(writer)
}

pub(super) fn check_weights(weights: impl IntoIterator<Item = f32>) -> Result<(), IndexError> {
    match weights.into_iter().find(|weight| !weight.is_finite() || *weight < 0.0) {
        None => Ok(()),
        Some(weight) => {
            let value = weight.to_string();
            Err(IndexError::Option { name: "weight", value, range: "finite and at least 0" })
        }
    }
}

fn schema(fields: &[FieldSpec]) -> (Schema, Field, Vec<Field>) {
    let mut builder = Schema::builder();
    let doc = builder.add_u64_field(DOC_FIELD, FAST | INDEXED);
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(ANALYZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let options = TextOptions::default().set_indexing_options(indexing);
    let fields = fields
        .iter()
        .map(|field| builder.add_text_field(&format!("{FIELD_PREFIX}{}", field.name), options.clone()))
        .collect();
    (builder.build(), doc, fields)
}

/// Opens an index folder and checks its files, or makes an index in it.
fn open_folder(path: &Path, schema: &Schema) -> Result<Index, IndexError> {
    let unreadable = |error: TantivyError| unreadable(path, &error);
    let directory = MmapDirectory::open(path).map_err(|error| unreadable(error.into()))?;
    if !Index::exists(&directory).map_err(|error| unreadable(error.into()))? {
        return Index::create(directory, schema.clone(), tantivy::IndexSettings::default()).map_err(unreadable);
    }
    let index = Index::open(directory).map_err(unreadable)?;
    if index.schema() != *schema {
        let names = |schema: &Schema| schema.fields().map(|(_, entry)| entry.name().to_owned()).collect::<Vec<_>>();
        return Err(IndexError::Mismatch {
            path: path.to_owned(),
            what: "fields",
            expected: names(schema).join(", "),
            found: names(&index.schema()).join(", "),
        });
    }
    let mut broken: Vec<PathBuf> = index.validate_checksum().map_err(unreadable)?.into_iter().collect();
    broken.sort();
    match broken.first() {
        None => Ok(index),
        Some(file) => Err(IndexError::damaged(path, format!("checksum of `{}` does not hold", file.display()))),
    }
}

fn unreadable(path: &Path, error: &TantivyError) -> IndexError {
    IndexError::damaged(path, error.to_string())
}

pub(super) fn lexical(action: &'static str, source: TantivyError) -> IndexError {
    IndexError::Lexical { action, source }
}

impl std::fmt::Debug for LexicalIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LexicalIndex")
            .field("path", &self.path)
            .field("fields", &self.fields())
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
