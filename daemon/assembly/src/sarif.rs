//! Findings and drift as SARIF 2.1.0 (OASIS), which code hosts show where the code is.
//!
//! The dozen objects needed are written by hand: a crate with all of the format's is generated from its schema and brings
//! a code generator into the build.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fitment_catalog::{Digest, RelativePath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::finding::{Finding, Rule, Severity};
use crate::verify::{Drift, DriftRule};

/// What a run of the tool found.
#[derive(Debug, Clone, Copy)]
pub struct SarifRun<'a> {
    /// Version of the program, as semantic version.
    pub version: &'a str,
    /// Where the assembly's document lies, relative to the repository's root.
    pub document: &'a RelativePath,
    /// Findings of a check, placed in the document.
    pub findings: &'a [Finding],
    /// Drift of a tree, placed in its files.
    pub drift: &'a [Drift],
}

/// What a path keeps as it is (RFC 3986, unreserved), and the divider of its steps.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A run as a SARIF log, indented JSON with a line feed at its end. The same findings give the same bytes.
pub fn sarif(run: &SarifRun<'_>) -> String {
    let ids: BTreeSet<&str> =
        run.findings.iter().map(|finding| &*finding.rule).chain(run.drift.iter().map(|drift| drift.rule)).collect();
    let index: HashMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut seen = HashMap::new();
    let findings = run.findings.iter().map(|finding| of_finding(finding, run.document));
    let results = findings.chain(run.drift.iter().map(of_drift)).map(|mut result| {
        result.rule_index = index.get(&*result.rule_id).copied().unwrap_or_default();
        fingerprint(&mut result, &mut seen);
        result
    });
    let log = Log {
        schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "fitment",
                    semantic_version: run.version,
                    rules: ids.iter().map(|id| rule(id, run)).collect(),
                },
            },
            column_kind: "unicodeCodePoints",
            results: results.collect(),
        }],
    };
    let mut text = serde_json::to_string_pretty(&log).expect("a log has text keys and no floating numbers");
    text.push('\n');
    text
}

fn of_finding(finding: &Finding, document: &RelativePath) -> Outcome {
    let Finding { rule, severity, place, reason, way_out } = finding;
    let name = place.part.clone().or_else(|| place.connection.clone());
    let logical = LogicalLocation { fully_qualified_name: place.pointer.clone(), name, kind: "element" };
    // The number of a part in its list changes when another is added; its name does not.
    let tail = place.pointer.splitn(4, '/').nth(3).unwrap_or_default();
    let known = place.part.as_deref().or(place.connection.as_deref());
    Outcome {
        rule_id: rule.clone(),
        rule_index: 0,
        level: severity.as_str(),
        message: Message { text: format!("{reason}; {way_out}.") },
        key: match known {
            Some(known) => format!("{rule}\n{known}\n{tail}"),
            None => format!("{rule}\n{}", place.pointer),
        },
        locations: [Location { physical_location: at(document.as_str()), logical_locations: vec![logical] }],
        partial_fingerprints: BTreeMap::new(),
    }
}

fn of_drift(drift: &Drift) -> Outcome {
    let Drift { rule, severity, path, part, expected: _, found: _, reason, way_out } = drift;
    let logical = part.iter().map(|part| LogicalLocation {
        fully_qualified_name: part.clone(),
        name: Some(part.clone()),
        kind: "module",
    });
    Outcome {
        rule_id: (*rule).to_owned(),
        rule_index: 0,
        level: severity.as_str(),
        message: Message { text: format!("{reason}; {way_out}.") },
        key: format!("{rule}\n{}\n{path}", part.as_deref().unwrap_or_default()),
        locations: [Location { physical_location: at(path), logical_locations: logical.collect() }],
        partial_fingerprints: BTreeMap::new(),
    }
}

/// The first line of a file: neither findings nor drift know more, and code hosts ask for one.
fn at(path: &str) -> PhysicalLocation {
    PhysicalLocation {
        artifact_location: ArtifactLocation {
            uri: utf8_percent_encode(path, KEPT).to_string(),
            uri_base_id: "%SRCROOT%",
        },
        region: Region { start_line: 1 },
    }
}

/// What makes a result the same one in the next run: rule, place, and its number among those of one rule and place. The
/// wording may change.
fn fingerprint(result: &mut Outcome, seen: &mut HashMap<String, usize>) {
    let number = seen.entry(result.key.clone()).or_insert(0);
    *number += 1;
    let digest = Digest::of(format!("{}\n{number}", result.key).as_bytes()).to_string();
    let digits = digest.trim_start_matches("sha256:").to_owned();
    result.partial_fingerprints.insert("fitmentPlace/v1", digits);
}

fn rule(id: &str, run: &SarifRun<'_>) -> ReportingDescriptor {
    let built_in = Rule::ALL.iter().find(|rule| rule.id() == id);
    let drift = DriftRule::ALL.iter().find(|rule| rule.id() == id);
    let said = run.findings.iter().find(|finding| finding.rule == id);
    let (text, level) = match (built_in, drift, said) {
        (Some(rule), _, _) => (rule.description().to_owned(), rule.severity()),
        (None, Some(rule), _) => (rule.description().to_owned(), Severity::Error),
        (None, None, Some(finding)) if id.starts_with("policy/") => (finding.reason.clone(), finding.severity),
        (None, None, Some(finding)) => {
            ("The configuration is not what its schema asks for.".to_owned(), finding.severity)
        }
        (None, None, None) => (id.to_owned(), Severity::Error),
    };
    ReportingDescriptor {
        id: id.to_owned(),
        short_description: Message { text },
        default_configuration: Configuration { level: level.as_str() },
    }
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'static str,
    results: Vec<Outcome>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    semantic_version: &'a str,
    rules: Vec<ReportingDescriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportingDescriptor {
    id: String,
    short_description: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

/// SARIF's `result`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: String,
    rule_index: usize,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
    partial_fingerprints: BTreeMap<&'static str, String>,
    #[serde(skip)]
    key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<LogicalLocation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactLocation {
    uri: String,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    fully_qualified_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: &'static str,
}
