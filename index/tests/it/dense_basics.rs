//! What the dense index promises on small cases.

use std::sync::atomic::{AtomicBool, Ordering};

use fitment_index::{
    DenseIndex, DenseOptions, DocId, DocSet, Effort, ErrorKind, IndexError, Plan, SealReason, SealScope,
};

use crate::data::{Clusters, build, seal, unit, upsert};

fn index(dimension: usize) -> DenseIndex {
    DenseIndex::new(dimension, DenseOptions::default()).unwrap()
}

#[test]
fn a_vector_against_itself_is_one_and_never_more() {
    for dimension in [1, 2, 3, 17, 64, 100, 384, 768] {
        let mut vectors = Clusters::new(dimension as u64, dimension, 3, 1.0);
        let mut index = index(dimension);
        let stored: Vec<Vec<f32>> = (0..50).map(|_| vectors.vector()).collect();
        for (doc, vector) in (0..).zip(&stored) {
            // Off by what the tolerance allows: still one, still not more.
            let loose: Vec<f32> = vector.iter().map(|x| x * 1.0009).collect();
            upsert(&mut index, doc, &[loose]);
        }
        for vector in &stored {
            let hit = index.search(vector, 1, None, Effort::Default).unwrap().hits[0];
            assert!(hit.score <= 1.0 && hit.score > 1.0 - 3e-5, "{dimension}: {}", hit.score);
        }
    }
}

