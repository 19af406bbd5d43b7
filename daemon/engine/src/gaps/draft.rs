//! The draft of a manifest for a gap: what was asked becomes its example intents, the rest is a suggestion to replace.

use std::collections::BTreeMap;

use fitment_catalog::{ComponentName, Manifest};
use serde_json::{Value, json};

use crate::error::EngineError;

/// Example intents of a manifest at most.
const MAX_EXAMPLES: usize = 64;
/// Characters of an example intent, and of a summary, at most.
const MAX_CHARS: usize = 500;
/// Characters of a title at most.
const MAX_TITLE_CHARS: usize = 120;
/// Words of a suggested name.
const NAME_WORDS: usize = 3;
/// Letters of a word in a name at most, so that a name of three is in its limit of 63.
const WORD_CHARS: usize = 20;
/// Letters of a word that says something, at least.
const LEAST_CHARS: usize = 3;

/// A manifest that was not written anywhere.
#[derive(Debug)]
pub struct Draft {
    /// The manifest.
    pub manifest: Manifest,
    /// Intents that were left out.
    pub left_out: usize,
}

/// What a draft takes from the catalogue.
pub(super) struct Surroundings<'a> {
    /// The nearest component's, as a suggestion.
    pub(super) namespace: &'a str,
    /// The nearest component's, as a suggestion.
    pub(super) kind: &'a str,
    /// Whether a component has this name.
    pub(super) taken: &'a dyn Fn(&ComponentName) -> bool,
}

/// A draft of intents, the one that speaks for all first. `None`: none of them is text that a manifest may hold.
pub(super) fn draft(intents: &[String], around: &Surroundings<'_>) -> Result<Option<Draft>, EngineError> {
    let fits = |text: &String| text.chars().count() <= MAX_CHARS && manifest("draft/draft", around, &[text]).is_ok();
    let fitting: Vec<&String> = intents.iter().filter(|text| fits(text)).take(MAX_EXAMPLES).collect();
    if fitting.is_empty() {
        return Ok(None);
    }
    let name = free_name(intents, around);
    let manifest = manifest(&name, around, &fitting)?;
    Ok(Some(Draft { manifest, left_out: intents.len() - fitting.len() }))
}

/// examples: not empty; the first one speaks for all.
fn manifest(name: &str, around: &Surroundings<'_>, examples: &[&String]) -> Result<Manifest, EngineError> {
    let first = examples.first().map(|text| capitalized(text)).unwrap_or_default();
    let value = json!({
        "name": name,
        "version": "0.1.0",
        "title": first.chars().take(MAX_TITLE_CHARS).collect::<String>().trim_end(),
        "summary": first,
        "kind": around.kind,
        "lifecycle": "draft",
        "license": "LicenseRef-Proprietary",
        "owner": "unassigned",
        "example_intents": examples.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>(),
    });
    Ok(Manifest::from_value("draft", &value)?)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A name of the words that most intents have, in the order of the first intent that has them all.
fn free_name(intents: &[String], around: &Surroundings<'_>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for intent in intents {
        let mut words = words_of(intent);
        words.sort_unstable();
        words.dedup();
        for word in words {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut heaviest: Vec<(usize, String)> = counts.into_iter().map(|(word, count)| (count, word)).collect();
    heaviest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    heaviest.truncate(NAME_WORDS);
    let place =
        |word: &String| intents.iter().find_map(|intent| words_of(intent).iter().position(|other| other == word));
    heaviest.sort_by_key(|(_, word)| place(word));
    let mut stem: Vec<String> = heaviest.into_iter().map(|(_, word)| word).collect();
    if stem.is_empty() {
        stem.push("component".into());
    }
    let stem = stem.join("-");
    let numbered = |n: u32| if n == 1 { stem.clone() } else { format!("{stem}-{n}") };
    let names = (1u32..).map(|n| format!("{}/{}", around.namespace, numbered(n)));
    let free = |name: &String| name.parse().is_ok_and(|name| !(around.taken)(&name));
    // A stem of plain words is always a name, and a catalogue is finite.
    names.take(1_000_000).find(free).unwrap_or_else(|| "draft/component".into())
}

/// Words that say something: lower-case ASCII letters and digits, without what every sentence has.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    let plain = |word: &String| {
        (LEAST_CHARS..=WORD_CHARS).contains(&word.len())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    words.filter(plain).filter(|word| !fitment_index::analyze_text(word).is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(intents: &[&str], taken: &str, expect: &str, left_out: usize) {
        let intents: Vec<String> = intents.iter().map(|&text| text.to_owned()).collect();
        let around = Surroundings { namespace: "ui", kind: "ui", taken: &|name| name.to_string() == taken };
        let draft = draft(&intents, &around).expect("can be drafted").expect("texts");
        assert_eq!((draft.manifest.name().to_string().as_str(), draft.left_out), (expect, left_out));
        let again = Manifest::parse("draft", draft.manifest.to_yaml().as_bytes(), fitment_catalog::Format::Yaml);
        let again = again.expect("a draft is a manifest");
        assert_eq!(again.lifecycle(), fitment_catalog::Lifecycle::Draft);
        assert_eq!(again.example_intents().len(), intents.len() - left_out);
    }

    #[test]
    fn a_draft_is_a_manifest_and_its_name_is_free() {
        check(&["brew a pot of coffee", "brew strong coffee"], "", "ui/brew-pot-coffee", 0);
        check(&["brew a pot of coffee", "brew strong coffee"], "ui/brew-pot-coffee", "ui/brew-pot-coffee-2", 0);
        check(&["咖啡", "咖啡 一壶"], "", "ui/component", 0);
        let long = "word ".repeat(120);
        check(&["brew coffee", long.as_str()], "", "ui/brew-word-coffee", 1);
    }

    #[test]
    fn what_no_manifest_may_hold_drafts_none() {
        let around = Surroundings { namespace: "ui", kind: "ui", taken: &|_| false };
        assert!(draft(&["\u{200b}".to_owned()], &around).expect("no fault").is_none());
    }
}
