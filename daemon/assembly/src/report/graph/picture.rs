//! The picture of an assembly: parts as boxes, connections as arrows from the side that connects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use maud::{Markup, html};

use super::{NODE_HEIGHT, NODE_WIDTH, Point, layout};
use crate::check::PROTECTED;
use crate::document::{Audience, Connection, Source};
use crate::finding::Severity;
use crate::report::Compliance;
use crate::report::text::{counted, counted_lines, cut};
use crate::report::view::View;

/// Characters of a part's id and of what it is that fit into a box.
const ID_CHARS: usize = 23;
const DETAIL_CHARS: usize = 33;
/// Most arrows that have their data written beside them.
const MAX_LABELS: usize = 40;
const LABEL_CHARS: usize = 18;

/// All connections from one part to another.
struct Arrow<'a> {
    connections: Vec<&'a Connection>,
}

/// The picture with its legend.
pub(in crate::report) fn picture(report: &Compliance<'_>) -> Markup {
    let views: Vec<View<'_>> = report.views().collect();
    let place: BTreeMap<&str, usize> = views.iter().map(|view| (view.id(), view.place)).collect();
    let mut arrows: BTreeMap<(usize, usize), Arrow<'_>> = BTreeMap::new();
    let mut left_out = 0_u64;
    for connection in report.input.assembly.connections() {
        match (place.get(connection.from.part.as_str()), place.get(connection.to.part.as_str())) {
            (Some(from), Some(to)) if from != to => {
                let arrow = arrows.entry((*from, *to)).or_insert_with(|| Arrow { connections: Vec::new() });
                arrow.connections.push(connection);
            }
            _ => left_out += 1,
        }
    }
    let edges: Vec<(usize, usize)> = arrows.keys().copied().collect();
    let layout = layout(views.len(), &edges);
    let protected = arrows.values().filter(|arrow| arrow.is_protected()).count() as u64;
    let nodes: Vec<Node<'_>> = views.iter().map(|view| Node::of(report, view)).collect();
    html! {
        div class="scroll" tabindex="0" role="group" aria-label="Picture of the assembly" {
            svg class="graph" role="img" aria-labelledby="graph-title graph-description"
                width=(px(layout.width)) height=(px(layout.height))
                viewBox=(format!("0 0 {} {}", px(layout.width), px(layout.height))) {
                title id="graph-title" {
                    (counted(views.len() as u64, "part", "parts")) " and "
                    (counted(report.input.assembly.connections().len() as u64, "connection", "connections"))
                }
                desc id="graph-description" {
                    "Parts as boxes, connections as arrows from the part that connects to the one that answers; "
                    (counted(protected, "arrow carries", "arrows carry")) " protected data. "
                    "The tables of parts and connections below say the same in words."
                }
                @for (arrow, path) in arrows.values().zip(&layout.edges) { (drawn_arrow(arrow, path)) }
                @for (node, at) in nodes.iter().zip(&layout.nodes) { (drawn_node(node, *at)) }
                @if edges.len() <= MAX_LABELS {
                    @for (arrow, path) in arrows.values().zip(&layout.edges) { (label(arrow, path)) }
                }
            }
        }
        (legend())
        @if left_out > 0 {
            p class="small" {
                (counted(left_out, "connection is", "connections are"))
                " not drawn, which lead back to their own part or to none that there is."
            }
        }
    }
}

/// What the box of a part shows.
struct Node<'a> {
    class: &'static str,
    id: &'a str,
    detail: String,
    told: String,
    audience: Option<Audience>,
    errors: usize,
}

impl<'a> Node<'a> {
    fn of(report: &Compliance<'a>, view: &View<'a>) -> Self {
        let class = match view.part.source {
            Source::Component(_) => "component",
            Source::Raw(_) => "raw",
            Source::External(_) => "external",
        };
        let detail = match (&view.part.source, view.name()) {
            (Source::Raw(_), _) => format!("raw code, {}", counted_lines(view.lines().map(u64::from))),
            (Source::Component(_), (name, Some(version))) => {
                let bare = name.rsplit_once('/').map_or(name.as_str(), |(_, bare)| bare);
                format!("{bare}@{version}")
            }
            _ => view.shown(),
        };
        let exposures = report.input.assembly.exposures().iter();
        let audience = exposures.filter(|it| it.port.part == view.id()).map(|it| it.audience).min();
        let errors = report.findings(Severity::Error).filter(|it| it.place.part.as_deref() == Some(view.id())).count();
        let certified = view.certification().map(|(_, words)| format!(", {words}")).unwrap_or_default();
        let told = format!("{}: {}{certified}", view.id(), view.shown());
        Self { class, id: view.id(), detail, told, audience, errors }
    }
}

