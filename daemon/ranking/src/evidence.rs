//! What labelled intents say of one intent: the learnt signals of every component that has labels.

use crate::heads::Heads;
use crate::labels::{Labels, grams};
use crate::signal::{Signal, Signals};

/// Weight of the facets' centroid against one labelled intent each in the prototype.
const CENTROID_WEIGHT: f32 = 3.0;
/// Widths of the soft counts, in units of cosine.
const NEIGHBOUR_WIDTH: f32 = 0.08;
const WORD_WIDTH: f32 = 0.15;
/// What a head says of a component that it does not know, before the division by ten.
const UNKNOWN_LOG_PROBABILITY: f32 = -5.0;
const LEAST_LOG_PROBABILITY: f32 = -12.0;

/// One intent as labels are compared with it.
#[derive(Clone, Copy)]
pub struct QueryView<'a> {
    /// [dimension], unit length.
    pub vector: &'a [f32],
    /// Hashed stems, stop words included, in order.
    pub words: &'a [u32],
    /// Dot product of two vectors of the same length.
    pub dot: fn(&[f32], &[f32]) -> f32,
}

/// The learnt signals of one intent.
#[derive(Clone, Debug)]
pub struct LabelEvidence {
    places: Vec<OfComponent>,
}

#[derive(Clone, Debug, Default)]
struct OfComponent {
    sum_dot: f32,
    sum_norm: f32,
    centroid_dot: f32,
    nearest: f32,
    neighbours: f32,
    words: f32,
    nearest_words: f32,
    word_neighbours: f32,
    head: f32,
    word_head: f32,
    count: f32,
}

impl LabelEvidence {
    /// What `labels` and `heads` say of an intent. A vector of another dimension than [`Labels::dimension`] is of another
    /// model: the labels say nothing of it, and every component counts as one without labels.
    pub fn new(labels: &Labels, heads: Option<&Heads>, query: QueryView<'_>) -> Self {
        if query.vector.len() != labels.dimension {
            return Self { places: Vec::new() };
        }
        let derived = &labels.derived;
        let mut places: Vec<OfComponent> = (0..labels.components.len())
            .map(|place| OfComponent {
                sum_dot: (query.dot)(labels.sum(place), query.vector),
                sum_norm: derived.sum_norms[place],
                centroid_dot: labels.centroid_dot(place),
                count: derived.label_counts[place],
                ..OfComponent::default()
            })
            .collect();
        let counted = grams(query.words);
        let mut likeness = vec![0f32; labels.len()];
        for (term, weight) in labels.vocabulary.weigh(counted.iter().map(|(&term, &count)| (term, count))) {
            for &(label, other) in derived.postings.get(&term).map_or(&[][..], Vec::as_slice) {
                likeness[label as usize] += weight * other;
            }
        }
        for (label, &words) in likeness.iter().enumerate() {
            let cosine = (query.dot)(labels.vector(label), query.vector);
            let near = ((cosine - 1.0) / NEIGHBOUR_WIDTH).exp();
            let near_words = ((words - 1.0) / WORD_WIDTH).exp();
            for &owner in labels.owners(label) {
                let of = &mut places[owner as usize];
                of.nearest = of.nearest.max(cosine);
                of.nearest_words = of.nearest_words.max(words);
                of.neighbours += near;
                of.word_neighbours += near_words;
            }
        }
        let mut total = 0.0;
        for &term in counted.keys() {
            let Some(found) = derived.words.get(&term) else {
                total += derived.unknown_idf;
                continue;
            };
            total += found.idf;
            for &(component, worth) in &found.components {
                places[component as usize].words += found.idf * worth;
            }
        }
        for of in &mut places {
            of.words = if total > 0.0 { of.words / (of.words + total) } else { 0.0 };
        }
        if let Some(heads) = heads {
            let (dense, words) = heads.log_probabilities(query, &labels.vocabulary, &counted);
            for ((of, dense), words) in places.iter_mut().zip(dense).zip(words) {
                of.head = dense.max(LEAST_LOG_PROBABILITY) / 10.0;
                of.word_head = words.max(LEAST_LOG_PROBABILITY) / 10.0;
            }
        }
        Self { places }
    }

