//! A folder as somebody else listed it: paths, digests of files, what is no file. This crate opens none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fitment_catalog::{Digest, RelativePath};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEntry {
    /// A file.
    File(TreeFile),
    /// A symbolic link. What it points at is not looked at, wherever that is.
    Link {
        /// What it points at, for people.
        target: String,
    },
    /// Something that could not be read as a file: a device, a socket, a file without permission.
    Other {
        /// What it is, for people.
        what: String,
    },
}

/// A file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeFile {
    /// sha256 of its bytes.
    pub digest: Digest,
    /// Its line feeds, and one more when it ends without one; 0 for an empty file.
    pub lines: u32,
}

impl TreeFile {
    /// The file of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let feeds = bytes.split(|b| *b == b'\n').count() - 1;
        let open = usize::from(bytes.last().is_some_and(|last| *last != b'\n'));
        Self { digest: Digest::of(bytes), lines: u32::try_from(feeds + open).unwrap_or(u32::MAX) }
    }
}

/// Everything in a folder and below it, but folders: those are there while something is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<RelativePath, TreeEntry>,
    unnamed: BTreeSet<String>,
}

/// Digest and lines of a file, or of all files in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Of a file its sha256; of a folder the sha256 over a line `HEX  PATH` for each file, ordered by path, with the path
    /// below the folder: what `sha256sum` prints for them.
    pub digest: Digest,
    /// Lines of all of them.
    pub lines: u32,
}

impl Tree {
    /// A tree of what somebody found: paths below the folder, with `/` between steps. A name that is no [`RelativePath`],
    /// and one that comes a second time, is kept as text and found by [`crate::verify()`].
    pub fn new(found: impl IntoIterator<Item = (String, TreeEntry)>) -> Self {
        let mut tree = Self::default();
        for (path, entry) in found {
            match path.parse::<RelativePath>() {
                Ok(parsed) if !tree.entries.contains_key(&parsed) => {
                    tree.entries.insert(parsed, entry);
                }
                _ => {
                    tree.unnamed.insert(path);
                }
            }
        }
        tree
    }

    /// What stands at a path; `None` for a folder and for nothing.
    pub fn get(&self, path: &RelativePath) -> Option<&TreeEntry> {
        self.entries.get(path)
    }

    /// Everything, by path.
    pub fn entries(&self) -> impl Iterator<Item = (&RelativePath, &TreeEntry)> {
        self.entries.iter()
    }

    /// Names that are no relative path of the one form, ordered.
    pub fn unnamed(&self) -> impl Iterator<Item = &str> {
        self.unnamed.iter().map(String::as_str)
    }

    /// What stands below a folder, by path.
    pub fn below<'t>(&'t self, folder: &'t RelativePath) -> impl Iterator<Item = (&'t RelativePath, &'t TreeEntry)> {
        // What is below `a` begins with `a/`; `a-b` lies between `a` and `a/b`.
        let first = format!("{folder}/");
        self.entries
            .range::<str, _>((Bound::Included(&*first), Bound::Unbounded))
            .take_while(|(path, _)| path.below(folder).is_some())
    }

    /// Digest and lines of a file or a folder; `None` when no file is there. Links and what could not be read do not count
    /// and are found by [`crate::verify()`].
    pub fn measure(&self, path: &RelativePath) -> Option<Measure> {
        if let Some(TreeEntry::File(file)) = self.get(path) {
            return Some(Measure { digest: file.digest, lines: file.lines });
        }
        let (mut sums, mut lines) = (String::new(), 0_u32);
        for (at, entry) in self.below(path) {
            let (TreeEntry::File(file), Some(below)) = (entry, at.below(path)) else { continue };
            let digest = file.digest.to_string();
            sums.push_str(digest.trim_start_matches("sha256:"));
            sums.push_str("  ");
            sums.push_str(below);
            sums.push('\n');
            lines = lines.saturating_add(file.lines);
        }
        (!sums.is_empty()).then(|| Measure { digest: Digest::of(sums.as_bytes()), lines })
    }
}
