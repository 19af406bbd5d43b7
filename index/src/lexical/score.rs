//! BM25 over weighted fields, term after term.
//!
//! `score(d) = sum over terms t and fields f of weight(f) * idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len / avg))`
//! with k1 = 1.2, b = 0.75, `tf` the count of t in field f of d, `len` that field's length (as tantivy rounds it) and `avg`
//! its mean. `idf(t) = ln(1 + (n - df + 0.5) / (df + 0.5))`, n documents, df the largest number of documents that have t in
//! one field. Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with the idf of
//! Lucene. Counts include deleted documents until the engine has merged them away.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TokenStream;
use tantivy::{Searcher, SegmentReader, TantivyError};

use crate::doc_set::{DocId, DocSet};

use super::analyze::analyzer;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// Most different terms of a query that are looked at; the first ones count.
pub const MAX_QUERY_TERMS: usize = 64;
/// Most terms of a query text that are cut at all.
const MAX_QUERY_TOKENS: usize = 4096;

/// A document found by its words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexicalHit {
    /// The document.
    pub doc: DocId,
    /// Weighted BM25, above 0; comparable between queries only when divided by the result's normalizer.
    pub score: f32,
}

/// The answer to a lexical search.
#[derive(Clone, Debug, PartialEq)]
pub struct LexicalResult {
    /// Best first, equal ones by document; each document once.
    pub hits: Vec<LexicalHit>,
    /// What a document would score that has every query term once in the field of the greatest weight, that field being of
    /// mean length: `max weight * sum of idf(t)`, terms that no document has included. `score / normalizer` is about 0..=1
    /// and comparable between queries; repeats, short fields and several fields can raise it above 1. 0 without terms.
    pub normalizer: f32,
    /// The different terms of the query that were searched, in its order.
    pub terms: Vec<String>,
}

/// What one term in one field adds to the score of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct TermContribution {
    /// The field's name.
    pub field: String,
    /// The term as it is indexed: folded and stemmed.
    pub term: String,
    /// How often the field has it.
    pub count: u32,
    /// What it adds, weight included. The contributions of a document sum to its score.
    pub score: f32,
}

/// A field as the scorer sees it.
pub(super) struct ScoredField {
    pub(super) weight: f32,
}

/// The different terms of a query text, in order.
pub(super) fn query_terms(text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    let mut analyzer = analyzer();
    let mut stream = analyzer.token_stream(text);
    for _ in 0..MAX_QUERY_TOKENS {
        if terms.len() == MAX_QUERY_TERMS || !stream.advance() {
            break;
        }
        let term = &stream.token().text;
        if !terms.contains(term) {
            terms.push(term.clone());
        }
    }
    terms
}

/// What every search needs of one state of the index, opened once and not at each query.
pub(super) struct Opened {
    /// Which state: grows with every commit that is loaded.
    pub(super) generation: u64,
    /// Documents, deleted ones included.
    docs: u64,
    segments: Vec<OpenedSegment>,
    /// [fields]
    saturation: Vec<Saturation>,
}

struct OpenedSegment {
    /// Document number of each of tantivy's.
    docs: Column<u64>,
    /// [fields]; none for one without a word.
    fields: Vec<Option<OpenedField>>,
}

struct OpenedField {
    words: Arc<InvertedIndexReader>,
    lengths: FieldNormReader,
}

impl Opened {
    pub(super) fn new(searcher: &Searcher, fields: &[Field], doc_field: &str) -> tantivy::Result<Self> {
        let docs = searcher.segment_readers().iter().map(|reader| u64::from(reader.max_doc())).sum();
        let mut tokens = vec![0u64; fields.len()];
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        for reader in searcher.segment_readers() {
            let mut opened = Vec::with_capacity(fields.len());
            for (&field, tokens) in fields.iter().zip(&mut tokens) {
                let words = reader.inverted_index(field)?;
                let of_segment = words.total_num_tokens();
                *tokens += of_segment;
                opened.push(match of_segment {
                    0 => None,
                    _ => Some(OpenedField { words, lengths: reader.get_fieldnorms_reader(field)? }),
                });
            }
            segments.push(OpenedSegment { docs: reader.fast_fields().u64(doc_field)?, fields: opened });
        }
        let saturation = tokens.iter().map(|&tokens| Saturation::new(tokens, docs)).collect();
        Ok(Self { generation: searcher.generation().generation_id(), docs, segments, saturation })
    }
}

