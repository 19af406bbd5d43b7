//! From rows to a segment: gather what is alive, let `hnsw_rs` build a graph, copy it, make every row reachable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hnsw_rs::prelude::{Distance, Hnsw};
use tracing::{debug, warn};

use crate::error::IndexError;
use crate::kernels::kernels;
use crate::quantize::Query;

use super::graph::{BaseView, GraphView, Level, Scratch, flatten, spread};
use super::index::DenseOptions;
use super::live::Tombstones;
use super::number;
use super::rows::{Head, RowView, Rows};
use super::segment::{GraphParameters, Segment, Storage, Top};

/// Rows inserted one after another at first: `hnsw_rs` links nothing to a row that is inserted while the graph is empty.
const SERIAL_ROWS: usize = 256;
/// Rows inserted between two looks at `cancel`.
const CHUNK_ROWS: usize = 2048;
/// Most layers of a graph; `hnsw_rs` allows 16.
const MAX_LAYERS: usize = 16;
/// How many reachable rows an unreachable one is linked from, and how widely they are looked for.
const RELINKS: usize = 3;
const RELINK_EF: usize = 64;

pub(super) enum Source {
    Segment(Arc<Segment>),
    Head(Arc<Head>),
}

impl Source {
    fn view(&self) -> RowView<'_> {
        match self {
            Self::Segment(segment) => segment.view(),
            Self::Head(head) => head.rows.view(),
        }
    }
}

/// What a segment is built from: the live rows of an index at one moment. Holds no lock on the index.
pub struct SealInput {
    pub(super) dimension: usize,
    pub(super) options: DenseOptions,
    pub(super) ticket: u64,
    pub(super) rows: usize,
    pub(super) sources: Vec<(Source, Tombstones)>,
}

impl SealInput {
    /// How many vectors the segment will hold.
    pub fn len_rows(&self) -> usize {
        self.rows
    }

    /// Builds the segment. With a graph this takes minutes for a hundred thousand rows: call it on a thread of its own.
    ///
    /// progress: told rows done and rows in all, from time to time. cancel: when set, the build ends soon with
    /// [`IndexError::Cancelled`].
    pub fn build(&self, progress: &(dyn Fn(usize, usize) + Sync), cancel: &AtomicBool) -> Result<Segment, IndexError> {
        let rows = self.gather();
        let wanted = rows.scales.len() >= self.options.graph_threshold && !rows.scales.is_empty();
        let (top, base) = if wanted {
            let (top, base) = build_graph(rows.view(), &self.options, progress, cancel)?;
            (Some(top), base)
        } else {
            (None, (Vec::new(), Vec::new()))
        };
        progress(rows.scales.len(), rows.scales.len());
        let storage = Storage::Owned { rows, offsets: base.0, neighbors: base.1 };
        let mut segment = Segment::assemble(self.dimension, storage, top, Vec::new());
        segment.ticket = Some(self.ticket);
        Ok(segment)
    }

    /// All live documents, sorted.
    fn gather(&self) -> Rows {
        let mut places: Vec<(u32, usize, u32)> = Vec::new();
        for (at, (source, tombstones)) in self.sources.iter().enumerate() {
            let docs = source.view().docs;
            let live = (0..number(docs.len())).filter(|&slot| !tombstones.is_dead(slot));
            places.extend(live.map(|slot| (docs[slot as usize], at, slot)));
        }
        places.sort_unstable();
        let mut rows = Rows::with_capacity(self.dimension, places.len(), self.rows);
        for (_, source, slot) in places {
            rows.copy(self.sources[source].0.view(), slot);
        }
        rows
    }
}

type Base = (Vec<u32>, Vec<u32>);

