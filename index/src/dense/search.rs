//! One search: choose a plan for each segment, scan the rest, re-score what was found, order it.

use crate::doc_set::{DocId, DocSet};
use crate::error::IndexError;
use crate::kernels::{kernels, prefetch};
use crate::quantize::{Query, approximate};

use super::index::{DenseIndex, cosine};
use super::rows::RowView;
use super::scan::{Best, Block, Candidate, scan, scan_slots};
use super::segment::Segment;

/// Fewest documents that are re-scored.
const RESCORE_LEAST: usize = 64;
/// How many documents ahead of the one that is re-scored a vector is asked for.
const RESCORE_AHEAD: usize = 3;
/// A graph search is not worth it when it would keep more than one row in so many.
const GRAPH_WORTH: usize = 16;
/// A filter that lets fewer than one row in so many through is searched exactly: a walk would mostly meet others.
const SELECTIVE: usize = 20;
/// Facets whose coded score is this close to the document's best one are re-scored too; several times the coding error.
const FACET_MARGIN: f32 = 0.02;

/// How much work a search may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// As the index options say.
    #[default]
    Default,
    /// Keep at least this many rows during a graph walk: more is slower and misses less. Under a filter that lets a part `s` of
    /// the rows through, `sqrt(s)` times as many.
    Rows(usize),
    /// No graph: every allowed row is scored.
    Exact,
}

/// What a search did with the main segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing could be found, nothing was looked at.
    Empty,
    /// Every live row was scored.
    Exact,
    /// Every row of the allowed documents was scored.
    ExactSubset,
    /// The graph was walked; rows outside the segment were scored.
    Graph,
    /// The graph was walked until the budget was spent, then the allowed rows were scored.
    GraphThenExact,
}

/// What a search cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseStats {
    /// How the main segment was searched; what is in no segment is always searched exactly.
    pub plan: Plan,
    /// Rows whose codes were scored.
    pub rows_scored: usize,
    /// Documents that were re-scored by their fine codes.
    pub docs_rescored: usize,
}

/// A document found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseHit {
    /// The document.
    pub doc: DocId,
    /// Its nearest facet, from 0; the lower of equal ones.
    pub facet: u16,
    /// Cosine of that facet with the query, within 2e-5, -1..=1.
    pub score: f32,
}

/// The answer to a search.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseResult {
    /// Nearest first, equal ones by document; each document once.
    pub hits: Vec<DenseHit>,
    /// What it cost.
    pub stats: DenseStats,
}