/// A query, looked up in every segment.
pub(super) struct Lookup<'a> {
    /// [terms], inverse document frequency.
    pub(super) idf: Vec<f32>,
    /// [segments], the postings that there are.
    postings: Vec<Vec<FoundTerm>>,
    opened: &'a Opened,
}

struct FoundTerm {
    term: usize,
    field: usize,
    info: TermInfo,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(opened: &'a Opened, fields: &[ScoredField], terms: &[String]) -> tantivy::Result<Self> {
        let mut frequencies = vec![0u64; terms.len() * fields.len()];
        let mut postings = Vec::with_capacity(opened.segments.len());
        for segment in &opened.segments {
            let mut found = Vec::new();
            for (at, (field, opened)) in fields.iter().zip(&segment.fields).enumerate() {
                let Some(opened) = opened.as_ref().filter(|_| field.weight > 0.0) else { continue };
                for (number, term) in terms.iter().enumerate() {
                    if let Some(info) = opened.words.terms().get(term)? {
                        frequencies[number * fields.len() + at] += u64::from(info.doc_freq);
                        found.push(FoundTerm { term: number, field: at, info });
                    }
                }
            }
            postings.push(found);
        }
        let idf = frequencies
            .chunks(fields.len().max(1))
            .map(|frequencies| idf(opened.docs, frequencies.iter().copied().max().unwrap_or(0)))
            .collect();
        Ok(Self { idf, postings, opened })
    }

