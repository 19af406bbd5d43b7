//! A dense segment's file: a sound one with bytes changed, its checksums put right again, so that the checks behind them are
//! reached. What is accepted is searched, by the graph and without it, and never reads out of bounds.
#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use fitment_fuzz::{choice, refused, scratch};
use fitment_index::{DenseIndex, DenseOptions, DocId, DocSet, Effort, SealScope};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

const DIMENSION: usize = 8;
const HEADER: usize = 512;
const TABLE: usize = 304;

fn options(graph: bool) -> DenseOptions {
    let graph_threshold = if graph { 1 } else { usize::MAX };
    DenseOptions {
        graph_threshold,
        exact_filter_rows: 0,
        m: 4,
        ef_construction: 8,
        ef_search: 8,
        build_threads: 1,
        ..DenseOptions::default()
    }
}

fn vector(seed: usize) -> Vec<f32> {
    let numbers = (0..DIMENSION).map(|at| (((seed * 31 + at * 17) % 23) as f32) - 11.0);
    let numbers: Vec<f32> = numbers.collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt().max(1.0);
    let mut unit: Vec<f32> = numbers.iter().map(|number| number / length).collect();
    if numbers.iter().all(|number| *number == 0.0) {
        unit[0] = 1.0;
    }
    unit
}

static FOLDER: LazyLock<TempDir> = LazyLock::new(scratch);

/// A sound file without a graph and one with.
static GOOD: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [false, true].map(|graph| {
        let mut index = DenseIndex::new(DIMENSION, options(graph)).expect("an index");
        for doc in 0..40_u32 {
            let facets: Vec<Vec<f32>> = (0..=doc as usize % 3).map(|facet| vector(doc as usize * 5 + facet)).collect();
            let facets: Vec<&[f32]> = facets.iter().map(Vec::as_slice).collect();
            index.upsert(DocId(doc * 2), &facets).expect("written");
        }
        let go_on = AtomicBool::new(false);
        let segment = index.sealing_input(SealScope::All).build(&|_, _| {}, &go_on).expect("built");
        let path = FOLDER.path().join("good");
        segment.write_to(&path, b"stamp").expect("written");
        std::fs::read(&path).expect("read")
    })
});

/// Puts right what the file says of its sections' bytes and of its header.
fn seal(file: &mut [u8]) {
    if file.len() < HEADER {
        return;
    }
    for section in 0..8 {
        let entry = TABLE + section * 24;
        let long = |at: usize| {
            usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"))).unwrap_or(usize::MAX)
        };
        let (start, length) = (long(entry), long(entry + 8));
        if let Some(bytes) = start.checked_add(length).and_then(|end| file.get(start..end)) {
            let checksum = xxh3_64(bytes).to_le_bytes();
            file[entry + 16..entry + 24].copy_from_slice(&checksum);
        }
    }
    let checksum = xxh3_64(&file[..HEADER - 8]).to_le_bytes();
    file[HEADER - 8..HEADER].copy_from_slice(&checksum);
}

fn open(file: &[u8], graph: bool) {
    let path = FOLDER.path().join("tried");
    std::fs::write(&path, file).expect("written");
    match DenseIndex::open(&path, DIMENSION, options(graph)) {
        Err(error) => refused(&error, 4096),
        Ok(index) => {
            let allowed: DocSet = index.docs().iter().step_by(2).collect();
            for seed in 0..3 {
                for effort in [Effort::Default, Effort::Exact, Effort::Rows(64)] {
                    for allowed in [None, Some(&allowed)] {
                        let found = index.search(&vector(seed), 5, allowed, effort).expect("a unit vector");
                        let most = allowed.map_or(index.len_docs(), |allowed| allowed.iter().count()).min(5);
                        assert_eq!(found.hits.len(), most, "{effort:?}");
                    }
                }
            }
            for doc in index.docs().iter().take(4) {
                assert!(index.facets(doc).is_some());
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    if kind % 4 == 3 {
        return open(rest, kind & 4 != 0);
    }
    let graph = kind & 4 != 0;
    let mut file = GOOD[usize::from(graph)].clone();
    // Three bytes of place and value for each change; the high bit of the place makes it a change within the header.
    for change in rest.chunks_exact(3).take(64) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = if at & 0x8000 != 0 { 8 + (at & 0x7fff) % (HEADER - 16) } else { at % file.len() };
        file[at] = change[2];
    }
    if kind & 8 != 0 {
        file.truncate(file.len() - usize::from(kind >> 4) * 3);
    }
    if kind % 4 != 0 {
        seal(&mut file);
    }
    open(&file, graph);
});
