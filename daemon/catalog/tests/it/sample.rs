//! The sample catalogue and its labelled intents keep what they promise.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fitment_catalog::{
    ComponentName, Dataset, ExpectedOutcome, File, Format, Lifecycle, Manifest, Tier, sample, sample_intents,
};
use sha2::{Digest as _, Sha256};

use crate::support::published_schema;

fn catalogue() -> BTreeMap<ComponentName, Manifest> {
    let mut faults = Vec::new();
    let mut components = BTreeMap::new();
    for file in sample() {
        match Manifest::parse(file.path, file.bytes, Format::Auto) {
            Ok(manifest) => {
                let expected = format!("components/{}.yaml", manifest.name());
                assert_eq!(file.path, expected, "a file is named like its component");
                components.insert(manifest.name().clone(), manifest);
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    components
}

fn intents() -> Dataset {
    Dataset::from_csv(File { name: "sample/intents.csv", bytes: sample_intents().as_bytes() })
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Lower case, punctuation and repeated white space taken out.
fn folded(text: &str) -> String {
    let words: String = text.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_catalogue_is_large_and_varied() {
    let components = catalogue();
    assert!(components.len() >= 120, "{} components", components.len());
    let namespaces: BTreeSet<&str> = components.keys().map(ComponentName::namespace).collect();
    assert!(namespaces.len() >= 8, "{namespaces:?}");
    for manifest in components.values() {
        assert!(manifest.example_intents().len() >= 3, "{manifest} has too few example intents");
        assert!(manifest.when_to_use().is_some() && !manifest.limitations().is_empty(), "{manifest} lacks advice");
    }
    let of_tier = |tier| components.values().filter(|manifest| manifest.tier() == tier).count();
    assert!(
        of_tier(Tier::Zero) >= 20 && of_tier(Tier::Minimal) >= 20,
        "{} and {}",
        of_tier(Tier::Zero),
        of_tier(Tier::Minimal)
    );
    assert!(components.values().any(|manifest| manifest.lifecycle() == Lifecycle::Deprecated));
}

#[test]
fn the_catalogue_fits_the_published_schema() {
    let schema = published_schema();
    for file in sample() {
        let value: serde_json::Value = serde_saphyr::from_slice(file.bytes).expect(file.path);
        let faults: Vec<String> =
            schema.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", file.path);
    }
}

#[test]
fn no_example_intent_is_repeated_in_the_catalogue() {
    let mut seen = BTreeMap::new();
    for (name, manifest) in catalogue() {
        for text in manifest.example_intents() {
            if let Some(other) = seen.insert(folded(text), name.clone()) {
                panic!("`{text}` is an example intent of {other} and of {name}");
            }
        }
    }
}

#[test]
fn the_intents_are_many_and_new() {
    let (components, set) = (catalogue(), intents());
    assert!(set.intents.len() >= 500, "{} intents", set.intents.len());
    let outside = set.intents.iter().filter(|intent| intent.out_of_scope()).count();
    assert!(outside * 5 >= set.intents.len(), "{outside} of {} are out of scope", set.intents.len());
    let examples: HashSet<String> =
        components.values().flat_map(Manifest::example_intents).map(|text| folded(text)).collect();
    let copied: Vec<&str> =
        set.intents.iter().map(|intent| intent.text.as_str()).filter(|text| examples.contains(&folded(text))).collect();
    assert!(copied.is_empty(), "copies of example intents: {copied:?}");
    let mut seen = HashSet::new();
    let repeated: Vec<&str> =
        set.intents.iter().map(|intent| intent.text.as_str()).filter(|text| !seen.insert(folded(text))).collect();
    assert!(repeated.is_empty(), "repeated: {repeated:?}");
}

#[test]
fn each_label_names_a_component_and_its_outcome() {
    let (components, set) = (catalogue(), intents());
    let mut faults = Vec::new();
    for intent in &set.intents {
        for name in intent.judgements.keys().filter(|name| !components.contains_key(*name)) {
            faults.push(format!("`{}`: no component {name}", intent.text));
        }
        let expected = expected(intent);
        let outcome = match expected.and_then(|name| components.get(name)).map(Manifest::tier) {
            None => ExpectedOutcome::RawGeneration,
            Some(Tier::Zero) => ExpectedOutcome::ZeroGeneration,
            Some(Tier::Minimal) => ExpectedOutcome::MinimalGeneration,
        };
        if intent.outcome != Some(outcome) {
            faults.push(format!("`{}`: outcome {:?}, but {expected:?} gives {outcome}", intent.text, intent.outcome));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn expected(intent: &fitment_catalog::LabelledIntent) -> Option<&ComponentName> {
    intent.judgements.iter().find(|(_, relevance)| **relevance == 2).map(|(name, _)| name)
}

/// Within the intents of one component (or, out of scope, of one example type), ordered by the sha256 of the text, even
/// ranks are `dev` and odd ranks are `test`.
#[test]
fn the_split_is_balanced_by_component() {
    let set = intents();
    let mut groups: BTreeMap<String, Vec<(String, &str, &str)>> = BTreeMap::new();
    for intent in &set.intents {
        let group =
            expected(intent).map_or_else(|| intent.example_type.clone().unwrap_or_default(), ToString::to_string);
        let order = hex::encode(Sha256::digest(intent.text.as_bytes()));
        groups.entry(group).or_default().push((order, &intent.split, &intent.text));
    }
    let mut faults = Vec::new();
    for (group, mut members) in groups {
        members.sort_unstable();
        for (rank, (_, split, text)) in members.into_iter().enumerate() {
            let due = if rank % 2 == 0 { "dev" } else { "test" };
            if split != due {
                faults.push(format!("{group}: `{text}` is in {split}, due in {due}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
