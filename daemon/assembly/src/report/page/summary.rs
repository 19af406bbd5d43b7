//! What a reader sees first: whether the assembly passes, how much of it is certified, what is open.

use maud::{Markup, html};

use super::{NAME_CHARS, foreign, foreign_or, heading, scrolled};
use crate::finding::Severity;
use crate::report::text::{count, counted, counted_lines, cut, days_left, minute};
use crate::report::view::Surface;
use crate::report::{CertificateStanding, Compliance};

/// The title, or the name where there is none.
pub(super) fn name(report: &Compliance<'_>) -> String {
    let assembly = report.input.assembly;
    assembly.title().map_or_else(|| assembly.name().to_string(), str::to_owned)
}

pub(super) fn head(report: &Compliance<'_>) -> Markup {
    let (assembly, check) = (report.input.assembly, report.input.check);
    html! {
        header {
            p class="kicker" { "Compliance report" }
            h1 { bdi { (cut(&name(report), NAME_CHARS)) } }
            p class="facts" {
                span { "assembly " b { (assembly.name()) } }
                span { "answered for by " b { (foreign_or(assembly.owner(), "nobody named")) } }
                span { "checked at " b { (minute(check.at)) } }
                span { "catalogue revision " b { (count(report.input.revision)) } }
            }
        }
    }
}

pub(super) fn verdict(report: &Compliance<'_>) -> Markup {
    let found = |severity| report.findings(severity).count() as u64;
    let (errors, warnings, notes) = (found(Severity::Error), found(Severity::Warning), found(Severity::Note));
    let (covered, declared) = report.coverage.declared();
    html! {
        div class=(if errors == 0 { "banner kept" } else { "banner broken" }) {
            p { b {
                @if errors == 0 { "✓ The assembly passes its check." } @else { "✗ The assembly does not pass its check." }
            } }
            p class="small" {
                (counted(errors, "error", "errors")) ", " (counted(warnings, "warning", "warnings")) ", "
                (counted(notes, "note", "notes")) "."
            }
        }
        @if covered < declared {
            div class="banner broken" {
                p { b { "✗ " (counted((declared - covered) as u64, "declared requirement is", "declared requirements are")) " covered by no certificate." } }
                p class="small" { "Marked in the coverage below, with what is claimed instead." }
            }
        }
    }
}

pub(super) fn cards(report: &Compliance<'_>) -> Markup {
    let (surface, lines) = report.surface();
    let of = |sort| count(surface.get(&sort).copied().unwrap_or_default() as u64);
    let (covered, declared) = report.coverage.declared();
    let at = report.input.check.at;
    let in_force = || report.certificates.iter().filter(|it| it.record.standing(at) == CertificateStanding::InForce);
    let next = in_force().filter_map(|it| it.record.valid_until).min();
    html! {
        div class="cards" {
            (card("Components as they are", "nothing generated", &of(Surface::Nothing), ""))
            (card("Components configured", "only values generated", &of(Surface::Configuration), ""))
            (card("Raw code", "to be answered for", &of(Surface::Code), &counted_lines(lines)))
            (card("Outside", "run elsewhere", &of(Surface::Outside), ""))
            (card("Requirements covered", "of those declared", &format!("{covered} / {declared}"), ""))
            (card("Certificates", "in force", &count(in_force().count() as u64), &next.map_or_else(String::new, |until| {
                format!("the next ends in {}", counted(days_left(at, until), "day", "days"))
            })))
        }
    }
}

fn card(title: &str, hint: &str, value: &str, more: &str) -> Markup {
    html! {
        div class="card" {
            p class="name" { (title) " " span { (hint) } }
            p class="value" { (value) }
            @if !more.is_empty() { p class="range" { (more) } }
        }
    }
}

pub(super) fn findings(report: &Compliance<'_>) -> Markup {
    let findings = &report.findings;
    if findings.is_empty() {
        return html! { p { "None." } };
    }
    let table = html! {
        table class="findings" {
            thead { tr {
                th scope="col" { "Severity" }
                th scope="col" { "Rule" }
                th scope="col" { "Where" }
                th scope="col" { "Reason" }
                th scope="col" { "Way out" }
            } }
            tbody { @for finding in findings {
                tr {
                    td { (severity(finding.severity)) }
                    th scope="row" { (foreign(&finding.rule)) }
                    td {
                        @if let Some(part) = &finding.place.part { (foreign(part)) br; }
                        @if let Some(connection) = &finding.place.connection { (foreign(connection)) br; }
                        code { (foreign(&finding.place.pointer)) }
                    }
                    td class="prose" { (foreign(&finding.reason)) }
                    td class="prose" { (foreign(&finding.way_out)) }
                }
            } }
        }
    };
    scrolled(heading("findings"), &table)
}

fn severity(severity: Severity) -> Markup {
    let (class, sign) = match severity {
        Severity::Error => ("badge bad", "✗ "),
        Severity::Warning => ("badge soon", "! "),
        Severity::Note => ("badge", ""),
    };
    html! { span class=(class) { (sign) (severity.as_str()) } }
}

/// Digests, and what the report leaves unsaid.
pub(super) fn provenance(report: &Compliance<'_>) -> Markup {
    let check = report.input.check;
    html! {
        h2 { (heading("provenance")) }
        dl {
            dt { "assembly" } dd { code { (check.assembly) } }
            dt { "organisation's policies" } dd { code { (check.policies) } }
            dt { "Cedar policies" } dd { code { (check.invariants) } }
            dt { "catalogue revision" } dd { (report.input.revision) }
            dt { "checked at" } dd { code { (check.at) } }
            dt { "written by" } dd { "fitment " (env!("CARGO_PKG_VERSION")) }
        }
        h3 { "What this report does not say" }
        ul class="unsaid" {
            li { "That the parts behave as their certificates say. It says who certified what, for how long, and on what evidence." }
            li { "What the evidence says. It is named by its digest and was not read." }
            li { "Anything about a later instant. A certificate may be revoked the moment after." }
            li { "What the parts are themselves built from." }
            li { "That this page is genuine. The signature over the report's files says so." }
        }
    }
}
