//! What the graph misses, as the index tells it and as brute force does.

use fitment_index::{DenseIndex, DenseOptions, DocId, Effort, SealScope};

use crate::data::{Clusters, Documents, brute_force, build, recall, seal, upsert};

const DIMENSION: usize = 32;

/// A graph so thin that walks miss some.
fn thin(docs: u32) -> (DenseIndex, Documents, Clusters) {
    let mut vectors = Clusters::new(5, DIMENSION, 40, 0.9);
    let options =
        DenseOptions { graph_threshold: 1000, m: 4, ef_construction: 8, ef_search: 8, ..DenseOptions::default() };
    let mut index = DenseIndex::new(DIMENSION, options).unwrap();
    let mut documents = Documents::new();
    for doc in 0..docs {
        let facets = vec![vectors.vector()];
        upsert(&mut index, doc, &facets);
        documents.insert(doc, facets);
    }
    seal(&mut index).unwrap();
    (index, documents, vectors)
}

#[test]
fn recall_is_what_brute_force_says_it_is() {
    let (index, documents, mut vectors) = thin(6000);
    let questions: Vec<Vec<f32>> = (0..50).map(|_| vectors.vector()).collect();
    let effort = Effort::Rows(8);
    let mut expected = 0.0;
    for question in &questions {
        let hits = index.search(question, 10, None, effort).unwrap().hits;
        expected += recall(&hits, &brute_force(&documents, question, 10, None)) / 50.0;
    }
    let told = index.recall(&questions, 10, effort).unwrap();
    assert_eq!((told.asked, told.wanted), (50, 500));
    let ratio = told.ratio().unwrap();
    assert!((ratio - expected).abs() < 0.005, "{ratio} instead of {expected}");
    assert!(ratio < 0.999, "a graph this thin misses something: {ratio}");
    assert_eq!(index.recall(&questions, 10, Effort::Exact).unwrap().ratio(), Some(1.0));
    assert_eq!(index.recall(&[], 10, effort).unwrap().ratio(), None);
}

#[test]
fn equal_documents_stand_for_each_other() {
    let (mut index, documents, _) = thin(2000);
    // Every document twice.
    for (doc, facets) in &documents {
        upsert(&mut index, doc + 2000, facets);
    }
    seal(&mut index).unwrap();
    let questions: Vec<Vec<f32>> = documents.values().take(40).map(|facets| facets[0].clone()).collect();
    let told = index.recall(&questions, 1, Effort::Rows(500)).unwrap();
    assert_eq!(told.found, told.wanted);
}

#[test]
fn a_built_graph_finds_its_own_rows() {
    let mut vectors = Clusters::new(6, DIMENSION, 40, 0.9);
    let options = DenseOptions { graph_threshold: 1000, ..DenseOptions::default() };
    let mut index = DenseIndex::new(DIMENSION, options).unwrap();
    for doc in 0..3000 {
        upsert(&mut index, doc, &[vectors.vector()]);
    }
    let built = build(&mut index, SealScope::All).unwrap();
    assert!(built.self_recall().unwrap() > 0.99, "{:?}", built.self_recall());
    index.install(built).unwrap();
    for doc in 3000..4000 {
        upsert(&mut index, doc, &[vectors.vector()]);
    }
    let grown = build(&mut index, SealScope::All).unwrap();
    assert!(grown.self_recall().unwrap() > 0.99, "{:?}", grown.self_recall());
    let path = tempfile::tempdir().unwrap().path().join("segment");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let written = grown.persist(&path, b"").unwrap();
    assert!(written.self_recall().is_some());
}

#[test]
fn a_small_segment_has_nothing_to_miss() {
    let mut index = DenseIndex::new(DIMENSION, DenseOptions::default()).unwrap();
    upsert(&mut index, 1, &[Clusters::new(1, DIMENSION, 1, 0.1).vector()]);
    let segment = build(&mut index, SealScope::All).unwrap();
    assert_eq!(segment.self_recall(), None);
    index.install(segment).unwrap();
    assert!(!index.can_miss());
}

#[test]
fn a_frozen_index_stays_as_it_was() {
    let (mut index, documents, mut vectors) = thin(3000);
    index.remove(DocId(7));
    let frozen = index.frozen().unwrap();
    assert!(frozen.can_miss());
    upsert(&mut index, 5000, &[vectors.vector()]);
    index.remove(DocId(8));
    assert_eq!((frozen.len_docs(), frozen.len_rows()), (2999, 2999));
    assert!(!frozen.contains(DocId(7)) && frozen.contains(DocId(8)) && !frozen.contains(DocId(5000)));
    let own = &documents[&8][0];
    assert_eq!(frozen.search(own, 1, None, Effort::Exact).unwrap().hits[0].doc, DocId(8));
    assert_eq!(index.len_docs(), 2999);
}

#[test]
fn a_sample_is_spread_over_all_that_lives() {
    let (mut index, documents, mut vectors) = thin(2000);
    upsert(&mut index, 9000, &[vectors.vector()]);
    let sample = index.sample(20);
    assert_eq!(sample.len(), 20);
    for vector in &sample {
        let nearest = documents.values().map(|facets| {
            let dot: f32 = facets[0].iter().zip(vector).map(|(a, b)| a * b).sum();
            (dot * 1000.0).round()
        });
        assert!(nearest.fold(0.0, f32::max) >= 999.0);
    }
    assert_eq!(index.sample(5000).len(), 2001);
    assert!(index.sample(0).is_empty());
}
