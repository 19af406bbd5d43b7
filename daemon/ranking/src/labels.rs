//! Labelled intents as evidence: what was asked before and which component met it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::RankingError;
use crate::packed;
use crate::terms::TermMap;

/// Most numbers in the sums of the components' vectors, 4 GiB.
const MOST_NUMBERS: usize = 1 << 30;
/// Bounds on what an artefact holds: generous for what is learnt, tight enough that no sum overflows.
const MOST_VALUE: f32 = 2.0;
const MOST_COUNT: f32 = 1e6;
const LEAST_IDF: f32 = 0.1;
const MOST_IDF: f32 = 100.0;

/// A labelled intent, encoded and cut into words.
#[derive(Clone, Debug)]
pub struct LabelText {
    /// [dimension], unit length.
    pub vector: Vec<f32>,
    /// Hashed stems, stop words included, in order.
    pub words: Vec<u32>,
    /// Component (place in the list of components) and grade, 1 or more.
    pub relevant: Vec<(u32, f32)>,
}

/// Labelled intents of a catalogue, ready to be compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Components that have a labelled intent.
    pub(crate) components: Vec<String>,
    pub(crate) dimension: usize,
    #[serde(with = "packed::floats")]
    vectors: Vec<f32>,
    /// Where each label's components begin in `owners`; one more than labels.
    #[serde(with = "packed::words")]
    owner_starts: Vec<u32>,
    #[serde(with = "packed::words")]
    owners: Vec<u32>,
    /// Where each label's terms begin; one more than labels.
    #[serde(with = "packed::words")]
    term_starts: Vec<u32>,
    #[serde(with = "packed::words")]
    terms: Vec<u32>,
    /// Counts of `terms`.
    #[serde(with = "packed::floats")]
    counts: Vec<f32>,
    /// Dot of each component's facet centroid and the sum of its labels' vectors.
    #[serde(with = "packed::floats")]
    centroid_dots: Vec<f32>,
    pub(crate) vocabulary: Vocabulary,
    #[serde(skip)]
    pub(crate) derived: Derived,
}

/// What is made from the labels whenever they are loaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derived {
    /// [components, dimension], sums of label vectors.
    pub(crate) sums: Vec<f32>,
    /// [components], squared lengths of the sums.
    pub(crate) sum_norms: Vec<f32>,
    /// [components], labels.
    pub(crate) label_counts: Vec<f32>,
    /// Term to labels and their TF-IDF weights, each label's weights of unit length.
    pub(crate) postings: TermMap<Vec<(u32, f32)>>,
    /// Term to components and its worth there: BM25 without the idf.
    pub(crate) words: TermMap<WordPostings>,
    /// Idf of a word that no labelled component has.
    pub(crate) unknown_idf: f32,
    pub(crate) by_name: HashMap<String, u32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct WordPostings {
    pub(crate) idf: f32,
    pub(crate) components: Vec<(u32, f32)>,
}

/// Inverse document frequencies of single words and pairs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vocabulary {
    /// Sorted.
    #[serde(with = "packed::words")]
    terms: Vec<u32>,
    #[serde(with = "packed::floats")]
    idf: Vec<f32>,
    unknown: f32,
}

/// Words and pairs of neighbours with their counts.
pub(crate) fn grams(words: &[u32]) -> BTreeMap<u32, f32> {
    let mut counts = BTreeMap::new();
    let pairs = words.windows(2).map(|pair| pair[0].rotate_left(13).wrapping_mul(0x9e37_79b1) ^ pair[1]);
    for term in words.iter().copied().chain(pairs) {
        *counts.entry(term).or_insert(0.0) += 1.0;
    }
    counts
}

