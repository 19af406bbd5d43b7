//! Learning on the synthetic catalogue: what is taken, what is kept, and what is refused.

use std::sync::Mutex;

use fitment_ranking::{Choice, LearnOptions, RankingError, Signal, Trial, learn};

use crate::synthetic::{Truth, learnt, options, ranker, source};

fn trial(trials: &[Trial], choice: Choice) -> &Trial {
    trials.iter().find(|trial| trial.choice == choice).expect("was tried")
}

#[test]
fn labels_are_taken_and_components_without_them_do_not_suffer() {
    let found = learnt(1, Truth::Meant);
    let (default, labels) = (trial(&found.trials, Choice::Default), trial(&found.trials, Choice::Labels));
    assert!(labels.taken && !default.taken, "{:?}", found.trials);
    assert!(labels.hit_at_1 > default.hit_at_1 + 0.1, "{:?}", found.trials);
    // Intents whose component had lost its labels: a few dozen, so within their sampling error.
    let (before, after) = (default.unseen_hit_at_1.expect("some"), labels.unseen_hit_at_1.expect("some"));
    assert!(after > before - 0.1, "{:?}", found.trials);
    assert!(found.fusion.is_learnt());
    let (memory, _) = found.labels.expect("labels are kept");
    assert_eq!((memory.len(), memory.names().count(), memory.dimension()), (256, 32, 16));
    assert_eq!((memory.place("component-39"), memory.place("component-0")), (None, Some(0)));
    assert_eq!(found.observations.len(), 256 + 64);
    assert!(found.observations.iter().all(|seen| (0.0..=1.0).contains(&seen.confidence)));
    // Confidences of right answers are higher.
    let mean = |correct: bool| {
        let of: Vec<f64> =
            found.observations.iter().filter(|seen| seen.correct == correct).map(|seen| seen.confidence).collect();
        of.iter().sum::<f64>() / f64::from(u32::try_from(of.len()).expect("few"))
    };
    assert!(mean(true) > mean(false) + 0.3, "{} {}", mean(true), mean(false));
}

#[test]
fn a_confidence_is_fitted_on_the_signals_that_are_served() {
    // Seven features of the list's shape come before the signals.
    let of = |learnt: &fitment_ranking::Learnt, signal: Signal| {
        let model = serde_json::to_value(&learnt.confidence).expect("can be written");
        model["scale"][7 + signal.index()].as_f64().expect("a number")
    };
    let labels = learnt(1, Truth::Meant);
    assert!(of(&labels, Signal::Head) > 0.0, "taken: {:?}", labels.trials);
    assert_eq!((labels.adapter.is_some(), of(&labels, Signal::Adapted) > 0.0), (false, false), "{:?}", labels.trials);
    let default = (10..20).map(|seed| learnt(seed, Truth::Noise)).find(|found| found.labels.is_none());
    let default = default.expect("noise is seldom taken");
    assert!(Signal::ALL.into_iter().filter(|signal| signal.is_learnt()).all(|signal| of(&default, signal) == 0.0));
}

#[test]
fn an_intent_that_was_labelled_is_not_turned_away_from_its_component() {
    for (seed, truth) in [(1, Truth::Meant), (2, Truth::Meant), (11, Truth::Noise), (12, Truth::Noise)] {
        let found = learnt(seed, truth);
        let free = [Signal::Unlabelled, Signal::LabelCount];
        let near = Signal::ALL.into_iter().filter(|signal| signal.is_learnt() && !free.contains(signal));
        let weights: Vec<(&str, f64)> = near.map(|signal| (signal.as_str(), found.fusion.weight(signal))).collect();
        assert!(weights.iter().all(|(_, weight)| *weight >= 0.0), "{seed}: {weights:?}");
    }
}

#[test]
fn the_same_seed_learns_the_same() {
    let text = || serde_json::to_string(&ranker(learnt(3, Truth::Meant))).expect("can be written");
    assert_eq!(text(), text());
}

#[test]
fn labels_that_are_noise_are_seldom_taken() {
    let taken: Vec<Trial> = (10..20)
        .map(|seed| learnt(seed, Truth::Noise).trials.into_iter().find(|trial| trial.taken).expect("one is taken"))
        .collect();
    let labels = taken.iter().filter(|trial| trial.choice == Choice::Labels).count();
    // A lead of one standard error is chance about one time in six; of ten draws, not more than two.
    assert!(labels <= 2, "{taken:?}");
}

