//! Trees: what a folder's digest is, and that nothing in a tree changes unnoticed.

use std::collections::BTreeMap;

use fitment_assembly::{Drift, DriftRule, Lock, OwnFiles, Severity, Tree, TreeEntry, TreeFile, verify};
use fitment_catalog::{Digest, RelativePath};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use crate::support::{application, assembly, digest, locked, part, tree};

fn path(text: &str) -> RelativePath {
    text.parse().expect("a path")
}

fn own_files() -> OwnFiles {
    let (document, _, _) = application();
    OwnFiles { lock: Some(path("app.lock.yaml")), assembly: Some((path("app.yaml"), assembly(&document).digest())) }
}

fn example() -> (Lock, BTreeMap<String, Vec<u8>>) {
    let (document, catalogue, files) = application();
    let lock = locked(&document, &catalogue, Some(&tree(&files))).unwrap_or_else(|error| panic!("{error}"));
    (lock, files)
}

fn shown(drift: &[Drift]) -> Vec<String> {
    drift.iter().map(|drift| format!("{} {}", drift.rule, drift.path)).collect()
}

/// What is found once a tree was changed.
fn after(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Vec<Drift> {
    let (lock, mut files) = example();
    change(&mut files);
    verify(&lock, &tree(&files), &own_files())
}

/// Figures of `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum` in the folder.
#[test]
fn a_folder_has_the_digest_that_coreutils_give() {
    let files = [
        ("x/journal/ä.txt", &include_bytes!("../fixtures/journal/ä.txt")[..]),
        ("x/journal/a/c.rs", include_bytes!("../fixtures/journal/a/c.rs")),
        ("x/journal/a-b.rs", include_bytes!("../fixtures/journal/a-b.rs")),
        ("x/journal/Z.rs", include_bytes!("../fixtures/journal/Z.rs")),
        ("x/journal-2/not.rs", b"not in it"),
    ];
    let tree = tree(&files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect());
    let folder = tree.measure(&path("x/journal")).expect("a folder");
    assert_eq!(folder.digest.to_string(), "sha256:e5ab805cc588aa5ddffc5747953fd727fdc207379d89e052691e35be07fdfc36");
    assert_eq!(folder.lines, 5);
    let file = tree.measure(&path("x/journal/a-b.rs")).expect("a file");
    assert_eq!(file.digest.to_string(), "sha256:b24308e0e1b47604c9b25342ab506a3a65e3743aa115169719bffff28843416c");
    assert_eq!(file.lines, 2);
    assert_eq!(tree.measure(&path("x/journ")), None);
}

#[test]
fn what_was_locked_has_no_drift() {
    assert_eq!(shown(&after(|_| {})), Vec::<String>::new());
    let unmanaged = after(|files| {
        files.insert("docs/deep/more.md".to_owned(), Vec::new());
        files.insert("docs/ways out.txt".to_owned(), b"many".to_vec());
        files.remove("README.md");
    });
    assert_eq!(shown(&unmanaged), Vec::<String>::new());
}

#[test]
fn changed_missing_and_unexpected_files_are_found() {
    let drift = after(|files| {
        files.insert("vendor/table/index.js".to_owned(), b"evil()".to_vec());
        files.remove("vendor/table/lib/row.js");
        files.insert("vendor/table/lib/more.js".to_owned(), Vec::new());
        files.insert("vendor/pack.wasm".to_owned(), b"\0asm\x01".to_vec());
        files.insert("src/main.rs".to_owned(), b"fn main() { }\n".to_vec());
        files.remove("tool.sh");
        files.insert("vendor/stray.js".to_owned(), b"x".to_vec());
        files.insert("notes.rs".to_owned(), b"x".to_vec());
    });
    let expected = [
        "raw-undeclared notes.rs",
        "raw-changed src",
        "raw-missing tool.sh",
        "file-changed vendor/pack.wasm",
        "raw-undeclared vendor/stray.js",
        "file-changed vendor/table/index.js",
        "file-unexpected vendor/table/lib/more.js",
        "file-missing vendor/table/lib/row.js",
    ];
    assert_eq!(shown(&drift), expected);
    assert!(drift.iter().all(|drift| drift.severity == Severity::Error && !drift.way_out.is_empty()));
    let index = &drift[5];
    assert_eq!((index.part.as_deref(), index.found), (Some("table"), Some(Digest::of(b"evil()"))));
    assert_eq!(index.expected, Some(Digest::of(b"export {}\n")));
    assert_eq!(drift[0].found, Some(Digest::of(b"x")));
}

#[test]
fn a_part_that_is_gone_is_found_once() {
    let drift = after(|files| files.retain(|path, _| !path.starts_with("vendor/") && !path.starts_with("src/")));
    assert_eq!(shown(&drift), ["raw-missing src", "file-missing vendor/pack.wasm", "file-missing vendor/table"]);
}

#[test]
fn a_folder_in_the_place_of_a_file_and_the_other_way_round() {
    let drift = after(|files| {
        files.remove("vendor/pack.wasm");
        files.insert("vendor/pack.wasm/a.wasm".to_owned(), b"\0asm".to_vec());
        files.retain(|path, _| !path.starts_with("vendor/table/"));
        files.insert("vendor/table".to_owned(), b"x".to_vec());
    });
    assert_eq!(shown(&drift), ["not-comparable vendor/pack.wasm", "not-comparable vendor/table"]);
}

#[test]
fn links_and_what_cannot_be_read_are_found_wherever_code_may_be() {
    let (lock, files) = example();
    let link = || TreeEntry::Link { target: "/etc/passwd".to_owned() };
    let mut entries: Vec<(String, TreeEntry)> = files
        .iter()
        .filter(|(path, _)| *path != "vendor/table/index.js" && *path != "vendor/pack.wasm")
        .map(|(path, bytes)| (path.clone(), TreeEntry::File(TreeFile::of(bytes))))
        .collect();
    entries.push(("vendor/table/index.js".to_owned(), link()));
    entries.push(("vendor/pack.wasm".to_owned(), link()));
    entries.push(("src/more".to_owned(), link()));
    entries.push(("docs/link".to_owned(), link()));
    entries.push(("stray".to_owned(), link()));
    entries.push(("src/pipe".to_owned(), TreeEntry::Other { what: "a pipe".to_owned() }));
    entries.push(("src\\main.rs".to_owned(), TreeEntry::File(TreeFile::of(b""))));
    entries.push(("docs/a\nb".to_owned(), TreeEntry::File(TreeFile::of(b""))));
    // A second entry of a name, as lossy readings of names make them.
    entries.push(("tool.sh".to_owned(), TreeEntry::File(TreeFile::of(b"other"))));
    let drift = verify(&lock, &Tree::new(entries), &own_files());
    let expected = [
        "symlink src/more",
        "unreadable src/pipe",
        "name-not-portable src\\main.rs",
        "symlink stray",
        "name-not-portable tool.sh",
        "symlink vendor/pack.wasm",
        "symlink vendor/table/index.js",
    ];
    assert_eq!(shown(&drift), expected);
}

#[test]
fn the_tools_own_files_and_the_document() {
    let (lock, files) = example();
    let undeclared = verify(&lock, &tree(&files), &OwnFiles::default());
    assert_eq!(shown(&undeclared), ["raw-undeclared app.lock.yaml", "raw-undeclared app.yaml"]);
    let own = OwnFiles { assembly: Some((path("app.yaml"), digest("another"))), ..own_files() };
    let drift = verify(&lock, &tree(&files), &own);
    assert_eq!(shown(&drift), ["assembly-changed app.yaml"]);
    assert_eq!(drift[0].expected, Some(lock.assembly()));
}

#[test]
fn what_states_no_digest_is_never_a_pass() {
    let (mut document, mut catalogue, files) = application();
    part(&mut document, "service")["path"] = "service".into();
    catalogue.add(&json!({ "name": "x/pack", "artifact": { "purl": "pkg:generic/pack@1.0.0",
        "digests": { "sha512": "ab".repeat(64) } } }));
    part(&mut document, "pack").as_object_mut().expect("an object").shift_remove("configuration");
    let mut with = files.clone();
    with.insert("service/run.sh".to_owned(), Vec::new());
    let lock = locked(&document, &catalogue, Some(&tree(&with))).unwrap_or_else(|error| panic!("{error}"));
    let own = OwnFiles { assembly: None, ..own_files() };
    let found = verify(&lock, &tree(&with), &own);
    assert_eq!(shown(&found), ["raw-undeclared app.yaml", "not-comparable service", "not-comparable vendor/pack.wasm"]);
}

#[test]
fn the_manual_names_every_rule_of_drift() {
    let manual = include_str!("../../../../docs/assembly.md");
    for rule in DriftRule::ALL {
        assert!(manual.contains(&format!("| `{}` |", rule.id())), "docs/assembly.md has no row of {}", rule.id());
        assert!(rule.description().ends_with('.'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whatever is added, changed or taken away outside of what is unmanaged is found.
    #[test]
    fn nothing_changes_unnoticed(which in any::<Index>(), name in "[a-z]{1,6}(\\.js)?", bytes in proptest::collection::vec(any::<u8>(), 0..8), act in 0..3_u8) {
        let (lock, mut files) = example();
        let unguarded = |path: &str| ["docs/", "README", "app"].iter().any(|start| path.starts_with(start));
        let guarded: Vec<String> = files.keys().filter(|path| !unguarded(path)).cloned().collect();
        let path = which.get(&guarded).clone();
        let before = files.clone();
        match act {
            0 => drop(files.insert(path.clone(), bytes)),
            1 => drop(files.remove(&path)),
            _ => {
                let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                if !before.keys().any(|known| known.starts_with(&format!("{folder}{name}/"))) {
                    files.insert(format!("{folder}{name}"), bytes);
                }
            }
        }
        let drift = verify(&lock, &tree(&files), &own_files());
        prop_assert_eq!(drift.is_empty(), files == before, "{:?}", shown(&drift));
        prop_assert_eq!(verify(&lock, &tree(&files), &own_files()), drift);
    }
}
