//! A frozen HNSW graph in flat arrays, and the search over it.
//!
//! Layer 0 holds every row as offsets and neighbours next to each other (CSR), so a row may have any number of
//! neighbours. The upper layers hold few rows and are kept as sorted row numbers with the same two arrays each.
//! Search: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs", 2018,
//! algorithms 2 and 5, on int8 codes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;

use crate::kernels::{kernels, prefetch};
use crate::quantize::{Query, approximate};

use super::number;
use super::rows::RowView;

/// Layer 1 or above.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    /// Rows of this layer, ascending.
    pub(super) nodes: Vec<u32>,
    /// [nodes + 1] into `neighbors`.
    pub(super) offsets: Vec<u32>,
    /// Row numbers, each one of `nodes`.
    pub(super) neighbors: Vec<u32>,
}

impl Level {
    /// The layer once rows have moved: `moved[row]` is where a row went, or `gone`.
    pub(super) fn moved(&self, moved: &[u32], gone: u32) -> Self {
        let mut kept: Vec<(u32, u32)> =
            self.nodes.iter().map(|&row| (moved[row as usize], row)).filter(|&(to, _)| to != gone).collect();
        kept.sort_unstable();
        let lists: Vec<Vec<u32>> = kept
            .iter()
            .map(|&(_, row)| {
                self.neighbors(row).iter().map(|&near| moved[near as usize]).filter(|&to| to != gone).collect()
            })
            .collect();
        let (offsets, neighbors) = flatten(&lists);
        Self { nodes: kept.into_iter().map(|(to, _)| to).collect(), offsets, neighbors }
    }

    pub(super) fn neighbors(&self, row: u32) -> &[u32] {
        match self.nodes.binary_search(&row) {
            Ok(at) => &self.neighbors[self.offsets[at] as usize..self.offsets[at + 1] as usize],
            Err(_) => &[],
        }
    }
}

/// Who is next to whom on layer 0.
pub(super) trait Links {
    fn rows(&self) -> usize;

    /// Row numbers.
    fn neighbors(&self, row: u32) -> &[u32];
}

/// A layer 0 that still grows: the neighbours of each row.
impl Links for Vec<Vec<u32>> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn neighbors(&self, row: u32) -> &[u32] {
        &self[row as usize]
    }
}

/// A frozen layer 0.
#[derive(Clone, Copy)]
pub(super) struct BaseView<'a> {
    /// [rows + 1] into `neighbors`.
    pub(super) offsets: &'a [u32],
    /// Row numbers.
    pub(super) neighbors: &'a [u32],
}

impl Links for BaseView<'_> {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    fn neighbors(&self, row: u32) -> &[u32] {
        &self.neighbors[self.offsets[row as usize] as usize..self.offsets[row as usize + 1] as usize]
    }
}

/// A graph over borrowed rows.
pub(super) struct GraphView<'a, L> {
    pub(super) entry: u32,
    pub(super) base: &'a L,
    /// Layers 1.., lowest first.
    pub(super) upper: &'a [Level],
}

/// A row and its approximate cosine. Greater is nearer; of equal ones the lower row is greater.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Near {
    pub(super) score: f32,
    pub(super) row: u32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.row.cmp(&self.row))
    }
}

/// How a walk over layer 0 ended.
pub(super) struct Walk {
    /// The nearest accepted rows, nearest first; at most `ef`.
    pub(super) found: Vec<Near>,
    /// Rows whose score was computed.
    pub(super) visited: usize,
    /// Whether the budget ran out before the walk was done.
    pub(super) exhausted: bool,
}

/// Working memory of one search, reused.
#[derive(Default)]
pub(super) struct Scratch {
    /// A bit for each row that was visited: 100,000 of them stay in the nearest cache, which a walk asks at random.
    marks: Vec<u64>,
    batch: Vec<u32>,
    /// [batch], scales of its rows.
    scales: Vec<f32>,
    dots: Vec<i32>,
}

impl Scratch {
    fn begin(&mut self, rows: usize) {
        self.marks.clear();
        self.marks.resize(rows.div_ceil(64), 0);
    }