    /// The segments, in the searcher's order.
    pub(super) fn segments(&'a self, searcher: &'a Searcher) -> impl Iterator<Item = Segment<'a>> {
        let parts = searcher.segment_readers().iter().zip(&self.opened.segments).zip(&self.postings);
        parts.map(|((reader, opened), postings)| Segment { reader, opened, postings, lookup: self })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of documents; a float of them is an approximation by nature")]
fn idf(docs: u64, frequency: u64) -> f32 {
    let (docs, frequency) = (docs as f32, frequency.min(docs) as f32);
    (1.0 + (docs - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// How much a count of a term is worth in one field: `tf * (k1 + 1) / (tf + norm)`.
struct Saturation {
    /// [256], `norm = k1 * (1 - b + b * len / avg)` for each coded length.
    norms: [f32; 256],
    /// The worth of the counts 1 to `TABLED`, for each coded length: nearly all there are.
    table: [[f32; 256]; TABLED],
}

const TABLED: usize = 4;

impl Saturation {
    #[expect(clippy::cast_precision_loss, reason = "counts of words; a float of them is an approximation by nature")]
    fn new(tokens: u64, docs: u64) -> Self {
        let mean = (tokens as f32 / docs.max(1) as f32).max(f32::MIN_POSITIVE);
        let mut norms = [0.0; 256];
        for (code, norm) in (0u8..=255).zip(&mut norms) {
            *norm = K1 * (1.0 - B + B * FieldNormReader::id_to_fieldnorm(code) as f32 / mean);
        }
        let mut table = [[0.0; 256]; TABLED];
        for (count, row) in (1u32..).zip(&mut table) {
            for (worth, &norm) in row.iter_mut().zip(&norms) {
                *worth = saturated(count, norm);
            }
        }
        Self { norms, table }
    }

    /// count: at least 1. length: as tantivy codes it.
    #[inline]
    fn of(&self, count: u32, length: u8) -> f32 {
        match self.table.get((count as usize).wrapping_sub(1)) {
            Some(row) => row[usize::from(length)],
            None => saturated(count, self.norms[usize::from(length)]),
        }
    }
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "a count within one field")]
fn saturated(count: u32, norm: f32) -> f32 {
    let count = count as f32;
    count * (K1 + 1.0) / (count + norm)
}

/// One segment with what a search needs of it.
pub(super) struct Segment<'a> {
    pub(super) reader: &'a SegmentReader,
    opened: &'a OpenedSegment,
    postings: &'a [FoundTerm],
    lookup: &'a Lookup<'a>,
}

impl Segment<'_> {
    /// Our number of a document of this segment.
    fn doc(&self, doc: u32) -> Option<DocId> {
        self.opened.docs.first(doc).and_then(|number| u32::try_from(number).ok()).map(DocId)
    }

    /// Where each term was found, with the field's lengths and the postings from their beginning.
    fn found(&self) -> impl Iterator<Item = tantivy::Result<(&FoundTerm, &FieldNormReader, BlockSegmentPostings)>> {
        self.postings.iter().filter_map(|found| {
            let field = self.opened.fields[found.field].as_ref()?;
            let postings = field.words.read_block_postings_from_terminfo(&found.info, IndexRecordOption::WithFreqs);
            Some(postings.map(|postings| (found, &field.lengths, postings)).map_err(TantivyError::from))
        })
    }

    /// Adds every term's part to `scores`: [documents of the segment], all 0 before.
    pub(super) fn accumulate(&self, fields: &[ScoredField], scores: &mut [f32]) -> tantivy::Result<()> {
        for found in self.found() {
            let (found, lengths, mut postings) = found?;
            let weight = fields[found.field].weight * self.lookup.idf[found.term];
            let saturation = &self.lookup.opened.saturation[found.field];
            while postings.block_len() > 0 {
                for (&doc, &count) in postings.docs().iter().zip(postings.freqs()) {
                    if let Some(score) = scores.get_mut(doc as usize) {
                        *score += weight * saturation.of(count, lengths.fieldnorm_id(doc));
                    }
                }
                postings.advance();
            }
        }
        Ok(())
    }

    /// Offers every live and allowed document with a score to `best`.
    pub(super) fn collect(&self, scores: &[f32], allowed: Option<&DocSet>, best: &mut Best) {
        let alive = self.reader.alive_bitset();
        for (block, scores) in (0u32..).step_by(16).zip(scores.chunks(16)) {
            let highest = scores.iter().fold(0f32, |highest, &score| if score > highest { score } else { highest });
            if highest > 0.0 && highest >= best.least() {
                for (doc, &score) in (block..).zip(scores) {
                    if score <= 0.0 || score < best.least() || alive.is_some_and(|alive| alive.is_deleted(doc)) {
                        continue;
                    }
                    let Some(doc) = self.doc(doc) else { continue };
                    if allowed.is_none_or(|allowed| allowed.contains(doc)) {
                        best.offer(LexicalHit { doc, score });
                    }
                }
            }
        }
    }

    /// What each term and field adds to the live document with our number `doc`; none when it is not here.
    pub(super) fn explain(
        &self,
        fields: &[ScoredField],
        target: u32,
        name: impl Fn(usize, usize, u32, f32) -> TermContribution,
    ) -> tantivy::Result<Vec<TermContribution>> {
        let mut contributions = Vec::new();
        for found in self.found() {
            let (found, lengths, mut postings) = found?;
            while postings.block_len() > 0 && postings.docs()[postings.block_len() - 1] < target {
                postings.advance();
            }
            let Ok(at) = postings.docs()[..postings.block_len()].binary_search(&target) else {
                continue;
            };
            let count = postings.freq(at);
            let worth = self.lookup.opened.saturation[found.field].of(count, lengths.fieldnorm_id(target));
            let score = fields[found.field].weight * self.lookup.idf[found.term] * worth;
            contributions.push(name(found.field, found.term, count, score));
        }
        Ok(contributions)
    }
}

/// The best `limit` hits offered so far.
pub(super) struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

#[derive(PartialEq)]
struct Ranked(LexicalHit);

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Greater is better: a higher score, then a lower document.
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.score.total_cmp(&other.0.score).then(other.0.doc.cmp(&self.0.doc))
    }
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit.min(4096) + 1) }
    }

    /// What a score must at least be to be taken.
    #[inline]
    fn least(&self) -> f32 {
        if self.heap.len() < self.limit { 0.0 } else { self.heap.peek().map_or(0.0, |worst| worst.0.0.score) }
    }

    fn offer(&mut self, hit: LexicalHit) {
        let hit = Ranked(hit);
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(hit));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit > worst.0
        {
            *worst = Reverse(hit);
        }
    }

    pub(super) fn into_sorted(self) -> Vec<LexicalHit> {
        self.heap.into_sorted_vec().into_iter().map(|hit| hit.0.0).collect()
    }
}
