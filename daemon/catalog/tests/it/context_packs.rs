//! Context packs: within the budget, the important first, the same each time.

use fitment_catalog::{ContextPack, Manifest, PackPart, PackPiece, Tier, context_pack};
use proptest::prelude::*;

use crate::support::configurable;

/// Counts as a tokenizer does in one respect: a text's tokens are fewer than those of its parts together.
fn words(text: &str) -> usize {
    text.split_whitespace().count() + text.len() / 40
}

fn parts(manifests: &[Manifest]) -> Vec<PackPart<'_>> {
    (0..).zip(manifests).map(|(priority, manifest)| PackPart { manifest, tier: manifest.tier(), priority }).collect()
}

fn chosen(names: &[&str]) -> Vec<Manifest> {
    let all = configurable();
    let find = |name: &&str| all.iter().find(|manifest| manifest.name().to_string() == **name).cloned();
    names.iter().map(|name| find(name).unwrap_or_else(|| panic!("no {name}"))).collect()
}

fn pieces(pack: &ContextPack) -> Vec<String> {
    pack.included.iter().map(|(part, piece)| format!("{part} {piece}")).collect()
}

#[test]
fn everything_is_told_where_there_is_room() {
    let manifests = chosen(&["payments/card-checkout", "identity/oidc-sso"]);
    let pack = context_pack(&parts(&manifests), 100_000, &words);
    assert!(pack.left_out.is_empty());
    assert_eq!(pack.tokens, words(&pack.text));
    assert_eq!(
        pieces(&pack),
        [
            "payments/card-checkout@4.2.1 description",
            "payments/card-checkout@4.2.1 configuration",
            "payments/card-checkout@4.2.1 advice",
            "payments/card-checkout@4.2.1 ports",
            "payments/card-checkout@4.2.1 limits",
            "identity/oidc-sso@4.1.2 description",
            "identity/oidc-sso@4.1.2 configuration",
            "identity/oidc-sso@4.1.2 advice",
            "identity/oidc-sso@4.1.2 ports",
            "identity/oidc-sso@4.1.2 limits",
        ]
    );
    assert!(
        pack.text.starts_with("## payments/card-checkout@4.2.1\nCard checkout: Hosted-field form"),
        "{}",
        pack.text
    );
    let schema = manifests[0].config_schema().expect("a schema").as_value().to_string();
    assert!(pack.text.contains(&schema), "{}", pack.text);
    assert!(pack.text.contains("Needs acquirer: https, api-key, scopes payments.write, data card"), "{}", pack.text);
    assert!(pack.text.contains("Always: A primary account number"), "{}", pack.text);
}

#[test]
fn a_small_budget_holds_what_matters_most() {
    let manifests = chosen(&["payments/card-checkout", "identity/oidc-sso"]);
    let parts = parts(&manifests);
    let whole = context_pack(&parts, 100_000, &words);
    let first = context_pack(&parts[..1], 100_000, &words);
    let pack = context_pack(&parts, whole.tokens * 6 / 10, &words);
    assert!(pack.tokens <= whole.tokens * 6 / 10 && !pack.left_out.is_empty());
    assert_eq!(
        pieces(&pack)[..2],
        ["payments/card-checkout@4.2.1 description", "payments/card-checkout@4.2.1 configuration"]
    );
    let lost: Vec<String> = pack.left_out.iter().map(|left| format!("{} {}", left.part, left.piece)).collect();
    assert_eq!(lost.len() + pack.included.len(), whole.included.len());
    assert!(pack.left_out.iter().all(|left| left.tokens > 0));
    // The other way round the other one comes first.
    let turned: Vec<PackPart<'_>> =
        parts.iter().map(|part| PackPart { priority: 9 - part.priority, ..*part }).collect();
    assert!(pieces(&context_pack(&turned, first.tokens / 2, &words))[0].starts_with("identity/oidc-sso"));
}

#[test]
fn nothing_is_told_without_room_and_nothing_without_a_description() {
    let manifests = chosen(&["payments/card-checkout"]);
    let pack = context_pack(&parts(&manifests), 3, &words);
    assert_eq!((pack.text.as_str(), pack.tokens, pack.included.len()), ("", 0, 0));
    assert_eq!(pack.left_out.len(), 5);
    assert_eq!(context_pack(&[], 100, &words).text, "");
}

#[test]
fn a_schema_that_defaults_satisfy_comes_last() {
    let manifests: Vec<Manifest> = configurable().into_iter().filter(|one| one.tier() == Tier::Zero).take(2).collect();
    let whole = context_pack(&parts(&manifests), 100_000, &words);
    let pack = context_pack(&parts(&manifests), whole.tokens - 1, &words);
    assert_eq!(pack.left_out.len(), 1);
    assert_eq!(pack.left_out[0].piece, PackPiece::Configuration);
    assert!(whole.text.contains("none is needed"), "{}", whole.text);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn the_budget_is_kept_and_the_order_of_parts_does_not_matter(budget in 0..1_500_usize, start in 0..60_usize) {
        let manifests: Vec<Manifest> = configurable().into_iter().skip(start).take(5).collect();
        let mut parts = parts(&manifests);
        let pack = context_pack(&parts, budget, &words);
        prop_assert!(pack.tokens <= budget);
        prop_assert_eq!(pack.tokens, words(&pack.text));
        parts.reverse();
        prop_assert_eq!(context_pack(&parts, budget, &words), pack);
    }
}