    /// Marks a row; true when it was not marked since [`Scratch::begin`].
    #[inline]
    fn mark(&mut self, row: u32) -> bool {
        let (word, bit) = (&mut self.marks[row as usize / 64], 1 << (row % 64));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Makes the batch of those of `rows` that were not visited yet, with their scales: read here, one after the other and
    /// long before they are needed, they are waited for together.
    fn gather(&mut self, rows: &[u32], scales: &[f32]) {
        self.batch.clear();
        self.scales.clear();
        for &row in rows {
            if self.mark(row) {
                self.batch.push(row);
                self.scales.push(scales[row as usize]);
            }
        }
    }
}

/// Scratches of one segment that are not in use. As many are made as searches run at the same time.
#[derive(Default)]
pub(super) struct ScratchPool(Mutex<Vec<Scratch>>);

impl ScratchPool {
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.0.lock().pop().unwrap_or_default();
        let result = work(&mut scratch);
        self.0.lock().push(scratch);
        result
    }
}

impl<L: Links> GraphView<'_, L> {
    /// Walks down the upper layers to a row near the query.
    fn descend(&self, rows: RowView<'_>, query: &Query, scratch: &mut Scratch) -> Near {
        let mut nearest = Near { score: score(rows, query, self.entry), row: self.entry };
        for level in self.upper.iter().rev() {
            loop {
                let neighbors = level.neighbors(nearest.row);
                score_all(rows, query, neighbors, &mut scratch.dots);
                let best = neighbors
                    .iter()
                    .zip(&scratch.dots)
                    .map(|(&row, &dot)| Near { score: scaled(rows, query, row, dot), row })
                    .max();
                match best {
                    Some(best) if best > nearest => nearest = best,
                    _ => break,
                }
            }
        }
        nearest
    }

    /// The `ef` nearest rows that `accept` lets through, walking over all rows; stops after scoring `budget` rows.
    pub(super) fn search(
        &self,
        rows: RowView<'_>,
        query: &Query,
        ef: usize,
        budget: usize,
        scratch: &mut Scratch,
        accept: impl Fn(u32) -> bool,
    ) -> Walk {
        let start = self.descend(rows, query, scratch);
        scratch.begin(rows.rows());
        scratch.mark(start.row);
        let mut candidates = BinaryHeap::from([start]);
        let mut found: BinaryHeap<Reverse<Near>> = BinaryHeap::with_capacity(ef + 1);
        if accept(start.row) {
            found.push(Reverse(start));
        }
        let mut visited = 1;
        let mut exhausted = false;
        while let Some(candidate) = candidates.pop() {
            let worst = if found.len() < ef { None } else { found.peek().map(|worst| worst.0) };
            if worst.is_some_and(|worst| candidate.score < worst.score) {
                break;
            }
            if visited >= budget {
                exhausted = true;
                break;
            }
            if let Some(next) = candidates.peek() {
                // Likely to be walked to next.
                prefetch(self.base.neighbors(next.row));
            }
            scratch.gather(self.base.neighbors(candidate.row), rows.scales);
            score_all(rows, query, &scratch.batch, &mut scratch.dots);
            visited += scratch.batch.len();
            for ((&row, &scale), &dot) in scratch.batch.iter().zip(&scratch.scales).zip(&scratch.dots) {
                let near = Near { score: approximate(dot, query.scale, scale), row };
                let full = found.len() >= ef;
                if full && found.peek().is_some_and(|worst| near.score <= worst.0.score) {
                    continue;
                }
                candidates.push(near);
                if accept(row) {
                    if !full {
                        found.push(Reverse(near));
                    } else if let Some(mut worst) = found.peek_mut() {
                        // In its place and down: half the work of taking one out and putting one in.
                        *worst = Reverse(near);
                    }
                }
            }
        }
        let mut found: Vec<Near> = found.into_iter().map(|near| near.0).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Walk { found, visited, exhausted }
    }

    /// Which rows can be reached over layer 0 from the entry point: [rows].
    pub(super) fn reachable(&self) -> Vec<bool> {
        let mut reached = vec![false; self.base.rows()];
        spread(self.base, self.entry, &mut reached);
        reached
    }
}

