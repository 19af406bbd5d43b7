//! Certificates, with how long each still holds.

use maud::{Markup, html};

use super::{foreign, heading, scrolled};
use crate::report::text::{count, counted, cut, day, days_left};
use crate::report::view::View;
use crate::report::{CertificateRecord, CertificateStanding, Compliance, CoveredStandard};

/// Days left at which a reader should act.
const SOON_DAYS: u64 = 30;

pub(super) fn content(report: &Compliance<'_>) -> Markup {
    if report.certificates.is_empty() {
        return html! { p { "No certificate is recorded: nothing is covered." } };
    }
    let views: Vec<View<'_>> = report.views().collect();
    let table = html! {
        table class="certificates" {
            thead { tr {
                th scope="col" { "No." }
                th scope="col" { "Part" }
                th scope="col" { "Covers" }
                th scope="col" { "Validity" }
                th scope="col" class="number" { "Days left" }
                th scope="col" { "Issued by key" }
                th scope="col" { "Digest and evidence" }
            } }
            tbody { @for (i, listed) in report.certificates.iter().enumerate() {
                tr id=(format!("c{}", i + 1)) {
                    th scope="row" { (i + 1) }
                    td { @for place in &listed.parts { div { (views[*place].id()) } } }
                    td { (covers(listed.record)) }
                    td { (validity(report, listed.record)) }
                    td class="number" { (left(report, listed.record)) }
                    td { @for key in &listed.record.issuers { div { code { (foreign(key)) } } } }
                    td { (digests(listed.record)) }
                }
            } }
        }
    };
    scrolled(heading("certificates"), &table)
}

fn covers(record: &CertificateRecord) -> Markup {
    let ids = |covered: &CoveredStandard| {
        if covered.requirements.is_empty() {
            "as a whole".to_owned()
        } else {
            covered.requirements.iter().map(|id| cut(id, 64)).collect::<Vec<_>>().join(", ")
        }
    };
    html! {
        @if record.standards.is_empty() { em class="absent" { "nothing" } }
        @for covered in &record.standards {
            div class="prose" {
                b { (foreign(&covered.standard)) } ": " (ids(covered))
                @if let Some(level) = &covered.level { " (" (foreign(level)) ")" }
            }
        }
        @if !record.conditions.is_empty() {
            div class="prose small" { "Holds if:" ul { @for condition in &record.conditions { li { (foreign(condition)) } } } }
        }
    }
}

fn validity(report: &Compliance<'_>, record: &CertificateRecord) -> Markup {
    let standing = record.standing(report.input.check.at);
    let class = match standing {
        CertificateStanding::InForce => "badge good",
        CertificateStanding::NotYet => "badge soon",
        CertificateStanding::Over | CertificateStanding::Refused => "badge bad",
    };
    html! {
        span class="nowrap" { (day(record.issued)) " to" } " "
        span class="nowrap" { @match record.valid_until { Some(until) => (day(until)), None => "no end stated" } }
        br;
        span class=(class) { (standing.as_str()) }
        @if let Some(why) = &record.refused { div class="prose small" { (foreign(why)) } }
    }
}

fn left(report: &Compliance<'_>, record: &CertificateRecord) -> Markup {
    let at = report.input.check.at;
    match (record.standing(at), record.valid_until) {
        (CertificateStanding::InForce, Some(until)) => {
            let days = days_left(at, until);
            let shown = count(days);
            html! { @if days < SOON_DAYS { span class="badge soon" { "! " (shown) } } @else { (shown) } }
        }
        (CertificateStanding::InForce, None) => html! { "–" },
        (CertificateStanding::NotYet | CertificateStanding::Over | CertificateStanding::Refused, _) => html! { "0" },
    }
}

fn digests(record: &CertificateRecord) -> Markup {
    html! {
        code class="digest" { (record.digest) }
        @if record.evidence.is_empty() {
            div class="small" { "names no evidence" }
        } @else {
            div class="small" { (counted(record.evidence.len() as u64, "document", "documents")) " of evidence:" }
            ul {
                @for evidence in &record.evidence {
                    li {
                        (foreign(&evidence.kind)) ", " (foreign(&evidence.media_type))
                        @if let Some(uri) = &evidence.uri { ", " (foreign(uri)) }
                        code class="digest" { (evidence.digest) }
                    }
                }
            }
        }
    }
}
