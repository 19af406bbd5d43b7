//! Circles of connections, where a policy forbids them.

use std::collections::BTreeSet;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::subject::Subject;
use crate::finding::{Finding, Rule};

/// Stands for the connections of all protocols together.
const ALL: &str = "*";

pub(super) fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for (whose, policies) in subject.policies() {
        for protocol in &policies.acyclic {
            for circle in circles(subject, protocol) {
                let Some(first) = circle.first() else { continue };
                let ids: Vec<&str> = circle.iter().map(|part| subject.parts[*part].part.id.as_str()).collect();
                let spoken = if protocol == ALL { String::new() } else { format!("{protocol} ") };
                let reason = format!(
                    "{spoken}connections lead round in a circle through {}, which {whose} forbids",
                    ids.join(", ")
                );
                let way_out = "take one of the connections out, or decouple it by an event";
                findings.push(Finding::new(Rule::Cycle, subject.parts[*first].place(""), reason, way_out));
            }
        }
    }
}

/// Parts that reach each other and themselves, in the order of the document.
fn circles(subject: &Subject<'_>, protocol: &str) -> Vec<BTreeSet<usize>> {
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = (0..subject.parts.len()).map(|part| graph.add_node(part)).collect();
    for joined in subject.joined() {
        let ((from, port), (to, _)) = (joined.from, joined.to);
        if protocol == ALL || protocol == port.protocol() {
            graph.add_edge(nodes[from.index], nodes[to.index], ());
        }
    }
    let is_circle =
        |group: &Vec<NodeIndex>| group.len() > 1 || group.iter().any(|node| graph.contains_edge(*node, *node));
    let mut circles: Vec<BTreeSet<usize>> = tarjan_scc(&graph)
        .into_iter()
        .filter(is_circle)
        .map(|group| group.into_iter().map(|node| graph[node]).collect())
        .collect();
    circles.sort();
    circles
}
