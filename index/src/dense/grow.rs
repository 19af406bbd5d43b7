//! A graph out of a graph: rows that died are taken out, new ones put in, the rest stays as it is.
//!
//! Taking out: who was linked to a dead row chooses among its own neighbours and those of the dead one (Singh et al.,
//! `FreshDiskANN`, 2021, algorithm 4). Putting in: a batch of rows at a time; each searches the graph as it stands, is compared
//! with the whole batch, chooses as [`Refine`](super::refine::Refine) does, and is linked back to. New rows are on the lowest
//! layer only: the upper ones are where a walk enters, and serve for some times the rows they were made for.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use tracing::debug;

use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::approximate;

use super::build::{insertion_order, link_unreachable};
use super::graph::{GraphView, Level, Links, Near, ScratchPool};
use super::index::DenseOptions;
use super::number;
use super::refine::{diverse, query_of};
use super::rows::RowView;
use super::segment::{GraphParameters, Segment, Top};

/// Where a row went that is dead.
pub(super) const GONE: u32 = u32::MAX;
/// How far rounding may take the score of a row with its equal from that with itself.
const SELF_MARGIN: f32 = 1e-4;
/// Rows that are put in together.
const BATCH: usize = 1024;

/// The graph of `old` over `rows`.
///
/// moved: [rows of `old`], where each went, or [`GONE`]; what nothing went to is put in. Runs on the current rayon pool. The
/// result does not depend on how many threads there are.
pub(super) fn grow(
    rows: RowView<'_>,
    old: &Segment,
    moved: &[u32],
    options: &DenseOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancel: &AtomicBool,
) -> Result<(Top, Vec<Vec<u32>>), IndexError> {
    let limit = options.m * 2;
    let mut lists = vec![Vec::new(); rows.rows()];
    let mut is_new = vec![true; rows.rows()];
    let base = old.base();
    let kept: Vec<(u32, Vec<u32>)> = (0..number(moved.len()))
        .into_par_iter()
        .filter(|&row| moved[row as usize] != GONE)
        .map(|row| (moved[row as usize], without_dead(rows, &base, moved, row, limit)))
        .collect();
    for (row, neighbors) in kept {
        is_new[row as usize] = false;
        lists[row as usize] = neighbors;
    }
    let (entry, levels) = upper(old, moved);
    let fresh: Vec<u32> = (0..number(rows.rows())).filter(|&row| is_new[row as usize]).collect();
    let order: Vec<u32> = insertion_order(fresh.len()).into_iter().map(|at| fresh[at]).collect();
    let pool = ScratchPool::default();
    for (at, batch) in order.chunks(BATCH).enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(IndexError::Cancelled { rows_done: at * BATCH, rows: rows.rows() });
        }
        progress(at * BATCH, fresh.len());
        let graph = GraphView { entry, base: &lists, upper: &levels };
        let chosen: Vec<Vec<u32>> = batch
            .par_iter()
            .enumerate()
            .map(|(place, &row)| choose(rows, &graph, batch, place, row, options, &pool))
            .collect();
        put_in(rows, &mut lists, batch, chosen, limit);
    }
    let relinked = link_unreachable(rows, entry, &mut lists, &levels);
    debug!(rows = rows.rows(), new = fresh.len(), relinked, "a graph was grown");
    let parameters = GraphParameters { m: number(options.m), ef_construction: number(options.ef_construction) };
    Ok((Top { entry, levels, parameters }, lists))
}

/// The neighbours of an old row, with those of its dead ones in their place.
fn without_dead(rows: RowView<'_>, base: &impl Links, moved: &[u32], row: u32, limit: usize) -> Vec<u32> {
    let place = |row: u32| moved[row as usize];
    let own = base.neighbors(row);
    let mut neighbors: Vec<u32> = own.iter().map(|&row| place(row)).filter(|&row| row != GONE).collect();
    if neighbors.len() == own.len() {
        return neighbors;
    }
    let this = place(row);
    for &dead in own.iter().filter(|&&row| place(row) == GONE) {
        for next in base.neighbors(dead).iter().map(|&row| place(row)) {
            if next != GONE && next != this && !neighbors.contains(&next) {
                neighbors.push(next);
            }
        }
    }
    if neighbors.len() > limit { thin_out(rows, this, &neighbors, limit) } else { neighbors }
}

