//! From rows to a segment: gather what is alive, grow the graph that is there or let `hnsw_rs` build one, copy it, make every
//! row reachable.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use hnsw_rs::prelude::{Distance, Hnsw};
use tracing::{debug, warn};

use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::approximate;

use super::graph::{GraphView, Level, Scratch, flatten, spread};
use super::grow::{GONE, grow};
use super::index::DenseOptions;
use super::live::Tombstones;
use super::number;
use super::part::Source;
use super::probe::self_recall;
use super::refine::{Refine, query_of};
use super::rows::{RowView, Rows};
use super::sealing::SealScope;
use super::segment::{GraphParameters, Segment, Storage, Top};

/// From this many rows on what is recent gets a graph.
const RECENT_GRAPH_ROWS: usize = 4096;
/// How many times the rows that its upper layers were made for a graph may grow to: more would enter it at too few places.
const GROWTH: usize = 2;
/// Below this self-recall a grown graph is not taken; built ones have more than .99.
const GROWN_LEAST: f32 = 0.95;
/// The least that Linux knows.
#[cfg(target_os = "linux")]
const LEAST_PRIORITY: i32 = 19;
/// Rows inserted one after another at first: `hnsw_rs` links nothing to a row that is inserted while the graph is empty.
const SERIAL_ROWS: usize = 256;
/// Rows inserted between two looks at `cancel`.
const CHUNK_ROWS: usize = 2048;
/// Most layers of a graph; `hnsw_rs` allows 16.
const MAX_LAYERS: usize = 16;
/// `hnsw_rs` looks this much less widely than asked for; `refine` looks as widely as asked for.
const COARSE: usize = 4;
const COARSE_LEAST: usize = 48;
/// How many reachable rows an unreachable one is linked from, and how widely they are looked for.
const RELINKS: usize = 3;
const RELINK_EF: usize = 64;

/// What a segment is built from: the live rows of some parts of an index at one moment. Holds no lock on the index.
pub struct SealInput {
    pub(super) dimension: usize,
    pub(super) options: DenseOptions,
    pub(super) ticket: u64,
    pub(super) scope: SealScope,
    pub(super) sources: Vec<(Source, Tombstones)>,
}

impl SealInput {
    /// How many vectors the segment will hold.
    pub fn len_rows(&self) -> usize {
        self.sources.iter().map(|(source, tombstones)| source.view().rows() - tombstones.dead_rows).sum()
    }

    /// Builds the segment: out of the largest one that goes into it where that has a graph and not much in it is dead or new,
    /// else from the rows. With a graph it takes some 0.3 ms a new row: call it on a thread of its own.
    ///
    /// progress: told steps done and steps in all, from time to time. cancel: when set, the build ends soon with
    /// [`IndexError::Cancelled`].
    pub fn build(&self, progress: &(dyn Fn(usize, usize) + Sync), cancel: &AtomicBool) -> Result<Segment, IndexError> {
        let base = self.base();
        let (rows, moved) = self.gather(base);
        let threshold = match self.scope {
            SealScope::All => self.options.graph_threshold,
            SealScope::Recent => self.options.graph_threshold.min(RECENT_GRAPH_ROWS),
        };
        let count = rows.scales.len();
        if count == 0 || count < threshold {
            progress(1, 1);
            return Ok(self.assemble(rows, None));
        }
        let pool = self.pool()?;
        let build = |rows: &Rows| pool.install(|| build_graph(rows.view(), &self.options, progress, cancel));
        let old = base.and_then(|at| self.sources[at].0.segment());
        let graph = match old {
            Some(old) => pool.install(|| grow(rows.view(), old, &moved, &self.options, progress, cancel)),
            None => build(&rows),
        }?;
        let mut segment = self.assemble(rows, Some(graph));
        if old.is_some() && segment.self_recall.is_some_and(|recall| recall < GROWN_LEAST) {
            warn!(self_recall = segment.self_recall, "a grown graph misses its own rows; it is built anew");
            let rows = segment.into_rows();
            let graph = build(&rows)?;
            segment = self.assemble(rows, Some(graph));
        }
        progress(1, 1);
        Ok(segment)
    }

    fn assemble(&self, rows: Rows, graph: Option<(Top, Vec<Vec<u32>>)>) -> Segment {
        let (top, (offsets, neighbors)) = match graph {
            Some((top, lists)) => (Some(top), flatten(&lists)),
            None => Default::default(),
        };
        let storage = Storage::Owned { rows, offsets, neighbors };
        let mut segment = Segment::assemble(self.dimension, storage, top, Vec::new());
        (segment.ticket, segment.scope) = (Some(self.ticket), self.scope);
        segment.self_recall = self_recall(&segment, self.options.ef_search);
        segment
    }

