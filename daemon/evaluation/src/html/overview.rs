//! What a reader sees first, and what is needed to repeat the run.

use maud::{Markup, html};

use super::{NAME_CHARS, shortened};
use crate::report::{Report, Verdict};
use crate::table::verdict;
use crate::wording::{self, count, cut, figure, interval, percent};

/// Title and where the figures come from.
pub(super) fn head(report: &Report) -> Markup {
    html! {
        header {
            p class="kicker" { "Evaluation" }
            h1 { (shortened(&report.dataset, NAME_CHARS)) " / " (shortened(&report.split, NAME_CHARS)) }
            p class="facts" {
                span { "system " b { (shortened(&report.system, NAME_CHARS)) } }
                @if !report.model.is_empty() { span { "model " b { (shortened(&report.model, NAME_CHARS)) } } }
                span { b { (count(report.n_in_scope)) } " intents in scope" }
                span { b { (count(report.n_out_of_scope)) } " out of scope" }
                span { b { (count(report.n_components as u64)) } " components" }
            }
        }
    }
}

/// The main figures and whether the promise held.
pub(super) fn headline(report: &Report) -> Markup {
    let cards = [
        ("hit@1", "Right first", "hit@1"),
        ("ndcg@10", "Ranking", "nDCG@10"),
        ("auroc", "Scope told apart", "AUROC"),
        ("coverage", "Answered", "coverage"),
        ("precision", "Answers right", "precision"),
    ];
    let all = report.n_in_scope + report.n_out_of_scope;
    html! {
        @if let Some(warning) = wording::in_sample(report.in_sample, all) {
            p class="banner broken" role="alert" { b { "✗ " (warning) ": " (wording::FLATTERED) "." } }
        }
        div class="cards" {
            @for (metric, title, name) in cards {
                @if let Some(&value) = report.metrics.get(metric) {
                    div class="card" {
                        p class="name" { (title) " " span { (name) } }
                        p class="value" { (figure(value)) }
                        @if let Some(&range) = report.intervals.get(metric) { p class="range" { "95 %: " (interval(range)) } }
                    }
                }
            }
        }
        (promise(report))
    }
}

fn promise(report: &Report) -> Markup {
    let (Some(promise), Some(check)) = (&report.promise, &report.promise_check) else {
        return html! { p class="banner" { "No promise was in force: candidates were listed, nothing was answered." } };
    };
    let class = match check.verdict {
        Verdict::Untested => "banner",
        Verdict::Kept => "banner kept",
        Verdict::WithinChance => "banner chance",
        Verdict::Broken => "banner broken",
    };
    html! {
        div class=(class) {
            p {
                b { @match check.verdict {
                    Verdict::Untested => "– ",
                    Verdict::Kept => "✓ ",
                    Verdict::WithinChance => "≈ ",
                    Verdict::Broken => "✗ ",
                } }
                b { (verdict(promise, check)) }
            }
            p class="small" {
                @if !promise.text.is_empty() { (cut(&promise.text, 300)) " " }
                "Fitted on " (count(promise.n_in_scope)) " intents in scope and " (count(promise.n_out_of_scope))
                " out of scope: threshold " (figure(promise.threshold)) ", error bound " (percent(promise.error_bound))
                " at " (percent(promise.confidence_level)) " confidence, coverage " (percent(promise.coverage)) "."
            }
        }
    }
}

/// Digests, what was fitted on, times.
pub(super) fn provenance(report: &Report) -> Markup {
    let times = [("whole", &report.timing.whole_ms), ("encoding", &report.timing.encode_ms)];
    html! {
        footer {
            h2 { "Provenance" }
            dl {
                dt { "data set digest" } dd { code { (cut(&report.dataset_digest, 80)) } }
                @if !report.model_digest.is_empty() { dt { "model digest" } dd { code { (cut(&report.model_digest, 80)) } } }
                @if !report.model.is_empty() { dt { "fitted on" } dd { (wording::fitted_on(&report.fitted_on)) } }
                @for (name, latency) in times {
                    @if let Some(found) = latency {
                        dt { (name) " time" }
                        dd { (format!("p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, mean {:.2} ms", found.p50, found.p90, found.p99, found.mean)) }
                    }
                }
                dt { "intervals" } dd { "95 %, percentile bootstrap over 1,000 resamples of the intents, seeded" }
            }
        }
    }
}
