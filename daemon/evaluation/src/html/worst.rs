//! The queries to look at first, with what each candidate's score was made of.

use maud::{Markup, html};

use super::{NAME_CHARS, section, shortened};
use crate::judgement::Judgement;
use crate::run::{Answer, Ranked, Run};
use crate::wording::{count, cut, figure, tier};

/// Queries that are shown, and those among them that may be confidently wrong.
const MAX_QUERIES: usize = 50;
const MAX_CONFIDENT: usize = 35;
/// Candidates of a query that are shown.
const MAX_CANDIDATES: usize = 5;
/// Signals that have a colour of their own; later ones share the last.
const COLORS: usize = 6;
/// Signals, labels and terms of one query that are shown.
const MAX_PARTS: usize = 8;
/// Characters of an intent, of a component's text, of a short word.
const INTENT_CHARS: usize = 240;
const TEXT_CHARS: usize = 180;
const WORD_CHARS: usize = 24;

/// Why a query is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Sure, and wrong.
    Confident,
    /// The right component is far down or not ranked.
    Missed,
}

/// The worst queries: the confidently wrong, surest first; then the missed, worst ranked first.
pub(super) fn queries(run: &Run) -> Markup {
    let worst = worst(run);
    if worst.is_empty() {
        return html! {};
    }
    let signals = signal_names(run);
    let content = html! {
        div class="tools" {
            label for="filter" { "Filter" }
            input id="filter" type="search" placeholder="intent, component, kind …" autocomplete="off";
            span id="filtered" {}
        }
        @if !signals.is_empty() {
            p class="keys" {
                @for (place, name) in signals.iter().enumerate() {
                    span { i class=(color(place)) {} (cut(name, WORD_CHARS)) }
                }
            }
        }
        div id="queries" { @for (fault, answer) in &worst { (query(*fault, answer, &signals)) } }
    };
    let hint = "Confidently wrong ones first, then those whose right component is far down. Bars show what each signal adds to a \
                candidate's score; hatched parts take away.";
    section("Worst queries", hint, &content)
}

fn worst(run: &Run) -> Vec<(Fault, &Answer)> {
    let sure = surety(run);
    let wrong = run.answers.iter().filter(|answer| !answer.first_is_right());
    let (mut confident, rest): (Vec<&Answer>, Vec<&Answer>) = wrong.partition(|answer| match run.promise {
        Some(_) => answer.answered(),
        None => answer.confidence >= sure && !answer.ranked.is_empty(),
    });
    confident.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then_with(|| a.id.cmp(&b.id)));
    let mut missed: Vec<(f64, &Answer)> = rest
        .into_iter()
        .filter(|answer| answer.in_scope())
        .map(|answer| (Judgement::of(answer).ndcg(10), answer))
        .collect();
    missed.sort_by(|(a, one), (b, other)| {
        a.total_cmp(b).then(other.confidence.total_cmp(&one.confidence)).then_with(|| one.id.cmp(&other.id))
    });
    let confident = confident.into_iter().take(MAX_CONFIDENT).map(|answer| (Fault::Confident, answer));
    confident.chain(missed.into_iter().map(|(_, answer)| (Fault::Missed, answer))).take(MAX_QUERIES).collect()
}

/// Without a promise: the median confidence of right answers.
fn surety(run: &Run) -> f64 {
    let right = run.answers.iter().filter(|answer| answer.first_is_right());
    let mut confidences: Vec<f64> = right.map(|answer| answer.confidence).collect();
    confidences.sort_by(f64::total_cmp);
    confidences.get(confidences.len() / 2).copied().unwrap_or(f64::NEG_INFINITY)
}

/// Names of the signals in the order of the first candidate that has any.
fn signal_names(run: &Run) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for signal in run.answers.iter().flat_map(|answer| &answer.ranked).flat_map(|candidate| &candidate.signals) {
        if names.len() < MAX_PARTS && !names.contains(&signal.name.as_str()) {
            names.push(&signal.name);
        }
    }
    names
}

fn color(place: usize) -> String {
    format!("s{}", place.min(COLORS - 1))
}

