//! The report as one self-contained page.
//!
//! It loads nothing, has no script, and its only style is the one whose hash its policy names, so that a text that were
//! to break out of its place could neither run nor change how the page looks. All foreign text is escaped, cut, and shown
//! with its hidden characters.

mod certificates;
mod details;
mod matrix;
mod summary;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fitment_catalog::Digest;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Compliance;
use super::text::{cut, visible};

const STYLE: &str =
    concat!(include_str!("page/colors.css"), include_str!("page/page.css"), include_str!("page/graph.css"));

/// Characters of a name that headings show.
const NAME_CHARS: usize = 120;

/// Sections in reading order: anchor and heading.
const SECTIONS: [(&str, &str); 10] = [
    ("picture", "Picture"),
    ("findings", "Open findings"),
    ("coverage", "Coverage"),
    ("certificates", "Certificates"),
    ("parts", "Parts"),
    ("configuration", "Configuration as bound"),
    ("raw", "Raw code"),
    ("outside", "Outside the assembly"),
    ("connections", "Connections"),
    ("provenance", "Provenance"),
];

pub(super) fn document(report: &Compliance<'_>) -> String {
    let hash = STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Compliance of " (cut(&summary::name(report), NAME_CHARS)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (summary::head(report))
                main {
                    (summary::verdict(report))
                    (summary::cards(report))
                    (contents())
                    (section("picture", "Arrows lead from the part that connects to the one that answers.", &super::graph::picture(report)))
                    (section("findings", "What the check found, in the order of the document.", &summary::findings(report)))
                    (section("coverage", matrix::HINT, &matrix::content(report)))
                    (section("certificates", "Numbered as in the coverage. Days left are counted from the instant of the check.", &certificates::content(report)))
                    (section("parts", "In the order of the document.", &details::parts(report)))
                    (section("configuration", "One value a line, by its JSON pointer. Secrets are references; a value that a finding is about is withheld.", &details::configuration(report)))
                    (section("raw", "Code that no certificate stands behind: a person answers for each line.", &details::raw(report)))
                    (section("outside", "Systems that the assembly connects to. What they claim is their own word and that of the document named.", &details::outside(report)))
                    (section("connections", "From the required port to the one that answers.", &details::connections(report)))
                }
                footer id="provenance" { (summary::provenance(report)) }
            }
        }
    };
    page.into_string()
}

fn contents() -> Markup {
    html! {
        nav aria-label="Sections" {
            ul { @for (id, heading) in SECTIONS { li { a href=(format!("#{id}")) { (heading) } } } }
        }
    }
}

fn heading(id: &str) -> &'static str {
    SECTIONS.iter().find(|(anchor, _)| *anchor == id).map_or("", |(_, heading)| heading)
}

/// A section with a heading and a sentence on how to read it.
fn section(id: &str, hint: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby=(format!("{id}-heading")) {
            h2 id=(format!("{id}-heading")) { (heading(id)) }
            p class="hint" { (hint) }
            (content)
        }
    }
}

/// A table that scrolls inside its place when it is wider, with a name for who cannot see that.
fn scrolled(name: &str, table: &Markup) -> Markup {
    html! { div class="scroll" tabindex="0" role="region" aria-label=(format!("Table: {name}")) { (table) } }
}

/// Text of somebody else: whatever its direction, it does not reach beyond itself.
fn foreign(text: &str) -> Markup {
    html! { bdi { (visible(text)) } }
}

/// The same, or a word for its absence.
fn foreign_or(text: Option<&str>, absent: &str) -> Markup {
    html! { @if let Some(text) = text { (foreign(text)) } @else { em class="absent" { (absent) } } }
}
