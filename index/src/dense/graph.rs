//! A frozen HNSW graph in flat arrays, and the search over it.
//!
//! Layer 0 holds every row as offsets and neighbours next to each other (CSR), so a row may have any number of
//! neighbours. The upper layers hold few rows and are kept as sorted row numbers with the same two arrays each.
//! Search: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs", 2018,
//! algorithms 2 and 5, on int8 codes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;

use crate::kernels::kernels;
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
    pub(super) fn neighbors(&self, row: u32) -> &[u32] {
        match self.nodes.binary_search(&row) {
            Ok(at) => &self.neighbors[self.offsets[at] as usize..self.offsets[at + 1] as usize],
            Err(_) => &[],
        }
    }
}

/// Layer 0.
#[derive(Clone, Copy)]
pub(super) struct BaseView<'a> {
    /// [rows + 1] into `neighbors`.
    pub(super) offsets: &'a [u32],
    /// Row numbers.
    pub(super) neighbors: &'a [u32],
}

impl<'a> BaseView<'a> {
    #[inline]
    pub(super) fn neighbors(&self, row: u32) -> &'a [u32] {
        &self.neighbors[self.offsets[row as usize] as usize..self.offsets[row as usize + 1] as usize]
    }
}

/// A graph over borrowed rows.
#[derive(Clone, Copy)]
pub(super) struct GraphView<'a> {
    pub(super) entry: u32,
    pub(super) base: BaseView<'a>,
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

/// Working memory of one search, reused: marks of visited rows by round.
#[derive(Default)]
pub(super) struct Scratch {
    marks: Vec<u16>,
    round: u16,
    batch: Vec<u32>,
    dots: Vec<i32>,
}

impl Scratch {
    fn begin(&mut self, rows: usize) {
        self.marks.resize(rows, 0);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.marks.fill(0);
            self.round = 1;
        }
    }

    /// Marks a row; true when it was not marked in this round.
    #[inline]
    fn mark(&mut self, row: u32) -> bool {
        let mark = &mut self.marks[row as usize];
        let fresh = *mark != self.round;
        *mark = self.round;
        fresh
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

impl GraphView<'_> {
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
            let mut batch = std::mem::take(&mut scratch.batch);
            batch.clear();
            batch.extend(self.base.neighbors(candidate.row).iter().copied().filter(|&row| scratch.mark(row)));
            score_all(rows, query, &batch, &mut scratch.dots);
            visited += batch.len();
            for (&row, &dot) in batch.iter().zip(&scratch.dots) {
                let near = Near { score: scaled(rows, query, row, dot), row };
                let full = found.len() >= ef;
                if full && found.peek().is_some_and(|worst| near.score <= worst.0.score) {
                    continue;
                }
                candidates.push(near);
                if accept(row) {
                    if full {
                        found.pop();
                    }
                    found.push(Reverse(near));
                }
            }
            scratch.batch = batch;
        }
        let mut found: Vec<Near> = found.into_iter().map(|near| near.0).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Walk { found, visited, exhausted }
    }

    /// Which rows can be reached over layer 0 from the entry point: [rows].
    pub(super) fn reachable(&self) -> Vec<bool> {
        let mut reached = vec![false; self.base.offsets.len() - 1];
        spread(self.base, self.entry, &mut reached);
        reached
    }
}

/// Marks everything that can be reached over layer 0 from `from` and was not yet; returns how many.
pub(super) fn spread(base: BaseView<'_>, from: u32, reached: &mut [bool]) -> usize {
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
        let view = GraphView { entry: 1, base: BaseView { offsets: &offsets, neighbors: &neighbors }, upper: &[] };
        assert_eq!(view.reachable(), [true, true, true, true, false, false, false, false]);
        let mut reached = view.reachable();
        assert_eq!(spread(view.base, 7, &mut reached), 2);
        assert_eq!(spread(view.base, 7, &mut reached), 0);
    }

    #[test]
    fn walk_accepts_budgets_and_orders() {
        let (rows, lists) = islands();
        let (offsets, neighbors) = flatten(&lists);
        let view = GraphView { entry: 0, base: BaseView { offsets: &offsets, neighbors: &neighbors }, upper: &[] };
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
    fn scratch_survives_its_round_counter() {
        let mut scratch = Scratch::default();
        for _ in 0..70_000 {
            scratch.begin(3);
            assert!(scratch.mark(1));
            assert!(!scratch.mark(1));
        }
    }
}