impl Vocabulary {
    /// texts: word sequences of all texts at hand; they are the documents.
    pub(crate) fn new<'a>(texts: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut frequencies: BTreeMap<u32, u32> = BTreeMap::new();
        let mut documents = 0u32;
        for text in texts {
            documents += 1;
            for term in grams(text).into_keys() {
                *frequencies.entry(term).or_default() += 1;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of texts")]
        let idf = |df: u32| ((1.0 + documents as f32) / (1.0 + df as f32)).ln() + 1.0;
        // A term of a single text weighs as much as an unknown one, near enough.
        let kept = frequencies.into_iter().filter(|(_, df)| *df > 1);
        let (terms, weights) = kept.map(|(term, df)| (term, idf(df))).unzip();
        Self { terms, idf: weights, unknown: idf(1) }
    }

    pub(crate) fn idf(&self, term: u32) -> f32 {
        self.terms.binary_search(&term).map_or(self.unknown, |at| self.idf[at])
    }

    /// TF-IDF of a text, unit length: `(1 + ln tf) * idf`.
    pub(crate) fn weigh(&self, counts: impl Iterator<Item = (u32, f32)>) -> Vec<(u32, f32)> {
        let mut weighed: Vec<(u32, f32)> =
            counts.map(|(term, count)| (term, (1.0 + count.ln()) * self.idf(term))).collect();
        let norm = weighed.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if norm > 0.0 {
            for (_, weight) in &mut weighed {
                *weight /= norm;
            }
        }
        weighed
    }
}

impl Labels {
    /// components: names by the places that `labels` speak of; those without a label are left out. centroids: of their
    /// facets, unit length, the same places. Labels without a component are left out.
    pub(crate) fn new(
        components: &[String],
        centroids: &[Vec<f32>],
        labels: &[&LabelText],
        vocabulary: Vocabulary,
    ) -> Self {
        // Of the labels, not of the centroids: a component without facets has none.
        let dimension = labels.iter().find(|label| !label.relevant.is_empty()).map_or(0, |label| label.vector.len());
        let mut places: BTreeMap<u32, u32> = BTreeMap::new();
        for (component, _) in labels.iter().flat_map(|label| &label.relevant) {
            places.insert(*component, 0);
        }
        for (place, at) in places.values_mut().zip(0..) {
            *place = at;
        }
        let mut made = Self {
            components: places.keys().map(|&component| components[component as usize].clone()).collect(),
            dimension,
            vectors: Vec::new(),
            owner_starts: vec![0],
            owners: Vec::new(),
            term_starts: vec![0],
            terms: Vec::new(),
            counts: Vec::new(),
            centroid_dots: Vec::new(),
            vocabulary,
            derived: Derived::default(),
        };
        for label in labels.iter().filter(|label| !label.relevant.is_empty()) {
            made.vectors.extend(&label.vector);
            made.owners.extend(label.relevant.iter().map(|(component, _)| places[component]));
            for (term, count) in grams(&label.words) {
                made.terms.push(term);
                made.counts.push(count);
            }
            made.owner_starts.push(made.owners.len().try_into().unwrap_or(u32::MAX));
            made.term_starts.push(made.terms.len().try_into().unwrap_or(u32::MAX));
        }
        made.derive();
        made.centroid_dots = places
            .keys()
            .enumerate()
            .map(|(at, &component)| dot(&centroids[component as usize], made.sum(at)))
            .collect();
        made
    }

    /// Makes what is not stored. Errors: parts that do not fit each other.
    pub(crate) fn prepare(&mut self) -> Result<(), RankingError> {
        let damaged = |what: &str| Err(RankingError::Damaged(what.to_owned()));
        let labels = self.len();
        let ends = |starts: &[u32], len: usize| {
            starts.len() == labels + 1
                && starts.first() == Some(&0)
                && starts.is_sorted()
                && starts.last().is_some_and(|&end| end as usize == len)
        };
        if labels.checked_mul(self.dimension) != Some(self.vectors.len()) || (self.dimension == 0) != (labels == 0) {
            return damaged("label vectors do not match their dimension");
        }
        if !ends(&self.owner_starts, self.owners.len()) || !ends(&self.term_starts, self.terms.len()) {
            return damaged("labels do not match their parts");
        }
        // What is made is then no larger than what was read allows: a hostile file cannot ask for endless memory.
        let owned: BTreeSet<u32> = self.owners.iter().copied().collect();
        if !owned.iter().copied().eq((0..).take(self.components.len()))
            || self.components.len().saturating_mul(self.dimension) > MOST_NUMBERS
            || self.components.iter().collect::<BTreeSet<_>>().len() != self.components.len()
            || self.centroid_dots.len() != self.components.len()
            || self.counts.len() != self.terms.len()
            || self.vocabulary.terms.len() != self.vocabulary.idf.len()
            || !self.vocabulary.terms.is_sorted_by(|a, b| a < b)
        {
            return damaged("labels do not match their components");
        }
        let within = |numbers: &[f32], low: f32, high: f32| numbers.iter().all(|number| (low..=high).contains(number));
        if !(within(&self.vectors, -MOST_VALUE, MOST_VALUE)
            && within(&self.counts, 1.0, MOST_COUNT)
            && within(&self.centroid_dots, -MOST_COUNT, MOST_COUNT)
            && within(&self.vocabulary.idf, LEAST_IDF, MOST_IDF)
            && within(&[self.vocabulary.unknown], LEAST_IDF, MOST_IDF))
        {
            return damaged("a number of the labels is out of its range");
        }
        self.derive();
        Ok(())
    }

