//! A bundle: the archive's bytes, one made from changed parts with its digests right, and what its entries say.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_catalog::{Digest, sample};
use fitment_engine::{
    BundleAssembly, BundleContent, BundleEntry, BundleFile, BundleKind, BundleManifest, BundleModel, BundleTaker,
    EngineError, ExportHead, Reading, Stop, Work, bundle_signers, write_bundle,
};
use fitment_fuzz::{choice, edit, now, refused, root, scratch};
use fitment_trust::TrustRoot;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(scratch);
static ROOT: LazyLock<TrustRoot> = LazyLock::new(root);
/// A sound bundle: its manifest, its entries' bytes, its file.
static GOOD: LazyLock<(BundleManifest, Vec<Vec<u8>>, Vec<u8>)> = LazyLock::new(good);

fn good() -> (BundleManifest, Vec<Vec<u8>>, Vec<u8>) {
    let contents: Vec<(String, BundleKind, Vec<u8>)> = sample()
        .step_by(30)
        .map(|file| {
            let manifest = fitment_catalog::Manifest::parse(file.path, file.bytes, fitment_catalog::Format::Yaml);
            let manifest = manifest.expect("a sample manifest");
            let mut json = serde_json::to_vec_pretty(&manifest.to_value()).expect("plain data");
            json.push(b'\n');
            (format!("components/{}/{}.json", manifest.name(), manifest.version()), BundleKind::Component, json)
        })
        .collect();
    let entries = contents.iter().map(|(path, kind, bytes)| BundleEntry {
        path: path.clone(),
        kind: *kind,
        bytes: bytes.len() as u64,
        sha256: Digest::of(bytes),
        lifecycle: Some(fitment_catalog::Lifecycle::Certified),
        may_answer: true,
    });
    let head = ExportHead {
        source: "0190a1b2-0000-7000-8000-000000000000".into(),
        sequence: 1,
        revision: 3,
        time: now(),
        model: BundleModel { name: "m".into(), digest: Digest::from_bytes([2; 32]).to_string() },
        catalog_digest: Digest::from_bytes([1; 32]).to_string(),
    };
    let manifest = BundleManifest::seal(head, Vec::new(), Vec::new(), entries.collect()).expect("a sound manifest");
    let path = FOLDER.path().join("good.bundle");
    let bytes: Vec<Vec<u8>> = contents.into_iter().map(|(_, _, bytes)| bytes).collect();
    let mut rest = bytes.clone().into_iter();
    let mut give = |_: &BundleEntry| -> Result<Box<dyn std::io::Read>, EngineError> {
        Ok(Box::new(std::io::Cursor::new(rest.next().unwrap_or_default())))
    };
    let work = Work { tell: &|_, _, _| {}, stop: &Stop::default() };
    write_bundle(&path, &manifest, None, &mut give, work).expect("written");
    let file = std::fs::read(&path).expect("read");
    (manifest, bytes, file)
}

#[derive(Default)]
struct Taker {
    whole: Vec<Vec<u8>>,
    pieces: usize,
}

impl BundleTaker for Taker {
    fn whole(&mut self, entry: &BundleEntry, bytes: Vec<u8>) -> Result<(), EngineError> {
        assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (entry.bytes, entry.sha256), "handed on unchecked");
        self.whole.push(bytes);
        Ok(())
    }

    fn piece(&mut self, _entry: &BundleEntry, piece: &[u8]) -> Result<(), EngineError> {
        self.pieces += piece.len();
        Ok(())
    }

    fn done(&mut self, _entry: &BundleEntry) -> Result<(), EngineError> {
        Ok(())
    }
}

fn judge_file(bytes: &[u8]) {
    let path = FOLDER.path().join("tried.bundle");
    std::fs::write(&path, bytes).expect("written");
    let bundle = match BundleFile::open(&path) {
        Err(error) => return refused(&error, bytes.len()),
        Ok(bundle) => bundle,
    };
    let manifest = bundle.manifest().clone();
    assert_eq!(manifest.to_bytes().expect("writable"), bundle.manifest_bytes());
    let digest = Digest::of(bundle.manifest_bytes());
    if let Ok(signers) = bundle_signers(&digest, bundle.signature(), Some(&ROOT), &[], now()) {
        assert!(!signers.is_empty(), "signed by nobody");
    }
    let mut taker = Taker::default();
    let work = Work { tell: &|_, _, _| {}, stop: &Stop::default() };
    match bundle.walk(&mut taker, work) {
        Err(error) => refused(&error, bytes.len()),
        Ok(()) => judge_content(&manifest, taker.whole),
    }
}

fn judge_content(manifest: &BundleManifest, contents: Vec<Vec<u8>>) {
    let size = contents.iter().map(Vec::len).sum::<usize>() + 4096;
    let mut sent = BundleAssembly::new(manifest.clone());
    for content in &contents {
        if let Err(error) = sent.push(content) {
            return refused(&error, size);
        }
    }
    let (manifest, contents) = match sent.finish() {
        Err(error) => return refused(&error, size),
        Ok(whole) => whole,
    };
    let without = BTreeSet::new();
    let reading = Reading { root: Some(&ROOT), vouched: true, now: now(), without: &without };
    if let Err(error) = BundleContent::read(&manifest, contents, reading) {
        refused(&error, size);
    }
}

/// A bundle whose entries were changed and whose digests are right again.
fn resealed(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (manifest, mut contents, _) = GOOD.clone();
    let mut entries = manifest.entries.clone();
    for _ in 0..u.int_in_range(1..=3)? {
        let at = u.choose_index(entries.len())?;
        match u.int_in_range(0..=3_u8)? {
            0 => contents[at] = u.arbitrary::<&[u8]>()?.to_vec(),
            1 => {
                let mut value: Value = serde_json::from_slice(&contents[at]).unwrap_or_default();
                edit(u, &mut value)?;
                contents[at] = serde_json::to_vec_pretty(&value).unwrap_or_default();
                contents[at].push(b'\n');
            }
            2 => entries[at].kind = *u.choose(&BundleKind::ALL)?,
            _ => entries[at].path = u.arbitrary()?,
        }
        entries[at].bytes = contents[at].len() as u64;
        entries[at].sha256 = Digest::of(&contents[at]);
    }
    let head = ExportHead {
        source: manifest.source.clone(),
        sequence: manifest.sequence,
        revision: manifest.revision,
        time: manifest.time,
        model: manifest.model.clone(),
        catalog_digest: manifest.catalog_digest.clone(),
    };
    match BundleManifest::seal(head, Vec::new(), Vec::new(), entries) {
        Err(error) => refused(&error, 1 << 16),
        Ok(manifest) => {
            let bytes = manifest.to_bytes().expect("writable");
            assert_eq!(BundleManifest::parse(&bytes).as_ref(), Ok(&manifest));
            judge_content(&manifest, contents);
        }
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    match kind % 4 {
        0 => match BundleManifest::parse(rest) {
            Err(error) => refused(&error, rest.len()),
            Ok(manifest) => assert_eq!(manifest.to_bytes().expect("writable"), rest),
        },
        1 => judge_file(rest),
        2 => {
            let mut file = GOOD.2.clone();
            for change in rest.chunks_exact(3).take(16) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
                file[at] = change[2];
            }
            if kind & 64 != 0 {
                file.truncate(file.len().saturating_sub(usize::from(kind >> 2) * 7));
            }
            judge_file(&file);
        }
        _ => drop(resealed(&mut Unstructured::new(rest))),
    }
});