fn query(fault: Fault, answer: &Answer, signals: &[&str]) -> Markup {
    let total = |candidate: &Ranked| -> f64 { candidate.signals.iter().map(|signal| signal.share.abs()).sum() };
    let largest = answer.ranked.iter().take(MAX_CANDIDATES).map(total).fold(0.0, f64::max);
    let rank = answer.ranked.iter().position(|candidate| answer.grade(&candidate.component) > 0);
    html! {
        details class="query" {
            summary {
                span class=(if fault == Fault::Confident { "badge confident" } else { "badge missed" }) {
                    @if fault == Fault::Confident { "sure and wrong" } @else { "missed" }
                }
                span class="intent" { (shortened(&answer.intent, INTENT_CHARS)) }
                span class="sure" { "confidence " (figure(answer.confidence)) }
            }
            p class="facts" {
                span { "id " code { (shortened(&answer.id, NAME_CHARS)) } }
                (expected(answer))
                @if answer.in_scope() {
                    span { @if let Some(place) = rank { "first right one at rank " (place + 1) } @else { "no right one ranked" } }
                }
                @if let Some(kind) = &answer.kind { span { "kind " b { (cut(kind, WORD_CHARS)) } } }
                @if let Some(outcome) = answer.outcome { span { "answered " b { (tier(outcome)) } } }
                @if let Some(wanted) = answer.expected { span { "expected tier " b { (tier(wanted)) } } }
            }
            ol { @for candidate in answer.ranked.iter().take(MAX_CANDIDATES) { (explained(answer, candidate, signals, largest)) } }
            @if answer.ranked.is_empty() { p class="hint" { "No candidates." } }
        }
    }
}

fn expected(answer: &Answer) -> Markup {
    let labels: Vec<&String> = answer.relevant.iter().filter(|&(_, &grade)| grade > 0).map(|(name, _)| name).collect();
    html! {
        span {
            "right: "
            @if labels.is_empty() { b { "none, out of scope" } }
            @for (place, name) in labels.iter().take(MAX_PARTS).enumerate() {
                @if place > 0 { ", " }
                b { (shortened(name, NAME_CHARS)) }
            }
            @if labels.len() > MAX_PARTS { " and " (count((labels.len() - MAX_PARTS) as u64)) " more" }
        }
    }
}

fn explained(answer: &Answer, candidate: &Ranked, signals: &[&str], largest: f64) -> Markup {
    let right = answer.grade(&candidate.component) > 0;
    html! {
        li class=(if right { "is-right" } else { "" }) {
            div class="candidate" {
                span {
                    @if right { b class="mark" title="right" { "✓ " } }
                    (shortened(&candidate.title, NAME_CHARS)) " " code { (shortened(&candidate.component, NAME_CHARS)) }
                }
                span class="number" { (figure(candidate.score)) }
            }
            @if largest > 0.0 && !candidate.signals.is_empty() { (bar(candidate, signals, largest)) }
            @if !candidate.matched_text.is_empty() { p class="text" { (shortened(&candidate.matched_text, TEXT_CHARS)) } }
            @if !candidate.terms.is_empty() {
                p class="terms" { @for term in candidate.terms.iter().take(MAX_PARTS) { span { (cut(term, WORD_CHARS)) } " " } }
            }
        }
    }
}

/// The candidate's signals side by side; the bar of the largest candidate fills the width.
fn bar(candidate: &Ranked, signals: &[&str], largest: f64) -> Markup {
    let parts = candidate.signals.iter().take(MAX_PARTS);
    let written = |signal: &crate::run::Signal| {
        format!("{} {} adds {}", cut(&signal.name, WORD_CHARS), figure(signal.value), figure(signal.share))
    };
    let told: Vec<String> = parts.clone().map(written).collect();
    html! {
        div class="bar" role="img" aria-label=(told.join("; ")) {
            @for (signal, told) in parts.zip(&told) {
                @let place = signals.iter().position(|name| *name == signal.name).unwrap_or(COLORS);
                i class=(if signal.share < 0.0 { format!("{} less", color(place)) } else { color(place) })
                    style=(format!("width: {:.1}%", signal.share.abs() / largest * 100.0)) title=(told) {}
            }
        }
    }
}