    /// How many labelled intents there are.
    pub fn len(&self) -> usize {
        self.owner_starts.len().saturating_sub(1)
    }

    /// Length of the labels' vectors, 0 where there are none.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Place of a component among those with labels.
    pub fn place(&self, component: &str) -> Option<u32> {
        self.derived.by_name.get(component).copied()
    }

    /// Names of the components that have labels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(String::as_str)
    }

    /// Name of the component at a place.
    pub fn component(&self, place: u32) -> &str {
        &self.components[place as usize]
    }

    pub(crate) fn vector(&self, label: usize) -> &[f32] {
        &self.vectors[label * self.dimension..][..self.dimension]
    }

    pub(crate) fn owners(&self, label: usize) -> &[u32] {
        &self.owners[self.owner_starts[label] as usize..self.owner_starts[label + 1] as usize]
    }

    fn terms(&self, label: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.term_starts[label] as usize..self.term_starts[label + 1] as usize;
        self.terms[range.clone()].iter().copied().zip(self.counts[range].iter().copied())
    }

    pub(crate) fn sum(&self, component: usize) -> &[f32] {
        &self.derived.sums[component * self.dimension..][..self.dimension]
    }

    pub(crate) fn centroid_dot(&self, component: usize) -> f32 {
        self.centroid_dots[component]
    }

    fn derive(&mut self) {
        const K1: f32 = 1.2;
        const B: f32 = 0.75;
        let components = self.components.len();
        let mut sums = vec![0f32; components * self.dimension];
        let mut label_counts = vec![0f32; components];
        let mut postings: TermMap<Vec<(u32, f32)>> = TermMap::default();
        let mut texts: Vec<BTreeMap<u32, f32>> = vec![BTreeMap::new(); components];
        for label in 0..self.len() {
            for &owner in self.owners(label) {
                let owner = owner as usize;
                let sum = &mut sums[owner * self.dimension..][..self.dimension];
                sum.iter_mut().zip(self.vector(label)).for_each(|(sum, value)| *sum += value);
                label_counts[owner] += 1.0;
                self.terms(label).for_each(|(term, count)| *texts[owner].entry(term).or_default() += count);
            }
            for (term, weight) in self.vocabulary.weigh(self.terms(label)) {
                postings.entry(term).or_default().push((label.try_into().unwrap_or(u32::MAX), weight));
            }
        }
        let lengths: Vec<f32> = texts.iter().map(|text| text.values().sum()).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of components")]
        let n = components as f32;
        let mean = (lengths.iter().sum::<f32>() / n.max(1.0)).max(1.0);
        let mut words: TermMap<WordPostings> = TermMap::default();
        for (component, text) in (0u32..).zip(&texts) {
            let norm = K1 * (1.0 - B + B * lengths[component as usize] / mean);
            for (&term, &count) in text {
                let worth = count * (K1 + 1.0) / (count + norm);
                words.entry(term).or_default().components.push((component, worth));
            }
        }
        let idf = |df: f32| (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
        #[expect(clippy::iter_over_hash_type, reason = "each is set by itself")]
        for found in words.values_mut() {
            #[expect(clippy::cast_precision_loss, reason = "counts of components")]
            let df = found.components.len() as f32;
            found.idf = idf(df);
        }
        let sum_norms = sums.chunks(self.dimension.max(1)).map(|sum| dot(sum, sum)).collect();
        let by_name = self.components.iter().cloned().zip(0..).collect();
        self.derived = Derived { sums, sum_norms, label_counts, postings, words, unknown_idf: idf(0.0), by_name };
    }
}

/// Dot product of two vectors of the same length, in lanes that the compiler turns into vector instructions.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (heads_a, rest_a) = a.as_chunks::<LANES>();
    let (heads_b, rest_b) = b.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for (a, b) in heads_a.iter().zip(heads_b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}
