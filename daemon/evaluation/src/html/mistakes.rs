//! Components that are taken for each other.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::figures::more;
use super::{NAME_CHARS, section, shortened};
use crate::confusion::ConfusedPair;
use crate::report::Report;
use crate::run::{Ranked, Run};
use crate::wording::count;

/// Pairs that are shown.
const MAX_PAIRS: usize = 30;
/// Characters of a component's text, and of an intent.
const TEXT_CHARS: usize = 200;

/// Any candidate of each component: it tells title and text.
type Seen<'run> = BTreeMap<&'run str, &'run Ranked>;

/// The most confused pairs, side by side.
pub(super) fn pairs(run: &Run, report: &Report) -> Markup {
    if report.confused_pairs.is_empty() {
        return html! {};
    }
    let mut seen = Seen::new();
    for candidate in run.answers.iter().flat_map(|answer| &answer.ranked) {
        seen.entry(&candidate.component).or_insert(candidate);
    }
    let content = html! {
        @for pair in report.confused_pairs.iter().take(MAX_PAIRS) { (one(pair, &seen)) }
        (more(report.confused_pairs.len(), MAX_PAIRS))
    };
    let hint = "One was put first where the other was right. Texts that set the two apart would help most here.";
    section("Most confused components", hint, &content)
}

fn one(pair: &ConfusedPair, seen: &Seen<'_>) -> Markup {
    html! {
        details class="pair" {
            summary {
                span class="name" { (shortened(&pair.expected, NAME_CHARS)) }
                span class="arrow" { " taken for " }
                span class="name" { (shortened(&pair.chosen, NAME_CHARS)) }
                span class="times" { (count(pair.count)) "×" @if pair.reverse > 0 { ", the other way " (count(pair.reverse)) "×" } }
            }
            div class="sides" {
                (side("expected", &pair.expected, seen))
                (side("chosen", &pair.chosen, seen))
            }
            ul { @for example in &pair.examples { li { (shortened(&example.intent, TEXT_CHARS)) } } }
        }
    }
}

fn side(role: &str, component: &str, seen: &Seen<'_>) -> Markup {
    let candidate = seen.get(component);
    html! {
        div {
            p class="role" { (role) }
            p { b { (shortened(candidate.map_or("", |found| &found.title), NAME_CHARS)) } " " code { (shortened(component, NAME_CHARS)) } }
            p class="text" { (shortened(candidate.map_or("", |found| &found.matched_text), TEXT_CHARS)) }
        }
    }
}
