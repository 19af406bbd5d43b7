//! Linear softmax heads on frozen vectors and on words: no re-encoding, no re-indexing.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::RankingError;
use crate::evidence::QueryView;
use crate::labels::{LabelText, Labels, Vocabulary, grams};
use crate::optimize::{minimize, softmax_loss};
use crate::packed;

/// Inputs of unit length are scaled by this, so that one strength of regularisation suits both heads.
const SCALE: f32 = 4.0;
/// `RIDGE * |W|^2` is added to the summed loss.
const RIDGE: f64 = 0.05;
const ITERATIONS: u64 = 100;
/// Weight of a component's own text against a labelled intent.
const OWN_TEXT_WEIGHT: f64 = 0.5;
/// Weights under this are left out of the word head.
const NEGLIGIBLE: f64 = 0.02;
/// Most parameters of the word head while it is fitted.
const MOST_PARAMETERS: usize = 3_000_000;

/// The largest weight: far beyond any that is learnt, and sums of products with it stay finite.
const MOST_WEIGHT: f32 = 1e6;

/// Log probabilities of the components that have labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// [classes, dimension]
    #[serde(with = "packed::floats")]
    weights: Vec<f32>,
    #[serde(with = "packed::floats")]
    bias: Vec<f32>,
    /// Sorted.
    #[serde(with = "packed::words")]
    terms: Vec<u32>,
    /// Where each term's weights begin; one more than terms.
    #[serde(with = "packed::words")]
    starts: Vec<u32>,
    #[serde(with = "packed::words")]
    classes: Vec<u32>,
    #[serde(with = "packed::floats")]
    word_weights: Vec<f32>,
    #[serde(with = "packed::floats")]
    word_bias: Vec<f32>,
}

/// A text of a component: a labelled intent or one of its facets.
struct Text<'a> {
    vector: &'a [f32],
    words: Vec<(u32, f32)>,
    class: usize,
    weight: f64,
}

impl Heads {
    /// labels: what `memory` was made of. own: the components' facets; those of components without labels are not used.
    pub(crate) fn fit(
        components: &[String],
        memory: &Labels,
        labels: &[&LabelText],
        own: &[LabelText],
    ) -> Result<Self, RankingError> {
        let mut texts = Vec::new();
        let weighted = labels.iter().map(|label| (*label, 1.0)).chain(own.iter().map(|text| (text, OWN_TEXT_WEIGHT)));
        for (text, weight) in weighted {
            let total: f32 = text.relevant.iter().map(|(_, grade)| grade).sum();
            for (component, grade) in &text.relevant {
                let Some(class) = memory.place(&components[*component as usize]) else { continue };
                let words = memory.vocabulary.weigh(grams(&text.words).into_iter());
                let weight = weight * f64::from(grade / total);
                texts.push(Text { vector: &text.vector, words, class: class as usize, weight });
            }
        }
        let classes = memory.components.len();
        let (weights, bias) = fit_dense(&texts, classes, memory.dimension)?;
        let words = fit_words(&texts, classes)?;
        Ok(Self { weights, bias, ..words })
    }

    /// Errors: parts that do not fit each other or the labels.
    pub(crate) fn check(&self, labels: &Labels) -> Result<(), RankingError> {
        let classes = labels.components.len();
        let fits = self.weights.len() == classes * labels.dimension
            && self.bias.len() == classes
            && self.word_bias.len() == classes
            && self.starts.len() == self.terms.len() + 1
            && self.starts.first() == Some(&0)
            && self.starts.is_sorted()
            && self.terms.is_sorted_by(|a, b| a < b)
            && self.starts.last().is_some_and(|&end| end as usize == self.classes.len())
            && self.classes.len() == self.word_weights.len()
            && self.classes.iter().all(|&class| (class as usize) < classes);
        let mut numbers = self.weights.iter().chain(&self.bias).chain(&self.word_weights).chain(&self.word_bias);
        if fits && numbers.all(|number| number.abs() <= MOST_WEIGHT) {
            Ok(())
        } else {
            Err(RankingError::Damaged("the heads do not match the labels".into()))
        }
    }

