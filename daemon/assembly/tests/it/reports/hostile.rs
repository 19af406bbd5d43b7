//! Texts from outside, whatever they hold, stay texts.

use fitment_assembly::{Certification, Compliance, PartRecord, Report, ReportInput};
use fitment_catalog::RelativePath;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::records::{check_cyclonedx, check_oscal, records};
use crate::support::{Catalogue, assembly, part, portal_value, report};

const FRAGMENTS: [&str; 22] = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></svg></table></title>",
    "<!--",
    "-->",
    "]]>",
    "&lt;&amp;&#x3c;script&#x3e;",
    "\u{0}\u{1b}[31m",
    "\n\r\t",
    "\u{202e}desrever\u{2066}",
    "\u{200f}שלום",
    "العربية",
    "\u{2028}\u{2029}\u{feff}",
    "{{ insert: param, x }}",
    "[link](javascript:alert(1)) `code` **b** # h",
    "\\u0000 \\ \\\\",
    "💥\u{200d}💥",
    "a/b/../c%00",
    "=1+1",
    " ",
    "\u{e0001}\u{fff9}",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
];

/// Any text, mostly of pieces that have broken other programs.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![4 => select(&FRAGMENTS[..]).prop_map(str::to_owned), 1 => any::<String>()];
    vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// A text as a document takes it: one line of at most 120 characters, without overrides, not blank.
fn line(text: &str) -> String {
    let hidden =
        |c: char| c <= '\u{1f}' || c == '\u{7f}' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let line: String = text.chars().filter(|c| !hidden(*c)).take(118).collect();
    format!("x{line}")
}

/// The portal with one text wherever a document, a record or a finding may hold any.
fn reported(text: &str) -> (Vec<u8>, Vec<u8>, String) {
    let mut portal = portal_value();
    let said = line(text);
    portal["title"] = said.as_str().into();
    portal["owner"] = said.as_str().into();
    let journal = &mut part(&mut portal, "journal")["raw"];
    journal["owner"] = said.as_str().into();
    journal["reviewer"] = format!("{said}.").into();
    let path: String = said.chars().filter(|c| !matches!(c, '/' | '\\')).collect();
    if path.parse::<RelativePath>().is_ok() {
        journal["path"] = path.into();
    }
    part(&mut portal, "acquirer")["external"]["owner"] = said.as_str().into();
    part(&mut portal, "checkout")["configuration"]["return_url"] = text.into();
    // Which findings there are must not depend on the text, which may look like a secret.
    let mut checked = report(&portal_with_an_unknown_property(), &Catalogue::new());
    part(&mut portal, "form")["configuration"]["unknown"] = json!([text, { text: text }]);
    let assembly = assembly(&portal);
    checked.assembly = assembly.digest();
    speak(&mut checked, text);
    let mut parts = records();
    for record in parts.values_mut() {
        change(record, text);
    }
    let input = ReportInput { assembly: &assembly, check: &checked, parts: &parts, tree: None, revision: u64::MAX };
    let compliance = Compliance::new(input).expect("the check of this assembly");
    (compliance.to_cyclonedx(), compliance.to_oscal(), compliance.to_html())
}

fn portal_with_an_unknown_property() -> Value {
    let mut portal = portal_value();
    part(&mut portal, "form")["configuration"]["unknown"] = "x".into();
    portal
}

fn speak(checked: &mut Report, text: &str) {
    assert!(checked.findings.iter().any(|finding| finding.rule.starts_with("configuration/")));
    for finding in &mut checked.findings {
        text.clone_into(&mut finding.reason);
        text.clone_into(&mut finding.way_out);
        finding.place.connection = Some(text.to_owned());
        // Which values are withheld is decided by the place; it is left as it is.
    }
}

fn change(record: &mut PartRecord, text: &str) {
    record.version.certification = Certification::NotCertified { reason: text.to_owned() };
    record.configuration = Some(json!({ text: text, "list": [text, "secret://portal/key"] }));
    for certificate in &mut record.certificates {
        certificate.issuers = [text.to_owned()].into();
        certificate.conditions = vec![text.to_owned()];
        for covered in &mut certificate.standards {
            covered.level = Some(text.to_owned());
            covered.standard = format!("x{text}");
            covered.requirements = [text.to_owned()].into();
        }
        for evidence in &mut certificate.evidence {
            text.clone_into(&mut evidence.kind);
            text.clone_into(&mut evidence.media_type);
            evidence.uri = Some(text.to_owned());
        }
        if certificate.refused.is_some() {
            certificate.refused = Some(text.to_owned());
        }
    }
}

/// The tags of a page with their attributes, and nothing between.
fn tags(page: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').expect("every tag ends") + start;
        tags.push(&rest[start..=end]);
        rest = &rest[end + 1..];
    }
    tags
}

/// Hostile or not, the page is built of the same tags.
fn check(text: &str, benign: &str) -> Result<(), TestCaseError> {
    let (cyclonedx, oscal, page) = reported(text);
    check_cyclonedx(&cyclonedx);
    check_oscal(&oscal);
    let (_, _, plain) = reported(benign);
    prop_assert_eq!(tags(&page), tags(&plain));
    let hidden = |c: char| c.is_control() && c != '\n';
    prop_assert!(!page.contains(hidden), "control characters");
    let reordering = ['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2069}', '\u{200f}'];
    prop_assert!(!page.contains(reordering), "characters that reorder");
    for bytes in [cyclonedx, oscal] {
        let written = String::from_utf8(bytes).expect("UTF-8");
        prop_assert!(!written.contains(hidden) && !written.contains(reordering), "characters that are hidden");
    }
    Ok(())
}

#[test]
fn each_hostile_text_stays_a_text() {
    for text in FRAGMENTS {
        check(text, "harmless").unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
    check(&FRAGMENTS.concat(), "harmless").unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn data_keep_what_they_are_in_json() {
    let (cyclonedx, _, _) = reported("\u{202e}\u{0}x");
    let document: Value = serde_json::from_slice(&cyclonedx).expect("JSON");
    let names = document["definitions"]["standards"].as_array().expect("standards");
    assert!(names.iter().any(|standard| standard["name"] == "x\u{202e}\u{0}x"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_stays_a_text(text in text()) {
        check(&text, "harmless")?;
    }
}
