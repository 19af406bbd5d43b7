//! A seeded run that looks like a real one.

use std::collections::BTreeMap;

use fitment_evaluation::{Answer, Promise, Ranked, Run, Signal, Tier};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Components: name, title, what it does, tag.
const COMPONENTS: [(&str, &str, &str, &str); 12] = [
    ("mail/newsletter", "Newsletter sender", "Sends one text to many subscribers and counts who opened it", "mail"),
    ("mail/receipts", "Receipt mailer", "Mails a receipt after each purchase", "mail"),
    ("mail/inbox", "Shared inbox", "One mailbox for a team, with assignment of each message", "mail"),
    ("files/thumbnails", "Thumbnail maker", "Makes small pictures of large ones", "files"),
    ("files/archive", "Cold archive", "Keeps files that nobody opens, cheaply", "files"),
    ("files/virus-scan", "Upload scanner", "Looks for malware in what people upload", "security"),
    ("login/passkeys", "Passkey sign-in", "Lets people sign in with a key on their device", "security"),
    ("login/passwords", "Password sign-in", "Sign-in form with a password and its reset", "security"),
    ("login/directory", "Directory sync", "Copies people and groups from the company directory", "security"),
    ("pay/invoices", "Invoice writer", "Numbers, writes and stores invoices", "money"),
    ("pay/cards", "Card checkout", "Takes card payments with the second factor the bank wants", "money"),
    ("pay/refunds", "Refund desk", "Pays money back and tells the customer", "money"),
];

const WISHES: [&str; 8] = [
    "we need",
    "please give me something for",
    "our customers keep asking for",
    "how do I get",
    "add",
    "the old system had it and the new one does not:",
    "nobody here wants to write this again, so is there a ready thing for",
    "after the last audit we promised that by the end of the quarter there would be, in every region and for each tenant,",
];

/// Draws `n` answers. `strength`: about how often the first candidate is right, 0..=1; systems of the same `n` see the same
/// intents and labels.
pub(crate) fn run(system: &str, n: usize, strength: f64, seed: u64) -> Run {
    let mut labels = Xoshiro256PlusPlus::seed_from_u64(n as u64);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let threshold = 0.62;
    Run {
        dataset: "synthetic".into(),
        dataset_digest: format!("sha256:{n:064x}"),
        split: "test".into(),
        system: system.into(),
        model: "all-MiniLM-L6-v2".into(),
        model_digest: format!("sha256:{:064x}", 0x5eed),
        n_components: COMPONENTS.len(),
        fitted_on: vec!["synthetic/dev".into()],
        promise: Some(Promise {
            max_error: 0.15,
            confidence_level: 0.9,
            threshold,
            error_bound: 0.147,
            n_in_scope: 400,
            n_out_of_scope: 110,
            coverage: 0.64,
            text: "At most 15 % of the answers are wrong, with 90 % confidence.".into(),
        }),
        answers: (0..n).map(|place| answer(place, threshold, strength, &mut labels, &mut random)).collect(),
        ..Run::default()
    }
}

fn answer(
    place: usize,
    threshold: f64,
    strength: f64,
    labels: &mut Xoshiro256PlusPlus,
    random: &mut Xoshiro256PlusPlus,
) -> Answer {
    let in_scope = labels.random_bool(0.78);
    let meant = COMPONENTS.choose(labels).expect("components");
    let mut relevant = BTreeMap::new();
    if in_scope {
        relevant.insert(meant.0.to_owned(), labels.random_range(1..=3));
        for other in COMPONENTS {
            if labels.random_bool(0.04) {
                relevant.insert(other.0.to_owned(), labels.random_range(0..=2));
            }
        }
    }
    let wish = WISHES.choose(labels).expect("wishes");
    let words = if in_scope { meant.2.to_lowercase() } else { "something that steers a factory robot by voice".into() };
    let kind = ["near", "far", "gibberish"].choose(labels).expect("kinds");
    let tier = [Tier::ZeroGeneration, Tier::MinimalGeneration][usize::from(labels.random_bool(0.3))];
    let german = labels.random_bool(0.2);

    let right_first = in_scope && random.random_bool(strength);
    let ranked = ranking(meant.0, in_scope, right_first, random);
    let surety = if right_first {
        0.72
    } else if in_scope {
        0.5
    } else {
        0.4
    };
    let spread: f64 = (0..4).map(|_| random.random_range(-0.14..0.14)).sum();
    let confidence =
        if ranked.is_empty() { 0.0 } else { ((surety + spread) * 200.0f64).round().clamp(0.0, 200.0) / 200.0 };
    let encode_us = random.random_range(2_000..6_000);
    Answer {
        id: format!("q{place:05}"),
        intent: format!("{wish} {words}"),
        ranked,
        relevant,
        confidence,
        in_scope_confidence: None,
        outcome: Some(if confidence < threshold {
            Tier::RawGeneration
        } else {
            [Tier::ZeroGeneration, Tier::MinimalGeneration][usize::from(random.random_bool(0.35))]
        }),
        expected: Some(if in_scope { tier } else { Tier::RawGeneration }),
        kind: if in_scope { None } else { Some((*kind).to_owned()) },
        tags: if in_scope { vec![meant.3.to_owned(), "common".into()] } else { Vec::new() },
        names_component: Some(in_scope && place.is_multiple_of(9)),
        unseen_component: Some(place.is_multiple_of(4)),
        language: Some(if german { "de" } else { "en" }.to_owned()),
        latency_us: encode_us + random.random_range(300..3_000),
        encode_us,
    }
}

/// Up to ten candidates; a few rankings are empty and a few scores equal.
fn ranking(meant: &str, in_scope: bool, right_first: bool, random: &mut Xoshiro256PlusPlus) -> Vec<Ranked> {
    if random.random_bool(0.01) {
        return Vec::new();
    }
    let mut order: Vec<_> = COMPONENTS.sample(random, 10).copied().collect();
    if in_scope {
        order.retain(|component| component.0 != meant);
        let place = if right_first { 0 } else { random.random_range(1..14) };
        if let (true, Some(component)) = (place < 10, COMPONENTS.iter().find(|component| component.0 == meant)) {
            order.insert(place.min(order.len()), *component);
        }
        order.truncate(10);
    }
    let mut score = random.random_range(0.6..0.95);
    order
        .into_iter()
        .map(|(component, title, text, _)| {
            score -= if random.random_bool(0.1) { 0.0 } else { random.random_range(0.0..0.08) };
            Ranked {
                component: component.into(),
                title: title.into(),
                score,
                signals: signals(score, random),
                matched_text: text.into(),
                terms: text.split(' ').filter(|word| word.len() > 6).map(str::to_lowercase).collect(),
            }
        })
        .collect()
}

fn signals(score: f64, random: &mut Xoshiro256PlusPlus) -> Vec<Signal> {
    let dense = random.random_range(0.3..0.6);
    let lexical = random.random_range(0.1..0.3);
    let prior = random.random_range(-0.08..0.08);
    let parts = [("dense", dense), ("lexical", lexical), ("examples", 1.0 - dense - lexical - prior), ("prior", prior)];
    parts.map(|(name, part)| Signal { name: name.into(), value: part * 1.4, share: part * score }).into()
}
