//! A configuration as a report shows it: one value a line, where it comes from, and nothing that could be a secret.

use serde_json::Value;

use super::view::View;
use super::{Compliance, ReportInput};
use crate::document::Source;
use crate::finding::Finding;

/// How rules about a configuration begin.
const RULES: &str = "configuration/";
/// So much of a value makes a message one that quotes it.
const QUOTED_CHARS: usize = 4;

/// One value of a configuration.
pub(super) struct Setting {
    /// JSON pointer into the configuration.
    pub(super) pointer: String,
    pub(super) value: Shown,
    /// Whether the document binds it; otherwise it is a default.
    pub(super) bound: bool,
}

/// A value, or why it is not shown.
pub(super) enum Shown {
    /// A reference to a secret.
    Secret(String),
    /// As JSON.
    Plain(String),
    /// Why not.
    Withheld(&'static str),
}

impl Shown {
    /// The text in files.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Secret(text) | Self::Plain(text) => text.clone(),
            Self::Withheld(why) => format!("withheld: {why}"),
        }
    }
}

/// The settings of a component, in the order of its configuration. A value that a finding is about is withheld: it may
/// be a secret that should have been a reference. So are all values where no schema says which of them are secret.
pub(super) fn settings(report: &Compliance<'_>, view: &View<'_>) -> Vec<Setting> {
    let Some(component) = view.component() else { return Vec::new() };
    let filled = view.record.and_then(|record| record.configuration.as_ref());
    let base = format!("/parts/{}/configuration", view.place);
    let faults = report.findings.iter().filter(|finding| finding.rule.starts_with(RULES));
    let faults: Vec<&str> = faults.filter_map(|finding| finding.place.pointer.strip_prefix(&base)).collect();
    let mut settings = Vec::new();
    walk(filled.unwrap_or(&component.configuration), "", &mut |pointer, value| {
        let concerns = |fault: &&str| is_within(pointer, fault) || is_within(fault, pointer);
        let value = match value {
            Value::String(text) if text.starts_with("secret://") => Shown::Secret(text.clone()),
            _ if view.record.is_none() => Shown::Withheld("no schema says whether it is a secret"),
            // What is wrong with the whole is wrong with what is missing from it.
            _ if faults.iter().filter(|fault| !fault.is_empty()).any(concerns) => {
                Shown::Withheld("a finding is about it")
            }
            value => Shown::Plain(value.to_string()),
        };
        let bound = component.configuration.pointer(pointer).is_some();
        settings.push(Setting { pointer: pointer.to_owned(), value, bound });
    });
    settings
}

/// The findings of a check. One about a configured value that quotes its beginning loses its reason: whoever wrote the
/// finding may not have known that the value is a secret.
pub(super) fn without_values(input: &ReportInput<'_>) -> Vec<Finding> {
    let mut findings = input.check.findings.clone();
    for finding in findings.iter_mut().filter(|finding| finding.rule.starts_with(RULES)) {
        let part = input.assembly.parts().iter().find(|part| Some(&part.id) == finding.place.part.as_ref());
        let Some(Source::Component(component)) = part.map(|part| &part.source) else { continue };
        let below = finding.place.pointer.splitn(5, '/').nth(4).map_or_else(String::new, |rest| format!("/{rest}"));
        let Some(value) = component.configuration.pointer(&below) else { continue };
        let mut quoted = false;
        walk(value, "", &mut |_, value| {
            let text = match value {
                Value::String(text) if text.starts_with("secret://") => return,
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
            };
            let beginning: String = text.chars().take(QUOTED_CHARS).collect();
            let escaped = Value::from(beginning.as_str()).to_string();
            let escaped = escaped.trim_matches('"');
            let quotes =
                |said: &str| [beginning.as_str(), escaped].iter().any(|it| !it.is_empty() && said.contains(it));
            quoted = quoted || quotes(&finding.reason) || quotes(&finding.way_out);
        });
        if quoted {
            "the value is refused; the reason quotes it and is withheld, since it may be a secret"
                .clone_into(&mut finding.reason);
            "check the assembly to see the reason".clone_into(&mut finding.way_out);
        }
    }
    findings
}

fn is_within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Calls for each value that holds no other, with its pointer.
fn walk(value: &Value, pointer: &str, each: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, item) in entries {
                walk(item, &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), each);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{i}"), each);
            }
        }
        Value::Object(_) if pointer.is_empty() => {}
        value => each(pointer, value),
    }
}