    /// Sets every learnt signal of a component. place: among those with labels. `signals` has its centroid's cosine.
    pub fn fill(&self, place: Option<u32>, signals: &mut Signals) {
        let centroid = signals[Signal::Centroid.index()];
        signals[Signal::Prototype.index()..].fill(0.0);
        let mut set = |signal: Signal, value: f32| signals[signal.index()] = value;
        let Some(of) = place.and_then(|place| self.places.get(place as usize)) else {
            set(Signal::Prototype, centroid);
            set(Signal::Head, UNKNOWN_LOG_PROBABILITY / 10.0);
            set(Signal::WordHead, UNKNOWN_LOG_PROBABILITY / 10.0);
            set(Signal::Unlabelled, 1.0);
            return;
        };
        let norm = CENTROID_WEIGHT.mul_add(CENTROID_WEIGHT, 2.0 * CENTROID_WEIGHT * of.centroid_dot + of.sum_norm);
        set(Signal::Prototype, CENTROID_WEIGHT.mul_add(centroid, of.sum_dot) / norm.max(1e-6).sqrt());
        set(Signal::NearestLabel, of.nearest);
        set(Signal::LabelNeighbours, NEIGHBOUR_WIDTH * (of.neighbours + 1e-6).ln());
        set(Signal::LabelWords, of.words);
        set(Signal::NearestLabelWords, of.nearest_words);
        set(Signal::LabelWordNeighbours, WORD_WIDTH * (of.word_neighbours + 1e-4).ln());
        set(Signal::Head, of.head);
        set(Signal::WordHead, of.word_head);
        set(Signal::LabelCount, of.count.ln_1p() / 20.0);
    }

