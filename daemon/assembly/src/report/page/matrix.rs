//! The coverage matrix: a row for each requirement, a column for each part that has anything to say.

use maud::{Markup, html};

use super::{heading, scrolled};
use crate::report::text::{count, visible};
use crate::report::view::View;
use crate::report::{Asked, Compliance, Cover, Row};

pub(super) const HINT: &str = "What a certificate in force covers is covered; anything else is not, whatever is claimed. \
    ✓ and the certificate's number: covered. ◇ claimed with a document that is named. ○ claimed only. · nothing.";

/// Most parts side by side; more are shown in a further table.
const MAX_COLUMNS: usize = 14;

pub(super) fn content(report: &Compliance<'_>) -> Markup {
    let rows = &report.coverage.rows;
    if rows.is_empty() {
        return html! { p { "No standard is declared, claimed or covered." } };
    }
    let says = |view: &View<'_>| rows.iter().any(|row| row.parts[view.place] != Cover::NotCovered);
    let (columns, silent): (Vec<View<'_>>, Vec<View<'_>>) = report.views().partition(says);
    let tables = columns.len().div_ceil(MAX_COLUMNS).max(1);
    html! {
        @for i in 0..tables {
            @let columns = columns.chunks(MAX_COLUMNS).nth(i).unwrap_or_default();
            // The first table has every row; further ones those that their parts have something to say of.
            @let says = |row: &Row| i == 0 || columns.iter().any(|view| row.parts[view.place] != Cover::NotCovered);
            @let name = if tables == 1 { heading("coverage").to_owned() } else { format!("{}, table {} of {tables}", heading("coverage"), i + 1) };
            @if tables > 1 { h3 { (name) } }
            (scrolled(&name, &table(report, columns, &says)))
        }
        @if !silent.is_empty() {
            p class="small silent" {
                b { "Covered for nothing, and claiming nothing: " }
                @for (i, view) in silent.iter().enumerate() { @if i > 0 { ", " } (view.id()) }
                "."
            }
        }
    }
}

fn table(report: &Compliance<'_>, columns: &[View<'_>], says: &dyn Fn(&Row) -> bool) -> Markup {
    html! {
        table class="matrix" {
            thead { tr {
                th scope="col" { "Requirement" }
                th scope="col" { "In the assembly" }
                @for view in columns { th scope="col" class="turned" { span { (view.id()) } } }
            } }
            @for (standard, rows) in report.coverage.standards() {
                @if rows.iter().any(says) {
                    tbody {
                        tr class="standard" {
                            th scope="rowgroup" { (visible(standard)) }
                            td class="tally" colspan=(columns.len() + 1) {
                                (count(rows.iter().filter(|row| row.best().is_certified()).count() as u64)) " of "
                                (count(rows.len() as u64)) " covered"
                            }
                        }
                        @for row in rows.iter().filter(|row| says(row)) { (drawn_row(row, columns)) }
                    }
                }
            }
        }
    }
}

fn drawn_row(row: &Row, columns: &[View<'_>]) -> Markup {
    html! {
        tr {
            th scope="row" {
                @match &row.asked {
                    Asked::Named => em { "by name" },
                    Asked::Whole => em { "as a whole" },
                    Asked::Requirement(id) => (visible(id)),
                }
                @if row.declared { " " span class="badge declared" { "declared" } }
            }
            td { (best(row)) }
            @for view in columns { (cell(&row.parts[view.place])) }
        }
    }
}

/// In words: covered or not, and what is claimed instead.
fn best(row: &Row) -> Markup {
    match row.best() {
        Cover::Certified(_) => html! { span class="mark" { "✓ covered" } },
        // What nobody declared is no promise of the assembly.
        cover => html! {
            span class=(if row.declared { "not declared" } else { "not" }) { "✗ not covered" }
            @if *cover != Cover::NotCovered { span class="instead" { (cover.as_str()) } }
        },
    }
}

fn cell(cover: &Cover) -> Markup {
    html! {
        @match cover {
            Cover::NotCovered => td class="cell" { span aria-hidden="true" { "·" } span class="heard" { "not covered" } },
            Cover::Claimed => td class="cell claimed" { span aria-hidden="true" { "○" } span class="heard" { "not covered, claimed only" } },
            Cover::Evidence => td class="cell claimed" { span aria-hidden="true" { "◇" } span class="heard" { "not covered, claimed with evidence" } },
            Cover::Certified(numbers) => td class="cell covered" {
                span class="heard" { "covered by certificate " }
                span aria-hidden="true" { "✓" }
                @for number in numbers { " " a href=(format!("#c{number}")) { (number) } }
            },
        }
    }
}