    /// Which source the segment can be grown from.
    fn base(&self) -> Option<usize> {
        let largest = (0..self.sources.len()).max_by_key(|&at| self.sources[at].0.view().rows())?;
        let (source, tombstones) = &self.sources[largest];
        let rows = source.view().rows();
        let dead_few = tombstones.dead_rows * 100 < rows * self.options.vacuum_percent;
        let covered = source.segment()?.rows_under_upper_layers();
        (dead_few && self.len_rows() <= covered * GROWTH).then_some(largest)
    }

    /// All live documents, sorted; and where each row of source `base` went, [its rows], `GONE` for dead ones.
    fn gather(&self, base: Option<usize>) -> (Rows, Vec<u32>) {
        let mut places: Vec<(u32, usize, u32)> = Vec::new();
        for (at, (source, tombstones)) in self.sources.iter().enumerate() {
            let docs = source.view().docs;
            let live = (0..number(docs.len())).filter(|&slot| !tombstones.is_dead(slot));
            places.extend(live.map(|slot| (docs[slot as usize], at, slot)));
        }
        places.sort_unstable();
        let mut moved = base.map(|at| vec![GONE; self.sources[at].0.view().rows()]).unwrap_or_default();
        let mut rows = Rows::with_capacity(self.dimension, places.len(), self.len_rows());
        for (_, at, slot) in places {
            let view = self.sources[at].0.view();
            if base == Some(at) {
                let first = number(rows.scales.len());
                for (facet, row) in view.range(slot).enumerate() {
                    moved[row as usize] = first + number(facet);
                }
            }
            rows.copy(view, slot);
        }
        (rows, moved)
    }

    /// Threads that build, behind everything else that wants to run. What is recent is built while there are writes and
    /// searches: half of the cores stay theirs.
    fn pool(&self) -> Result<rayon::ThreadPool, IndexError> {
        let threads = match self.scope {
            SealScope::All => self.options.build_threads,
            SealScope::Recent => self.options.build_threads.div_ceil(2),
        };
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|at| format!("index-build-{at}"))
            .start_handler(|_| step_back())
            .build()
            .map_err(|source| IndexError::Threads { threads, source })
    }
}

/// Lets every other thread of the machine go before the calling one. Where that is refused, it goes on as it is.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, LEAST_PRIORITY) {
        debug!(%error, "a thread keeps its priority");
    }
}

fn build_graph(
    rows: RowView<'_>,
    options: &DenseOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancel: &AtomicBool,
) -> Result<(Top, Vec<Vec<u32>>), IndexError> {
    let count = rows.rows();
    let (nodes, twins) = tell_twins(rows);
    let hnsw = insert_all(rows, &nodes, options, &|done| progress(done, count * 2), cancel)?;
    let (entry, lists, levels) = freeze(&hnsw, count);
    drop(hnsw);
    let refine = Refine { rows, entry, levels: &levels, limit: options.m * 2, ef: options.ef_construction };
    let mut lists = refine.run(&nodes, &lists, &|done| progress(count + done, count * 2), cancel)?;
    for (twin, first) in twins {
        lists[first as usize].push(twin);
        lists[twin as usize].push(first);
    }
    let relinked = link_unreachable(rows, entry, &mut lists, &levels);
    if relinked > 0 {
        debug!(relinked, rows = rows.rows(), "rows that the build left unreachable were linked again");
    }
    let parameters = GraphParameters { m: number(options.m), ef_construction: number(options.ef_construction) };
    Ok((Top { entry, levels, parameters }, lists))
}

/// Distance of coded rows, each followed by its scale: `1 - cosine`, never below 0, never NaN.
struct CodeDistance {
    stride: usize,
}

impl Distance<i8> for CodeDistance {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        let (a, a_scale) = a.split_at(self.stride);
        let (b, b_scale) = b.split_at(self.stride);
        let dot = kernels().dot_i8(a, b);
        (1.0 - approximate(dot, scale_of(a_scale), scale_of(b_scale))).max(0.0)
    }
}

fn scale_of(bytes: &[i8]) -> f32 {
    f32::from_le_bytes(bytemuck::cast_slice(bytes).try_into().expect("four bytes of scale follow the codes"))
}