    /// [components with labels] each: by the vector, and by the words.
    pub(crate) fn log_probabilities(
        &self,
        query: QueryView<'_>,
        vocabulary: &Vocabulary,
        counted: &BTreeMap<u32, f32>,
    ) -> (Vec<f32>, Vec<f32>) {
        let rows = self.weights.chunks_exact(query.vector.len().max(1)).zip(&self.bias);
        let mut dense: Vec<f32> = rows.map(|(row, bias)| SCALE * (query.dot)(row, query.vector) + bias).collect();
        log_softmax(&mut dense);
        let mut words = self.word_bias.clone();
        for (term, weight) in vocabulary.weigh(counted.iter().map(|(&term, &count)| (term, count))) {
            let Ok(at) = self.terms.binary_search(&term) else { continue };
            let range = self.starts[at] as usize..self.starts[at + 1] as usize;
            for (&class, &of_class) in self.classes[range.clone()].iter().zip(&self.word_weights[range]) {
                words[class as usize] += SCALE * weight * of_class;
            }
        }
        log_softmax(&mut words);
        (dense, words)
    }
}

fn log_softmax(logits: &mut [f32]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total = logits.iter().map(|logit| (logit - highest).exp()).sum::<f32>().ln() + highest;
    for logit in logits {
        *logit -= total;
    }
}

/// [classes, dimension] and [classes].
fn fit_dense(texts: &[Text<'_>], classes: usize, dimension: usize) -> Result<(Vec<f32>, Vec<f32>), RankingError> {
    const CHUNK: usize = 256;
    let parameters = classes * dimension;
    let mut inputs = Array2::<f64>::zeros((texts.len(), dimension));
    for (mut row, text) in inputs.outer_iter_mut().zip(texts) {
        row.iter_mut().zip(text.vector).for_each(|(to, &from)| *to = f64::from(from * SCALE));
    }
    let evaluate = |place: &[f64]| {
        let weights = ArrayView2::from_shape((classes, dimension), &place[..parameters])
            .expect("the place has a weight for every class and dimension");
        let bias = &place[parameters..];
        let parts: Vec<(f64, Array2<f64>, Vec<f64>)> = texts
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(chunk, of_chunk)| {
                let rows = inputs.slice(ndarray::s![chunk * CHUNK..chunk * CHUNK + of_chunk.len(), ..]);
                let mut logits = rows.dot(&weights.t());
                let mut loss = 0.0;
                for (mut row, text) in logits.outer_iter_mut().zip(of_chunk) {
                    let row = row.as_slice_mut().expect("a fresh product lies row by row");
                    row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
                    loss += softmax_loss(row, text.class, text.weight);
                }
                let by_bias = logits.sum_axis(Axis(0)).to_vec();
                (loss, logits.t().dot(&rows), by_bias)
            })
            .collect();
        let mut loss = 0.0;
        let mut gradient: Vec<f64> = place[..parameters].iter().map(|weight| 2.0 * RIDGE * weight).collect();
        gradient.resize(place.len(), 0.0);
        for (of_chunk, by_weight, by_bias) in parts {
            loss += of_chunk;
            gradient.iter_mut().zip(by_weight.iter()).for_each(|(sum, value)| *sum += value);
            gradient[parameters..].iter_mut().zip(by_bias).for_each(|(sum, value)| *sum += value);
        }
        loss += RIDGE * place[..parameters].iter().map(|weight| weight * weight).sum::<f64>();
        (loss, gradient)
    };
    let mut found = minimize(vec![0.0; parameters + classes], ITERATIONS, evaluate)?;
    let bias = narrow(&found.split_off(parameters));
    Ok((narrow(&found), bias))
}

#[expect(clippy::cast_possible_truncation, reason = "weights need no more than single precision")]
fn narrow(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&number| number as f32).collect()
}