impl DenseIndex {
    /// The `k_docs` documents whose best facet is nearest to the query, of those in `allowed` (of all without one).
    ///
    /// query: [dimension], finite, of length 1 within 1e-3. Returns exactly `min(k_docs, allowed documents)` hits. Exact
    /// up to coding error unless the graph was walked; then about `Effort` decides how much is missed.
    pub fn search(
        &self,
        query: &[f32],
        k_docs: usize,
        allowed: Option<&DocSet>,
        effort: Effort,
    ) -> Result<DenseResult, IndexError> {
        let query = Query::new(query, self.dimension())?;
        let k_docs = k_docs.min(self.len_docs());
        if k_docs == 0 || allowed.is_some_and(DocSet::is_empty) {
            let stats = DenseStats { plan: Plan::Empty, rows_scored: 0, docs_rescored: 0 };
            return Ok(DenseResult { hits: Vec::new(), stats });
        }
        let mut best = Best::new(k_docs.saturating_mul(self.options().oversample).max(RESCORE_LEAST));
        let mut plan = Plan::Exact;
        let mut rows_scored = 0;
        for block in self.blocks().filter(|block| block.rows.slots() > 0) {
            let (used, scored) = match block.graph {
                Some(segment) => self.search_graph(segment, block, &query, k_docs, allowed, effort, &mut best),
                None => self.search_exact(block, &query, allowed, &mut best),
            };
            rows_scored += scored;
            if block.number == 0 || used == Plan::ExactSubset && plan == Plan::Exact {
                plan = used;
            }
        }
        let candidates = best.into_vec();
        let docs_rescored = candidates.len();
        let mut hits = Vec::with_capacity(docs_rescored);
        for (at, candidate) in candidates.iter().enumerate() {
            // Their vectors lie anywhere: asked for ahead, they are waited for together.
            if let Some(ahead) = candidates.get(at + RESCORE_AHEAD) {
                let rows = self.block(ahead.block).rows;
                prefetch(rows.fine(rows.range(ahead.slot).start));
            }
            hits.push(rescore(self.block(candidate.block).rows, &query, candidate));
        }
        hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.doc.cmp(&b.doc)));
        hits.truncate(k_docs);
        Ok(DenseResult { hits, stats: DenseStats { plan, rows_scored, docs_rescored } })
    }

    /// Exact: the whole block when much of it is allowed, else the allowed documents one by one.
    fn search_exact(
        &self,
        block: Block<'_>,
        query: &Query,
        allowed: Option<&DocSet>,
        best: &mut Best,
    ) -> (Plan, usize) {
        let Some(allowed) = allowed.filter(|allowed| allowed.len() * 2 < block.rows.slots()) else {
            return (Plan::Exact, scan(block, query, allowed, best));
        };
        let slots = allowed.iter().filter_map(|doc| self.slot_in(block.number, doc.0));
        let live = slots.filter(|&slot| !block.tombstones.is_dead(slot));
        (Plan::ExactSubset, scan_slots(block, query, live, best))
    }

    /// The graph where it pays, exact otherwise and whenever the walk found too little.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one search; a struct would be built once and read once"
    )]
    fn search_graph(
        &self,
        segment: &Segment,
        block: Block<'_>,
        query: &Query,
        k_docs: usize,
        allowed: Option<&DocSet>,
        effort: Effort,
        best: &mut Best,
    ) -> (Plan, usize) {
        let (rows, slots) = (block.rows.rows(), block.rows.slots());
        let facets = rows.div_ceil(slots);
        let least = match effort {
            Effort::Default => self.options().ef_search,
            Effort::Rows(rows) => rows.max(1),
            Effort::Exact => return self.search_exact(block, query, allowed, best),
        };
        // The allowed set names documents of other blocks too: taken to be spread over all of them evenly.
        let share = |allowed: usize| (allowed * slots).div_ceil(self.len_docs()).min(allowed).min(slots);
        let passing = allowed.map_or(rows, |allowed| share(allowed.len()) * rows / slots);
        let filtered = passing < rows;
        // A walk keeps rows, the answer counts documents; and the last of a walk are found the least surely.
        let mut ef = thinned(least, passing, rows).max(k_docs.saturating_mul(facets + 1));
        if filtered && (passing <= self.options().exact_filter_rows || passing < rows / SELECTIVE)
            || ef.saturating_mul(GRAPH_WORTH) > passing
        {
            return self.search_exact(block, query, allowed, best);
        }
        let accept = |slot: u32| {
            !block.tombstones.is_dead(slot)
                && allowed.is_none_or(|allowed| allowed.contains(DocId(block.rows.docs[slot as usize])))
        };
        let mut visited = 0;
        while visited < passing && ef.saturating_mul(GRAPH_WORTH) <= passing {
            let Some(walk) = segment.walk(query, ef, passing - visited, accept) else {
                break;
            };
            visited += walk.visited;
            if walk.exhausted {
                break;
            }
            let mut seen = DocSet::new();
            let candidates: Vec<Candidate> = walk
                .found
                .iter()
                .map(|near| {
                    let slot = segment.slot_of_row(near.row);
                    let doc = block.rows.docs[slot as usize];
                    Candidate { score: near.score, doc, block: block.number, slot }
                })
                .filter(|candidate| seen.insert(DocId(candidate.doc)))
                .collect();
            if candidates.len() >= k_docs {
                for candidate in candidates {
                    best.offer(candidate);
                }
                return (Plan::Graph, visited);
            }
            ef *= 4;
        }
        let (_, scored) = self.search_exact(block, query, allowed, best);
        (Plan::GraphThenExact, visited + scored)
    }
}

/// Rows to keep where a filter lets `passing` of `rows` through: each that is kept stands for several that were looked at, so
/// recall stays when fewer are. With the square root of the share it stays about the same from 100 % down to where exact search
/// takes over.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of at most 2^24 rows, times at most 8192"
)]
fn thinned(least: usize, passing: usize, rows: usize) -> usize {
    (least as f32 * (passing as f32 / rows.max(1) as f32).sqrt()).ceil() as usize
}

/// The best facet of a candidate by its fine codes.
fn rescore(view: RowView<'_>, query: &Query, candidate: &Candidate) -> DenseHit {
    let rows = view.range(candidate.slot);
    let single = rows.len() == 1;
    let mut hit = DenseHit { doc: DocId(candidate.doc), facet: 0, score: f32::NEG_INFINITY };
    for (facet, row) in (0u16..).zip(rows) {
        if !single {
            let dot = kernels().dot_i8(&query.codes, view.code(row));
            if approximate(dot, query.scale, view.scales[row as usize]) < candidate.score - FACET_MARGIN {
                continue;
            }
        }
        let score = cosine(view, query, row);
        if score > hit.score {
            hit = DenseHit { facet, score, ..hit };
        }
    }
    hit
}
