//! The lexical index on disk: reopened, mismatched, damaged.

use std::path::{Path, PathBuf};

use fitment_index::{DocId, ErrorKind, FieldSpec, IndexError, LexicalIndex};

fn open(path: &Path) -> Result<LexicalIndex, IndexError> {
    LexicalIndex::open_or_create(Some(path), &[FieldSpec::new("name", 2.0), FieldSpec::new("text", 1.0)])
}

fn fill(path: &Path) {
    let mut index = open(path).unwrap();
    for doc in 0..40 {
        let text = format!("shared words and number{doc}");
        index.upsert(DocId(doc), &[("name", "thing"), ("text", &text)]).unwrap();
    }
    index.commit("first").unwrap();
    for doc in 0..5 {
        index.remove(DocId(doc));
    }
    index.commit("second").unwrap();
}

fn answers(index: &LexicalIndex) -> Vec<(u32, u32)> {
    let hits = index.search("number7 shared thing", 50, None, None).unwrap().hits;
    hits.iter().map(|hit| (hit.doc.0, hit.score.to_bits())).collect()
}

#[test]
fn an_index_is_the_same_when_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fill(&path);
    let index = open(&path).unwrap();
    assert_eq!((index.stamp(), index.len_docs()), (Some("second"), 35));
    assert_eq!(answers(&index).len(), 35);
    assert_eq!(answers(&index)[0].0, 7);
}

#[test]
fn what_was_not_committed_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fill(&path);
    let mut index = open(&path).unwrap();
    index.upsert(DocId(100), &[("name", "late")]).unwrap();
    drop(index);
    let index = open(&path).unwrap();
    assert_eq!(index.stamp(), Some("second"));
    assert!(index.search("late", 5, None, None).unwrap().hits.is_empty());
}

/// The next commit wants the names of the files that the one before would have had.
#[test]
fn what_a_killed_commit_left_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let (path, further) = (folder.path().join("words"), folder.path().join("further"));
    fill(&path);
    copy_with(&path, &further, Path::new(""), |_| {});
    let remove = |path: &Path| {
        let mut index = open(path).unwrap();
        index.remove(DocId(20));
        index.commit("third").map(|()| index.len_docs())
    };
    assert_eq!(remove(&further).unwrap(), 34);
    // Everything of that commit but the file that puts it into force.
    let left = path.clone();
    for entry in std::fs::read_dir(&further).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "meta.json" {
            std::fs::copy(entry.path(), left.join(entry.file_name())).unwrap();
        }
    }
    assert_eq!(open(&path).unwrap().len_docs(), 35, "it never came into force");
    assert_eq!(remove(&path).unwrap(), 34);
}

#[test]
fn other_fields_are_a_mismatch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fill(&path);
    let error = LexicalIndex::open_or_create(Some(&path), &[FieldSpec::new("title", 1.0)]).unwrap_err();
    assert!(matches!(error, IndexError::Mismatch { what: "fields", .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Rebuild);
}

/// Copies a folder of files, one of them changed by `change`.
fn copy_with(from: &Path, to: &Path, file: &Path, change: impl Fn(&mut Vec<u8>)) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let mut bytes = std::fs::read(&entry).unwrap();
        if entry == file {
            change(&mut bytes);
        }
        std::fs::write(to.join(entry.file_name().unwrap()), bytes).unwrap();
    }
}

#[test]
fn damage_is_refused_or_harmless_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fill(&path);
    let expected = answers(&open(&path).unwrap());
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut refused = 0;
    let mut copies = 0;
    for file in &files {
        let length = std::fs::metadata(file).unwrap().len();
        let mut check = |change: &dyn Fn(&mut Vec<u8>), what: String| {
            copies += 1;
            let copy = folder.path().join(format!("copy{copies}"));
            copy_with(&path, &copy, file, change);
            match open(&copy) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Rebuild, "{what}: {error}");
                    refused += 1;
                }
                // A changed stamp or list of files to delete is not seen, and the documents are untouched.
                Ok(index) => assert_eq!(answers(&index), expected, "{what}"),
            }
            std::fs::remove_dir_all(copy).unwrap();
        };
        let step = usize::try_from(length / 24).unwrap().max(1);
        for at in (0..usize::try_from(length).unwrap()).step_by(step) {
            check(&|bytes| bytes[at] ^= 1 << (at % 8), format!("{}: bit of byte {at}", file.display()));
        }
        check(&|bytes| bytes.truncate(bytes.len() / 2), format!("{}: cut in half", file.display()));
        check(&Vec::clear, format!("{}: emptied", file.display()));
    }
    assert!(refused > files.len(), "{refused} refused of {copies}");
}
