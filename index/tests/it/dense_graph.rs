//! The graph against exact search, at a size where it is used.

use std::sync::OnceLock;

use fitment_index::{DenseIndex, DenseOptions, DocId, DocSet, Effort, Plan};

use crate::data::{Clusters, Documents, Random, brute_force, recall, seal, upsert};

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
