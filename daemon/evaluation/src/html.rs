//! Reports and comparisons as one self-contained page each.
//!
//! A page loads nothing and can be read without its script, which only sorts and filters. All foreign text is escaped and
//! cut, and every list is bounded, so that a page stays small whatever the run holds.

mod charts;
mod comparison;
mod figures;
mod mistakes;
mod overview;
mod worst;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::compare::Comparison;
use crate::report::Report;
use crate::run::Run;
use crate::wording::{cut, measured_on};

const STYLE: &str =
    concat!(include_str!("html/colors.css"), include_str!("html/page.css"), include_str!("html/charts.css"));
const SCRIPT: &str = include_str!("html/page.js");

/// Characters of a name that a page shows.
const NAME_CHARS: usize = 60;

/// The page of a report; `run` is what it was measured on.
pub fn report(run: &Run, report: &Report) -> String {
    let title = format!("{}: {}", measured_on(&report.dataset, &report.split), report.system);
    let content = html! {
        (overview::head(report))
        main {
            (overview::headline(report))
            div class="columns" {
                (charts::risk_coverage(run))
                (charts::confidence(run))
                @if let Some(calibration) = &report.calibration { (charts::reliability(calibration)) }
                (figures::tiers(report))
            }
            (figures::recalibration(report))
            (figures::main(report))
            (figures::out_of_scope(report))
            (figures::slices(report))
            (mistakes::pairs(run, report))
            (worst::queries(run))
            (overview::provenance(report))
        }
    };
    page(&title, &content)
}

/// The page of a comparison.
pub fn comparison(comparison: &Comparison) -> String {
    let (other, base) = (&comparison.other.system, &comparison.base.system);
    let title = format!("{}: {other} against {base}", measured_on(&comparison.dataset, &comparison.split));
    page(&title, &comparison::content(comparison))
}

fn page(title: &str, content: &Markup) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (cut(title, 3 * NAME_CHARS)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (content)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A section with a heading and a sentence on how to read it.
fn section(title: &str, hint: &str, content: &Markup) -> Markup {
    html! {
        section {
            h2 { (title) }
            p class="hint" { (hint) }
            (content)
        }
    }
}

/// A name or text, cut to `most` characters; what was cut is told under the pointer, cut itself.
fn shortened(text: &str, most: usize) -> Markup {
    const TOLD_CHARS: usize = 600;
    let shown = cut(text, most);
    html! {
        @if shown.ends_with('…') && !text.ends_with('…') { span title=(cut(text, TOLD_CHARS)) { (shown) } } @else { (shown) }
    }
}
