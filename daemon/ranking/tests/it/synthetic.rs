//! A catalogue of clusters: users ask in another direction, and in other words, than components describe themselves.

use fitment_ranking::{
    Candidate, Example, Fingerprints, Fusion, LabelText, LearnOptions, Learnt, Ranker, SIGNALS, Seen, Signal, Source,
    Stop, learn,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub(crate) const DIMENSION: usize = 16;
const COMPONENTS: u32 = 40;
/// The last fifth has no labelled intents.
const LABELLED: u32 = 32;
const LABELS: u32 = 8;
const OUT_OF_SCOPE: u32 = 64;

/// What the labels say.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Truth {
    /// Which component was meant.
    Meant,
    /// Any component, whatever was asked.
    Noise,
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    for value in &mut vector {
        *value /= length;
    }
    vector
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn direction(random: &mut SmallRng) -> Vec<f32> {
    let normal = |random: &mut SmallRng| (0..6).map(|_| random.random::<f32>() - 0.5).sum();
    unit((0..DIMENSION).map(|_| normal(random)).collect())
}

fn mixed(parts: [(&[f32], f32); 2]) -> Vec<f32> {
    let [(a, of_a), (b, of_b)] = parts;
    unit(a.iter().zip(b).map(|(a, b)| a * of_a + b * of_b).collect())
}

/// Six words, half of them the topic's.
fn words(random: &mut SmallRng, topic: u32) -> Vec<u32> {
    (0..6)
        .map(
            |at| if at % 2 == 0 { topic * 10 + random.random_range(0..5) } else { random.random_range(10_000..10_200) },
        )
        .collect()
}

pub(crate) fn source(seed: u64, truth: Truth) -> Source {
    let mut random = SmallRng::seed_from_u64(seed);
    let centroids: Vec<Vec<f32>> = (0..COMPONENTS).map(|_| direction(&mut random)).collect();
    let asked: Vec<Vec<f32>> =
        centroids.iter().map(|centroid| mixed([(centroid, 1.0), (&direction(&mut random), 0.9)])).collect();
    let own = (0..COMPONENTS)
        .map(|component| LabelText {
            vector: centroids[component as usize].clone(),
            words: words(&mut random, 500 + component),
            relevant: vec![(component, 1.0)],
        })
        .collect();
    let meant = (0..LABELLED * LABELS).map(|at| Some(at % LABELLED)).chain((0..OUT_OF_SCOPE).map(|_| None));
    let examples = meant
        .map(|meant| {
            let noise = direction(&mut random);
            let (vector, words) = match meant {
                Some(component) => {
                    (mixed([(&asked[component as usize], 1.0), (&noise, 0.6)]), words(&mut random, component))
                }
                None => (noise, words(&mut random, 900)),
            };
            let pool = (0..COMPONENTS)
                .map(|component| {
                    let mut signals = [0.0; SIGNALS];
                    let cosine = dot(&centroids[component as usize], &vector);
                    signals[Signal::Centroid.index()] = cosine;
                    signals[Signal::BestFacet.index()] = (cosine + 0.2 * (random.random::<f32>() - 0.5)).min(1.0);
                    signals[Signal::Words.index()] = 0.5 * random.random::<f32>();
                    Candidate { component, signals, injected: false }
                })
                .collect();
            let relevant = match (meant, truth) {
                (Some(_), Truth::Noise) => vec![(random.random_range(0..LABELLED), 1.0)],
                (meant, _) => meant.into_iter().map(|component| (component, 1.0)).collect(),
            };
            Example { label: LabelText { vector, words, relevant }, pool }
        })
        .collect();
    Source { components: (0..COMPONENTS).map(|at| format!("component-{at}")).collect(), centroids, own, examples }
}

pub(crate) fn default_fusion() -> Fusion {
    Fusion::new([(Signal::Centroid, 8.0), (Signal::Words, 1.0)], 4.0).expect("finite")
}

pub(crate) fn options(seed: u64) -> LearnOptions {
    LearnOptions { target: Some(0), default: Some(default_fusion()), second_stage: false, seed, stop: Stop::default() }
}

pub(crate) fn learnt(seed: u64, truth: Truth) -> Learnt {
    learn(&[source(seed, truth)], &options(seed), &|_, _, _| {}).expect("can be learnt from")
}

pub(crate) fn ranker(learnt: Learnt) -> Ranker {
    let Learnt { fusion, confidence, labels, adapter, trials, observations, firsts: _ } = learnt;
    let (labels, heads) = labels.unzip();
    Ranker {
        format: Ranker::FORMAT,
        id: "synthetic".into(),
        model_digest: "none".into(),
        catalog_digest: String::new(),
        fitted_on: vec!["synthetic dev".into()],
        dataset_digests: vec![String::new()],
        seed: 1,
        trials,
        fusion,
        confidence,
        labels,
        heads,
        adapter,
        observations: observations.into_iter().map(|observation| Seen { observation, minimal: false }).collect(),
        intents: Fingerprints::default(),
    }
}
