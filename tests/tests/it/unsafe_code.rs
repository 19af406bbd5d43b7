//! Every `unsafe` of our own: where it is, that each block is argued, and that the manual counts them right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Default)]
struct Counted {
    blocks: usize,
    functions: usize,
    implementations: usize,
    arguments: usize,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Sources below a folder; what is built and what is a corpus is no source.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().expect("a type").is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "node_modules"].contains(&&*name) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn count(text: &str) -> Counted {
    let mut counted = Counted::default();
    for line in text.lines() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        counted.blocks += code.matches("unsafe {").count();
        counted.functions += code.matches("unsafe fn ").count();
        counted.implementations += code.matches("unsafe impl").count();
        counted.arguments += comment.matches("SAFETY:").count();
    }
    counted
}

#[test]
fn each_unsafe_is_argued_and_the_manual_lists_them_all() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut all = BTreeMap::new();
    for file in files {
        let counted = count(&fs::read_to_string(&file).expect("a source"));
        let name = file.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        let argued = counted.blocks + counted.implementations;
        // This file only looks for the words.
        if argued + counted.functions > 0 && !name.ends_with("unsafe_code.rs") {
            assert_eq!(argued, counted.arguments, "{name}: each block needs its own `// SAFETY:`");
            all.insert(name, counted);
        }
    }
    let mut table = "| file | blocks | functions | implementations |\n|---|---|---|---|\n".to_owned();
    let mut sums = Counted::default();
    for (name, Counted { blocks, functions, implementations, arguments: _ }) in &all {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{name}` | {blocks} | {functions} | {implementations} |");
        sums.blocks += blocks;
        sums.functions += functions;
        sums.implementations += implementations;
    }
    let _ = writeln!(table, "| all | {} | {} | {} |", sums.blocks, sums.functions, sums.implementations);
    let manual = fs::read_to_string(root.join("docs/testing.md")).expect("the manual");
    assert!(manual.contains(&table), "docs/testing.md does not hold what there is:\n\n{table}");
}
