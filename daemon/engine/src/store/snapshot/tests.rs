use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{META, REQUEST_ORDER, REQUESTS, Store, audit, feedback};
use super::*;
use crate::audit::{Act, Author};

/// Rows with integer keys, with text keys, and an audit chain, at `revision`.
fn fill(store: &Store, keys: std::ops::Range<u64>, revision: u64) {
    let transaction = store.database.begin_write().expect("writes");
    {
        let mut meta = transaction.open_table(META).expect("opens");
        meta.insert("revision", revision.to_le_bytes().as_slice()).expect("writes");
        meta.insert("model", b"sha256:0\nsmall".as_slice()).expect("writes");
        let mut requests = transaction.open_table(REQUESTS).expect("opens");
        let mut order = transaction.open_table(REQUEST_ORDER).expect("opens");
        let mut decisions = transaction.open_table(feedback::DECISIONS).expect("opens");
        for key in keys {
            let id = format!("request {key}");
            requests.insert(id.as_str(), id.as_bytes()).expect("writes");
            order.insert(key, id.as_str()).expect("writes");
            decisions.insert(u128::from(key) << 64, [].as_slice()).expect("writes");
        }
    }
    let act = Act { action: "component.create", subject: format!("a/b@{revision}.0.0"), detail: json!({}) };
    audit::append(&transaction, &Author::default(), revision, jiff::Timestamp::UNIX_EPOCH, [act]).expect("appends");
    transaction.commit().expect("commits");
}

fn with_work<T>(run: impl FnOnce(Work<'_>) -> T) -> T {
    run(Work { tell: &|_, _, _| (), stop: &Stop::default() })
}

fn take(store: &Store, folder: &Path, second: i64) -> (PathBuf, WrittenSnapshot) {
    let now = jiff::Timestamp::from_second(second).expect("a time");
    let written = with_work(|work| store.read().expect("reads").snapshot(folder, now, work)).expect("is taken");
    (snapshot_file(folder, &written.summary.name).expect("is there"), written)
}

fn verify(file: &Path) -> Result<SnapshotSummary, EngineError> {
    with_work(|work| verify_snapshot(file, work))
}

fn restore(file: &Path, data_dir: &Path, force: bool) -> Result<Restored, EngineError> {
    with_work(|work| restore_snapshot(file, data_dir, force, work))
}

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("live/catalog.redb")).expect("opens");
        Self { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).expect("reads")));
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_restored_gives_the_same_snapshot_again() {
    let bench = Bench::new();
    fill(&bench.store, 0..5000, 7);
    let (file, written) = take(&bench.store, &bench.path("snapshots"), 1);
    assert_eq!((written.summary.revision, written.summary.model.as_str()), (7, "small"));
    assert_eq!(written.new_chunks, written.summary.chunks);
    fill(&bench.store, 5000..6000, 8);
    assert_eq!(verify(&file).expect("is whole"), written.summary);
    let restored = restore(&file, &bench.path("new"), false).expect("is restored");
    assert_eq!(restored.kept, None);
    let store = Store::open(&restored.store).expect("opens");
    let (_, again) = take(&store, &bench.path("again"), 1);
    assert_eq!(again.summary, written.summary);
}

#[test]
fn unchanged_ranges_are_not_written_again() {
    let bench = Bench::new();
    let snapshots = bench.path("snapshots");
    fill(&bench.store, 0..20_000, 1);
    let (_, first) = take(&bench.store, &snapshots, 1);
    let (_, same) = take(&bench.store, &snapshots, 2);
    assert_eq!(same.new_chunks, 0);
    fill(&bench.store, 20_000..20_010, 2);
    let (_, second) = take(&bench.store, &snapshots, 3);
    // The meta table, the audit chain, one range of the order, ten runs of ids at most, one of decisions or two.
    assert!(second.new_chunks <= 15, "{second:?}");
    assert!(first.new_chunks > 40, "{first:?}");
}