/// Rows apart from those whose codes equal an earlier row's, and these, each with that earlier row.
///
/// Equal rows (versions of a component that share a text) would choose each other as neighbours and nobody else. So only
/// the first of them is a node of the graph, and the others hang on it.
fn tell_twins(rows: RowView<'_>) -> (Vec<u32>, Vec<(u32, u32)>) {
    let mut first_of: HashMap<(&[i8], u32), u32> = HashMap::with_capacity(rows.rows());
    let (mut nodes, mut twins) = (Vec::with_capacity(rows.rows()), Vec::new());
    for row in 0..number(rows.rows()) {
        let first = *first_of.entry((rows.code(row), rows.scales[row as usize].to_bits())).or_insert(row);
        if first == row {
            nodes.push(row);
        } else {
            twins.push((row, first));
        }
    }
    (nodes, twins)
}

/// Links that `hnsw_rs` gives a row where refining will give it up to `m` on the upper layers.
pub(super) fn coarse_m(m: usize) -> usize {
    (m / 2).max(4)
}

fn insert_all<'h>(
    rows: RowView<'_>,
    nodes: &[u32],
    options: &DenseOptions,
    progress: &(dyn Fn(usize) + Sync),
    cancel: &AtomicBool,
) -> Result<Hnsw<'h, i8, CodeDistance>, IndexError> {
    let (count, stride) = (nodes.len(), rows.code_stride());
    let ef = options.ef_construction.min((options.ef_construction / COARSE).max(COARSE_LEAST));
    let hnsw = Hnsw::new(coarse_m(options.m), count, MAX_LAYERS, ef, CodeDistance { stride });
    let point = |row: u32| {
        let mut point = Vec::with_capacity(stride + 4);
        point.extend_from_slice(rows.code(row));
        point.extend_from_slice(bytemuck::cast_slice(&rows.scales[row as usize].to_le_bytes()));
        point
    };
    let order: Vec<u32> = insertion_order(count).into_iter().map(|at| nodes[at]).collect();
    let serial = SERIAL_ROWS.min(count);
    for &row in &order[..serial] {
        hnsw.insert_slice((&point(row), row as usize));
    }
    let mut done = serial;
    for chunk in order[serial..].chunks(CHUNK_ROWS) {
        if cancel.load(Ordering::Relaxed) {
            return Err(IndexError::Cancelled { rows_done: done, rows: count });
        }
        progress(done);
        let points: Vec<(Vec<i8>, usize)> = chunk.iter().map(|&row| (point(row), row as usize)).collect();
        let slices: Vec<(&[i8], usize)> = points.iter().map(|(point, row)| (point.as_slice(), *row)).collect();
        hnsw.parallel_insert_slice(&slices);
        done += chunk.len();
    }
    Ok(hnsw)
}