fn build_graph(
    rows: RowView<'_>,
    options: &DenseOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancel: &AtomicBool,
) -> Result<(Top, Base), IndexError> {
    let threads = options.build_threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("index-build-{at}"))
        .build()
        .map_err(|source| IndexError::Threads { threads, source })?;
    let (entry, mut lists, levels) = pool.install(|| {
        let hnsw = insert_all(rows, options, progress, cancel)?;
        Ok::<_, IndexError>(freeze(&hnsw, rows.rows()))
    })?;
    let relinked = link_unreachable(rows, entry, &mut lists, &levels);
    if relinked > 0 {
        debug!(relinked, rows = rows.rows(), "rows that the build left unreachable were linked again");
    }
    let parameters = GraphParameters { m: number(options.m), ef_construction: number(options.ef_construction) };
    Ok((Top { entry, levels, parameters }, flatten(&lists)))
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
        (1.0 - crate::quantize::approximate(dot, scale_of(a_scale), scale_of(b_scale))).max(0.0)
    }
}

fn scale_of(bytes: &[i8]) -> f32 {
    f32::from_le_bytes(bytemuck::cast_slice(bytes).try_into().expect("four bytes of scale follow the codes"))
}

fn insert_all<'h>(
    rows: RowView<'_>,
    options: &DenseOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancel: &AtomicBool,
) -> Result<Hnsw<'h, i8, CodeDistance>, IndexError> {
    let (count, stride) = (rows.rows(), rows.code_stride());
    let hnsw = Hnsw::new(options.m, count, MAX_LAYERS, options.ef_construction, CodeDistance { stride });
    let point = |row: usize| {
        let mut point = Vec::with_capacity(stride + 4);
        point.extend_from_slice(rows.code(number(row)));
        point.extend_from_slice(bytemuck::cast_slice(&rows.scales[row].to_le_bytes()));
        point
    };
    let order = insertion_order(count);
    let serial = SERIAL_ROWS.min(count);
    for &row in &order[..serial] {
        hnsw.insert_slice((&point(row), row));
    }
    let mut done = serial;
    for chunk in order[serial..].chunks(CHUNK_ROWS) {
        if cancel.load(Ordering::Relaxed) {
            return Err(IndexError::Cancelled { rows_done: done, rows: count });
        }
        progress(done, count);
        let points: Vec<(Vec<i8>, usize)> = chunk.iter().map(|&row| (point(row), row)).collect();
        let slices: Vec<(&[i8], usize)> = points.iter().map(|(point, row)| (point.as_slice(), *row)).collect();
        hnsw.parallel_insert_slice(&slices);
        done += chunk.len();
    }
    Ok(hnsw)
}

/// Every row once, far from its neighbours in the catalogue: documents that were imported together are alike, and a graph
/// that grows by one cluster after another links the clusters badly.
fn insertion_order(rows: usize) -> Vec<usize> {
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
fn link_unreachable(rows: RowView<'_>, entry: u32, lists: &mut [Vec<u32>], levels: &[Level]) -> usize {
    let (offsets, neighbors) = flatten(lists);
    let base = BaseView { offsets: &offsets, neighbors: &neighbors };
    let graph = GraphView { entry, base, upper: &[] };
    let mut reached = graph.reachable();
    let graph = GraphView { upper: levels, ..graph };
    let mut scratch = Scratch::default();
    let mut links: Vec<(u32, u32)> = Vec::new();
    let mut relinked = 0;
    for row in 0..number(rows.rows()) {
        if reached[row as usize] {
            continue;
        }
        relinked += 1;
        let query = Query {
            vector: rows.vector(row).to_vec(),
            codes: rows.code(row).to_vec(),
            scale: rows.scales[row as usize],
        };
        let was_reached = &reached;
        let walk = graph.search(rows, &query, RELINK_EF, usize::MAX, &mut scratch, |near| was_reached[near as usize]);
        if walk.found.is_empty() {
            warn!(row, "no reachable row was found near an unreachable one; it is linked to the entry point");
            links.push((entry, row));
        }
        for near in walk.found.iter().take(RELINKS) {
            links.extend([(near.row, row), (row, near.row)]);
        }
        spread(base, row, &mut reached);
    }
    for (from, to) in links {
        if !lists[from as usize].contains(&to) {
            lists[from as usize].push(to);
        }
    }
    relinked
}
