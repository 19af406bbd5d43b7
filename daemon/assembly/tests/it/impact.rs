//! The impact index: held against a plain search, and asked at the size that it is made for.

use std::collections::{BTreeMap, BTreeSet};

use fitment_assembly::{ImpactIndex, Target, VersionTraits};
use fitment_catalog::{ComponentName, Digest};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::support::digest;

fn name(assembly: usize) -> ComponentName {
    ComponentName::new("app", &format!("a{assembly}")).expect("a name")
}

fn version(number: usize) -> Digest {
    digest(&format!("version {number}"))
}

fn traits(number: usize) -> VersionTraits {
    VersionTraits {
        component: ComponentName::new("lib", &format!("c{}", number / 2)).expect("a name"),
        certificates: BTreeSet::from([digest(&format!("certificate {}", number % 5))]),
        keys: BTreeSet::from([format!("key-{}", number % 3), "key-all".to_owned()]),
        standards: BTreeSet::from([format!("std-{}", number % 2), format!("std-{}/1.{number}", number % 2)]),
    }
}

/// What the index answers, by plain search.
fn searched(
    assemblies: &BTreeMap<usize, BTreeMap<String, usize>>,
    described: &BTreeMap<usize, VersionTraits>,
    target: &Target,
) -> Vec<(ComponentName, Vec<String>)> {
    let concerned = |number: usize| match target {
        Target::Version(digest) => *digest == version(number),
        Target::Component(component) => described.get(&number).is_some_and(|traits| traits.component == *component),
        Target::Certificate(digest) => {
            described.get(&number).is_some_and(|traits| traits.certificates.contains(digest))
        }
        Target::Key(key) => described.get(&number).is_some_and(|traits| traits.keys.contains(key)),
        Target::Standard(standard) => described.get(&number).is_some_and(|traits| traits.standards.contains(standard)),
    };
    let mut uses: Vec<(ComponentName, Vec<String>)> = assemblies
        .iter()
        .map(|(assembly, parts)| {
            (
                name(*assembly),
                parts.iter().filter(|(_, number)| concerned(**number)).map(|(id, _)| id.clone()).collect(),
            )
        })
        .filter(|(_, parts): &(_, Vec<String>)| !parts.is_empty())
        .collect();
    uses.sort();
    uses
}

fn answered(index: &ImpactIndex, target: &Target) -> Vec<(ComponentName, Vec<String>)> {
    let owned =
        |used: fitment_assembly::Use<'_>| (used.assembly.clone(), used.parts.into_iter().map(str::to_owned).collect());
    index.uses(target).into_iter().map(owned).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(usize, BTreeMap<String, usize>),
    Remove(usize),
    Describe(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_usize, btree_map("[a-d]", 0..8_usize, 0..4)).prop_map(|(assembly, parts)| Step::Insert(assembly, parts)),
        1 => (0..6_usize).prop_map(Step::Remove),
        3 => (0..8_usize, 0..8_usize).prop_map(|(number, like)| Step::Describe(number, like)),
    ]
}

fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for i in 0..8 {
        targets.push(Target::Version(version(i)));
        targets.push(Target::Component(ComponentName::new("lib", &format!("c{i}")).expect("a name")));
        targets.push(Target::Certificate(digest(&format!("certificate {i}"))));
        targets.push(Target::Key(format!("key-{i}")));
        targets.push(Target::Standard(format!("std-{i}")));
        targets.push(Target::Standard(format!("std-1/1.{i}")));
    }
    targets.push(Target::Key("key-all".to_owned()));
    targets
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_index_answers_as_a_search_does(steps in vec(step(), 0..40)) {
        let (mut index, mut assemblies, mut described) = (ImpactIndex::new(), BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(assembly, parts) => {
                    index.insert(&name(assembly), parts.iter().map(|(id, number)| (id, version(*number))));
                    assemblies.insert(assembly, parts);
                }
                Step::Remove(assembly) => {
                    prop_assert_eq!(index.remove(&name(assembly)), assemblies.remove(&assembly).is_some());
                }
                Step::Describe(number, like) => {
                    index.describe(version(number), traits(like));
                    described.insert(number, traits(like));
                }
            }
        }
        prop_assert_eq!(index.len(), assemblies.len());
        prop_assert_eq!(index.is_empty(), assemblies.is_empty());
        for target in targets() {
            prop_assert_eq!(answered(&index, &target), searched(&assemblies, &described, &target), "{:?}", target);
        }
    }

    #[test]
    fn parts_of_one_version_are_all_named(ids in btree_set("[a-z]{1,3}", 1..20)) {
        let mut index = ImpactIndex::new();
        index.insert(&name(0), ids.iter().map(|id| (id, version(0))));
        let uses = index.uses(&Target::Version(version(0)));
        prop_assert_eq!(uses.len(), 1);
        prop_assert_eq!(&uses[0].parts, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// 10,000 assemblies of 50 parts over 2,000 versions: each version is in 250 of them, a key behind all in all.
#[test]
fn ten_thousand_assemblies_are_answered_in_full() {
    let (assemblies, parts, versions) = (10_000_usize, 50_usize, 2_000_usize);
    let mut index = ImpactIndex::new();
    for number in 0..versions {
        index.describe(version(number), traits(number));
    }
    let digests: Vec<Digest> = (0..versions).map(version).collect();
    for assembly in 0..assemblies {
        let used = (0..parts).map(|part| (format!("p{part:02}"), digests[(assembly * 7 + part * 40) % versions]));
        index.insert(&name(assembly), used);
    }
    assert_eq!(index.len(), assemblies);
    let one = index.uses(&Target::Version(version(0)));
    assert_eq!(one.len(), assemblies * parts / versions);
    assert!(one.is_sorted_by_key(|used| used.assembly) && one.iter().all(|used| used.parts.len() == 1));
    let all = index.uses(&Target::Key("key-all".to_owned()));
    assert_eq!(all.len(), assemblies);
    assert!(all.iter().all(|used| used.parts.len() == parts && used.parts.is_sorted()));
}