fn drawn_node(node: &Node<'_>, at: Point) -> Markup {
    let class = if node.errors > 0 { format!("node {} wrong", node.class) } else { format!("node {}", node.class) };
    let (radius, inset) = if node.class == "external" { (NODE_HEIGHT / 2.0, 22.0) } else { (8.0, 12.0) };
    let (left, right) = (at.x + inset, at.x + NODE_WIDTH - inset);
    html! {
        g class=(class) {
            title { (cut(&node.told, 300)) }
            rect x=(px(at.x)) y=(px(at.y)) width=(px(NODE_WIDTH)) height=(px(NODE_HEIGHT)) rx=(px(radius)) {}
            text class="id" x=(px(left)) y=(px(at.y + 23.0)) { (cut(node.id, ID_CHARS)) }
            text x=(px(left)) y=(px(at.y + 41.0)) { (cut(&node.detail, DETAIL_CHARS)) }
            @if node.errors > 0 {
                text class="errors" text-anchor="end" x=(px(right)) y=(px(at.y + 23.0)) { "✗ " (node.errors) }
            } @else if let Some(audience) = node.audience {
                text class="audience" text-anchor="end" x=(px(right)) y=(px(at.y + 23.0)) { (audience.as_str()) }
            }
        }
    }
}

impl Arrow<'_> {
    /// The classes of data that pass, protected ones first.
    fn classes(&self) -> Vec<&'static str> {
        let classes: BTreeSet<_> = self.connections.iter().flat_map(|it| &it.data_classes).copied().collect();
        let (protected, other): (Vec<_>, Vec<_>) = classes.into_iter().partition(|class| PROTECTED.contains(class));
        protected.into_iter().chain(other).map(fitment_catalog::DataClass::as_str).collect()
    }

    fn is_protected(&self) -> bool {
        self.connections.iter().flat_map(|it| &it.data_classes).any(|class| PROTECTED.contains(class))
    }
}

fn drawn_arrow(arrow: &Arrow<'_>, path: &[Point]) -> Markup {
    let [.., before, end] = path else { return html! {} };
    // Every arrow ends level.
    let back = if end.x >= before.x { -1.0 } else { 1.0 };
    let corner = |y: f64| format!("{},{}", px(end.x + back * 9.0), px(end.y + y));
    let head = format!("{},{} {} {}", px(end.x), px(end.y), corner(-4.5), corner(4.5));
    let told = |connection: &&Connection| {
        let classes: Vec<&str> = connection.data_classes.iter().map(|class| class.as_str()).collect();
        format!("{connection}: {}", classes.join(", "))
    };
    let told: Vec<String> = arrow.connections.iter().map(told).collect();
    html! {
        g class=(if arrow.is_protected() { "edge protected" } else { "edge" }) {
            title { (cut(&told.join("; "), 600)) }
            path d=(curve(path, back * 6.0)) {}
            polygon points=(head) {}
        }
    }
}

/// Level at each point, bent between columns. The last point is drawn in by the length of the head.
fn curve(path: &[Point], short: f64) -> String {
    let Some(start) = path.first() else { return String::new() };
    let mut curve = format!("M{} {}", px(start.x), px(start.y));
    for (i, pair) in path.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let x = if i + 2 == path.len() { to.x + short } else { to.x };
        let (middle, x) = (px(f64::midpoint(from.x, x)), px(x));
        let (above, below) = (px(from.y), px(to.y));
        // Writing to a String cannot fail.
        let _ = write!(curve, " C{middle} {above} {middle} {below} {x} {below}");
    }
    curve
}

/// The classes of data, in the middle of the last gap that the arrow crosses: there arrows of one source are apart.
fn label(arrow: &Arrow<'_>, path: &[Point]) -> Markup {
    let [.., before, end] = path else { return html! {} };
    let (x, y) = (f64::midpoint(before.x, end.x), f64::midpoint(before.y, end.y));
    let classes = arrow.classes().join(", ");
    let class = if arrow.is_protected() { "data protected" } else { "data" };
    html! { text class=(class) text-anchor="middle" x=(px(x)) y=(px(y - 5.0)) { (cut(&classes, LABEL_CHARS)) } }
}

fn legend() -> Markup {
    html! {
        ul class="legend" {
            li { i class="key component" {} "component" }
            li { i class="key raw" {} "raw code" }
            li { i class="key external" {} "outside" }
            li { i class="key wrong" {} "✗ with errors" }
            li { i class="line" {} "connection" }
            li { i class="line protected" {} "carries protected data" }
        }
    }
}

/// A length with at most one place.
fn px(value: f64) -> String {
    let shown = format!("{value:.1}");
    shown.strip_suffix(".0").map(str::to_owned).unwrap_or(shown)
}
