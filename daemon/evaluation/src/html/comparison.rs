//! Two systems side by side.

use maud::{Markup, html};

use super::figures::more;
use super::{NAME_CHARS, section, shortened};
use crate::compare::{Change, Comparison, Difference};
use crate::metrics::lower_is_better;
use crate::plot::whisker;
use crate::wording::{self, count, cut, figure, label, signed};

/// Changed queries of each direction that are shown.
const MAX_CHANGES: usize = 50;
const INTENT_CHARS: usize = 200;

pub(super) fn content(comparison: &Comparison) -> Markup {
    html! {
        header {
            p class="kicker" { "Comparison" }
            h1 { (shortened(&comparison.other.system, NAME_CHARS)) " against " (shortened(&comparison.base.system, NAME_CHARS)) }
            p class="facts" {
                span { "data set " b { (shortened(&comparison.dataset, NAME_CHARS)) " / " (shortened(&comparison.split, NAME_CHARS)) } }
                span { b { (count(comparison.n_in_scope)) } " intents in scope" }
                span { b { (count(comparison.n_out_of_scope)) } " out of scope" }
                @for system in [&comparison.base, &comparison.other] {
                    @if !system.model.is_empty() { span { (shortened(&system.system, NAME_CHARS)) ": model " b { (shortened(&system.model, NAME_CHARS)) } } }
                }
            }
        }
        main {
            (outcomes(comparison))
            (differences(comparison))
            (changes("Right before, wrong now", &comparison.broken))
            (changes("Wrong before, right now", &comparison.fixed))
            footer { p class="hint" { "Data set digest " code { (cut(&comparison.dataset_digest, 80)) } } }
        }
    }
}

fn outcomes(comparison: &Comparison) -> Markup {
    let found = comparison.hit_at_1;
    let cards = [
        ("Won", found.wins, "right only now"),
        ("Lost", found.losses, "right only before"),
        ("Alike", found.ties, "both or neither"),
    ];
    html! {
        div class="cards" { @for (title, n, meaning) in cards {
            div class="card" {
                p class="name" { (title) " " span { "hit@1" } }
                p class="value" { (count(n)) }
                p class="range" { (meaning) }
            }
        } }
    }
}

fn differences(comparison: &Comparison) -> Markup {
    let shown: Vec<(&str, &Difference)> =
        wording::MAIN.iter().filter_map(|&name| Some((name, comparison.differences.get(name)?))).collect();
    let ends = shown.iter().flat_map(|(_, found)| found.interval.into_iter().chain([found.difference]));
    let reach = ends.map(f64::abs).fold(0.01, f64::max);
    let content = html! {
        div class="scroll" { table class="sortable" {
            thead { tr {
                th { "figure" } th class="number wide" { "before" } th class="number" { "now" } th class="number" { "difference" }
                th class="plot" { (signed(-reach)) " to " (signed(reach)) } th class="number" { "p" } th class="wide" { "reading" }
            } }
            tbody { @for (name, found) in &shown { tr {
                th scope="row" { (label(name)) }
                td class="number wide" { (figure(found.base)) }
                td class="number" { (figure(found.other)) }
                td class="number" { b { (signed(found.difference)) } }
                td class="plot" { (whisker(found.difference, Some(found.interval), -reach, reach)) }
                td class="number" { @if let Some(value) = found.p_value { (wording::p_value(value)) } }
                td class="wide" { (reading(name, found)) }
            } } }
        } }
    };
    let hint = "Bars are 95 % intervals of the difference, from the same resampled intents for both. p: paired randomisation test, \
                not corrected for the number of figures.";
    section("Differences", hint, &content)
}

/// Better, worse or neither: the interval must leave 0 out, and the test, where there is one, must agree at 5 %.
fn reading(name: &str, found: &Difference) -> &'static str {
    let [low, high] = found.interval;
    let clear = (low > 0.0 || high < 0.0) && found.p_value.is_none_or(|value| value < 0.05);
    match (clear, (found.difference > 0.0) == lower_is_better(name)) {
        (false, _) => "no clear difference",
        (true, false) => "▲ better",
        (true, true) => "▼ worse",
    }
}

fn changes(title: &str, changes: &[Change]) -> Markup {
    if changes.is_empty() {
        return html! {};
    }
    let content = html! {
        div class="scroll" { table class="sortable changes" {
            thead { tr { th { "intent" } th { "expected" } th { "before" } th { "now" } } }
            tbody { @for change in changes.iter().take(MAX_CHANGES) { tr {
                td { (shortened(&change.intent, INTENT_CHARS)) }
                @for name in [&change.expected, &change.base, &change.other] { td { @if name.is_empty() { "(none)" } @else { code { (shortened(name, NAME_CHARS)) } } } }
            } } }
        } }
        (more(changes.len(), MAX_CHANGES))
    };
    section(title, "By their first candidate.", &content)
}
