//! A configuration as a report shows it: one value a line, where it comes from, and nothing that could be a secret.

use serde_json::Value;

use super::Compliance;
use super::view::View;

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
    let faults: Vec<&str> = report
        .input
        .check
        .findings
        .iter()
        .filter(|finding| finding.rule.starts_with("configuration/"))
        .filter_map(|finding| finding.place.pointer.strip_prefix(&base))
        .collect();
    let mut settings = Vec::new();
    walk(filled.unwrap_or(&component.configuration), "", &mut |pointer, value| {
        let concerns = |fault: &&str| is_within(pointer, fault) || is_within(fault, pointer);
        let value = match value {
            Value::String(text) if text.starts_with("secret://") => Shown::Secret(text.clone()),
            _ if view.record.is_none() => Shown::Withheld("no schema says whether it is a secret"),
            // What is wrong with the whole is wrong with what is missing from it.
            _ if faults.iter().filter(|fault| !fault.is_empty()).any(concerns) => Shown::Withheld("a finding is about it"),
            value => Shown::Plain(value.to_string()),
        };
        let bound = component.configuration.pointer(pointer).is_some();
        settings.push(Setting { pointer: pointer.to_owned(), value, bound });
    });
    settings
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
