//! A better lowest layer: every row searches the built graph for its neighbours and chooses among them again.
//!
//! `hnsw_rs` is slow in proportion to how widely it looks, while our search of the frozen graph is many times faster. So it
//! builds with a narrow look, and the wide look is done here, once the graph can be searched: for each row the nearest
//! rows by search, of these the ones that are nearer to it than to each other (Malkov and Yashunin 2018, algorithm 4), and
//! then the same choice once more with those that chose it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::{Query, approximate};

use super::graph::{BaseView, GraphView, Level, Near, ScratchPool, flatten};
use super::rows::RowView;

/// Rows refined between two looks at `cancel`.
const CHUNK_ROWS: usize = 1024;

/// What refining works on.
pub(super) struct Refine<'a> {
    pub(super) rows: RowView<'a>,
    pub(super) entry: u32,
    pub(super) levels: &'a [Level],
    /// Most neighbours of a row.
    pub(super) limit: usize,
    /// Rows kept during each search.
    pub(super) ef: usize,
}

impl Refine<'_> {
    /// New neighbours for each of `nodes`, none for other rows: [rows]. Runs on the current rayon pool.
    pub(super) fn run(
        &self,
        nodes: &[u32],
        lists: &[Vec<u32>],
        progress: &(dyn Fn(usize) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<u32>>, IndexError> {
        let (offsets, neighbors) = flatten(lists);
        let base = BaseView { offsets: &offsets, neighbors: &neighbors };
        let graph = &GraphView { entry: self.entry, base: &base, upper: self.levels };
        let pool = ScratchPool::default();
        let done = AtomicUsize::new(0);
        let chosen: Vec<Vec<Near>> = nodes
            .par_chunks(CHUNK_ROWS)
            .flat_map_iter(|chunk| {
                let stopped = cancel.load(Ordering::Relaxed);
                let chosen: Vec<Vec<Near>> = if stopped {
                    Vec::new()
                } else {
                    chunk.iter().map(|&row| self.choose_by_search(row, graph, &pool)).collect()
                };
                progress(done.fetch_add(chosen.len(), Ordering::Relaxed) + chosen.len());
                chosen
            })
            .collect();
        if chosen.len() < nodes.len() {
            return Err(IndexError::Cancelled { rows_done: chosen.len(), rows: nodes.len() });
        }
        let mut choosers: Vec<Vec<Near>> = vec![Vec::new(); lists.len()];
        for (&row, list) in nodes.iter().zip(&chosen) {
            for near in list {
                choosers[near.row as usize].push(Near { row, score: near.score });
            }
        }
        let mut refined: Vec<Vec<u32>> = vec![Vec::new(); lists.len()];
        let lists = nodes.par_iter().zip(chosen).map(|(&row, mut list)| {
            for near in &choosers[row as usize] {
                if !list.iter().any(|known| known.row == near.row) {
                    list.push(*near);
                }
            }
            if list.len() > self.limit {
                list.sort_unstable_by(|a, b| b.cmp(a));
                list = diverse(self.rows, &list, self.limit);
            }
            (row, list.into_iter().map(|near| near.row).collect())
        });
        for (row, list) in lists.collect::<Vec<(u32, Vec<u32>)>>() {
            refined[row as usize] = list;
        }
        Ok(refined)
    }

    fn choose_by_search(&self, row: u32, graph: &GraphView<'_, BaseView<'_>>, pool: &ScratchPool) -> Vec<Near> {
        let query = query_of(self.rows, row);
        let walk =
            pool.with(|scratch| graph.search(self.rows, &query, self.ef, usize::MAX, scratch, |found| found != row));
        diverse(self.rows, &walk.found, self.limit)
    }
}

/// Of `candidates`, nearest first: those that are nearer to the row they are candidates for than to any taken before; filled up
/// with the nearest of the others to half the limit, so that a row in a dense place is not left with few links.
pub(super) fn diverse(rows: RowView<'_>, candidates: &[Near], limit: usize) -> Vec<Near> {
    let mut taken: Vec<Near> = Vec::with_capacity(limit);
    let mut passed: Vec<Near> = Vec::new();
    for &candidate in candidates {
        if taken.len() >= limit {
            break;
        }
        let code = rows.code(candidate.row);
        let scale = rows.scales[candidate.row as usize];
        let own = |other: &Near| {
            let dot = kernels().dot_i8(code, rows.code(other.row));
            approximate(dot, scale, rows.scales[other.row as usize]) < candidate.score
        };
        if taken.iter().all(own) {
            taken.push(candidate);
        } else if passed.len() < limit {
            passed.push(candidate);
        }
    }
    let fill = (limit / 2).saturating_sub(taken.len());
    taken.extend(passed.into_iter().take(fill));
    taken
}

/// A row as a query for its own neighbours.
pub(super) fn query_of(rows: RowView<'_>, row: u32) -> Query {
    Query { vector: Vec::new(), codes: rows.code(row).to_vec(), scale: rows.scales[row as usize] }
}
