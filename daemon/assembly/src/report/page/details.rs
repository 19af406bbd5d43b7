//! Tables of what the assembly is made of.

use fitment_catalog::Port;
use maud::{Markup, html};

use super::{foreign, foreign_or, heading, scrolled};
use crate::document::{ExternalPart, Source};
use crate::report::Compliance;
use crate::report::configuration::{Setting, Shown, settings};
use crate::report::text::{count, cut, day, days_left, visible};
use crate::report::view::View;

/// Characters of a configured value that are shown.
const VALUE_CHARS: usize = 400;

pub(super) fn parts(report: &Compliance<'_>) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Part" }
                th scope="col" { "What it is" }
                th scope="col" { "Certification" }
                th scope="col" { "Licence" }
                th scope="col" { "Owner" }
                th scope="col" { "Digest" }
            } }
            tbody { @for view in report.views() {
                tr {
                    th scope="row" { (view.id()) }
                    td class="prose" {
                        (foreign(&view.shown()))
                        @if let Some(manifest) = view.manifest() { div class="small" { (foreign(manifest.title())) } }
                    }
                    td class="prose" { (certification(&view)) }
                    td {
                        @let absent = if let Source::External(_) = view.part.source { "outside" } else { "not stated" };
                        (foreign_or(view.license().map(fitment_catalog::License::as_str), absent))
                    }
                    td { (foreign_or(view.owner(), "nobody named")) }
                    td { @match view.digest() { Some(digest) => code class="digest" { (digest) }, None => em class="absent" { "none" } } }
                }
            } }
        }
    };
    scrolled(heading("parts"), &table)
}

fn certification(view: &View<'_>) -> Markup {
    match view.certification() {
        Some((true, words)) => html! { span class="mark" { "✓" } " " (foreign(&words)) },
        Some((false, words)) => html! { span class="not declared" { "✗" } " " (foreign(&words)) },
        None if view.raw().is_some() => html! { em class="absent" { "certified for nothing" } },
        None => html! { em class="absent" { "outside" } },
    }
}

pub(super) fn configuration(report: &Compliance<'_>) -> Markup {
    let configured: Vec<(View<'_>, Vec<Setting>)> = report
        .views()
        .map(|view| (view, settings(report, &view)))
        .filter(|(_, settings)| !settings.is_empty())
        .collect();
    html! {
        @if configured.is_empty() { p { "Nothing is configured." } }
        @for (view, settings) in &configured {
            h3 { (view.id()) " " span class="of" { (visible(&view.shown())) } }
            (scrolled(&format!("Configuration of {}", view.id()), &html! {
                table class="settings" {
                    thead { tr { th scope="col" { "Property" } th scope="col" { "Value" } th scope="col" { "From" } } }
                    tbody { @for setting in settings {
                        tr {
                            th scope="row" { code { (foreign(&setting.pointer)) } }
                            td class="prose" { (value(&setting.value)) }
                            td { @if setting.bound { "assembly" } @else { em class="absent" { "default" } } }
                        }
                    } }
                }
            }))
        }
    }
}

fn value(value: &Shown) -> Markup {
    match value {
        Shown::Secret(reference) => html! {
            span class="badge secret" { "secret reference" } " " code { bdi { (cut(reference, VALUE_CHARS)) } }
        },
        Shown::Plain(text) => html! { code { bdi { (cut(text, VALUE_CHARS)) } } },
        Shown::Withheld(why) => html! { span class="badge bad" { "✗ withheld" } " " (why) },
    }
}

pub(super) fn raw(report: &Compliance<'_>) -> Markup {
    if report.views().all(|view| view.raw().is_none()) {
        return html! { p { "None." } };
    }
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Part" }
                th scope="col" { "Path" }
                th scope="col" class="number" { "Lines" }
                th scope="col" { "Owner" }
                th scope="col" { "Reviewer" }
                th scope="col" { "Licence" }
                th scope="col" { "Digest" }
            } }
            tbody { @for (view, raw) in report.views().filter_map(|view| Some((view, view.raw()?))) {
                tr {
                    th scope="row" { (view.id()) }
                    td class="prose" { code { (foreign(raw.path.as_str())) } }
                    td class="number" { @match view.lines() { Some(lines) => (count(u64::from(lines))), None => em class="absent" { "not stated" } } }
                    td { (required(raw.owner.as_deref(), "nobody")) }
                    td { (required(raw.reviewer.as_deref(), "not reviewed")) }
                    td { (foreign_or(raw.license.as_ref().map(fitment_catalog::License::as_str), "not stated")) }
                    td { @match view.digest() { Some(digest) => code class="digest" { (digest) }, None => em class="absent" { "not stated" } } }
                }
            } }
        }
    };
    scrolled(heading("raw"), &table)
}

