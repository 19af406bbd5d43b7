//! The graph against exact search, at a size where it is used.

use std::sync::OnceLock;

use fitment_index::{DenseIndex, DenseOptions, DocId, DocSet, Effort, Plan, SealReason, SealScope};

use crate::data::{Clusters, Documents, Random, brute_force, build, recall, seal, upsert};

const DIMENSION: usize = 32;
const DOCS: u32 = 30_000;
const QUERIES: usize = 60;

struct World {
    index: DenseIndex,
    documents: Documents,
    queries: Vec<Vec<f32>>,
}

/// 30,000 documents in 300 clusters: 29,000 sealed, the rest in the head; some sealed ones removed, some rewritten.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut vectors = Clusters::new(42, DIMENSION, 300, 0.7);
        let options = DenseOptions { exact_filter_rows: 200, ef_construction: 100, ..DenseOptions::default() };
        let mut index = DenseIndex::new(DIMENSION, options).unwrap();
        let mut documents = Documents::new();
        for doc in 0..DOCS {
            if doc == DOCS - 1000 {
                seal(&mut index).unwrap();
            }
            let facets = vec![vectors.vector()];
            upsert(&mut index, doc, &facets);
            documents.insert(doc, facets);
        }
        for doc in (0..DOCS).step_by(37) {
            index.remove(DocId(doc));
            documents.remove(&doc);
        }
        for doc in (1..DOCS).step_by(41) {
            let facets = vec![vectors.vector()];
            upsert(&mut index, doc, &facets);
            documents.insert(doc, facets);
        }
        assert!(index.has_graph());
        let queries = (0..QUERIES).map(|_| vectors.vector()).collect();
        World { index, documents, queries }
    })
}

