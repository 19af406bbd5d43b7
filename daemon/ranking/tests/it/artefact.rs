//! The artefact: read as it was written, and refused when it is damaged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fitment_ranking::{LabelEvidence, QueryView, RankedSignals, Ranker, RankingError, SIGNALS, Signals};
use serde_json::{Value, json};

use crate::synthetic::{DIMENSION, Truth, dot, learnt, ranker, source};

/// Signals and confidence of every component for some intents.
fn evidence(ranker: &Ranker) -> (Vec<Signals>, Vec<f64>) {
    let labels = ranker.labels.as_ref().expect("has labels");
    let (mut all, mut judged) = (Vec::new(), Vec::new());
    for example in source(1, Truth::Meant).examples.iter().step_by(29) {
        let query = QueryView { vector: &example.label.vector, words: &example.label.words, dot };
        let found = LabelEvidence::new(labels, ranker.heads.as_ref(), query);
        let places = found.nominees(50).into_iter().map(Some).chain([None]);
        let signals: Vec<Signals> = places
            .map(|place| {
                let mut signals = [0.0; SIGNALS];
                found.fill(place, &mut signals);
                signals
            })
            .collect();
        let mut candidates: Vec<(f64, Signals)> =
            signals.iter().map(|signals| (ranker.fusion.sum(signals), *signals)).collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let confidence = ranker.confidence.confidence(&RankedSignals { candidates, words: 6 });
        judged.extend([confidence.correct, confidence.in_scope]);
        all.extend(signals);
    }
    (all, judged)
}

#[test]
fn an_artefact_is_read_to_the_bit() {
    let written = ranker(learnt(1, Truth::Meant));
    let text = serde_json::to_string(&written).expect("can be written");
    let read = Ranker::from_json(&text).expect("can be read");
    assert_eq!(serde_json::to_string(&read).expect("can be written"), text);
    assert_eq!((&read.fusion, &read.confidence), (&written.fusion, &written.confidence));
    assert_eq!(
        (read.trials.clone(), read.observations.clone()),
        (written.trials.clone(), written.observations.clone())
    );
    let bits = |(signals, judged): (Vec<Signals>, Vec<f64>)| {
        let signals: Vec<u32> = signals.iter().flatten().map(|value| value.to_bits()).collect();
        (signals, judged.iter().map(|value| value.to_bits()).collect::<Vec<u64>>())
    };
    assert_eq!(bits(evidence(&read)), bits(evidence(&written)));
}

#[test]
fn another_models_vector_finds_no_labels() {
    let ranker = ranker(learnt(1, Truth::Meant));
    let labels = ranker.labels.as_ref().expect("has labels");
    let query = QueryView { vector: &[1.0; DIMENSION + 1], words: &[], dot };
    let found = LabelEvidence::new(labels, ranker.heads.as_ref(), query);
    assert!(found.nominees(5).is_empty());
    let mut signals = [0.0; SIGNALS];
    found.fill(Some(0), &mut signals);
    let unlabelled = fitment_ranking::Signal::Unlabelled.index();
    assert!((signals[unlabelled] - 1.0).abs() < f32::EPSILON);
}

