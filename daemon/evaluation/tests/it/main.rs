//! The crate from outside: reports, comparisons, TREC files, pages.

mod comparing;
mod pages;
mod reports;
#[path = "../../examples/synthetic/generate.rs"]
mod synthetic;
mod trec_files;

use std::collections::BTreeMap;

use fitment_evaluation::{Answer, Promise, Ranked, Run, Tier};

/// A run of these answers; with a promise of at most 20 % wrong, fitted at a threshold of 0.5.
fn run(answers: Vec<Answer>) -> Run {
    let promise = Promise {
        max_error: 0.2,
        confidence_level: 0.9,
        threshold: 0.5,
        error_bound: 0.19,
        n_in_scope: 100,
        n_out_of_scope: 30,
        coverage: 0.4,
        text: String::new(),
    };
    Run {
        dataset: "set".into(),
        dataset_digest: "sha256:1".into(),
        split: "test".into(),
        system: "default".into(),
        model: "mini".into(),
        model_digest: "sha256:2".into(),
        n_components: 3,
        fitted_on: vec![],
        promise: Some(promise),
        answers,
        ..Run::default()
    }
}

/// An answer that ranks `ranked` best first and has `relevant` as labels of grade 1; answered from 0.5 on.
fn answer(id: &str, ranked: &[&str], relevant: &[&str], confidence: f64) -> Answer {
    let scores = (0u32..).map(|place| 1.0 - f64::from(place) / 10.0);
    let candidates = ranked.iter().zip(scores);
    Answer {
        id: id.into(),
        intent: format!("intent {id}"),
        ranked: candidates.map(|(&component, score)| candidate(component, score)).collect(),
        relevant: relevant.iter().map(|&component| (component.to_owned(), 1)).collect::<BTreeMap<_, _>>(),
        confidence,
        in_scope_confidence: None,
        outcome: Some(if confidence < 0.5 { Tier::RawGeneration } else { Tier::ZeroGeneration }),
        ..Answer::default()
    }
}

fn candidate(component: &str, score: f64) -> Ranked {
    Ranked { component: component.into(), title: format!("Title of {component}"), score, ..Ranked::default() }
}
