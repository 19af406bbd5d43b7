//! Archives made by hand: whatever they claim, they are refused, and nothing is written that they name.

use std::io::Read;
use std::path::{Path, PathBuf};

use fitment_catalog::{Digest, Lifecycle};
use fitment_ranking::Stop;
use tempfile::TempDir;

use super::*;
use crate::store::Work;

const BYTES: &[u8] = b"{}\n";

fn head() -> ExportHead {
    ExportHead {
        source: uuid::Uuid::nil().to_string(),
        sequence: 1,
        revision: 1,
        time: jiff::Timestamp::UNIX_EPOCH,
        model: BundleModel { name: "model".into(), digest: "0".into() },
        catalog_digest: String::new(),
    }
}

fn entry(path: &str, kind: BundleKind) -> BundleEntry {
    BundleEntry {
        path: path.into(),
        kind,
        bytes: BYTES.len() as u64,
        sha256: Digest::of(BYTES),
        lifecycle: (kind == BundleKind::Component).then_some(Lifecycle::Certified),
        may_answer: false,
    }
}

fn seal(entries: Vec<BundleEntry>) -> Result<BundleManifest, String> {
    BundleManifest::seal(head(), Vec::new(), Vec::new(), entries).map_err(|error| error.to_string())
}

fn work<T>(run: impl FnOnce(Work<'_>) -> T) -> T {
    run(Work { tell: &|_, _, _| {}, stop: &Stop::default() })
}

/// A bundle of two components, and its manifest.
fn written(folder: &TempDir) -> (PathBuf, BundleManifest) {
    let path = folder.path().join("a.fitment");
    let entries = ["components/a/a@1.0.0.json", "components/a/b@1.0.0.json"];
    let manifest = seal(entries.map(|path| entry(path, BundleKind::Component)).to_vec()).expect("sealed");
    let mut content = |_: &BundleEntry| Ok(Box::new(BYTES) as Box<dyn Read>);
    work(|work| write_bundle(&path, &manifest, None, &mut content, work)).expect("written");
    (path, manifest)
}

#[derive(Default)]
struct Taken(Vec<String>);

impl BundleTaker for Taken {
    fn whole(&mut self, entry: &BundleEntry, _bytes: Vec<u8>) -> Result<(), EngineError> {
        self.0.push(entry.path.clone());
        Ok(())
    }

    fn piece(&mut self, _entry: &BundleEntry, _piece: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    fn done(&mut self, _entry: &BundleEntry) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Reads a file to its end. Errors: what is said.
fn read(path: &Path) -> Result<Vec<String>, String> {
    let mut taken = Taken::default();
    let read = BundleFile::open(path).and_then(|bundle| work(|work| bundle.walk(&mut taken, work)));
    read.map(|()| taken.0).map_err(|error| error.to_string())
}

/// An archive of a manifest and whatever else.
fn by_hand(path: &Path, manifest: &[u8], more: impl FnOnce(&mut tar::Builder<std::fs::File>)) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).expect("created"));
    let header = archive::header(MANIFEST_PATH, manifest.len() as u64).expect("fits");
    builder.append(tar::Header::from_byte_slice(&header), manifest).expect("appended");
    more(&mut builder);
    builder.into_inner().expect("finished");
}

#[test]
fn what_is_written_is_read_and_any_tar_program_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, manifest) = written(&folder);
    assert_eq!(read(&path).expect("whole"), ["components/a/a@1.0.0.json", "components/a/b@1.0.0.json"]);
    let mut archive = tar::Archive::new(std::fs::File::open(&path).expect("opened"));
    let names: Vec<String> = archive
        .entries()
        .expect("an archive")
        .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
        .collect();
    assert_eq!(names, ["manifest.json", "components/a/a@1.0.0.json", "components/a/b@1.0.0.json"]);
    assert!(!folder.path().join("a.fitment.part").exists());
    assert_eq!(BundleManifest::parse(&manifest.to_bytes().expect("bytes")).expect("parses"), manifest);
}

#[test]
fn every_flipped_byte_and_every_cut_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = written(&folder);
    let whole = std::fs::read(&path).expect("readable");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).expect("written");
        assert!(read(&path).is_err(), "byte {at}");
    }
    for length in (0..whole.len()).step_by(37) {
        std::fs::write(&path, &whole[..length]).expect("written");
        let said = read(&path).expect_err("cut");
        assert!(said.contains(&format!("it ends at byte {length},")), "{said}");
    }
    // The second entry is cut: the first is whole, with its padding.
    let second = whole.len() - 1024 - 1024;
    std::fs::write(&path, &whole[..second + 513]).expect("written");
    let said = read(&path).expect_err("cut");
    assert!(said.contains("entry 2 of 2") && said.contains(&format!("whole up to byte {second}")), "{said}");
}

