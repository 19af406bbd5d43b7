//! How candidates are ordered: the settings of the searches, and the ways to make one score of the signals.

use fitment_catalog::LexicalField;
use fitment_index::DocId;
use fitment_ranking::{Fusion, Signal, Signals};
use serde::{Deserialize, Serialize};

/// The settings of the two searches. The weights of the fusion belong to the ranker, see `fitment fit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ranking {
    /// Documents taken from each of the two searches, 1..=1000.
    pub depth: usize,
    /// BM25 weights of the lexical fields.
    pub fields: FieldWeights,
    /// The second stage.
    pub second_stage: SecondStageSettings,
}

/// A more accurate model that re-scores the candidates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecondStageSettings {
    /// Its name; empty: off.
    pub model: String,
    /// How long an answer waits for it, from the start of the match, in milliseconds, 1..=10000.
    pub budget_ms: u64,
}

/// BM25 weights of the lexical fields, each 0..=100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldWeights {
    /// `namespace/name`, split into words.
    pub name: f32,
    /// The title.
    pub title: f32,
    /// The summary.
    pub summary: f32,
    /// When to use it.
    pub when_to_use: f32,
    /// Tags.
    pub tags: f32,
    /// Example intents.
    pub example_intents: f32,
    /// Property names and descriptions of the configuration schema.
    pub configuration: f32,
}

impl Default for Ranking {
    fn default() -> Self {
        Self { depth: 100, fields: FieldWeights::default(), second_stage: SecondStageSettings::default() }
    }
}

impl Default for SecondStageSettings {
    fn default() -> Self {
        Self { model: String::new(), budget_ms: 250 }
    }
}

impl SecondStageSettings {
    /// Whether there is a second stage.
    pub fn is_on(&self) -> bool {
        !self.model.is_empty()
    }
}

impl Default for FieldWeights {
    fn default() -> Self {
        Self {
            name: 1.0,
            title: 1.0,
            summary: 1.0,
            when_to_use: 0.5,
            tags: 0.5,
            example_intents: 1.0,
            configuration: 0.3,
        }
    }
}

impl Ranking {
    /// Says what is out of range, or `None`.
    pub fn fault(&self) -> Option<String> {
        let weights = LexicalField::ALL.iter().map(|&field| (field.as_str(), f64::from(self.fields.weight(field))));
        weights
            .into_iter()
            .find(|(_, value)| !(0.0..=100.0).contains(value))
            .map(|(name, value)| format!("ranking.fields.{name} is {value}; it must lie in 0..=100"))
            .or_else(|| {
                (!(1..=1000).contains(&self.depth))
                    .then(|| format!("ranking.depth is {}; it must lie in 1..=1000", self.depth))
            })
            .or_else(|| {
                let budget = self.second_stage.budget_ms;
                (!(1..=10_000).contains(&budget))
                    .then(|| format!("ranking.second_stage.budget_ms is {budget}; it must lie in 1..=10000"))
            })
    }
}

impl FieldWeights {
    /// The weight of one field.
    pub fn weight(&self, field: LexicalField) -> f32 {
        match field {
            LexicalField::Name => self.name,
            LexicalField::Title => self.title,
            LexicalField::Summary => self.summary,
            LexicalField::WhenToUse => self.when_to_use,
            LexicalField::Tags => self.tags,
            LexicalField::ExampleIntents => self.example_intents,
            LexicalField::Configuration => self.configuration,
        }
    }
}

/// A way to order candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By the ranker in force.
    #[default]
    Fused,
    /// By vectors alone: centroid and nearest facet, 7 to 3.
    Dense,
    /// By words alone: BM25 over the weighted fields.
    Words,
    /// By equal-weight reciprocal-rank fusion of the two (Cormack, Clarke and Büttcher, SIGIR 2009), k = 60.
    ReciprocalRank,
    /// By chance: what a ranking is worth that knows nothing.
    Random,
}

/// A candidate and its evidence.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The version.
    pub doc: DocId,
    /// What it is ordered by: any number, higher is better.
    pub sum: f64,
    /// The same as a score, 0..=1; comparable between candidates of one answer and, roughly, between answers.
    pub score: f64,
    /// Every signal.
    pub signals: Signals,
    /// Cosine of every facet, in order.
    pub facets: Vec<f32>,
    /// The nearest facet.
    pub best_facet: usize,
}