/// Marks everything that can be reached over layer 0 from `from` and was not yet; returns how many.
pub(super) fn spread(base: &impl Links, from: u32, reached: &mut [bool]) -> usize {
    if std::mem::replace(&mut reached[from as usize], true) {
        return 0;
    }
    let mut open = vec![from];
    let mut count = 1;
    while let Some(row) = open.pop() {
        for &next in base.neighbors(row) {
            if !std::mem::replace(&mut reached[next as usize], true) {
                open.push(next);
                count += 1;
            }
        }
    }
    count
}

/// Offsets and neighbours of lists next to each other.
pub(super) fn flatten(lists: &[Vec<u32>]) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = Vec::with_capacity(lists.len() + 1);
    offsets.push(0);
    let mut neighbors = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    for list in lists {
        neighbors.extend_from_slice(list);
        offsets.push(number(neighbors.len()));
    }
    (offsets, neighbors)
}

fn score(rows: RowView<'_>, query: &Query, row: u32) -> f32 {
    scaled(rows, query, row, kernels().dot_i8(&query.codes, rows.code(row)))
}

#[inline]
fn scaled(rows: RowView<'_>, query: &Query, row: u32, dot: i32) -> f32 {
    approximate(dot, query.scale, rows.scales[row as usize])
}

fn score_all(rows: RowView<'_>, query: &Query, batch: &[u32], dots: &mut Vec<i32>) {
    dots.resize(batch.len(), 0);
    kernels().dot_i8_rows(&query.codes, rows.codes, batch, dots);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::rows::Rows;

    /// Eight rows on a circle; the graph links 0-1-2-3 and, apart from them, 4-5 and 6-7.
    fn islands() -> (Rows, Vec<Vec<u32>>) {
        let mut rows = Rows::new(2);
        for at in 0u8..8 {
            let angle = f32::from(at) * std::f32::consts::TAU / 8.0;
            rows.push(u32::from(at), [([angle.cos(), angle.sin()].as_slice(), 1.0)]);
        }
        (rows, vec![vec![1], vec![0, 2], vec![1, 3], vec![2], vec![5], vec![4], vec![7], vec![6]])
    }

    #[test]
    fn reachable_rows_are_those_of_the_entry_island() {
        let (_, lists) = islands();
        let (offsets, neighbors) = flatten(&lists);
        let view = GraphView { entry: 1, base: &BaseView { offsets: &offsets, neighbors: &neighbors }, upper: &[] };
        assert_eq!(view.reachable(), [true, true, true, true, false, false, false, false]);
        let mut reached = view.reachable();
        assert_eq!(spread(view.base, 7, &mut reached), 2);
        assert_eq!(spread(view.base, 7, &mut reached), 0);
    }

    #[test]
    fn walk_accepts_budgets_and_orders() {
        let (rows, lists) = islands();
        let (offsets, neighbors) = flatten(&lists);
        let view = GraphView { entry: 0, base: &BaseView { offsets: &offsets, neighbors: &neighbors }, upper: &[] };
        let query = Query::new(&[0.0, 1.0], 2).expect("a unit vector");
        let mut scratch = Scratch::default();
        let walk = view.search(rows.view(), &query, 2, usize::MAX, &mut scratch, |_| true);
        assert_eq!(walk.found.iter().map(|near| near.row).collect::<Vec<_>>(), [2, 1]);
        assert!(!walk.exhausted);
        let walk = view.search(rows.view(), &query, 8, usize::MAX, &mut scratch, |row| row != 2);
        assert_eq!(walk.found.iter().map(|near| near.row).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(walk.visited, 4);
        let walk = view.search(rows.view(), &query, 8, 2, &mut scratch, |_| true);
        assert!(walk.exhausted);
    }

    #[test]
    fn scratch_begins_anew() {
        let mut scratch = Scratch::default();
        for rows in [3, 200, 65] {
            scratch.begin(rows);
            for row in [1, 2, number(rows) - 1] {
                scratch.mark(row);
                assert!(!scratch.mark(row));
            }
            assert!(scratch.mark(0));
            scratch.gather(&[0, 1], &[0.5, 0.25]);
            assert!(scratch.batch.is_empty() && scratch.scales.is_empty());
        }
    }
}
