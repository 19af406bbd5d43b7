//! A layered layout of a directed graph: columns from left to right, few crossings, short edges. The same graph is laid
//! out in the same way everywhere: all numbers are whole after rounding, and ties are broken by the order of the nodes.
//!
//! The steps are those of Sugiyama and others (1981): turn edges round that close circles, give each node a layer, order layers by the
//! means of neighbours, and place nodes by isotonic regression (Best and Chakravarti 1990), which moves them as
//! little as the distances between them allow.

mod picture;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

pub(super) use picture::picture;

/// Width of a node.
const NODE_WIDTH: f64 = 208.0;
/// Height of a node.
const NODE_HEIGHT: f64 = 54.0;
/// Space between two nodes of a column.
const ROW_GAP: f64 = 22.0;
/// Space between a node and a bend of an edge, or between two bends.
const BEND_GAP: f64 = 14.0;
/// Space between two columns.
const COLUMN_GAP: f64 = 116.0;
/// Space around everything.
const MARGIN: f64 = 12.0;
/// Most bends; beyond, edges go straight and pass behind what stands in their way.
const MAX_BENDS: usize = 400;
/// Rounds of ordering and of placing.
const ROUNDS: usize = 8;

/// A point in pixels, from the upper left.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

/// Where everything is.
#[derive(Debug)]
struct Layout {
    width: f64,
    height: f64,
    /// Upper left corner of each node.
    nodes: Vec<Point>,
    /// For each edge the points that it passes, from its source's side to its target's.
    edges: Vec<Vec<Point>>,
}

/// What stands in a column: a node, or the bend of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Node(usize),
    Bend,
}

/// The graph while it is being laid out. Items are numbered; the first ones are the nodes.
struct Layered {
    items: Vec<Item>,
    /// Items of each column, from top to bottom.
    columns: Vec<Vec<usize>>,
    /// For each item its neighbours in the column before, and in the one after.
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// For each edge its items, from left to right.
    chains: Vec<Vec<usize>>,
}

/// Lays out `n` nodes and edges between them, each from one node to another.
fn layout(n: usize, edges: &[(usize, usize)]) -> Layout {
    let back = back_edges(n, edges);
    let forward: Vec<(usize, usize)> =
        edges.iter().zip(&back).map(|((from, to), back)| if *back { (*to, *from) } else { (*from, *to) }).collect();
    let columns = columns(n, &forward);
    let mut graph = Layered::new(n, &columns, &forward);
    graph.order();
    let heights = graph.place();
    graph.drawn(n, edges, &back, &heights)
}

/// Which edges are turned round so that no circle is left: those that lead up in the document within a circle.
fn back_edges(n: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut graph = DiGraph::<(), ()>::with_capacity(n, edges.len());
    let nodes: Vec<_> = (0..n).map(|_| graph.add_node(())).collect();
    for (from, to) in edges {
        graph.add_edge(nodes[*from], nodes[*to], ());
    }
    let mut circle = vec![0; n];
    for (i, together) in tarjan_scc(&graph).into_iter().enumerate() {
        for node in together {
            circle[node.index()] = i;
        }
    }
    edges.iter().map(|(from, to)| from > to && circle[*from] == circle[*to]).collect()
}

