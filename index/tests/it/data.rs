//! Vectors that are the same on every run, and brute force over them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use fitment_index::{DenseHit, DenseIndex, DocId, DocSet, IndexError, SealScope, Segment};

/// The generator `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    /// About normal, mean 0, variance 1.
    fn normal(&mut self) -> f32 {
        let sum: u32 = (0..12).map(|_| self.below(1 << 16)).sum();
        #[expect(clippy::cast_precision_loss, reason = "20 bits")]
        let sum = sum as f32 / 65536.0;
        sum - 6.0
    }
}

pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in &mut vector {
        *x /= norm;
    }
    vector
}

/// Unit vectors around as many centers as `clusters`.
pub(crate) struct Clusters {
    random: Random,
    centers: Vec<Vec<f32>>,
    spread: f32,
}

impl Clusters {
    pub(crate) fn new(seed: u64, dimension: usize, clusters: usize, spread: f32) -> Self {
        let mut random = Random::new(seed);
        let centers = (0..clusters).map(|_| unit((0..dimension).map(|_| random.normal()).collect())).collect();
        Self { random, centers, spread }
    }

    pub(crate) fn vector(&mut self) -> Vec<f32> {
        let center = self.random.below(u32::try_from(self.centers.len()).unwrap()) as usize;
        let noise = self.spread / f32::from(u16::try_from(self.centers[center].len()).unwrap()).sqrt();
        let vector = (0..self.centers[center].len()).map(|at| self.centers[center][at] + noise * self.random.normal());
        unit(vector.collect())
    }
}

pub(crate) type Documents = BTreeMap<u32, Vec<Vec<f32>>>;

pub(crate) fn upsert(index: &mut DenseIndex, doc: u32, facets: &[Vec<f32>]) {
    let facets: Vec<&[f32]> = facets.iter().map(Vec::as_slice).collect();
    index.upsert(DocId(doc), &facets).unwrap();
}

/// Every allowed document scored in f64, best first.
pub(crate) fn brute_force(documents: &Documents, query: &[f32], k: usize, allowed: Option<&DocSet>) -> Vec<(u32, f64)> {
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let cosine = |v: &[f32]| {
        v.iter().zip(query).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>() / (norm(v) * norm(query))
    };
    let mut hits: Vec<(u32, f64)> = documents
        .iter()
        .filter(|(doc, _)| allowed.is_none_or(|allowed| allowed.contains(DocId(**doc))))
        .map(|(doc, facets)| (*doc, facets.iter().map(|facet| cosine(facet)).fold(f64::NEG_INFINITY, f64::max)))
        .collect();
    hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    hits.truncate(k);
    hits
}

/// Part of the `expected` scores that the hits reach: documents with equal scores stand for each other.
pub(crate) fn recall(hits: &[DenseHit], expected: &[(u32, f64)]) -> f64 {
    let Some(&(_, least)) = expected.last() else { return 1.0 };
    let good = hits.iter().filter(|hit| f64::from(hit.score) >= least - 3e-5).count();
    #[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
    return good as f64 / expected.len() as f64;
}

pub(crate) fn seal(index: &mut DenseIndex) -> Result<(), IndexError> {
    let segment = build(index, SealScope::All)?;
    index.install(segment).map(drop)
}

pub(crate) fn build(index: &mut DenseIndex, scope: SealScope) -> Result<Segment, IndexError> {
    index.sealing_input(scope).build(&|_, _| {}, &AtomicBool::new(false))
}
