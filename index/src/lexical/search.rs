//! Searching the lexical index, beside its writer.

use std::sync::Arc;

use parking_lot::Mutex;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{IndexReader, Searcher, Term};

use crate::doc_set::{DocId, DocSet};
use crate::error::IndexError;

use super::index::{DOC_FIELD, FieldSpec, check_weights, lexical};
use super::score::{Best, LexicalResult, Lookup, Opened, ScoredField, TermContribution, query_terms};

/// A handle for searches. Clones are cheap; a search sees the last commit and never waits for a writer.
#[derive(Clone)]
pub struct LexicalSearcher {
    inner: Arc<Inner>,
}

struct Inner {
    fields: Vec<FieldSpec>,
    tantivy_fields: Vec<Field>,
    doc_field: Field,
    reader: IndexReader,
    /// Score arrays that are not in use.
    scores: Mutex<Vec<Vec<f32>>>,
    /// What the last state of the index needed to be opened.
    opened: Mutex<Option<Arc<Opened>>>,
}

impl LexicalSearcher {
    pub(super) fn new(
        fields: Vec<FieldSpec>,
        tantivy_fields: Vec<Field>,
        doc_field: Field,
        reader: IndexReader,
    ) -> Self {
        let (scores, opened) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { fields, tantivy_fields, doc_field, reader, scores, opened }) }
    }

    pub(super) fn reader(&self) -> &IndexReader {
        &self.inner.reader
    }

    pub(super) fn doc_field(&self) -> Field {
        self.inner.doc_field
    }

    pub(super) fn tantivy_fields(&self) -> &[Field] {
        &self.inner.tantivy_fields
    }

    /// How many documents searches see.
    pub fn len_docs(&self) -> usize {
        self.inner.reader.searcher().segment_readers().iter().map(|reader| reader.num_docs() as usize).sum()
    }

    /// The documents that searches see.
    pub fn docs(&self) -> Result<DocSet, IndexError> {
        let searcher = self.inner.reader.searcher();
        let mut docs = DocSet::new();
        for reader in searcher.segment_readers() {
            let numbers = reader.fast_fields().u64(DOC_FIELD).map_err(|source| lexical("list documents", source))?;
            let live = reader.doc_ids_alive().filter_map(|doc| numbers.first(doc));
            docs.extend(live.filter_map(|number| u32::try_from(number).ok()).map(DocId));
        }
        Ok(docs)
    }

    /// Its fields, with the weights that a search uses unless told otherwise.
    pub fn fields(&self) -> &[FieldSpec] {
        &self.inner.fields
    }

    /// The `k` documents of `allowed` (of all without one) that share words with `text`, best first.
    ///
    /// weights: [fields], in the order of [`LexicalIndex::fields`], instead of theirs. A text of stop words alone finds
    /// nothing. Only the first [`MAX_QUERY_TERMS`](crate::MAX_QUERY_TERMS) different terms are looked at.
    pub fn search(
        &self,
        text: &str,
        k: usize,
        allowed: Option<&DocSet>,
        weights: Option<&[f32]>,
    ) -> Result<LexicalResult, IndexError> {
        let fields = self.scored_fields(weights)?;
        let terms = query_terms(text);
        let searcher = self.inner.reader.searcher();
        self.search_terms(&searcher, &fields, terms, k, allowed).map_err(|source| lexical("search", source))
    }

    fn search_terms(
        &self,
        searcher: &Searcher,
        fields: &[ScoredField],
        terms: Vec<String>,
        k: usize,
        allowed: Option<&DocSet>,
    ) -> tantivy::Result<LexicalResult> {
        let opened = self.opened(searcher)?;
        let lookup = Lookup::new(&opened, fields, &terms)?;
        let heaviest = fields.iter().map(|field| field.weight).fold(0.0, f32::max);
        let normalizer = heaviest * lookup.idf.iter().sum::<f32>();
        let mut best = Best::new(k.min(self.len_docs()));
        if k > 0 && !allowed.is_some_and(DocSet::is_empty) {
            let mut scores = self.inner.scores.lock().pop().unwrap_or_default();
            for segment in lookup.segments(searcher) {
                scores.clear();
                scores.resize(segment.reader.max_doc() as usize, 0.0);
                segment.accumulate(fields, &mut scores)?;
                segment.collect(&scores, allowed, &mut best);
            }
            self.inner.scores.lock().push(scores);
        }
        Ok(LexicalResult { hits: best.into_sorted(), normalizer, terms })
    }

    /// What each term of `text` adds to the score of `doc`, field by field; empty when the document shares no word or is
    /// not there. weights: as for [`LexicalIndex::search`].
    pub fn explain(
        &self,
        text: &str,
        doc: DocId,
        weights: Option<&[f32]>,
    ) -> Result<Vec<TermContribution>, IndexError> {
        let fields = self.scored_fields(weights)?;
        let terms = query_terms(text);
        let searcher = self.inner.reader.searcher();
        self.explain_terms(&searcher, &fields, &terms, doc).map_err(|source| lexical("explain a score", source))
    }

    fn explain_terms(
        &self,
        searcher: &Searcher,
        fields: &[ScoredField],
        terms: &[String],
        doc: DocId,
    ) -> tantivy::Result<Vec<TermContribution>> {
        let opened = self.opened(searcher)?;
        let lookup = Lookup::new(&opened, fields, terms)?;
        let number = Term::from_field_u64(self.inner.doc_field, u64::from(doc.0));
        for segment in lookup.segments(searcher) {
            let reader = segment.reader;
            let numbers = reader.inverted_index(self.inner.doc_field)?;
            let Some(postings) = numbers.read_block_postings(&number, IndexRecordOption::Basic)? else {
                continue;
            };
            let Some(&target) = postings.docs().iter().find(|&&target| !reader.is_deleted(target)) else {
                continue;
            };
            return segment.explain(fields, target, |field, term, count, score| TermContribution {
                field: self.inner.fields[field].name.clone(),
                term: terms[term].clone(),
                count,
                score,
            });
        }
        Ok(Vec::new())
    }

    pub(super) fn field(&self, name: &str) -> Result<usize, IndexError> {
        self.inner.fields.iter().position(|field| field.name == name).ok_or_else(|| IndexError::UnknownField {
            name: name.to_owned(),
            known: self.inner.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn scored_fields(&self, weights: Option<&[f32]>) -> Result<Vec<ScoredField>, IndexError> {
        if let Some(weights) = weights {
            if weights.len() != self.inner.fields.len() {
                let value = format!("{} numbers for {} fields", weights.len(), self.inner.fields.len());
                return Err(IndexError::Option { name: "weights", value, range: "one number for each field" });
            }
            check_weights(weights.iter().copied())?;
        }
        let weight = |at: usize| weights.map_or(self.inner.fields[at].weight, |weights| weights[at]);
        Ok((0..self.inner.fields.len()).map(|at| ScoredField { weight: weight(at) }).collect())
    }

    /// What was opened for the state that `searcher` sees, or is now.
    fn opened(&self, searcher: &Searcher) -> tantivy::Result<Arc<Opened>> {
        let generation = searcher.generation().generation_id();
        if let Some(opened) = self.inner.opened.lock().as_ref().filter(|opened| opened.generation == generation) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Opened::new(searcher, &self.inner.tantivy_fields, DOC_FIELD)?);
        let mut kept = self.inner.opened.lock();
        // A search that began before a commit leaves the younger state in place.
        if kept.as_ref().is_none_or(|kept| kept.generation < generation) {
            *kept = Some(Arc::clone(&opened));
        }
        Ok(opened)
    }
}