fn fit_words(texts: &[Text<'_>], classes: usize) -> Result<Heads, RankingError> {
    let mut frequencies: BTreeMap<u32, usize> = BTreeMap::new();
    for (term, _) in texts.iter().flat_map(|text| &text.words) {
        *frequencies.entry(*term).or_default() += 1;
    }
    let mut least = 2;
    let count = |least: usize| frequencies.values().filter(|&&count| count >= least).count();
    while count(least) * classes > MOST_PARAMETERS {
        least += 1;
    }
    let terms: Vec<u32> = frequencies.iter().filter(|(_, count)| **count >= least).map(|(&term, _)| term).collect();
    let places: HashMap<u32, usize> = terms.iter().copied().zip(0..).collect();
    let inputs: Vec<Vec<(usize, f64)>> = texts
        .iter()
        .map(|text| {
            let known = |&(term, weight): &(u32, f32)| Some((*places.get(&term)?, f64::from(weight * SCALE)));
            text.words.iter().filter_map(known).collect()
        })
        .collect();
    let parameters = terms.len() * classes;
    let evaluate = |place: &[f64]| {
        let mut gradient: Vec<f64> = place[..parameters].iter().map(|weight| 2.0 * RIDGE * weight).collect();
        gradient.resize(place.len(), 0.0);
        let mut loss = RIDGE * place[..parameters].iter().map(|weight| weight * weight).sum::<f64>();
        let mut logits = vec![0.0; classes];
        for (text, input) in texts.iter().zip(&inputs) {
            logits.copy_from_slice(&place[parameters..]);
            for &(term, value) in input {
                let row = &place[term * classes..][..classes];
                logits.iter_mut().zip(row).for_each(|(logit, weight)| *logit += value * weight);
            }
            loss += softmax_loss(&mut logits, text.class, text.weight);
            for &(term, value) in input {
                let row = &mut gradient[term * classes..][..classes];
                row.iter_mut().zip(&logits).for_each(|(sum, error)| *sum += value * error);
            }
            gradient[parameters..].iter_mut().zip(&logits).for_each(|(sum, error)| *sum += error);
        }
        (loss, gradient)
    };
    let mut found = minimize(vec![0.0; parameters + classes], ITERATIONS, evaluate)?;
    let word_bias = narrow(&found.split_off(parameters));
    let mut heads = Heads {
        weights: Vec::new(),
        bias: Vec::new(),
        terms,
        starts: vec![0],
        classes: Vec::new(),
        word_weights: Vec::new(),
        word_bias,
    };
    for row in found.chunks_exact(classes.max(1)) {
        for (class, &weight) in (0u32..).zip(row).filter(|(_, weight)| weight.abs() >= NEGLIGIBLE) {
            heads.classes.push(class);
            heads.word_weights.extend(narrow(&[weight]));
        }
        heads.starts.push(heads.classes.len().try_into().unwrap_or(u32::MAX));
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::dot;

    /// Three classes, each around an axis and with words of its own.
    fn label(class: u32, at: u32) -> LabelText {
        let mut vector = vec![0.1; 8];
        vector[class as usize] = 1.0;
        vector[3 + (at % 5) as usize] += 0.4;
        let norm = dot(&vector, &vector).sqrt();
        for value in &mut vector {
            *value /= norm;
        }
        LabelText { vector, words: vec![100 * class + at % 4, 7, 100 * class + at % 3], relevant: vec![(class, 1.0)] }
    }

    fn fitted() -> (Labels, Heads) {
        let components: Vec<String> = (0..4).map(|at| format!("c{at}")).collect();
        let labels: Vec<LabelText> = (0..30).map(|at| label(at % 3, at)).collect();
        let labels: Vec<&LabelText> = labels.iter().collect();
        let vocabulary = Vocabulary::new(labels.iter().map(|label| &label.words[..]));
        let memory = Labels::new(&components, &vec![vec![0.0; 8]; 4], &labels, vocabulary);
        // The own text of a component without labels is left out.
        let heads = Heads::fit(&components, &memory, &labels, &[label(3, 0), label(1, 2)]).expect("can be fitted");
        (memory, heads)
    }

    #[test]
    fn clusters_are_learnt_by_vector_and_by_words() {
        let (memory, heads) = fitted();
        assert_eq!(heads.check(&memory), Ok(()));
        for at in 100..130 {
            let asked = label(at % 3, at);
            let query = QueryView { vector: &asked.vector, words: &asked.words, dot };
            let (dense, words) = heads.log_probabilities(query, &memory.vocabulary, &grams(&asked.words));
            for logs in [dense, words] {
                assert_eq!(logs.len(), 3, "one for each component with labels");
                let total: f32 = logs.iter().map(|log| log.exp()).sum();
                assert!((total - 1.0).abs() < 1e-5, "{logs:?}");
                assert!(logs[(at % 3) as usize] > 0.6f32.ln(), "{at}: {logs:?}");
            }
        }
    }

    #[test]
    fn unknown_words_leave_only_the_bias() {
        let (memory, heads) = fitted();
        let query = QueryView { vector: &[0.0; 8], words: &[999], dot };
        let (_, words) = heads.log_probabilities(query, &memory.vocabulary, &grams(&[999]));
        let mut bias = heads.word_bias.clone();
        log_softmax(&mut bias);
        assert_eq!(words, bias);
    }

    #[test]
    fn nothing_to_learn_is_no_failure() {
        let memory = Labels::new(&[], &[], &[], Vocabulary::default());
        let heads = Heads::fit(&[], &memory, &[], &[]).expect("nothing to fit");
        assert_eq!(heads.check(&memory), Ok(()));
        assert!(heads.check(&fitted().0).is_err());
    }
}