    /// The places of the components that labels point to most, at most `most` by each of three ways, each once.
    pub fn nominees(&self, most: usize) -> Vec<u32> {
        let mut nominees: Vec<u32> = Vec::new();
        let ways: [fn(&OfComponent) -> f32; 3] =
            [|of| of.neighbours, |of| of.words, |of| if of.head < 0.0 { of.head } else { of.nearest }];
        for way in ways {
            let mut order: Vec<(f32, u32)> = self.places.iter().map(way).zip(0..).collect();
            if most < order.len() {
                // Of equal ones the first: as a stable sort has it, without sorting those that are left out.
                order.select_nth_unstable_by(most, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                order.truncate(most);
            }
            nominees.extend(order.into_iter().map(|(_, place)| place));
        }
        nominees.sort_unstable();
        nominees.dedup();
        nominees
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{LabelText, Vocabulary, dot};
    use crate::signal::SIGNALS;

    fn close(signals: &Signals, signal: Signal, expect: f32) {
        let found = signals[signal.index()];
        assert!((found - expect).abs() < 1e-5, "{} is {found}, not {expect}", signal.as_str());
    }

    /// Component 1 was asked for by word 10 along the first axis, component 2 by word 20 along the second; 0 by nobody.
    fn two_labels() -> Labels {
        let label = |vector: [f32; 2], word, component| LabelText {
            vector: vector.to_vec(),
            words: vec![word],
            relevant: vec![(component, 1.0)],
        };
        let labels = [label([1.0, 0.0], 10, 1), label([0.0, 1.0], 20, 2)];
        let labels: Vec<&LabelText> = labels.iter().collect();
        let vocabulary = Vocabulary::new(labels.iter().map(|label| &label.words[..]));
        let centroids = [vec![0.0, -1.0], vec![1.0, 0.0], vec![0.6, 0.8]];
        Labels::new(&["a".into(), "b".into(), "c".into()], &centroids, &labels, vocabulary)
    }

    #[test]
    fn two_labels_give_what_is_reckoned_by_hand() {
        let labels = two_labels();
        assert_eq!((labels.place("a"), labels.place("b"), labels.place("c")), (None, Some(0), Some(1)));
        let query = QueryView { vector: &[0.6, 0.8], words: &[10], dot };
        let evidence = LabelEvidence::new(&labels, None, query);
        let filled = |place: Option<u32>, centroid: f32| {
            // What an earlier fill left is overwritten.
            let mut signals = [9.0; SIGNALS];
            signals[Signal::Centroid.index()] = centroid;
            evidence.fill(place, &mut signals);
            close(&signals, Signal::Centroid, centroid);
            close(&signals, Signal::Words, 9.0);
            signals
        };
        let b = filled(labels.place("b"), 0.6);
        // (3 * 0.6 + 0.6) over the length of 3 * (1, 0) + (1, 0).
        close(&b, Signal::Prototype, 0.6);
        close(&b, Signal::NearestLabel, 0.6);
        close(&b, Signal::LabelNeighbours, 0.08 * ((-0.4f32 / 0.08).exp() + 1e-6).ln());
        // One word, of worth 1 in the component of mean length: idf / (idf + idf).
        close(&b, Signal::LabelWords, 0.5);
        close(&b, Signal::NearestLabelWords, 1.0);
        close(&b, Signal::LabelWordNeighbours, 0.15 * 1.0001f32.ln());
        close(&b, Signal::Head, 0.0);
        close(&b, Signal::Unlabelled, 0.0);
        close(&b, Signal::LabelCount, 2f32.ln() / 20.0);
        let c = filled(labels.place("c"), 1.0);
        // (3 * 1 + 0.8) over the length of 3 * (0.6, 0.8) + (0, 1).
        close(&c, Signal::Prototype, 3.8 / (1.8f32 * 1.8 + 3.4 * 3.4).sqrt());
        close(&c, Signal::NearestLabel, 0.8);
        close(&c, Signal::LabelWords, 0.0);
        close(&c, Signal::NearestLabelWords, 0.0);
        close(&c, Signal::LabelWordNeighbours, 0.15 * ((-1.0f32 / 0.15).exp() + 1e-4).ln());
        let a = filled(None, -0.8);
        close(&a, Signal::Prototype, -0.8);
        close(&a, Signal::NearestLabel, 0.0);
        close(&a, Signal::Head, -0.5);
        close(&a, Signal::WordHead, -0.5);
        close(&a, Signal::Unlabelled, 1.0);
        close(&a, Signal::LabelCount, 0.0);
        // By neighbours c, by words b.
        assert_eq!((evidence.nominees(1), evidence.nominees(0)), (vec![0, 1], vec![]));
    }

    #[test]
    fn nominees_are_the_first_of_a_stable_sort() {
        let score = |at: u32| f32::from(u16::try_from(at * 7919 % 13).unwrap_or(0));
        let of = |at: u32| OfComponent {
            neighbours: score(at),
            words: score(at + 5),
            head: -score(at * 3),
            ..Default::default()
        };
        let evidence = LabelEvidence { places: (0..50).map(of).collect() };
        for most in [0, 1, 7, 20, 50, 90] {
            let mut expect = std::collections::BTreeSet::new();
            let ways: [fn(&OfComponent) -> f32; 3] =
                [|of| of.neighbours, |of| of.words, |of| if of.head < 0.0 { of.head } else { of.nearest }];
            for way in ways {
                let mut order: Vec<u32> = (0..50).collect();
                order.sort_by(|&a, &b| way(&of(b)).total_cmp(&way(&of(a))));
                expect.extend(order.into_iter().take(most));
            }
            assert_eq!(evidence.nominees(most), expect.into_iter().collect::<Vec<_>>(), "{most}");
        }
    }

    #[test]
    fn an_intent_without_words_is_borne() {
        let labels = two_labels();
        let evidence = LabelEvidence::new(&labels, None, QueryView { vector: &[0.0, 0.0], words: &[], dot });
        let mut signals = [0.0; SIGNALS];
        evidence.fill(Some(0), &mut signals);
        assert!(signals.iter().all(|value| value.is_finite()), "{signals:?}");
    }
}