/// The column of each node: after all that lead to it, as close as possible to what it leads to, and no column too tall.
fn columns(n: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0; n];
    // As many rounds as the longest path has nodes.
    loop {
        let mut changed = false;
        for &(from, to) in edges {
            if layer[to] <= layer[from] {
                layer[to] = layer[from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let has_source: BTreeSet<usize> = edges.iter().map(|edge| edge.1).collect();
    for node in (0..n).filter(|node| !has_source.contains(node)) {
        let nearest = edges.iter().filter(|edge| edge.0 == node).map(|edge| layer[edge.1]).min();
        layer[node] = nearest.map_or(0, |nearest| nearest - 1);
    }
    let tallest = tallest(n);
    let mut of_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (node, layer) in layer.iter().enumerate() {
        of_layer.entry(*layer).or_default().push(node);
    }
    let mut column = vec![0; n];
    let mut next = 0;
    for nodes in of_layer.into_values() {
        for nodes in nodes.chunks(tallest) {
            for node in nodes {
                column[*node] = next;
            }
            next += 1;
        }
    }
    column
}

/// Most nodes of a column, so that a picture grows in both directions.
fn tallest(n: usize) -> usize {
    let mut rows = 8;
    while rows * rows < n {
        rows += 1;
    }
    rows
}

impl Layered {
    fn new(n: usize, column: &[usize], edges: &[(usize, usize)]) -> Self {
        let width = column.iter().max().map_or(0, |last| last + 1);
        let mut graph = Self {
            items: (0..n).map(Item::Node).collect(),
            columns: vec![Vec::new(); width],
            before: vec![Vec::new(); n],
            after: vec![Vec::new(); n],
            chains: Vec::with_capacity(edges.len()),
        };
        for (node, column) in column.iter().enumerate() {
            graph.columns[*column].push(node);
        }
        let bends: usize = edges.iter().map(|(from, to)| column[*to] - column[*from] - 1).sum();
        for &(from, to) in edges {
            let mut chain = vec![from];
            if bends <= MAX_BENDS {
                for between in column[from] + 1..column[to] {
                    chain.push(graph.items.len());
                    graph.columns[between].push(graph.items.len());
                    graph.items.push(Item::Bend);
                    graph.before.push(Vec::new());
                    graph.after.push(Vec::new());
                }
            }
            chain.push(to);
            for pair in chain.windows(2) {
                graph.after[pair[0]].push(pair[1]);
                graph.before[pair[1]].push(pair[0]);
            }
            graph.chains.push(chain);
        }
        graph
    }

    /// Orders the columns by the means of their neighbours, to the right and back, and keeps the best order seen.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for round in 0..ROUNDS {
            let rightward = round % 2 == 0;
            let width = self.columns.len();
            for step in 1..width {
                let at = if rightward { step } else { width - 1 - step };
                let rank = self.ranks();
                let neighbours = if rightward { &self.before } else { &self.after };
                let mean = |item: &usize| {
                    let near = &neighbours[*item];
                    let sum: usize = near.iter().map(|near| rank[*near]).sum();
                    if near.is_empty() { to_f64(rank[*item]) } else { to_f64(sum) / to_f64(near.len()) }
                };
                let mut column: Vec<(f64, usize)> = self.columns[at].iter().map(|item| (mean(item), *item)).collect();
                column.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.columns[at] = column.into_iter().map(|(_, item)| item).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
    }

    /// Each item's place in its column.
    fn ranks(&self) -> Vec<usize> {
        let mut rank = vec![0; self.items.len()];
        for column in &self.columns {
            for (place, item) in column.iter().enumerate() {
                rank[*item] = place;
            }
        }
        rank
    }

    /// How many pairs of edges cross between neighbouring columns.
    fn crossings(&self) -> usize {
        let rank = self.ranks();
        let mut crossings = 0;
        for column in &self.columns {
            // Counts, for each edge from top to bottom, those before it that end below it.
            let mut ends = vec![0_usize; self.items.len() + 1];
            let mut seen = 0;
            for item in column {
                let mut to: Vec<usize> = self.after[*item].iter().map(|to| rank[*to]).collect();
                to.sort_unstable();
                for end in &to {
                    crossings += seen - sum_to(&ends, *end);
                }
                for end in to {
                    add_at(&mut ends, end);
                    seen += 1;
                }
            }
        }
        crossings
    }

    /// The middle of each item, from the top.
    fn place(&self) -> Vec<f64> {
        let mut middle = vec![0.0; self.items.len()];
        for column in &self.columns {
            let offsets = self.offsets(column);
            let height = offsets.last().copied().unwrap_or_default();
            for (item, offset) in column.iter().zip(&offsets) {
                middle[*item] = offset - height / 2.0;
            }
        }
        for round in 0..ROUNDS {
            let rightward = round % 2 == 0;
            let width = self.columns.len();
            for step in 0..width {
                let column = &self.columns[if rightward { step } else { width - 1 - step }];
                let wanted = |item: &usize| {
                    let near = self.before[*item].iter().chain(&self.after[*item]);
                    let heights: Vec<f64> = near.map(|near| middle[*near]).collect();
                    if heights.is_empty() { middle[*item] } else { heights.iter().sum::<f64>() / to_f64(heights.len()) }
                };
                let offsets = self.offsets(column);
                let free: Vec<f64> = column.iter().zip(&offsets).map(|(item, offset)| wanted(item) - offset).collect();
                let placed = isotonic(&free);
                for ((item, offset), place) in column.iter().zip(&offsets).zip(placed) {
                    middle[*item] = place + offset;
                }
            }
        }
        let top = self.items.iter().zip(&middle).map(|(item, middle)| middle - item.height() / 2.0);
        let top = top.fold(f64::INFINITY, f64::min);
        middle.iter().map(|middle| (middle - top + MARGIN).round()).collect()
    }

    /// How far the middle of each item of a column must lie below the first one's.
    fn offsets(&self, column: &[usize]) -> Vec<f64> {
        let mut below = 0.0;
        let mut offsets = Vec::with_capacity(column.len());
        for (i, item) in column.iter().enumerate() {
            if i > 0 {
                let (above, here) = (self.items[column[i - 1]], self.items[*item]);
                let gap = if above == Item::Bend || here == Item::Bend { BEND_GAP } else { ROW_GAP };
                below += f64::midpoint(above.height(), here.height()) + gap;
            }
            offsets.push(below);
        }
        offsets
    }

    fn drawn(&self, n: usize, edges: &[(usize, usize)], back: &[bool], middle: &[f64]) -> Layout {
        let mut left = vec![0.0; self.items.len()];
        for (i, column) in self.columns.iter().enumerate() {
            for item in column {
                left[*item] = MARGIN + to_f64(i) * (NODE_WIDTH + COLUMN_GAP);
            }
        }
        let nodes: Vec<Point> =
            (0..n).map(|node| Point { x: left[node], y: middle[node] - NODE_HEIGHT / 2.0 }).collect();
        let path = |(i, chain): (usize, &Vec<usize>)| {
            let last = chain.len() - 1;
            let mut points = Vec::with_capacity(2 * chain.len());
            for (place, item) in chain.iter().enumerate() {
                let (x, y) = (left[*item], middle[*item]);
                // A bend is as wide as its column, so that an edge passes level between the nodes.
                if place > 0 {
                    points.push(Point { x, y });
                }
                if place < last {
                    points.push(Point { x: x + NODE_WIDTH, y });
                }
            }
            if back[i] {
                points.reverse();
            }
            points
        };
        let paths = self.chains.iter().enumerate().map(path).collect();
        debug_assert_eq!(edges.len(), self.chains.len());
        let bottom = self.items.iter().zip(middle).map(|(item, middle)| middle + item.height() / 2.0);
        Layout {
            width: to_f64(self.columns.len()) * (NODE_WIDTH + COLUMN_GAP) - COLUMN_GAP + 2.0 * MARGIN,
            height: bottom.fold(0.0, f64::max) + MARGIN,
            nodes,
            edges: paths,
        }
    }
}

impl Item {
    const fn height(self) -> f64 {
        match self {
            Self::Node(_) => NODE_HEIGHT,
            Self::Bend => 0.0,
        }
    }
}

/// The values that never fall and are nearest to these in the sum of squares: neighbours that fall are pooled.
fn isotonic(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for value in values {
        let mut pool = (*value, 1);
        while let Some(&(mean, count)) = pools.last() {
            if mean <= pool.0 {
                break;
            }
            pools.pop();
            pool = ((mean * to_f64(count) + pool.0 * to_f64(pool.1)) / to_f64(count + pool.1), count + pool.1);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean, count)).collect()
}

/// How many ends up to and with this one a Fenwick tree holds.
fn sum_to(tree: &[usize], end: usize) -> usize {
    let (mut at, mut sum) = (end + 1, 0);
    while at > 0 {
        sum += tree[at];
        at &= at - 1;
    }
    sum
}

fn add_at(tree: &mut [usize], end: usize) {
    let mut at = end + 1;
    while at < tree.len() {
        tree[at] += 1;
        at += at & at.wrapping_neg();
    }
}

/// Counts here are small: at most the items of a picture.
fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes of one column keep their distance, and edges run between the nodes that they join.
    fn check(n: usize, edges: &[(usize, usize)]) -> Layout {
        let layout = layout(n, edges);
        for (i, a) in layout.nodes.iter().enumerate() {
            assert!(a.x >= 0.0 && a.x + NODE_WIDTH <= layout.width && a.y >= 0.0 && a.y + NODE_HEIGHT <= layout.height);
            for b in &layout.nodes[..i] {
                assert!((a.x - b.x).abs() >= 1.0 || (a.y - b.y).abs() >= NODE_HEIGHT + ROW_GAP - 1.5, "{a:?} {b:?}");
            }
        }
        for ((from, to), path) in edges.iter().zip(&layout.edges) {
            for (node, end) in [(from, path[0]), (to, path[path.len() - 1])] {
                let node = layout.nodes[*node];
                assert!((end.y - node.y - NODE_HEIGHT / 2.0).abs() < 1.0);
                assert!((end.x - node.x).abs() < 1.0 || (end.x - node.x - NODE_WIDTH).abs() < 1.0);
            }
        }
        layout
    }

    #[test]
    fn chains_circles_and_stars() {
        check(0, &[]);
        check(1, &[]);
        let chain = check(3, &[(0, 1), (1, 2)]);
        assert!(chain.nodes[0].x < chain.nodes[1].x && chain.nodes[1].x < chain.nodes[2].x);
        // A bend takes the long edge past the node between.
        let long = check(3, &[(0, 1), (1, 2), (0, 2)]);
        assert_eq!(long.edges[2].len(), 4);
        assert!((long.edges[2][1].y - long.nodes[1].y - NODE_HEIGHT / 2.0).abs() > NODE_HEIGHT / 2.0);
        check(3, &[(0, 1), (1, 2), (2, 0)]);
        let star: Vec<(usize, usize)> = (1..256).map(|to| (0, to)).collect();
        let star = check(256, &star);
        assert!(star.height < 2_000.0 && star.width < 8_000.0, "{} {}", star.width, star.height);
        let path: Vec<(usize, usize)> = (1..256).map(|to| (to - 1, to)).collect();
        check(256, &path);
    }

    #[test]
    fn no_crossing_where_none_is_needed() {
        let crossed = Layered::new(4, &[0, 0, 1, 1], &[(0, 3), (1, 2)]);
        assert_eq!(crossed.crossings(), 1);
        let mut ordered = crossed;
        ordered.order();
        assert_eq!(ordered.crossings(), 0);
    }

    #[test]
    fn pools_keep_the_mean() {
        assert_eq!(isotonic(&[1.0, 3.0, 2.0, 4.0]), [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(isotonic(&[3.0, 2.0, 1.0]), [2.0, 2.0, 2.0]);
    }
}