#[test]
fn every_flipped_byte_cut_and_swap_is_refused_and_touches_nothing() {
    let bench = Bench::new();
    let snapshots = bench.path("snapshots");
    fill(&bench.store, 0..5, 3);
    let (file, _) = take(&bench.store, &snapshots, 1);
    let target = bench.path("target");
    drop(Store::open(&target.join("catalog.redb")).expect("opens"));
    let before = files(&target);
    let known = |what: &str, error: &EngineError| {
        let known = matches!(error, EngineError::SnapshotDamaged { .. } | EngineError::SnapshotFormat { .. });
        assert!(known, "{what}: {error}");
    };
    let refused = |what: &str| {
        known(what, &restore(&file, &target, true).expect_err(what));
        assert!(files(&target) == before, "{what}");
    };
    let whole = files(&snapshots);
    for (path, bytes) in whole.iter().filter(|(path, _)| !path.ends_with("lock")) {
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(path, flipped).expect("writes");
            let what = format!("{} at {at}", path.display());
            known(&what, &verify(&file).expect_err(&what));
            if at.is_multiple_of(101) {
                refused(&what);
            }
        }
        std::fs::write(path, &bytes[..bytes.len() - 1]).expect("writes");
        refused(&format!("{} cut", path.display()));
        std::fs::write(path, bytes).expect("writes");
    }
    let chunks = files(&snapshots.join("chunks"));
    let [(one, one_bytes), (other, other_bytes), ..] = chunks.as_slice() else { panic!("some chunks") };
    std::fs::write(one, other_bytes).expect("writes");
    std::fs::write(other, one_bytes).expect("writes");
    refused("swapped chunks");
    std::fs::write(one, one_bytes).expect("writes");
    std::fs::remove_file(other).expect("removes");
    refused("a missing chunk");
    std::fs::write(other, other_bytes).expect("writes");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let copy = elsewhere.path().join(file.file_name().expect("a name"));
    std::fs::copy(&file, &copy).expect("copies");
    assert!(verify(&copy).expect_err("without its chunks").to_string().contains("missing"));
    restore(&file, &target, true).expect("is whole again");
}

#[track_caller]
fn check(folder: &Folder, document: &Document, expect: &str, change: impl FnOnce(&mut Document)) {
    let mut changed = document.clone();
    change(&mut changed);
    let path = folder.publish(&changed.sealed().expect("seals")).expect("writes");
    let error = verify(&path).expect_err("a refusal").to_string();
    assert!(error.contains(expect), "{error}");
}

/// A document whose digests are all right and which yet does not hold together.
#[test]
fn what_contradicts_itself_is_refused() {
    let bench = Bench::new();
    let snapshots = bench.path("snapshots");
    fill(&bench.store, 0..3000, 3);
    let (file, _) = take(&bench.store, &snapshots, 1);
    let document = Document::read(&file).expect("reads");
    let folder = Folder::new(&snapshots);
    let table = |name: &str| document.tables.iter().position(|table| table.name == name).expect("is there");
    let order = table("request_order");
    check(&folder, &document, "out of order", |changed| changed.tables[order].chunks.swap(0, 1));
    check(&folder, &document, "chunks hold", |changed| changed.tables[order].chunks.truncate(1));
    check(&folder, &document, "rows of request_order, not", |changed| changed.tables[order].chunks[0].rows += 1);
    check(&folder, &document, "not those of revision 4", |changed| changed.revision = 4);
    check(&folder, &document, "another model", |changed| changed.model = None);
    check(&folder, &document, "audit chain ends at 1:", |changed| changed.audit_head.sequence = 2);
    check(&folder, &document, "another store format", |changed| {
        changed.tables.remove(0);
    });
    check(&folder, &document, "a table twice", |changed| changed.tables.push(changed.tables[order].clone()));
    check(&folder, &document, "a table `unheard`", |changed| changed.tables[order].name = "unheard".into());
    let vectors = table("vectors");
    check(&folder, &document, "malformed", |changed| {
        changed.tables[order].name = "vectors".into();
        changed.tables[vectors].name = "request_order".into();
    });
    check(&folder, &document, "snapshot format 9", |changed| changed.snapshot_format = 9);
    let meta = document.tables[table("meta")].chunks[0].clone();
    let bytes = folder.read(&meta).expect("reads");
    let (digest, _) = folder.keep(&bytes[..bytes.len() - 1]).expect("writes");
    check(&folder, &document, "cut off", |changed| {
        changed.tables[0].chunks[0].digest = digest;
        changed.tables[0].chunks[0].bytes -= 1;
    });
}