/// Every leaf, and the first element of every array, as a JSON pointer.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| leaves(field, &format!("{at}/{name}"), found)),
        Value::Array(items) => items.iter().take(1).for_each(|item| leaves(item, &format!("{at}/0"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads an artefact with one value replaced; what can be read must also be usable.
fn damaged(whole: &Value, at: &str, by: Value) -> Result<(), RankingError> {
    let mut changed = whole.clone();
    *changed.pointer_mut(at).expect("is there") = by;
    let ranker = Ranker::from_json(&changed.to_string())?;
    if ranker.labels.is_some() {
        let (_, judged) = evidence(&ranker);
        assert!(judged.iter().all(|value| (0.0..=1.0).contains(value)), "{at}: {judged:?}");
    }
    Ok(())
}

fn whole() -> Value {
    serde_json::to_value(ranker(learnt(1, Truth::Meant))).expect("can be written")
}

#[test]
fn packed_arrays_that_are_damaged_are_refused() {
    let whole = whole();
    let mut places = Vec::new();
    leaves(&whole, "", &mut places);
    let mut tried = 0;
    for at in places.iter().filter(|at| at.starts_with("/labels") || at.starts_with("/heads")) {
        let Some(text) = whole.pointer(at).and_then(Value::as_str) else { continue };
        if at.starts_with("/labels/components") {
            continue;
        }
        let bytes = STANDARD.decode(text).expect("is base64");
        assert!(bytes.len() >= 8, "{at}");
        let packed = |bytes: &[u8]| Value::String(STANDARD.encode(bytes));
        let with = |replaced: [u8; 4]| {
            let mut bytes = bytes.clone();
            bytes[4..8].copy_from_slice(&replaced);
            packed(&bytes)
        };
        for cut in [1, 2, 3, text.len() / 2 + 1] {
            assert!(damaged(&whole, at, json!(text[..text.len() - cut])).is_err(), "{at} cut by {cut}");
        }
        for cut in [1, 4, 64] {
            assert!(damaged(&whole, at, packed(&bytes[..bytes.len() - cut])).is_err(), "{at} shorter by {cut}");
        }
        assert!(damaged(&whole, at, packed(&[&bytes[..], &[0; 4]].concat())).is_err(), "{at} longer");
        assert!(damaged(&whole, at, json!("*")).is_err() && damaged(&whole, at, json!("")).is_err(), "{at}");
        // Hashed words may be any number if they are in order; all others know their bounds.
        let any = ["/labels/terms"].contains(&at.as_str());
        for replaced in [u32::MAX, f32::NAN.to_bits(), f32::INFINITY.to_bits(), 3e38f32.to_bits()] {
            let found = damaged(&whole, at, with(replaced.to_le_bytes()));
            assert!(found.is_err() || any, "{at} with {replaced:x}");
        }
        let _either_way = damaged(&whole, at, packed(&vec![0; bytes.len()]));
        let _either_way = damaged(&whole, at, packed(&bytes.iter().rev().copied().collect::<Vec<u8>>()));
        tried += 1;
    }
    assert_eq!(tried, 16, "eight arrays of labels with their vocabulary, seven of heads, one more in either");
}

#[test]
fn values_that_are_damaged_never_panic() {
    let whole = whole();
    let mut places = Vec::new();
    leaves(&whole, "", &mut places);
    for at in places {
        for by in [json!(null), json!(""), json!(-1), json!(1e300), json!(u64::MAX), json!([]), json!({}), json!(0)] {
            let _either_way = damaged(&whole, &at, by);
        }
    }
}

#[test]
fn what_does_not_hang_together_is_refused() {
    let whole = whole();
    let packed = |numbers: &[u32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        json!(STANDARD.encode(bytes))
    };
    let numbers = |at: &str| -> Vec<u32> {
        let text = whole.pointer(at).and_then(Value::as_str).expect("is there");
        STANDARD.decode(text).expect("is base64").as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
    };
    let refused = |at: &str, by: Value| {
        let found = damaged(&whole, at, by);
        assert!(matches!(found, Err(RankingError::Damaged(_))), "{at}: {found:?}");
    };
    for at in ["/labels/owner_starts", "/labels/term_starts", "/heads/starts"] {
        let mut starts = numbers(at);
        starts[0] = 1;
        refused(at, packed(&starts));
    }
    for at in ["/labels/vocabulary/terms", "/heads/terms"] {
        refused(at, packed(&numbers(at).into_iter().rev().collect::<Vec<u32>>()));
    }
    refused("/format", json!(1));
    refused("/labels", json!(null));
    refused("/labels/dimension", json!(0));
    refused("/labels/dimension", json!(1u64 << 62));
    refused("/labels/components/1", json!("component-0"));
    refused("/labels/owners", packed(&vec![0; numbers("/labels/owners").len()]));
    refused("/confidence/correct/0", json!(1e300));
    refused("/confidence/mean", json!([]));
    refused("/observations/0/confidence", json!(1.5));
    refused("/fusion/offset", json!(1e9));
    refused("/seed", json!(-1));
    let shift = |value: f32, numbers: usize| packed(&vec![value.to_bits(); numbers]);
    let adapter = |value, numbers| json!({"dimension": DIMENSION, "shift": shift(value, numbers)});
    assert!(damaged(&whole, "/adapter", adapter(0.1, DIMENSION * DIMENSION)).is_ok());
    refused("/adapter", adapter(0.1, DIMENSION));
    refused("/adapter", adapter(f32::NAN, DIMENSION * DIMENSION));
    refused("/adapter", json!({"dimension": 1, "shift": shift(0.1, 1)}));
    let text = whole.to_string();
    for cut in 1..100 {
        assert!(Ranker::from_json(&text[..text.len() * cut / 100]).is_err(), "{cut} %");
    }
}