/// The upper layers without their dead rows, and a row to enter at.
fn upper(old: &Segment, moved: &[u32]) -> (u32, Vec<Level>) {
    let Some(top) = old.top() else { return (0, Vec::new()) };
    let mut levels: Vec<Level> = top.levels.iter().map(|level| level.moved(moved, GONE)).collect();
    while levels.last().is_some_and(|level| level.nodes.is_empty()) {
        levels.pop();
    }
    let entry = match moved[top.entry as usize] {
        GONE => levels.last().map_or(0, |highest| highest.nodes[0]),
        entry => entry,
    };
    (entry, levels)
}

/// Who a new row is linked to.
fn choose(
    rows: RowView<'_>,
    graph: &GraphView<'_, Vec<Vec<u32>>>,
    batch: &[u32],
    place: usize,
    row: u32,
    options: &DenseOptions,
    pool: &ScratchPool,
) -> Vec<u32> {
    let query = query_of(rows, row);
    let mut near =
        pool.with(|scratch| graph.search(rows, &query, options.ef_construction, usize::MAX, scratch, |_| true)).found;
    let mut dots = vec![0; batch.len()];
    kernels().dot_i8_rows(&query.codes, rows.codes, batch, &mut dots);
    let least = near.last().map_or(f32::NEG_INFINITY, |near| near.score);
    for (other, (&mate, &dot)) in batch.iter().zip(&dots).enumerate() {
        let mate = Near { score: approximate(dot, query.scale, rows.scales[mate as usize]), row: mate };
        if other != place && mate.score > least {
            near.push(mate);
        }
    }
    near.sort_unstable_by(|a, b| b.cmp(a));
    // Equal rows would choose each other and nobody else: a later one hangs on one that is there, the first of a batch is put in.
    let twin = |near: &&Near| same(rows, near.row, row) && (!batch.contains(&near.row) || near.row < row);
    if let Some(twin) = near.iter().take_while(|near| near.score >= query.self_score() - SELF_MARGIN).find(twin) {
        return vec![twin.row];
    }
    near.retain(|near| !same(rows, near.row, row));
    diverse(rows, &near, options.m * 2).into_iter().map(|near| near.row).collect()
}

fn same(rows: RowView<'_>, a: u32, b: u32) -> bool {
    rows.scales[a as usize].to_bits() == rows.scales[b as usize].to_bits() && rows.code(a) == rows.code(b)
}

/// Links a batch to who it chose, and those back to it; who has far too many neighbours then chooses again.
fn put_in(rows: RowView<'_>, lists: &mut [Vec<u32>], batch: &[u32], chosen: Vec<Vec<u32>>, limit: usize) {
    let most = limit + limit / 4;
    let mut full = Vec::new();
    for (&row, chosen) in batch.iter().zip(chosen) {
        for &near in &chosen {
            let back = &mut lists[near as usize];
            if !back.contains(&row) {
                back.push(row);
                if back.len() == most + 1 {
                    full.push(near);
                }
            }
        }
        let own = &mut lists[row as usize];
        for near in chosen {
            if !own.contains(&near) {
                own.push(near);
            }
        }
        if own.len() > most {
            full.push(row);
        }
    }
    full.sort_unstable();
    full.dedup();
    let thinned: Vec<(u32, Vec<u32>)> =
        full.into_par_iter().map(|row| (row, thin_out(rows, row, &lists[row as usize], limit))).collect();
    for (row, neighbors) in thinned {
        lists[row as usize] = neighbors;
    }
}

/// At most `limit` of a row's neighbours; rows that equal it are all kept, beyond the limit too, since nobody else leads to them.
fn thin_out(rows: RowView<'_>, row: u32, neighbors: &[u32], limit: usize) -> Vec<u32> {
    let (mut kept, others): (Vec<u32>, Vec<u32>) = neighbors.iter().partition(|&&near| same(rows, near, row));
    let query = query_of(rows, row);
    let mut dots = vec![0; others.len()];
    kernels().dot_i8_rows(&query.codes, rows.codes, &others, &mut dots);
    let mut near: Vec<Near> = others
        .iter()
        .zip(&dots)
        .map(|(&row, &dot)| Near { score: approximate(dot, query.scale, rows.scales[row as usize]), row })
        .collect();
    near.sort_unstable_by(|a, b| b.cmp(a));
    kept.extend(diverse(rows, &near, limit).into_iter().map(|near| near.row));
    kept
}
