//! How dense and lexical evidence become one score.
//!
//! A convex sum of two scores that are normalised without looking at the other candidates (Bruch, Gai and Ingber, "An
//! Analysis of Fusion Functions for Hybrid Retrieval", TOIS 42, 2023), so that a score means the same from one intent to
//! the next and can be compared with a threshold.

use std::collections::BTreeMap;

use fitment_catalog::LexicalField;
use fitment_index::{DenseHit, DocId, LexicalHit};
use serde::{Deserialize, Serialize};

/// The weights of the ranking. Fitted on development splits; see docs/accuracy.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ranking {
    /// Weight of the dense score, 0..=1; the lexical score has the rest. 1 is dense alone, 0 lexical alone.
    pub dense_weight: f64,
    /// Weight of the centroid's cosine within the dense score, 0..=1; the best facet has the rest.
    pub centroid_weight: f64,
    /// Documents taken from each of the two searches, 1..=1000.
    pub depth: usize,
    /// BM25 weights of the lexical fields.
    pub fields: FieldWeights,
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
        Self { dense_weight: 0.75, centroid_weight: 0.7, depth: 100, fields: FieldWeights::default() }
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
        let fields = &self.fields;
        let shares = [("dense_weight", self.dense_weight), ("centroid_weight", self.centroid_weight)];
        let weights = LexicalField::ALL.iter().map(|&field| (field.as_str(), f64::from(fields.weight(field))));
        shares
            .into_iter()
            .find(|(_, value)| !(0.0..=1.0).contains(value))
            .map(|(name, value)| format!("ranking.{name} is {value}; it must lie in 0..=1"))
            .or_else(|| {
                let mut weights = weights;
                weights
                    .find(|(_, value)| !(0.0..=100.0).contains(value))
                    .map(|(name, value)| format!("ranking.fields.{name} is {value}; it must lie in 0..=100"))
            })
            .or_else(|| {
                (!(1..=1000).contains(&self.depth))
                    .then(|| format!("ranking.depth is {}; it must lie in 1..=1000", self.depth))
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

/// The parts of one candidate's score.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The version.
    pub doc: DocId,
    /// The fused score, 0..=1.
    pub score: f64,
    /// Best facet and centroid mixed, -1..=1.
    pub dense: f64,
    /// BM25 `b` against the query's reference `r` as `b / (b + r)`, 0..1.
    pub lexical: f64,
    /// Cosine of the centroid, -1..=1.
    pub centroid: f64,
    /// Cosine of every facet, in order.
    pub facets: Vec<f32>,
    /// The nearest facet.
    pub best_facet: usize,
}

/// Lexical hits, and the score that a document with every word of the query would have.
pub(crate) struct LexicalEvidence<'a> {
    /// The hits.
    pub hits: &'a [LexicalHit],
    /// What they are measured against, > 0.
    pub reference: f32,
}

/// Fuses two rankings into one, best first, ties by document id.
///
/// Every candidate of either search gets its exact dense score from `facet_cosines` (cosines in facet order, and the
/// length of the mean facet vector); a document that it does not know any more is left out.
pub(crate) fn fuse(
    ranking: &Ranking,
    dense: &[DenseHit],
    lexical: &LexicalEvidence<'_>,
    facet_cosines: impl Fn(DocId) -> Option<(Vec<f32>, f32)>,
) -> Vec<Scored> {
    let words: BTreeMap<DocId, f32> = lexical.hits.iter().map(|hit| (hit.doc, hit.score)).collect();
    let mut docs: Vec<DocId> = dense.iter().map(|hit| hit.doc).chain(words.keys().copied()).collect();
    docs.sort_unstable();
    docs.dedup();
    let mut scored: Vec<Scored> = docs
        .into_iter()
        .filter_map(|doc| {
            let (facets, centroid_norm) = facet_cosines(doc)?;
            let bm25 = words.get(&doc).copied().unwrap_or_default();
            Some(score(ranking, doc, facets, centroid_norm, f64::from(bm25 / lexical.reference)))
        })
        .collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.doc.cmp(&b.doc)));
    scored
}

fn score(ranking: &Ranking, doc: DocId, facets: Vec<f32>, centroid_norm: f32, lexical: f64) -> Scored {
    let (best_facet, best) = facets
        .iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (facet, cosine)| if cosine > best.1 { (facet, cosine) } else { best });
    #[expect(clippy::cast_precision_loss, reason = "a version has at most some 70 facets")]
    let mean = facets.iter().sum::<f32>() / facets.len().max(1) as f32;
    let centroid = f64::from(mean / centroid_norm).clamp(-1.0, 1.0);
    let best = if facets.is_empty() { 0.0 } else { f64::from(best) };
    let dense = ranking.centroid_weight * centroid + (1.0 - ranking.centroid_weight) * best;
    // Half at the reference: bounded without a clamp, so that no two scores above it look alike.
    let lexical = lexical.max(0.0) / (lexical.max(0.0) + 1.0);
    let score = ranking.dense_weight * dense.max(0.0) + (1.0 - ranking.dense_weight) * lexical;
    Scored { doc, score: score.clamp(0.0, 1.0), dense, lexical, centroid, facets, best_facet }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(doc: u32, score: f32) -> DenseHit {
        DenseHit { doc: DocId(doc), facet: 0, score }
    }

    fn words(doc: u32, score: f32) -> LexicalHit {
        LexicalHit { doc: DocId(doc), score }
    }

    #[track_caller]
    fn check(dense_weight: f64, expect: &[u32]) {
        let ranking = Ranking { dense_weight, ..Ranking::default() };
        let hits = [words(3, 8.0), words(1, 2.0)];
        let evidence = LexicalEvidence { hits: &hits, reference: 10.0 };
        let cosines = |doc: DocId| Some((vec![[0.9f32, 0.6, 0.5, 0.1][doc.0 as usize]], 1.0));
        let fused = fuse(&ranking, &[dense(0, 0.9), dense(1, 0.6), dense(2, 0.5)], &evidence, cosines);
        assert_eq!(fused.iter().map(|scored| scored.doc.0).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_weight_moves_the_ranking_from_words_to_meaning() {
        check(1.0, &[0, 1, 2, 3]);
        check(0.0, &[3, 1, 0, 2]);
        check(0.7, &[0, 1, 2, 3]);
        check(0.4, &[0, 1, 3, 2]);
        check(0.2, &[3, 1, 0, 2]);
    }

    #[test]
    fn centroid_and_best_facet_are_mixed() {
        let ranking = Ranking { dense_weight: 1.0, centroid_weight: 0.5, ..Ranking::default() };
        // Two orthogonal facets, the query on the first: best 1, mean 0.5, centroid 0.5 / sqrt(0.5).
        let scored = score(&ranking, DocId(0), vec![1.0, 0.0], 0.5f32.sqrt(), 0.0);
        assert_eq!(scored.best_facet, 0);
        assert!((scored.centroid - 0.5f64.sqrt()).abs() < 1e-6);
        assert!((scored.dense - f64::midpoint(1.0, 0.5f64.sqrt())).abs() < 1e-6);
    }

    #[test]
    fn out_of_range_weights_are_named() {
        let ranking = Ranking { dense_weight: f64::NAN, ..Ranking::default() };
        assert!(ranking.fault().expect("a fault").contains("dense_weight"));
        assert_eq!(Ranking::default().fault(), None);
    }
}
