//! The figures as tables: main ones, out-of-scope kinds, slices, tiers.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{NAME_CHARS, section, shortened};
use crate::plot::whisker;
use crate::ratio;
use crate::report::Report;
use crate::run::Tier;
use crate::slices::Slice;
use crate::wording::{self, count, dimension, figure, interval, label, meaning, percent};

/// Values of a dimension that are shown.
const MAX_SLICES: usize = 25;
/// Out-of-scope kinds that are shown.
const MAX_KINDS: usize = 25;

/// Main figures with their intervals.
pub(super) fn main(report: &Report) -> Markup {
    let shown = wording::MAIN.iter().filter_map(|&name| Some((name, *report.metrics.get(name)?)));
    let content = html! {
        div class="scroll" { table {
            thead { tr { th { "figure" } th class="number" { "value" } th class="plot" { "0 to 1" } th class="wide" { "95 % interval" } th class="wide" { "meaning" } } }
            tbody { @for (name, value) in shown {
                @let range = report.intervals.get(name).copied();
                tr {
                    th scope="row" { (label(name)) }
                    td class="number" { (figure(value)) }
                    td class="plot" { (whisker(value, range, 0.0, 1.0)) }
                    td class="wide range" { @if let Some(range) = range { (interval(range)) } }
                    td class="wide hint" { (meaning(name)) }
                }
            } }
        } }
    };
    section("Figures", "Dot: the figure. Bar: its 95 % bootstrap interval.", &content)
}

/// Out-of-scope intents by kind.
pub(super) fn out_of_scope(report: &Report) -> Markup {
    if report.out_of_scope.is_empty() {
        return html! {};
    }
    let promised = report.promise.is_some();
    let optional = |value: Option<f64>| value.map_or_else(String::new, figure);
    let content = html! {
        div class="scroll" { table class="sortable" {
            thead { tr {
                th { "kind" } th class="number" { "n" } th class="number" { "AUROC" } th class="plot wide" { "0 to 1" } th class="number" { "FPR95" }
                th class="number" { "AURC" } th class="number" { "coverage at 95 %" }
                @if promised { th class="number" { "coverage" } th class="number" { "precision" } th class="number" { "answered" } }
            } }
            tbody { @for (kind, found) in report.out_of_scope.iter().take(MAX_KINDS) { tr {
                th scope="row" { (shortened(kind, NAME_CHARS)) }
                td class="number" { (count(found.n)) }
                td class="number" { (optional(found.auroc)) }
                td class="plot wide" { @if let Some(auroc) = found.auroc { (whisker(auroc, None, 0.0, 1.0)) } }
                td class="number" { (optional(found.fpr95)) }
                td class="number" { (optional(found.aurc)) }
                td class="number" { (optional(found.coverage_at_95)) }
                @if promised {
                    td class="number" { (optional(found.coverage)) }
                    td class="number" { (optional(found.precision)) }
                    td class="number" { (found.false_match_rate.map_or_else(String::new, percent)) }
                }
            } } }
        } }
        (more(report.out_of_scope.len(), MAX_KINDS))
    };
    let hint =
        "Intents that no component meets, each kind against all in-scope intents. None of them should be answered.";
    section("Out of scope", hint, &content)
}

/// How often promises on random halves were broken.
pub(super) fn recalibration(report: &Report) -> Markup {
    let Some(found) = &report.recalibration else { return html! {} };
    let content = html! {
        div class="scroll" { table { tbody { @for (name, value) in wording::recalibration(found) { tr {
            th scope="row" { (name) } td class="number" { (value) }
        } } } } }
    };
    let hint = "A promise fitted on a random half of the labelled intents and tried on the other half, again and again. The other \
                half has chance of its own, so some of the promises are broken there that hold.";
    section("Recalibrations", hint, &content)
}

/// In-scope intents by property, one table a dimension.
pub(super) fn slices(report: &Report) -> Markup {
    if report.slices.is_empty() {
        return html! {};
    }
    let content = html! {
        div class="slices" { @for (name, slices) in &report.slices {
            div {
                h3 { (dimension(name)) }
                (dimension_table(slices))
                (more(slices.len(), MAX_SLICES))
            }
        } }
    };
    section("Slices", "In-scope intents that share a property. A wide bar means few intents.", &content)
}

fn dimension_table(slices: &[Slice]) -> Markup {
    html! {
        div class="scroll" { table class="sortable" {
            thead { tr {
                th { "value" } th class="number" { "n" }
                th class="number" { "hit@1" } th class="plot" { "0 to 1" } th class="number" { "nDCG@10" }
            } }
            tbody { @for slice in slices.iter().take(MAX_SLICES) { tr {
                th scope="row" { (shortened(&slice.value, 28)) }
                td class="number" { (count(slice.n)) }
                td class="number" { (optional(&slice.metrics, "hit@1")) }
                td class="plot" { @if let Some(&value) = slice.metrics.get("hit@1") {
                    (whisker(value, slice.intervals.get("hit@1").copied(), 0.0, 1.0))
                } }
                td class="number" title=(slice.intervals.get("ndcg@10").map_or_else(String::new, |&range| interval(range))) {
                    (optional(&slice.metrics, "ndcg@10"))
                }
            } } }
        } }
    }
}

fn optional(metrics: &BTreeMap<String, f64>, name: &str) -> String {
    metrics.get(name).map_or_else(String::new, |&value| figure(value))
}

/// Says how many rows are not shown.
pub(super) fn more(all: usize, shown: usize) -> Markup {
    html! { @if all > shown { p class="hint" { (count((all - shown) as u64)) " more in the JSON." } } }
}

/// Expected against answered tiers.
pub(super) fn tiers(report: &Report) -> Markup {
    let Some(tiers) = &report.tiers else { return html! {} };
    let content = html! {
        div class="scroll" { table class="matrix" {
            thead {
                tr { th {} th colspan="3" { "what was answered" } }
                tr { th { "in truth" } @for tier in Tier::ALL { th { (wording::tier(tier)) } } }
            }
            tbody { @for (expected, answered) in &tiers.confusion {
                @let row: u64 = answered.values().sum();
                tr {
                    th scope="row" title=(wording::tier_meaning(*expected)) { (wording::tier(*expected)) }
                    @for (tier, &n) in answered {
                        @let share = ratio(n, row);
                        td class=(if tier == expected { "same" } else { "" }) style=(format!("background: rgba(var(--heat), {:.2})", share * 0.45)) {
                            b { (count(n)) } " " span { (percent(share)) }
                        }
                    }
                }
            } }
        } }
    };
    let hint = format!(
        "How much is to be generated: what the labels say (rows: zero, a component fits as it is; minimal, once configured; raw, \
         none fits) against what was answered (columns). {} of {} answers have the truth's tier ({}), whichever component they \
         name. Shares are of a row.",
        count(tiers.confusion.iter().filter_map(|(tier, row)| row.get(tier)).sum()),
        count(tiers.n),
        percent(tiers.accuracy)
    );
    section("Tiers: truth and answer", &hint, &content)
}