impl Scored {
    /// One signal.
    pub fn signal(&self, signal: Signal) -> f64 {
        f64::from(self.signals[signal.index()])
    }

    /// Cosines of centroid and nearest facet, 7 to 3, -1..=1.
    pub fn dense(&self) -> f64 {
        0.7 * self.signal(Signal::Centroid) + 0.3 * self.signal(Signal::BestFacet)
    }

    /// Cosine of the nearest facet, -1..=1; 0 without facets.
    pub fn top_cosine(&self) -> f64 {
        self.facets.get(self.best_facet).copied().map_or(0.0, f64::from)
    }
}

/// Orders candidates, best first, ties by document id.
pub(crate) fn order(method: Method, fusion: &Fusion, intent: &str, mut pool: Vec<Scored>) -> Vec<Scored> {
    match method {
        Method::Fused => score_each(&mut pool, |one| fusion.sum(&one.signals)),
        Method::Dense => score_each(&mut pool, Scored::dense),
        Method::Words => score_each(&mut pool, |one| one.signal(Signal::Words)),
        Method::ReciprocalRank => reciprocal_rank(&mut pool),
        Method::Random => score_each(&mut pool, |one| chance(intent, one.doc)),
    }
    for one in &mut pool {
        one.score = match method {
            Method::Fused => fusion.score(one.sum),
            Method::Dense | Method::Words | Method::ReciprocalRank | Method::Random => one.sum.clamp(0.0, 1.0),
        };
    }
    pool.sort_by(|a, b| b.sum.total_cmp(&a.sum).then(a.doc.cmp(&b.doc)));
    pool
}

fn score_each(pool: &mut [Scored], sum: impl Fn(&Scored) -> f64) {
    for one in pool {
        one.sum = sum(one);
    }
}

fn reciprocal_rank(pool: &mut [Scored]) {
    const K: f64 = 60.0;
    score_each(pool, |_| 0.0);
    let ways: [fn(&Scored) -> f64; 2] = [Scored::dense, |one| one.signal(Signal::Words)];
    for way in ways {
        pool.sort_by(|a, b| way(b).total_cmp(&way(a)).then(a.doc.cmp(&b.doc)));
        for (rank, one) in (1u32..).zip(pool.iter_mut()) {
            one.sum += 1.0 / (K + f64::from(rank));
        }
    }
}

/// The same number for the same intent and document.
fn chance(intent: &str, doc: DocId) -> f64 {
    let digest = fitment_catalog::Digest::of(format!("{intent}\n{}", doc.0).as_bytes()).to_string();
    let digits = digest.rsplit(':').next().and_then(|hex| hex.get(..8));
    digits
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use fitment_ranking::SIGNALS;

    use super::*;

    fn candidate(doc: u32, centroid: f32, words: f32) -> Scored {
        let mut signals = [0.0; SIGNALS];
        signals[Signal::Centroid.index()] = centroid;
        signals[Signal::BestFacet.index()] = centroid;
        signals[Signal::Words.index()] = words;
        Scored { doc: DocId(doc), sum: 0.0, score: 0.0, signals, facets: Vec::new(), best_facet: 0 }
    }

    #[track_caller]
    fn check(method: Method, expect: &[u32]) {
        let fusion = Fusion::new([(Signal::Centroid, 1.0), (Signal::Words, 1.0)], 1.0).expect("finite");
        let pool = vec![candidate(0, 0.9, 0.0), candidate(1, 0.6, 0.5), candidate(2, 0.1, 0.6), candidate(3, 0.1, 0.6)];
        let ordered = order(method, &fusion, "an intent", pool);
        assert_eq!(ordered.iter().map(|one| one.doc.0).collect::<Vec<_>>(), expect);
        assert!(ordered.iter().all(|one| (0.0..=1.0).contains(&one.score)));
    }

    #[test]
    fn each_method_orders_by_what_it_looks_at() {
        check(Method::Fused, &[1, 0, 2, 3]);
        check(Method::Dense, &[0, 1, 2, 3]);
        check(Method::Words, &[2, 3, 1, 0]);
        check(Method::ReciprocalRank, &[2, 0, 1, 3]);
    }

    #[test]
    fn out_of_range_settings_are_named() {
        let ranking = Ranking { depth: 0, ..Ranking::default() };
        assert!(ranking.fault().expect("a fault").contains("depth"));
        assert_eq!(Ranking::default().fault(), None);
    }
}