#[test]
fn from_every_cut_and_every_other_byte_the_same_file_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, manifest) = written(&folder);
    let whole = std::fs::read(&path).expect("readable");
    let part = folder.path().join("a.fitment.part");
    let again = |there: &[u8]| {
        std::fs::write(&part, there).expect("written");
        let mut content = |_: &BundleEntry| Ok(Box::new(BYTES) as Box<dyn Read>);
        let reused = work(|work| write_bundle(&path, &manifest, None, &mut content, work)).expect("written");
        assert!(std::fs::read(&path).expect("readable") == whole && !part.exists());
        usize::try_from(reused).expect("small")
    };
    for at in (0..whole.len()).step_by(61) {
        assert_eq!(again(&whole[..at]), at, "cut");
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert_eq!(again(&flipped), at, "flipped");
    }
    assert_eq!(again(&[&whole[..], b"more"].concat()), whole.len());
    let mut later = manifest.clone();
    later.sequence += 1;
    assert!(manifest.holds_the_same(&later));
    later.revision += 1;
    assert!(!manifest.holds_the_same(&later));
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in [
        "../evil",
        "components/../../evil",
        "/etc/passwd",
        "components//a",
        "components/",
        "components/.hidden",
        "components/a\\b",
        "components/a:b",
        "components/a\0b",
        "labels/x",
        "components/a/ä",
        "C:/x",
    ] {
        let said = seal(vec![entry(path, BundleKind::Component)]).expect_err(path);
        assert!(said.contains("entry 0"), "{path}: {said}");
    }
    let long = format!("components/a/{}", "x".repeat(300));
    assert!(seal(vec![entry(&long, BundleKind::Component)]).is_err());
    let twice = ["components/a", "components/A"].map(|path| entry(path, BundleKind::Component)).to_vec();
    assert!(seal(twice).expect_err("twice").contains("is there twice"));
    let order = vec![entry("labels/a", BundleKind::Labels), entry("components/a", BundleKind::Component)];
    assert!(seal(order).expect_err("order").contains("out of order"));
    let huge = BundleEntry { bytes: 1 << 40, ..entry("components/a", BundleKind::Component) };
    assert!(seal(vec![huge]).expect_err("huge").contains("at most"));
    let stray = entry("models/other/config.json", BundleKind::Model);
    assert!(seal(vec![stray]).expect_err("stray").contains("belongs to no model"));
}

#[test]
fn an_archive_that_says_otherwise_than_its_manifest_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.fitment");
    let outside = folder.path().join("evil");
    let manifest = seal(vec![entry("components/a", BundleKind::Component)]).expect("sealed").to_bytes().expect("bytes");
    let refused = |expect: &str, more: &dyn Fn(&mut tar::Builder<std::fs::File>)| {
        by_hand(&path, &manifest, more);
        let said = read(&path).expect_err(expect);
        assert!(said.contains(expect), "{expect}: {said}");
        assert!(!outside.exists());
    };
    let append = |builder: &mut tar::Builder<std::fs::File>, name: &str, kind: tar::EntryType| {
        let mut header = tar::Header::new_ustar();
        // The name as it is: the library would refuse it.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(BYTES.len() as u64);
        header.set_entry_type(kind);
        header.set_cksum();
        builder.append(&header, BYTES).expect("appended");
    };
    refused("`../evil`", &|builder| append(builder, "../evil", tar::EntryType::Regular));
    refused("`/etc/evil`", &|builder| append(builder, "/etc/evil", tar::EntryType::Regular));
    refused("a link", &|builder| append(builder, "components/a", tar::EntryType::Symlink));
    refused("a link", &|builder| append(builder, "components/a", tar::EntryType::Link));
    refused("a folder", &|builder| append(builder, "components/a", tar::EntryType::Directory));
    refused("something else", &|builder| append(builder, "components/a", tar::EntryType::Fifo));
    refused("the archive's end", &|_| {});
    refused("is not the zero", &|builder| {
        for _ in 0..2 {
            let header = archive::header("components/a", BYTES.len() as u64).expect("fits");
            builder.append(tar::Header::from_byte_slice(&header), BYTES).expect("appended");
        }
    });
    refused("has digest", &|builder| {
        let header = archive::header("components/a", BYTES.len() as u64).expect("fits");
        builder.append(tar::Header::from_byte_slice(&header), &b"[]\n"[..]).expect("appended");
    });
}

#[test]
fn manifests_that_are_not_in_the_one_form_are_refused() {
    let manifest = seal(vec![entry("components/a", BundleKind::Component)]).expect("sealed");
    let text = String::from_utf8(manifest.to_bytes().expect("bytes")).expect("text");
    for (changed, expect) in [
        (text.replace("  ", "   "), "one form"),
        (text.replace("\"sequence\": 1", "\"sequence\": 2"), "says id"),
        (text.replace("fitment-bundle/1", "fitment-bundle/9"), "this build reads"),
        (text.replacen('{', "{\"more\": 1,", 1), "unknown field"),
        (format!("{}1", "[".repeat(100_000)), "cannot be read"),
        (format!("{{\"format\":{}", "[".repeat(100_000)), "cannot be read"),
        (String::new(), "cannot be read"),
    ] {
        let said = BundleManifest::parse(changed.as_bytes()).expect_err(expect);
        assert!(said.contains(expect), "{expect}: {said}");
    }
    assert!(BundleManifest::parse(text.as_bytes()).is_ok());
}

#[test]
fn bytes_that_come_in_pieces_are_put_together() {
    let empty = BundleEntry { bytes: 0, sha256: Digest::of(b""), ..entry("evidence/b", BundleKind::Evidence) };
    let entries = vec![entry("components/a", BundleKind::Component), empty, entry("labels/c", BundleKind::Labels)];
    let manifest = seal(entries).expect("sealed");
    let mut assembly = BundleAssembly::new(manifest.clone());
    for byte in BYTES {
        assembly.push(&[*byte]).expect("due");
    }
    assert!(assembly.push(b"x").expect_err("too much").to_string().contains("more bytes"));
    assert_eq!(assembly.finish().expect("all").1, [BYTES.to_vec(), Vec::new()]);
    let mut short = BundleAssembly::new(manifest.clone());
    short.push(b"{").expect("due");
    assert!(short.finish().expect_err("short").to_string().contains("ended inside"));
    let mut wrong = BundleAssembly::new(manifest);
    assert!(wrong.push(b"[]\n").expect_err("wrong").to_string().contains("has digest"));
}
