//! Reports and comparisons as text for a terminal, at most 100 columns wide.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::compare::{Change, Comparison};
use crate::report::{PromiseCheck, Report, Verdict};
use crate::run::{Promise, Tier};
use crate::wording::{self, count, cut, dimension, figure, interval, label, percent, signed};

/// Columns of a terminal.
const WIDTH: u16 = 100;
/// Values of one dimension that are shown.
const MAX_SLICES: usize = 10;
/// Pairs and changed queries that are shown.
const MAX_ROWS: usize = 10;
/// Characters of a name, and of an intent.
const NAME_CHARS: usize = 36;
const INTENT_CHARS: usize = 60;

/// A report: main figures, the promise, out-of-scope kinds, tiers, slices, confused pairs.
pub fn report(report: &Report) -> String {
    let mut text = heading(report);
    let sections = [
        ("Figures", figures(report)),
        ("Out of scope", kinds(report)),
        ("Tiers: how much is to be generated in truth (rows), and what was answered (columns)", tiers(report)),
        ("Recalibrations", recalibration(report)),
        ("Slices of the in-scope intents", slices(report)),
        ("Most confused", pairs(report)),
        ("Time, ms", timing(report)),
    ];
    for (title, table) in sections {
        section(&mut text, title, &table);
    }
    text
}

/// A comparison: differences, wins and losses, changed queries.
pub fn comparison(comparison: &Comparison) -> String {
    let outcomes = comparison.hit_at_1;
    let mut text = format!(
        "{}: {} against {} ({} in scope, {} out of scope)\nhit@1: {} won, {} lost, {} alike\n",
        cut(&wording::measured_on(&comparison.dataset, &comparison.split), NAME_CHARS),
        cut(&comparison.other.system, NAME_CHARS),
        cut(&comparison.base.system, NAME_CHARS),
        count(comparison.n_in_scope),
        count(comparison.n_out_of_scope),
        count(outcomes.wins),
        count(outcomes.losses),
        count(outcomes.ties)
    );
    section(&mut text, "Differences", &differences(comparison));
    section(&mut text, "Right before, wrong now", &changes(&comparison.broken));
    section(&mut text, "Wrong before, right now", &changes(&comparison.fixed));
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    if !table.is_empty() {
        let _ = write!(text, "\n{title}\n{}\n", table.trim_fmt());
    }
}

fn heading(report: &Report) -> String {
    let mut text = format!(
        "{}: {}\n{} intents in scope, {} out of scope; {} components; model {}\n",
        cut(&wording::measured_on(&report.dataset, &report.split), NAME_CHARS),
        cut(&report.system, NAME_CHARS),
        count(report.n_in_scope),
        count(report.n_out_of_scope),
        count(report.n_components as u64),
        if report.model.is_empty() { "none".to_owned() } else { cut(&report.model, NAME_CHARS) },
    );
    // Of somebody else's system it is not known.
    if !report.model.is_empty() {
        let _ = writeln!(text, "fitted on {}", wording::fitted_on(&report.fitted_on));
    }
    if let Some(warning) = wording::in_sample(report.in_sample, report.n_in_scope + report.n_out_of_scope) {
        let _ = writeln!(text, "!!! {warning}:\n!!! {}", wording::FLATTERED);
    }
    if let (Some(promise), Some(check)) = (&report.promise, &report.promise_check) {
        let _ = writeln!(text, "{}", verdict(promise, check));
    }
    text
}

/// Whether a promise held, in a line.
pub(crate) fn verdict(promise: &Promise, check: &PromiseCheck) -> String {
    let word = match check.verdict {
        Verdict::Untested => "untested",
        Verdict::Kept => "kept",
        Verdict::WithinChance => "missed, within chance",
        Verdict::Broken => "broken",
    };
    format!(
        "promise {word}: at most {} of the answers wrong, {} of {} were (p = {})",
        percent(promise.max_error),
        count(check.errors),
        count(check.answered),
        wording::p_value(check.p_value)
    )
}

/// An empty table whose columns from `first_number` on are set to the right.
fn table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.force_no_tty();
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn figures(report: &Report) -> Table {
    let mut table = table(&["figure", "value", "95 % interval"], 1);
    for name in wording::MAIN {
        if let Some(&value) = report.metrics.get(name) {
            let range = report.intervals.get(name).map_or_else(String::new, |&range| interval(range));
            table.add_row([label(name), figure(value), range]);
        }
    }
    table
}

