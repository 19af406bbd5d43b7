//! Segment files: what is written is read, what is damaged is refused.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use fitment_index::{DenseIndex, DenseOptions, DocId, Effort, ErrorKind, IndexError, SealScope, Segment};

use crate::data::{Clusters, build, upsert};

fn filled(graph: bool) -> DenseIndex {
    let graph_threshold = if graph { 50 } else { usize::MAX };
    let options = DenseOptions { graph_threshold, m: 4, ef_construction: 16, ..DenseOptions::default() };
    let mut index = DenseIndex::new(3, options).unwrap();
    let mut vectors = Clusters::new(9, 3, 4, 0.5);
    for doc in 0..60 {
        let facets: Vec<Vec<f32>> = (0..=doc % 3).map(|_| vectors.vector()).collect();
        upsert(&mut index, doc * 2, &facets);
    }
    index
}

fn open(path: &Path) -> Result<DenseIndex, IndexError> {
    DenseIndex::open(path, 3, DenseOptions::default())
}

#[test]
fn a_segment_is_the_same_after_a_round_through_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    for graph in [false, true] {
        let mut index = filled(graph);
        let segment = build(&mut index, SealScope::All).unwrap().persist(&path, b"revision 7, model abc").unwrap();
        assert_eq!(segment.stamp(), b"revision 7, model abc");
        assert_eq!((segment.has_graph(), segment.len_docs(), segment.len_rows()), (graph, 60, 120));
        index.install(segment).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.stamp(), Some(b"revision 7, model abc".as_slice()));
        assert_eq!(opened.docs(), index.docs());
        assert_eq!(opened.has_graph(), graph);
        let mut vectors = Clusters::new(10, 3, 4, 0.5);
        for _ in 0..20 {
            let query = vectors.vector();
            let search = |index: &DenseIndex| index.search(&query, 7, None, Effort::Default).unwrap().hits;
            assert_eq!(search(&opened), search(&index));
        }
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["dense.segment"]);
    }
}

#[test]
fn an_opened_index_takes_writes_and_replaces_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    build(&mut filled(true), SealScope::All).unwrap().write_to(&path, b"1").unwrap();
    let mut index = open(&path).unwrap();
    index.remove(DocId(0));
    upsert(&mut index, 1, &[vec![1.0, 0.0, 0.0]]);
    let segment = build(&mut index, SealScope::All).unwrap().persist(&path, b"2").unwrap();
    index.install(segment).unwrap();
    assert_eq!(index.stamp(), Some(b"2".as_slice()));
    let opened = open(&path).unwrap();
    assert_eq!(opened.docs(), index.docs());
    assert!(opened.contains(DocId(1)) && !opened.contains(DocId(0)));
}

#[test]
fn an_empty_segment_is_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    build(&mut DenseIndex::new(3, DenseOptions::default()).unwrap(), SealScope::All)
        .unwrap()
        .write_to(&path, b"")
        .unwrap();
    assert!(open(&path).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_told_apart_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    let segment = build(&mut filled(false), SealScope::All).unwrap();
    assert!(matches!(segment.write_to(&path, &[0; 257]), Err(IndexError::StampTooLong { length: 257, .. })));
    assert!(matches!(open(&path), Err(IndexError::Io { .. })));
    segment.write_to(&path, &[1; 256]).unwrap();
    assert_eq!(Segment::open(&path).unwrap().stamp(), [1; 256]);
    let error = DenseIndex::open(&path, 4, DenseOptions::default()).unwrap_err();
    assert!(matches!(error, IndexError::Mismatch { .. }), "{error}");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    std::fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, IndexError::Mismatch { what: "format version", .. }), "{error}");
}

fn check_refused(path: &Path, what: &str) {
    match open(path) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Rebuild, "{what}: {error}"),
        Ok(_) => panic!("accepted: {what}"),
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    for graph in [false, true] {
        build(&mut filled(graph), SealScope::All).unwrap().write_to(&path, b"stamp").unwrap();
        let good = std::fs::read(&path).unwrap();
        // In place: rewriting the file thousands of times would make the file system flush it each time.
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut put = |at: usize, byte: u8| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (at, &byte) in good.iter().enumerate() {
            put(at, byte ^ (1 << (at % 8)));
            check_refused(&path, &format!("bit of byte {at}"));
            put(at, byte);
        }
        assert_eq!(open(&path).unwrap().len_docs(), 60);
        put(good.len(), 0);
        check_refused(&path, "a byte more");
        for length in (0..good.len()).rev() {
            file.set_len(length as u64).unwrap();
            check_refused(&path, &format!("cut to {length}"));
        }
    }
}

/// Wrong numbers under right checksums: each must be found by its own check.
#[test]
fn wrong_numbers_under_right_checksums_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dense.segment");
    build(&mut filled(true), SealScope::All).unwrap().write_to(&path, b"stamp").unwrap();
    let good = std::fs::read(&path).unwrap();
    let long = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let section = |number: usize| {
        let entry = 304 + number * 24;
        (usize::try_from(long(&good, entry)).unwrap(), usize::try_from(long(&good, entry + 8)).unwrap())
    };
    let resealed = |mut bytes: Vec<u8>| {
        for number in 0..8 {
            let (start, length) = section(number);
            let sum = xxhash_rust::xxh3::xxh3_64(&bytes[start..start + length]);
            bytes[304 + number * 24 + 16..][..8].copy_from_slice(&sum.to_le_bytes());
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..504]);
        bytes[504..512].copy_from_slice(&sum.to_le_bytes());
        bytes
    };
    assert_eq!(resealed(good.clone()), good);
    // Documents, starts, offsets, neighbours, upper layers: one number made too large. Scales: one made NaN.
    for (number, word) in [(0, 3), (1, 4), (3, 5), (5, 6), (6, 7), (7, 0), (7, 1), (7, 2)] {
        let (start, length) = section(number);
        assert!(length > word * 4 + 4, "section {number} holds enough to be damaged");
        let mut bytes = good.clone();
        bytes[start + word * 4..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        std::fs::write(&path, resealed(bytes)).unwrap();
        check_refused(&path, &format!("section {number}, word {word}"));
    }
    // Dimension, documents, rows, flags, entry, layers, length of the stamp.
    for field in [1, 2, 3, 4, 5, 6, 9] {
        for value in [0, 1, u32::MAX, 1 << 30, 61, 121] {
            let mut bytes = good.clone();
            if bytes[8 + field * 4..][..4] == u32::to_le_bytes(value) {
                continue;
            }
            bytes[8 + field * 4..][..4].copy_from_slice(&value.to_le_bytes());
            std::fs::write(&path, resealed(bytes)).unwrap();
            // A smaller stamp or another entry point is wrong but harmless; all that counts is that nothing panics.
            match open(&path) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Rebuild, "field {field} = {value}: {error}"),
                Ok(index) => {
                    assert!([4, 5, 9].contains(&field), "field {field} = {value} was accepted");
                    index.search(&[1.0, 0.0, 0.0], 5, None, Effort::Rows(1)).unwrap();
                }
            }
        }
    }
}
