//! Random work on the dense index against a map of what was written.

use fitment_index::{DenseIndex, DenseOptions, DocId, DocSet, Effort, SealScope, Segment};
use proptest::prelude::*;

use crate::data::{Clusters, Documents, Random, brute_force, build, seal, upsert};

const DIMENSION: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Upsert { doc: u32, facets: usize },
    Copy { doc: u32, of: u32 },
    Remove { doc: u32 },
    Seal,
    BeginSeal(SealScope),
    EndSeal(SealScope),
    Search { k: usize, allow: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let doc = 0u32..60;
    prop_oneof![
        8 => (doc.clone(), 1usize..5).prop_map(|(doc, facets)| Step::Upsert { doc, facets }),
        1 => (doc.clone(), doc.clone()).prop_map(|(doc, of)| Step::Copy { doc, of }),
        3 => doc.prop_map(|doc| Step::Remove { doc }),
        1 => Just(Step::Seal),
        2 => scope().prop_map(Step::BeginSeal),
        2 => scope().prop_map(Step::EndSeal),
        4 => (1usize..70, 0u32..101).prop_map(|(k, allow)| Step::Search { k, allow }),
    ]
}

fn scope() -> impl Strategy<Value = SealScope> {
    prop_oneof![Just(SealScope::Recent), Just(SealScope::All)]
}

/// Runs the steps on an index and on the map; each search must give the same documents and scores.
fn run(options: DenseOptions, seed: u64, steps: &[Step]) {
    let mut vectors = Clusters::new(seed, DIMENSION, 5, 1.0);
    let mut random = Random::new(seed ^ 1);
    let mut index = DenseIndex::new(DIMENSION, options).unwrap();
    let mut model = Documents::new();
    // Both may be under way together; a sealing of all takes the place of those before it.
    let (mut recent, mut all): (Option<Segment>, Option<Segment>) = (None, None);
    for step in steps {
        match *step {
            Step::Upsert { doc, facets } => {
                let facets: Vec<Vec<f32>> = (0..facets).map(|_| vectors.vector()).collect();
                upsert(&mut index, doc, &facets);
                model.insert(doc, facets);
            }
            Step::Copy { doc, of } => {
                if let Some(facets) = model.get(&of).cloned() {
                    upsert(&mut index, doc, &facets);
                    model.insert(doc, facets);
                }
            }
            Step::Remove { doc } => assert_eq!(index.remove(DocId(doc)), model.remove(&doc).is_some()),
            Step::Seal => {
                seal(&mut index).unwrap();
                (recent, all) = (None, None);
            }
            Step::BeginSeal(SealScope::All) => (recent, all) = (None, Some(build(&mut index, SealScope::All).unwrap())),
            Step::BeginSeal(SealScope::Recent) => recent = Some(build(&mut index, SealScope::Recent).unwrap()),
            Step::EndSeal(scope) => {
                let built = if scope == SealScope::All { &mut all } else { &mut recent };
                if let Some(segment) = built.take() {
                    index.install(segment).unwrap();
                }
            }
            Step::Search { k, allow } => {
                let allowed: Option<DocSet> =
                    (allow < 100).then(|| (0..60).filter(|_| random.below(100) < allow).map(DocId).collect());
                compare(&index, &model, &vectors.vector(), k, allowed.as_ref());
            }
        }
        assert_eq!(index.len_docs(), model.len());
        assert_eq!(index.len_rows(), model.values().map(Vec::len).sum::<usize>());
    }
    assert_eq!(index.docs(), model.keys().copied().map(DocId).collect());
    for (doc, facets) in &model {
        let scores = index.scorer(&facets[0]).unwrap().facet_scores(DocId(*doc)).unwrap();
        assert_eq!(scores.len(), facets.len());
        assert!(scores[0] > 1.0 - 3e-5);
    }
}

fn compare(index: &DenseIndex, model: &Documents, query: &[f32], k: usize, allowed: Option<&DocSet>) {
    let result = index.search(query, k, allowed, Effort::Default).unwrap();
    let expected = brute_force(model, query, k, allowed);
    assert_eq!(result.hits.len(), expected.len());
    for (hit, (doc, score)) in result.hits.iter().zip(&expected) {
        assert!((f64::from(hit.score) - score).abs() < 3e-5, "{hit:?} for {doc} {score}");
        assert!(allowed.is_none_or(|allowed| allowed.contains(hit.doc)));
        let facets = index.scorer(query).unwrap().facet_scores(hit.doc).unwrap();
        assert_eq!(facets[usize::from(hit.facet)].to_bits(), hit.score.to_bits());
    }
    assert!(result.hits.is_sorted_by(|a, b| (b.score, a.doc) < (a.score, b.doc)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn exact_index_equals_brute_force(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..160)) {
        run(DenseOptions::default(), seed, &steps);
    }

    /// A graph over so few rows that every search keeps all of them: the same answers, through the graph's bookkeeping.
    #[test]
    fn graph_index_equals_brute_force(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..120)) {
        let options = DenseOptions {
            graph_threshold: 1, exact_filter_rows: 0, m: 8, vacuum_percent: 60, build_threads: 1, ..DenseOptions::default()
        };
        run(options, seed, &steps);
    }
}