/// Mean recall@10 over the queries, and the plans that were used.
fn check(allowed: Option<&DocSet>, effort: Effort) -> (f64, Vec<Plan>) {
    let World { index, documents, queries } = world();
    let mut total = 0.0;
    let mut plans = Vec::new();
    for query in queries {
        let result = index.search(query, 10, allowed, effort).unwrap();
        let expected = brute_force(documents, query, 10, allowed);
        assert_eq!(result.hits.len(), expected.len());
        assert!(result.hits.iter().all(|hit| allowed.is_none_or(|allowed| allowed.contains(hit.doc))));
        assert!(result.hits.iter().all(|hit| documents.contains_key(&hit.doc.0)));
        total += recall(&result.hits, &expected);
        if !plans.contains(&result.stats.plan) {
            plans.push(result.stats.plan);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of queries")]
    let mean = total / QUERIES as f64;
    (mean, plans)
}

fn some(per_mille: u32) -> DocSet {
    let mut random = Random::new(u64::from(per_mille));
    (0..DOCS).filter(|_| random.below(1000) < per_mille).map(DocId).collect()
}

#[test]
fn unfiltered_recall() {
    let (recall, plans) = check(None, Effort::Default);
    assert!(recall >= 0.97, "{recall}");
    assert_eq!(plans, [Plan::Graph]);
    let (recall, plans) = check(None, Effort::Exact);
    assert!(recall >= 1.0, "{recall}");
    assert_eq!(plans, [Plan::Exact]);
}

#[test]
fn filtered_recall() {
    for (per_mille, expect) in
        [(500, Some(Plan::Graph)), (100, None), (10, Some(Plan::ExactSubset)), (1, Some(Plan::ExactSubset))]
    {
        let (recall, plans) = check(Some(&some(per_mille)), Effort::Rows(64));
        assert!(recall >= 0.95, "{per_mille}: {recall}");
        if let Some(plan) = expect {
            assert_eq!(plans, [plan], "{per_mille}");
        }
    }
}

/// The allowed documents lie far from the query: the walk spends its budget, exact search answers.
#[test]
fn a_filter_against_the_query_still_gives_every_result() {
    let World { index, documents, queries } = world();
    let query = &queries[0];
    let far: DocSet =
        brute_force(documents, query, usize::MAX, None).iter().rev().take(3000).map(|(doc, _)| DocId(*doc)).collect();
    let result = index.search(query, 10, Some(&far), Effort::Rows(64)).unwrap();
    let expected = brute_force(documents, query, 10, Some(&far));
    assert_eq!(result.hits.len(), 10);
    assert!(recall(&result.hits, &expected) >= 0.9, "{:?}", result.stats);
}

#[test]
fn many_results_are_all_given() {
    let World { index, documents, queries } = world();
    for k in [1, 100, 1000, 40_000] {
        let result = index.search(&queries[1], k, None, Effort::Default).unwrap();
        assert_eq!(result.hits.len(), k.min(documents.len()));
        let expected = brute_force(documents, &queries[1], k, None);
        assert!(recall(&result.hits, &expected) >= 0.95, "{k}");
    }
}

/// Equal vectors link to each other and to nothing else while a graph is built; each must still be found.
#[test]
fn equal_vectors_stay_reachable() {
    let mut vectors = Clusters::new(5, 16, 40, 0.5);
    let options = DenseOptions { graph_threshold: 1000, m: 8, ef_construction: 40, ..DenseOptions::default() };
    let mut index = DenseIndex::new(16, options).unwrap();
    let mut originals = Vec::new();
    for group in 0..30 {
        let vector = vectors.vector();
        for copy in 0..200 {
            upsert(&mut index, group * 200 + copy, std::slice::from_ref(&vector));
        }
        originals.push(vector);
    }
    seal(&mut index).unwrap();
    for (group, vector) in (0..).zip(&originals) {
        let result = index.search(vector, 10, None, Effort::Rows(128)).unwrap();
        assert_eq!(result.stats.plan, Plan::Graph);
        for hit in &result.hits {
            assert_eq!(hit.doc.0 / 200, group, "{hit:?}");
        }
    }
}

/// Documents of many facets: fewer documents than rows come out of a walk, and the count still holds.
#[test]
fn documents_of_many_facets_are_counted_once() {
    let mut vectors = Clusters::new(6, 16, 200, 0.3);
    let options = DenseOptions { graph_threshold: 1000, ef_construction: 60, ..DenseOptions::default() };
    let mut index = DenseIndex::new(16, options).unwrap();
    let mut documents = Documents::new();
    for doc in 0..1000 {
        let mut one = Clusters::new(u64::from(doc), 16, 1, 0.1);
        let mut facets: Vec<Vec<f32>> = (0..19).map(|_| one.vector()).collect();
        facets.push(vectors.vector());
        upsert(&mut index, doc, &facets);
        documents.insert(doc, facets);
    }
    seal(&mut index).unwrap();
    let mut total = 0.0;
    for _ in 0..50 {
        let query = vectors.vector();
        let result = index.search(&query, 10, None, Effort::Default).unwrap();
        let expected = brute_force(&documents, &query, 10, None);
        assert_eq!(result.hits.len(), 10);
        let unique: DocSet = result.hits.iter().map(|hit| hit.doc).collect();
        assert_eq!(unique.len(), 10);
        total += recall(&result.hits, &expected);
    }
    assert!(total / 50.0 >= 0.95, "{}", total / 50.0);
}

/// A catalogue that grows by a half and in which a tenth dies: its graph is grown four times, never built again, and finds what
/// a new one would.
#[test]
fn a_graph_that_was_grown_finds_as_much_as_one_that_was_built() {
    let mut vectors = Clusters::new(8, 32, 100, 0.7);
    let options =
        DenseOptions { graph_threshold: 4000, head_limit: 500, ef_construction: 100, ..DenseOptions::default() };
    let mut index = DenseIndex::new(32, options.clone()).unwrap();
    let mut documents = Documents::new();
    let mut write = |index: &mut DenseIndex, documents: &mut Documents, docs: std::ops::Range<u32>| {
        for doc in docs {
            let facets = vec![vectors.vector()];
            upsert(index, doc, &facets);
            documents.insert(doc, facets);
        }
    };
    write(&mut index, &mut documents, 0..8000);
    seal(&mut index).unwrap();
    for step in 0..4 {
        write(&mut index, &mut documents, 8000 + step * 1000..9000 + step * 1000);
        // Rewritten, so that their old rows die.
        write(&mut index, &mut documents, step * 200..step * 200 + 200);
        assert_eq!(index.needs_seal(SealScope::Recent), Some(SealReason::HeadFull));
        let recent = build(&mut index, SealScope::Recent).unwrap();
        index.install(recent).unwrap();
        if step % 2 == 1 {
            assert_eq!(index.needs_seal(SealScope::All), Some(SealReason::RecentFull));
            seal(&mut index).unwrap();
        }
    }
    let mut built = DenseIndex::new(32, options).unwrap();
    for (&doc, facets) in &documents {
        upsert(&mut built, doc, facets);
    }
    seal(&mut built).unwrap();
    let recall_of = |index: &DenseIndex, vectors: &mut Clusters| {
        let total: f64 = (0..200)
            .map(|_| {
                let query = vectors.vector();
                let result = index.search(&query, 10, None, Effort::Rows(64)).unwrap();
                assert_eq!(result.stats.plan, Plan::Graph);
                recall(&result.hits, &brute_force(&documents, &query, 10, None))
            })
            .sum();
        total / 200.0
    };
    let of_grown = recall_of(&index, &mut Clusters::new(8, 32, 100, 0.7));
    let of_built = recall_of(&built, &mut Clusters::new(8, 32, 100, 0.7));
    assert!(of_grown >= 0.97 && of_grown >= of_built - 0.01, "grown {of_grown}, built {of_built}");
}

/// Main, recent and head together: what is written while both scopes are being sealed is kept, filtered and found.
#[test]
fn filters_hold_over_main_recent_and_head() {
    let mut vectors = Clusters::new(9, 32, 60, 0.7);
    let options = DenseOptions {
        graph_threshold: 4000,
        head_limit: 500,
        exact_filter_rows: 50,
        ef_construction: 100,
        ..DenseOptions::default()
    };
    let mut index = DenseIndex::new(32, options).unwrap();
    let mut documents = Documents::new();
    for doc in 0..14_000 {
        let facets = vec![vectors.vector()];
        upsert(&mut index, doc, &facets);
        documents.insert(doc, facets);
        if doc == 8000 {
            seal(&mut index).unwrap();
        } else if doc == 13_500 {
            let recent = build(&mut index, SealScope::Recent).unwrap();
            index.install(recent).unwrap();
            assert_eq!(index.figures().segments, 2);
        }
    }
    for percent in [100, 50, 10, 1] {
        let mut random = Random::new(percent);
        let allowed: DocSet = (0..14_000).filter(|_| u64::from(random.below(100)) < percent).map(DocId).collect();
        let mut total = 0.0;
        for _ in 0..50 {
            let query = vectors.vector();
            let result = index.search(&query, 10, Some(&allowed), Effort::Rows(256)).unwrap();
            assert!(result.hits.iter().all(|hit| allowed.contains(hit.doc)));
            total += recall(&result.hits, &brute_force(&documents, &query, 10, Some(&allowed)));
        }
        assert!(total / 50.0 >= 0.95, "{percent} %: {}", total / 50.0);
    }
}