#[test]
fn a_store_is_replaced_only_when_asked_and_only_when_nobody_has_it() {
    let bench = Bench::new();
    fill(&bench.store, 0..10, 3);
    let (file, _) = take(&bench.store, &bench.path("snapshots"), 1);
    let live = bench.path("live");
    assert!(matches!(restore(&file, &live, true), Err(EngineError::StoreInUse { .. })));
    let Bench { folder, store } = bench;
    fill(&store, 10..20, 4);
    drop(store);
    let before = std::fs::read(live.join("catalog.redb")).expect("reads");
    assert!(matches!(restore(&file, &live, false), Err(EngineError::StoreExists { .. })));
    std::fs::create_dir_all(live.join("index/lexical")).expect("creates");
    let stop = Stop::default();
    stop.stop();
    let stopped = restore_snapshot(&file, &live, true, Work { tell: &|_, _, _| (), stop: &stop });
    assert!(matches!(stopped, Err(EngineError::Stopping)));
    assert_eq!(std::fs::read(live.join("catalog.redb")).expect("reads"), before);
    // A restore that was killed leaves this.
    std::fs::write(live.join("catalog.redb.restoring"), b"half a store").expect("writes");
    let restored = restore(&file, &live, true).expect("is restored");
    assert_eq!(std::fs::read(restored.kept.expect("is kept")).expect("reads"), before);
    let names: BTreeSet<String> = std::fs::read_dir(&live)
        .expect("lists")
        .map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["catalog.redb", "catalog.redb.before-restore"].map(String::from).into());
    assert_eq!(Store::open(&restored.store).expect("opens").read().expect("reads").revision().expect("reads"), 3);
    drop(folder);
}

#[test]
fn pruning_keeps_what_the_newest_need() {
    let bench = Bench::new();
    let snapshots = bench.path("snapshots");
    let mut taken = Vec::new();
    for revision in 1..=4u64 {
        fill(&bench.store, revision * 2000..revision * 2000 + 10, revision);
        taken.push(take(&bench.store, &snapshots, i64::try_from(revision).expect("small")).1.summary.name);
    }
    let lock = Folder::new(&snapshots).lock().expect("free");
    assert!(matches!(prune_snapshots(&snapshots, 2), Err(EngineError::JobRunning { .. })));
    drop(lock);
    let pruned = prune_snapshots(&snapshots, 2).expect("prunes");
    assert_eq!(pruned.removed, taken[..2]);
    assert!(pruned.chunks > 0);
    let left = list_snapshots(&snapshots).expect("lists");
    assert_eq!(left.snapshots.iter().map(|left| left.name.as_str()).collect::<Vec<_>>(), taken[2..]);
    for name in &taken[2..] {
        verify(&snapshot_file(&snapshots, name).expect("is there")).expect("is whole");
    }
    assert!(matches!(snapshot_file(&snapshots, &taken[0]), Err(EngineError::SnapshotUnknown { .. })));
    for name in ["", "../x", "1-abc", "1-0123456789AB", "x-0123456789ab"] {
        assert!(matches!(snapshot_file(&snapshots, name), Err(EngineError::InvalidField { .. })), "{name}");
    }
}