/// Every place once, far from the ones before it: documents that were imported together are alike, and a graph
/// that grows by one cluster after another links the clusters badly.
pub(super) fn insertion_order(rows: usize) -> Vec<usize> {
    // A step of about rows / golden ratio that has no divisor in common with the number of rows visits each row once.
    let mut step = (rows * 618 / 1000).max(1);
    while greatest_common_divisor(step, rows.max(1)) != 1 {
        step += 1;
    }
    (0..rows).scan(0, |at, _| Some(std::mem::replace(at, (*at + step) % rows))).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Copies the graph out: entry point, neighbours of every row on layer 0, upper layers.
fn freeze(hnsw: &Hnsw<'_, i8, CodeDistance>, rows: usize) -> (u32, Vec<Vec<u32>>, Vec<Level>) {
    let points = hnsw.get_point_indexation();
    let mut row_level = vec![0u8; rows];
    for layer in 0..MAX_LAYERS {
        for point in points.get_layer_iterator(layer) {
            row_level[point.get_origin_id()] = point.get_point_id().0;
        }
    }
    let highest = row_level.iter().copied().max().unwrap_or(0);
    let mut base = vec![Vec::new(); rows];
    let mut upper: Vec<BTreeMap<u32, Vec<u32>>> = vec![BTreeMap::new(); usize::from(highest)];
    for layer in 0..=usize::from(highest) {
        for point in points.get_layer_iterator(layer) {
            let row = point.get_origin_id();
            let lists = point.get_neighborhood_id();
            // hnsw_rs also notes, above a point's own layer, what the descent met there: no links of this point.
            for (at, list) in lists.iter().enumerate().take(usize::from(row_level[row]) + 1) {
                let mut neighbors: Vec<u32> = Vec::with_capacity(list.len());
                for neighbor in list {
                    let id = number(neighbor.get_origin_id());
                    let linked = usize::from(row_level[id as usize]) >= at && id as usize != row;
                    if linked && !neighbors.contains(&id) {
                        neighbors.push(id);
                    }
                }
                if at == 0 {
                    base[row] = neighbors;
                } else {
                    upper[at - 1].insert(number(row), neighbors);
                }
            }
        }
    }
    let entry = row_level.iter().position(|&level| level == highest).map_or(0, number);
    let levels = upper
        .into_iter()
        .map(|lists| {
            let nodes: Vec<u32> = lists.keys().copied().collect();
            let (offsets, neighbors) = flatten(&lists.into_values().collect::<Vec<_>>());
            Level { nodes, offsets, neighbors }
        })
        .collect();
    (entry, base, levels)
}

/// Links rows that no walk from the entry point can reach from the nearest ones that it can; returns how many there were.
///
/// Building in parallel leaves a few, many equal vectors leave more. A list may grow beyond what building allows.
pub(super) fn link_unreachable(rows: RowView<'_>, entry: u32, lists: &mut Vec<Vec<u32>>, levels: &[Level]) -> usize {
    let mut reached = GraphView { entry, base: &*lists, upper: &[] }.reachable();
    let graph = GraphView { entry, base: &*lists, upper: levels };
    let mut scratch = Scratch::default();
    let mut links: Vec<(u32, u32)> = Vec::new();
    let mut relinked = 0;
    for row in 0..number(rows.rows()) {
        if reached[row as usize] {
            continue;
        }
        relinked += 1;
        let query = query_of(rows, row);
        let was_reached = &reached;
        let walk = graph.search(rows, &query, RELINK_EF, usize::MAX, &mut scratch, |near| was_reached[near as usize]);
        if walk.found.is_empty() {
            warn!(row, "no reachable row was found near an unreachable one; it is linked to the entry point");
            links.push((entry, row));
        }
        for near in walk.found.iter().take(RELINKS) {
            links.extend([(near.row, row), (row, near.row)]);
        }
        spread(graph.base, row, &mut reached);
    }
    for (from, to) in links {
        if !lists[from as usize].contains(&to) {
            lists[from as usize].push(to);
        }
    }
    relinked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(count: u16) -> Rows {
        let mut rows = Rows::new(2);
        for at in 0..count {
            let angle = f32::from(at) * std::f32::consts::TAU / f32::from(count);
            rows.push(u32::from(at), [([angle.cos(), angle.sin()].as_slice(), 1.0)]);
        }
        rows
    }

    /// Rows 0-1-2-3 are linked to each other; 4-5 and 6-7 only among themselves.
    #[test]
    fn islands_are_linked_from_the_nearest_reachable_rows() {
        let rows = circle(8);
        let mut lists = vec![vec![1], vec![0, 2], vec![1, 3], vec![2], vec![5], vec![4], vec![7], vec![6]];
        assert_eq!(link_unreachable(rows.view(), 0, &mut lists, &[]), 2);
        let graph = GraphView { entry: 0, base: &lists, upper: &[] };
        assert!(graph.reachable().iter().all(|&reached| reached));
        assert!(lists[3].contains(&4), "{lists:?}");
        assert_eq!(link_unreachable(rows.view(), 0, &mut lists, &[]), 0);
    }

    #[test]
    fn every_row_of_a_built_graph_is_reachable() {
        let rows = circle(3000);
        let options = DenseOptions { m: 4, ef_construction: 16, build_threads: 2, ..DenseOptions::default() };
        let (top, lists) =
            build_graph(rows.view(), &options, &|_, _| {}, &AtomicBool::new(false)).expect("not cancelled");
        let graph = GraphView { entry: top.entry, base: &lists, upper: &top.levels };
        assert!(graph.reachable().iter().all(|&reached| reached));
    }

    #[test]
    fn equal_rows_hang_on_the_first_of_them() {
        let mut rows = circle(3);
        rows.copy(circle(3).view(), 1);
        rows.copy(circle(3).view(), 1);
        assert_eq!(tell_twins(rows.view()), (vec![0, 1, 2], vec![(3, 1), (4, 1)]));
    }

    #[test]
    fn each_row_is_inserted_once() {
        for rows in [0, 1, 2, 3, 10, 999, 1000, 30_030] {
            let mut order = insertion_order(rows);
            order.sort_unstable();
            assert_eq!(order, (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn distance_is_never_negative() {
        let rows = circle(50);
        let point = |row: u32| {
            let mut point = rows.view().code(row).to_vec();
            point.extend_from_slice(bytemuck::cast_slice(&rows.scales[row as usize].to_le_bytes()));
            point
        };
        let distance = CodeDistance { stride: rows.view().code_stride() };
        for row in 0..50 {
            let own = distance.eval(&point(row), &point(row));
            assert!((0.0..0.01).contains(&own), "{own}");
        }
        assert!((distance.eval(&point(0), &point(25)) - 2.0).abs() < 0.01);
    }
}
