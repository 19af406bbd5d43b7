//! A snapshot: its document's bytes, and a sound one with something changed whose digest is right again. It is listed and
//! verified, never believed.
#![no_main]

use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use fitment_catalog::Digest;
use fitment_engine::{Stop, Work, list_snapshots, snapshot_file, verify_snapshot};
use fitment_fuzz::{choice, edit, now, refused, scratch};
use fitment_server::testing;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;

struct Good {
    folder: TempDir,
    /// The document's place and content.
    file: PathBuf,
    document: Value,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let (home, folder) = (scratch(), scratch());
    let config = testing::config(home.path()).expect("a configuration");
    let clock = Arc::new(AtomicI64::new(now().as_second()));
    let engine = testing::open(&config, &clock).expect("an engine");
    let work = Work { tell: &|_, _, _| {}, stop: &Stop::default() };
    let written = engine.create_snapshot(folder.path(), work).expect("a snapshot");
    let file = snapshot_file(folder.path(), &written.summary.name).expect("its file");
    verify_snapshot(&file, work).expect("a sound one");
    let document = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    Good { folder, file, document }
});

fn judge(bytes: &[u8]) {
    std::fs::write(&GOOD.file, bytes).expect("written");
    let work = Work { tell: &|_, _, _| {}, stop: &Stop::default() };
    let listing = list_snapshots(GOOD.folder.path()).expect("a folder");
    assert_eq!(listing.snapshots.len() + listing.damaged.len(), 1);
    match verify_snapshot(&GOOD.file, work) {
        Err(error) => refused(&error, bytes.len()),
        Ok(summary) => assert_eq!(listing.snapshots, [summary], "verified and not listed"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    if kind % 4 == 0 {
        return judge(rest);
    }
    let mut u = Unstructured::new(rest);
    let mut document = GOOD.document.clone();
    let edits = u.int_in_range(1..=3).unwrap_or(1);
    for _ in 0..edits {
        if edit(&mut u, &mut document).is_err() {
            break;
        }
    }
    if kind % 4 != 1
        && let Some(fields) = document.as_object_mut()
    {
        fields.shift_remove("digest");
        let canonical = serde_json_canonicalizer::to_vec(&*fields).unwrap_or_default();
        fields.insert("digest".into(), Digest::of(&canonical).to_string().into());
    }
    judge(&serde_json_canonicalizer::to_vec(&document).unwrap_or_default());
});