fn kinds(report: &Report) -> Table {
    let header = ["kind", "n", "AUROC", "FPR95", "AURC", "coverage at 95 %", "coverage", "precision", "answered"];
    let mut table = table(&header, 1);
    let shown = |value: Option<f64>| value.map_or_else(String::new, figure);
    for (kind, found) in &report.out_of_scope {
        let answered = found.false_match_rate.map_or_else(String::new, percent);
        let figures = [found.auroc, found.fpr95, found.aurc, found.coverage_at_95, found.coverage, found.precision];
        let row = [cut(kind, NAME_CHARS), count(found.n)].into_iter().chain(figures.map(shown));
        table.add_row(row.chain([answered]));
    }
    table
}

fn tiers(report: &Report) -> Table {
    let answered = Tier::ALL.map(|tier| format!("answered {}", wording::tier(tier)));
    let header: Vec<&str> = std::iter::once("in truth").chain(answered.iter().map(String::as_str)).collect();
    let mut table = table(&header, 1);
    let Some(tiers) = &report.tiers else { return table };
    for (expected, answered) in &tiers.confusion {
        let counts = answered.values().map(|&n| count(n));
        let truth = format!("{}: {}", wording::tier(*expected), wording::tier_meaning(*expected));
        table.add_row(std::iter::once(truth).chain(counts));
    }
    table
}

fn recalibration(report: &Report) -> Table {
    let mut table = table(&["", ""], 1);
    let Some(found) = &report.recalibration else { return table };
    for (name, value) in wording::recalibration(found) {
        table.add_row([name, value]);
    }
    table
}

fn slices(report: &Report) -> Table {
    let mut table = table(&["", "", "n", "hit@1", "95 % interval", "nDCG@10", "95 % interval"], 2);
    for (name, slices) in &report.slices {
        for (place, slice) in slices.iter().take(MAX_SLICES).enumerate() {
            let mut row = vec![if place == 0 { dimension(name).to_owned() } else { String::new() }];
            row.extend([cut(&slice.value, NAME_CHARS), count(slice.n)]);
            for metric in ["hit@1", "ndcg@10"] {
                row.push(slice.metrics.get(metric).map_or_else(String::new, |&value| figure(value)));
                row.push(slice.intervals.get(metric).map_or_else(String::new, |&range| interval(range)));
            }
            table.add_row(row);
        }
        if let Some(more) = slices.len().checked_sub(MAX_SLICES).filter(|&more| more > 0) {
            table.add_row([String::new(), format!("… {more} more")]);
        }
    }
    table
}

fn pairs(report: &Report) -> Table {
    let mut table = table(&["expected", "got", "times", "the other way"], 2);
    for pair in report.confused_pairs.iter().take(MAX_ROWS) {
        let names = [&pair.expected, &pair.chosen].map(|name| cut(name, NAME_CHARS));
        table.add_row(names.into_iter().chain([pair.count, pair.reverse].map(count)));
    }
    table
}

fn timing(report: &Report) -> Table {
    let mut table = table(&["", "p50", "p90", "p99", "mean"], 1);
    for (name, latency) in [("whole", &report.timing.whole_ms), ("encoding", &report.timing.encode_ms)] {
        if let Some(found) = latency {
            let times = [found.p50, found.p90, found.p99, found.mean].map(|time| format!("{time:.2}"));
            table.add_row(std::iter::once(name.to_owned()).chain(times));
        }
    }
    table
}

fn differences(comparison: &Comparison) -> Table {
    let mut table = table(&["figure", "before", "now", "difference", "95 % interval", "p"], 1);
    for name in wording::MAIN {
        if let Some(found) = comparison.differences.get(name) {
            let [low, high] = found.interval.map(signed);
            table.add_row([
                label(name),
                figure(found.base),
                figure(found.other),
                signed(found.difference),
                format!("{low} to {high}"),
                found.p_value.map_or_else(String::new, wording::p_value),
            ]);
        }
    }
    table
}

/// A component, or that there is none.
fn or_none(component: &str) -> &str {
    if component.is_empty() { "(none)" } else { component }
}

fn changes(changes: &[Change]) -> Table {
    let mut table = table(&["intent", "expected", "before", "now"], 4);
    for change in changes.iter().take(MAX_ROWS) {
        let names = [&change.expected, &change.base, &change.other].map(|name| cut(or_none(name), NAME_CHARS));
        table.add_row(std::iter::once(cut(&change.intent, INTENT_CHARS)).chain(names));
    }
    if let Some(more) = changes.len().checked_sub(MAX_ROWS).filter(|&more| more > 0) {
        table.add_row([format!("… {more} more")]);
    }
    table
}