#[test]
fn bad_vectors_change_nothing() {
    let mut index = index(2);
    index.upsert(DocId(7), &[&[1.0, 0.0]]).unwrap();
    let good: &[f32] = &[0.0, 1.0];
    let check = |index: &mut DenseIndex, bad: &[f32]| {
        let error = index.upsert(DocId(7), &[good, bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(index.search(bad, 1, None, Effort::Default).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(index.scorer(bad).is_err());
        assert_eq!(index.scorer(&[1.0, 0.0]).unwrap().facet_scores(DocId(7)), Some(vec![1.0]));
    };
    check(&mut index, &[f32::NAN, 1.0]);
    check(&mut index, &[f32::INFINITY, 1.0]);
    check(&mut index, &[0.0, 0.0]);
    check(&mut index, &[0.5, 0.5]);
    check(&mut index, &[1.002, 0.0]);
    check(&mut index, &[1.0]);
    check(&mut index, &[1.0, 0.0, 0.0]);
    check(&mut index, &[]);
    assert!(matches!(index.upsert(DocId(7), &[]), Err(IndexError::FacetCount { count: 0, .. })));
    let many = vec![good; 65_536];
    assert!(matches!(index.upsert(DocId(7), &many), Err(IndexError::FacetCount { count: 65_536, .. })));
    assert_eq!((index.len_docs(), index.len_rows()), (1, 1));
}

#[test]
fn options_out_of_range_are_refused() {
    let options = DenseOptions { m: 1, ..DenseOptions::default() };
    assert!(matches!(DenseIndex::new(4, options), Err(IndexError::Option { name: "m", .. })));
    for dimension in [0, 8193] {
        let error = DenseIndex::new(dimension, DenseOptions::default()).unwrap_err();
        assert!(matches!(error, IndexError::Option { name: "dimension", .. }));
    }
}

#[test]
fn the_best_facet_is_named_and_ties_go_to_the_lower_number() {
    let mut index = index(2);
    let (east, north) = (vec![1.0, 0.0], vec![0.0, 1.0]);
    upsert(&mut index, 9, &[north.clone(), east.clone(), east.clone()]);
    upsert(&mut index, 3, std::slice::from_ref(&east));
    upsert(&mut index, 5, std::slice::from_ref(&north));
    let hits = index.search(&east, 3, None, Effort::Default).unwrap().hits;
    let found: Vec<(u32, u16)> = hits.iter().map(|hit| (hit.doc.0, hit.facet)).collect();
    assert_eq!(found, [(3, 0), (9, 1), (5, 0)]);
    assert_eq!(index.scorer(&east).unwrap().facet_scores(DocId(9)), Some(vec![0.0, 1.0, 1.0]));
    assert_eq!(index.scorer(&east).unwrap().facet_scores(DocId(1)), None);
    assert_eq!(index.facets(DocId(5)), Some(vec![north.clone()]));
}

#[test]
fn empty_questions_have_empty_answers() {
    let mut index = index(2);
    let query = [1.0, 0.0];
    assert_eq!(index.search(&query, 5, None, Effort::Default).unwrap().stats.plan, Plan::Empty);
    upsert(&mut index, 1, &[vec![1.0, 0.0]]);
    assert!(index.search(&query, 0, None, Effort::Default).unwrap().hits.is_empty());
    assert!(index.search(&query, 5, Some(&DocSet::new()), Effort::Default).unwrap().hits.is_empty());
    let elsewhere: DocSet = [DocId(2)].into_iter().collect();
    assert!(index.search(&query, 5, Some(&elsewhere), Effort::Default).unwrap().hits.is_empty());
    assert_eq!(index.search(&query, usize::MAX, None, Effort::Default).unwrap().hits.len(), 1);
    assert!(index.remove(DocId(1)));
    assert!(!index.remove(DocId(1)));
    assert!(index.is_empty());
    assert!(index.search(&query, 5, None, Effort::Default).unwrap().hits.is_empty());
}

#[test]
fn an_empty_index_can_be_sealed() {
    let mut index = index(3);
    seal(&mut index).unwrap();
    assert!(index.is_empty());
    upsert(&mut index, 1, &[unit(vec![1.0, 2.0, 3.0])]);
    index.remove(DocId(1));
    seal(&mut index).unwrap();
    assert!(index.search(&[1.0, 0.0, 0.0], 3, None, Effort::Default).unwrap().hits.is_empty());
}

#[test]
fn writes_during_a_sealing_are_kept() {
    let mut vectors = Clusters::new(1, 8, 4, 1.0);
    let mut index = index(8);
    let facets: Vec<Vec<f32>> = (0..6).map(|_| vectors.vector()).collect();
    for doc in 0..3 {
        upsert(&mut index, doc, &facets[doc as usize..=doc as usize]);
    }
    let segment = build(&mut index, SealScope::All).unwrap();
    index.remove(DocId(0));
    upsert(&mut index, 1, &facets[4..5]);
    upsert(&mut index, 3, &facets[5..6]);
    let check = |index: &DenseIndex| {
        assert_eq!(index.docs(), [DocId(1), DocId(2), DocId(3)].into_iter().collect());
        assert_eq!(index.len_rows(), 3);
        for (doc, facet) in [(1, 4), (2, 2), (3, 5)] {
            let hit = index.search(&facets[facet], 1, None, Effort::Default).unwrap().hits[0];
            assert_eq!(hit.doc, DocId(doc));
        }
        let found = index.search(&facets[0], 9, None, Effort::Default).unwrap().hits;
        assert_eq!(found.len(), 3);
    };
    check(&index);
    index.install(segment).unwrap();
    check(&index);
    seal(&mut index).unwrap();
    check(&index);
}

#[test]
fn only_the_latest_sealing_is_taken() {
    let mut index = index(2);
    upsert(&mut index, 1, &[vec![1.0, 0.0]]);
    let first = build(&mut index, SealScope::All).unwrap();
    upsert(&mut index, 2, &[vec![0.0, 1.0]]);
    let second = build(&mut index, SealScope::All).unwrap();
    assert_eq!(second.len_docs(), 2);
    assert!(matches!(index.install(first), Err(IndexError::StaleSegment)));
    index.install(second).unwrap();
    assert_eq!(index.len_docs(), 2);
    let foreign = build(&mut self::index(2), SealScope::All).unwrap();
    assert!(matches!(index.install(foreign), Err(IndexError::StaleSegment)));
}

#[test]
fn a_build_can_be_cancelled_and_tells_how_far_it_is() {
    let options = DenseOptions { graph_threshold: 100, ..DenseOptions::default() };
    let mut index = DenseIndex::new(8, options).unwrap();
    let mut vectors = Clusters::new(3, 8, 4, 1.0);
    for doc in 0..5000 {
        upsert(&mut index, doc, &[vectors.vector()]);
    }
    assert_eq!(index.needs_seal(SealScope::All), Some(SealReason::NoGraph));
    let cancel = AtomicBool::new(false);
    let input = index.sealing_input(SealScope::All);
    let stop = |done: usize, rows: usize| {
        assert!(done <= rows);
        cancel.store(true, Ordering::Relaxed);
    };
    let error = input.build(&stop, &cancel).unwrap_err();
    assert!(matches!(error, IndexError::Cancelled { rows: 5000, rows_done } if rows_done < 5000));
    assert_eq!(index.len_docs(), 5000);
    let segment = input.build(&|_, _| {}, &AtomicBool::new(false)).unwrap();
    assert!(segment.has_graph());
    index.install(segment).unwrap();
    assert_eq!(index.needs_seal(SealScope::All), None);
}

#[test]
fn sealing_is_due_when_the_head_is_full_or_much_is_dead() {
    let options = DenseOptions { graph_threshold: 2000, head_limit: 500, ..DenseOptions::default() };
    let mut index = DenseIndex::new(4, options).unwrap();
    let mut vectors = Clusters::new(4, 4, 4, 1.0);
    for doc in 0..6000 {
        upsert(&mut index, doc, &[vectors.vector()]);
    }
    seal(&mut index).unwrap();
    assert_eq!(index.needs_seal(SealScope::All), None);
    for doc in 0..501 {
        upsert(&mut index, 10_000 + doc, &[vectors.vector()]);
    }
    assert_eq!(index.needs_seal(SealScope::Recent), Some(SealReason::HeadFull));
    let recent = build(&mut index, SealScope::Recent).unwrap();
    index.install(recent).unwrap();
    assert_eq!(index.needs_seal(SealScope::Recent), None);
    assert_eq!(index.needs_seal(SealScope::All), None);
    for doc in 0..500 {
        upsert(&mut index, 11_000 + doc, &[vectors.vector()]);
    }
    assert_eq!(index.needs_seal(SealScope::All), Some(SealReason::RecentFull));
    seal(&mut index).unwrap();
    for doc in 0..1401 {
        index.remove(DocId(doc));
    }
    assert_eq!(index.needs_seal(SealScope::All), Some(SealReason::Dead));
    seal(&mut index).unwrap();
    assert_eq!((index.needs_seal(SealScope::All), index.len_rows()), (None, 5600));
}
