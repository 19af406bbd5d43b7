//! How much the graph misses: the same questions with it and without it.
//!
//! Two figures. *Self-recall*, after each build: rows that a walk with their own codes finds. *Recall*, at any time: of what
//! an exact search answers, how much a search by the graph answers too, for questions that the caller has.

use std::collections::VecDeque;

use crate::error::IndexError;
use crate::quantize::Query;

use super::index::DenseIndex;
use super::number;
use super::part::Part;
use super::refine::query_of;
use super::search::Effort;
use super::segment::Segment;

/// Rows of a segment that are asked for themselves.
const SELF_ASKED: usize = 1000;
/// Two scores this close are equal: fine codes are within 2e-6 of the vector, and equal texts are common.
const EQUAL: f32 = 1e-5;

/// What asking twice showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// Questions asked.
    pub asked: usize,
    /// Documents that an exact search answered.
    pub wanted: usize,
    /// Of these, how many the graph's search answered, or another just as near in its place.
    pub found: usize,
}

impl Recall {
    /// found / wanted, 0..=1; none where nothing was wanted.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 documents")]
    pub fn ratio(&self) -> Option<f64> {
        (self.wanted > 0).then(|| self.found as f64 / self.wanted as f64)
    }
}

impl DenseIndex {
    /// What is in its parts at this moment as an index of its own: rows are shared, tombstones copied, the head left out. For
    /// long looks that no writer shall wait for.
    pub fn frozen(&self) -> Result<Self, IndexError> {
        let mut frozen = Self::new(self.dimension(), self.options().clone())?;
        for part in &self.parts {
            frozen.adopt(Part::new(part.source.clone(), part.tombstones.clone()));
        }
        Ok(frozen)
    }

    /// Whether any search of it walks a graph, so that there is something to miss.
    pub fn can_miss(&self) -> bool {
        self.parts.iter().any(|part| part.source.segment().is_some_and(Segment::has_graph))
    }

    /// Vectors of `count` live rows, spread evenly: [at most count][dimension].
    pub fn sample(&self, count: usize) -> Vec<Vec<f32>> {
        let every = (self.len_rows() / count.max(1)).max(1);
        let rows = self.blocks().flat_map(|block| {
            let live = (0..number(block.rows.slots())).filter(move |&slot| !block.tombstones.is_dead(slot));
            live.flat_map(move |slot| block.rows.range(slot).map(move |at| (block.rows, at)))
        });
        rows.step_by(every).take(count).map(|(rows, at)| rows.vector(at)).collect()
    }

    /// Asks each question with `effort` and exactly.
    ///
    /// questions: as for [`DenseIndex::search`]. An exact search reads every row: some 25 ms a question for a million rows of 384
    /// numbers.
    pub fn recall(&self, questions: &[Vec<f32>], k_docs: usize, effort: Effort) -> Result<Recall, IndexError> {
        let mut recall = Recall::default();
        for question in questions {
            let exact = self.search(question, k_docs, None, Effort::Exact)?.hits;
            let walked = self.search(question, k_docs, None, effort)?.hits;
            // Both are ordered: pair each exact hit with one that is no farther.
            let mut walked: VecDeque<f32> = walked.iter().map(|hit| hit.score).collect();
            recall.asked += 1;
            recall.wanted += exact.len();
            for hit in &exact {
                if walked.front().is_some_and(|&score| score >= hit.score - EQUAL) {
                    walked.pop_front();
                    recall.found += 1;
                }
            }
        }
        Ok(recall)
    }
}

/// Part of the rows that a walk with their own codes finds, 0..=1, by a sample; none without a graph.
#[expect(clippy::cast_precision_loss, reason = "a thousand rows")]
pub(super) fn self_recall(segment: &Segment, rows_kept: usize) -> Option<f32> {
    let view = segment.view();
    let every = (view.rows() / SELF_ASKED).max(1);
    let (mut asked, mut found) = (0usize, 0usize);
    for row in (0..number(view.rows())).step_by(every) {
        let query: Query = query_of(view, row);
        let walk = segment.walk(&query, rows_kept, usize::MAX, |_| true)?;
        let best = walk.found.first();
        asked += 1;
        // A row that equals it leads to it.
        found += usize::from(best.is_some_and(|best| best.row == row || best.score >= query.self_score() - EQUAL));
    }
    (asked > 0).then(|| found as f32 / asked as f32)
}