#[test]
fn too_few_intents_say_how_many_more() {
    let mut few = source(1, Truth::Meant);
    few.examples.retain(|example| !example.label.relevant.is_empty());
    few.examples.truncate(41);
    let error = learn(&[few], &options(1), &|_, _, _| {}).expect_err("too few");
    assert!(matches!(&error, RankingError::TooFew(text) if text.ends_with("add 9 more")), "{error}");
    assert!(matches!(
        learn(&[], &LearnOptions { target: None, ..options(1) }, &|_, _, _| {}),
        Err(RankingError::TooFew(_))
    ));
}

#[test]
fn without_out_of_scope_intents_no_confidence_is_learnt() {
    let mut only_in_scope = source(1, Truth::Meant);
    only_in_scope.examples.retain(|example| !example.label.relevant.is_empty());
    let error = learn(&[only_in_scope], &options(1), &|_, _, _| {}).expect_err("nothing teaches abstention");
    assert!(error.to_string().contains("out-of-scope"), "{error}");
}

#[test]
fn sources_that_do_not_hang_together_are_refused() {
    let refused = |change: &dyn Fn(&mut fitment_ranking::Source)| {
        let mut source = source(1, Truth::Meant);
        change(&mut source);
        let found = learn(&[source], &options(1), &|_, _, _| {});
        assert!(matches!(found, Err(RankingError::Range { .. })));
    };
    refused(&|source| source.examples[3].label.vector.truncate(3));
    refused(&|source| source.examples[3].label.vector[0] = f32::NAN);
    refused(&|source| source.examples[3].label.relevant[0].0 = 40);
    refused(&|source| source.examples[3].label.relevant[0].1 = 0.0);
    refused(&|source| source.examples[3].pool[0].component = 40);
    refused(&|source| source.own[0].relevant[0].0 = 40);
    refused(&|source| source.centroids.truncate(39));
    let nowhere = LearnOptions { target: Some(1), ..options(1) };
    assert!(matches!(learn(&[source(1, Truth::Meant)], &nowhere, &|_, _, _| {}), Err(RankingError::Range { .. })));
}

#[test]
fn components_without_facets_empty_pools_and_missing_signals_are_borne() {
    let mut odd = source(1, Truth::Meant);
    odd.centroids[0].clear();
    odd.own.remove(0);
    odd.examples[0].pool.clear();
    odd.examples[1].pool.truncate(1);
    odd.examples[2].pool[0].signals[0] = f32::NAN;
    let found = learn(&[odd], &options(1), &|_, _, _| {}).expect("can be learnt from");
    assert!(found.observations.iter().all(|seen| (0.0..=1.0).contains(&seen.confidence)));
}

#[test]
fn a_single_component_is_borne() {
    let mut lone = source(1, Truth::Meant);
    for example in &mut lone.examples {
        example.label.relevant.iter_mut().for_each(|(component, _)| *component = 0);
    }
    // Whatever the draw of held-out components, also that of the only one with labels.
    for seed in 0..4 {
        let found = learn(&[lone.clone()], &options(seed), &|_, _, _| {}).expect("can be learnt from");
        assert!(found.trials.iter().any(|trial| trial.taken));
    }
}

#[test]
fn relevant_components_that_the_pool_lacks_do_not_harm_the_fit() {
    // Two relevant components each, of which the pool holds one: the targets must still sum to one.
    let mut halved = source(1, Truth::Meant);
    for example in &mut halved.examples {
        if let Some(&(component, grade)) = example.label.relevant.first() {
            let other = (component + 1) % 32;
            example.label.relevant.push((other, grade));
            example.pool.retain(|candidate| candidate.component != other);
        }
    }
    let weights_only = LearnOptions { target: None, ..options(1) };
    let whole = learn(&[source(1, Truth::Meant)], &weights_only, &|_, _, _| {}).expect("can be learnt from");
    let found = learn(&[halved], &weights_only, &|_, _, _| {}).expect("can be learnt from");
    let [whole, found] = [whole, found].map(|learnt| trial(&learnt.trials, Choice::Weights).hit_at_1);
    assert!(found > whole - 0.03, "{found} {whole}");
}

#[test]
fn steps_are_told_in_order() {
    let told = Mutex::new(Vec::new());
    let tell = |_: &str, at: u64, of: u64| told.lock().expect("nobody panics").push((at, of));
    learn(&[source(1, Truth::Meant)], &options(1), &tell).expect("can be learnt from");
    let told = told.into_inner().expect("nobody panics");
    assert!(told.is_sorted() && told.last() == Some(&(8, 8)), "{told:?}");
}