/// Who it is, or, as something to be seen, that nobody is.
fn required(text: Option<&str>, absent: &str) -> Markup {
    html! { @if let Some(text) = text { (foreign(text)) } @else { span class="badge bad" { "✗ " (absent) } } }
}

pub(super) fn outside(report: &Compliance<'_>) -> Markup {
    let external = |view: &View<'_>| match &view.part.source {
        Source::External(external) => Some((view.id().to_owned(), external.clone())),
        Source::Component(_) | Source::Raw(_) => None,
    };
    let external: Vec<(String, ExternalPart)> = report.views().filter_map(|view| external(&view)).collect();
    if external.is_empty() {
        return html! { p { "Nothing." } };
    }
    let at = report.input.check.at;
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Part" }
                th scope="col" { "Run by" }
                th scope="col" { "Claims" }
                th scope="col" { "Proof" }
                th scope="col" class="number" { "Days left" }
                th scope="col" { "Document" }
            } }
            tbody { @for (id, external) in &external {
                tr {
                    th scope="row" { (id) }
                    td { (foreign(&external.owner)) }
                    td class="prose" { (claims(external)) }
                    td {
                        @if external.compliance.is_empty() { em class="absent" { "none needed" } }
                        @else if external.is_proven(at) { span class="badge good" { "counts" } }
                        @else { span class="badge bad" { "✗ does not count" } }
                        @if let Some(until) = external.valid_until { br; span class="nowrap" { "until " (day(until)) } }
                    }
                    td class="number" { @match external.valid_until { Some(until) => (count(days_left(at, until))), None => "–" } }
                    td { @match external.evidence { Some(digest) => code class="digest" { (digest) }, None => em class="absent" { "none" } } }
                }
            } }
        }
    };
    scrolled(heading("outside"), &table)
}

fn claims(external: &ExternalPart) -> Markup {
    html! {
        @for (standard, ids) in external.compliance.entries() {
            div {
                b { (visible(standard)) }
                @match ids {
                    None => " as a whole",
                    Some(ids) if ids.is_empty() => " by name",
                    Some(ids) => { ": " (ids.iter().map(|id| visible(id)).collect::<Vec<_>>().join(", ")) }
                }
            }
        }
    }
}

pub(super) fn connections(report: &Compliance<'_>) -> Markup {
    let assembly = report.input.assembly;
    let ports = report.ports();
    html! {
        @if assembly.connections().is_empty() { p { "None." } } @else {
            (scrolled(heading("connections"), &html! {
                table {
                    thead { tr {
                        th scope="col" { "From" }
                        th scope="col" { "To" }
                        th scope="col" { "Protocol" }
                        th scope="col" { "Authentication" }
                        th scope="col" { "Data" }
                    } }
                    tbody { @for connection in assembly.connections() {
                        @let ends = ports.ends(&connection.from, &connection.to);
                        tr {
                            th scope="row" { (connection.from) }
                            td { (connection.to) @if let Some(range) = &connection.version { " " span class="small" { (range) } } }
                            td { (both(ends.from, ends.to, Port::protocol)) }
                            td { (both(ends.from, ends.to, |port| port.authentication().as_str())) }
                            td { (words(connection.data_classes.iter().map(|class| class.as_str()))) }
                        }
                    } }
                }
            }))
        }
        @if !assembly.exposures().is_empty() {
            h3 { "Ports that somebody outside reaches" }
            (scrolled("Exposed ports", &html! {
                table {
                    thead { tr {
                        th scope="col" { "Port" }
                        th scope="col" { "Reached by" }
                        th scope="col" { "Protocol" }
                        th scope="col" { "Authentication" }
                        th scope="col" { "Data" }
                    } }
                    tbody { @for exposure in assembly.exposures() {
                        @let port = ports.offered(&exposure.port);
                        tr {
                            th scope="row" { (exposure.port) }
                            td { (exposure.audience.as_str()) }
                            td { (both(port, port, Port::protocol)) }
                            td { (both(port, port, |port| port.authentication().as_str())) }
                            td { @if let Some(port) = port { (words(port.data_classes().iter().map(|class| class.as_str()))) } }
                        }
                    } }
                }
            }))
        }
    }
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// What both ends say, once where they agree.
fn both<'p>(from: Option<&'p Port>, to: Option<&'p Port>, says: impl Fn(&'p Port) -> &'p str) -> Markup {
    match (from.map(&says), to.map(&says)) {
        (Some(from), Some(to)) if from == to => html! { (from) },
        (from, to) => html! {
            span class="badge bad" { "✗" } " " (from.unwrap_or("unknown")) " to " (to.unwrap_or("unknown"))
        },
    }
}
