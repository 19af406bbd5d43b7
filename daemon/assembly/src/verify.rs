//! A lock held against a tree: where certified files, raw code and what lies around them are no longer what was locked.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Digest, RelativePath};
use serde::Serialize;

use crate::finding::Severity;
use crate::lock::{Lock, LockedComponent, LockedRaw, LockedSource};
use crate::tree::{Tree, TreeEntry};

/// Files that belong to no part and are no drift: the tool's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnFiles {
    /// Where the lock file lies in the tree, if it does.
    pub lock: Option<RelativePath>,
    /// Where the assembly's document lies in the tree, if it does, and the digest of the assembly that it holds now.
    pub assembly: Option<(RelativePath, Digest)>,
}

/// Declares the rules of drift with their ids and what their documentation says of them.
macro_rules! rules {
    ($(#[doc = $doc:literal] $name:ident = $id:literal;)+) => {
        /// What can be found between a lock and a tree. Ids are stable; all of them are errors.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DriftRule {
            $(#[doc = $doc] $name,)+
        }

        impl DriftRule {
            /// Every rule, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its stable id.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            /// What it finds, in a sentence.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $doc.trim_ascii(),)+
                }
            }
        }
    };
}

rules! {
    /// The assembly's document is not the one that was locked.
    AssemblyChanged = "assembly-changed";
    /// A certified file has other content than was certified.
    FileChanged = "file-changed";
    /// A certified file is not there.
    FileMissing = "file-missing";
    /// A file lies in a certified component's folder that was not certified with it.
    FileUnexpected = "file-unexpected";
    /// A placed component states no digests that its files could be compared with.
    NotComparable = "not-comparable";
    /// Raw code is not what was locked.
    RawChanged = "raw-changed";
    /// Raw code that was locked is not there.
    RawMissing = "raw-missing";
    /// A file belongs to no part and is not declared as unmanaged.
    RawUndeclared = "raw-undeclared";
    /// A symbolic link: what it leads to is not compared with anything.
    Symlink = "symlink";
    /// Something that is no file, or cannot be read.
    Unreadable = "unreadable";
    /// A name that is not the same path on every machine.
    NameNotPortable = "name-not-portable";
}

/// One place where a tree is not what was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// A [`DriftRule`]'s id.
    pub rule: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Where in the tree.
    pub path: String,
    /// The part concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The digest that was locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// The digest that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub way_out: String,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, severity, path, reason, way_out, .. } = self;
        write!(f, "{severity} {rule} at {path}: {reason}; {way_out}")
    }
}

/// Compares a tree with a lock. Nothing found means that each placed component's files are those that were certified, all
/// raw code is what was locked, and nothing else lies there but what the lock calls unmanaged. Ordered by path, then rule.
///
/// It knows no clock and no catalogue: whether certifications still hold is [`crate::check()`]'s to say.
pub fn verify(lock: &Lock, tree: &Tree, own: &OwnFiles) -> Vec<Drift> {
    let mut drift = Vec::new();
    document(lock, own, &mut drift);
    let mut owners: BTreeMap<&str, Owner<'_>> = BTreeMap::new();
    for part in lock.parts() {
        match &part.source {
            LockedSource::Component(component) => {
                let Some(path) = &component.path else { continue };
                certified(&part.id, component, path, tree, &mut drift);
                owners.insert(path.as_str(), Owner { part: &part.id, component: Some(component) });
            }
            LockedSource::Raw(raw) => {
                changed_raw(&part.id, raw, tree, &mut drift);
                owners.insert(raw.path.as_str(), Owner { part: &part.id, component: None });
            }
            LockedSource::External(_) => {}
        }
    }
    strangers(lock, tree, own, &owners, &mut drift);
    drift.sort_by(|a, b| (&a.path, a.rule, &a.part).cmp(&(&b.path, b.rule, &b.part)));
    drift.dedup();
    drift
}

/// The part that a path belongs to.
#[derive(Clone, Copy)]
struct Owner<'l> {
    part: &'l str,
    component: Option<&'l LockedComponent>,
}

fn document(lock: &Lock, own: &OwnFiles, drift: &mut Vec<Drift>) {
    let Some((path, digest)) = &own.assembly else { return };
    if *digest != lock.assembly() {
        let reason = "the assembly is not the one that was locked".to_owned();
        let mut found = found(
            DriftRule::AssemblyChanged,
            path.as_str(),
            None,
            reason,
            "check and lock it again, or undo the change",
        );
        (found.expected, found.found) = (Some(lock.assembly()), Some(*digest));
        drift.push(found);
    }
}

/// The files of a component, each against the digest that was certified.
fn certified(part: &str, component: &LockedComponent, at: &RelativePath, tree: &Tree, drift: &mut Vec<Drift>) {
    let whole = format!("{}@{}", component.name, component.version);
    let artifact = component.artifact.as_ref();
    let files = artifact.map(|artifact| &artifact.files).filter(|files| !files.is_empty());
    let is_folder = tree.below(at).next().is_some();
    match (tree.get(at), files) {
        (Some(TreeEntry::File(file)), _) => {
            let Some(expected) = artifact.and_then(|artifact| artifact.sha256) else {
                let reason =
                    format!("{whole} lies here as one file, and its manifest states no sha256 of the artifact");
                return drift.push(found(DriftRule::NotComparable, at.as_str(), Some(part), reason, UNCOMPARED));
            };
            if expected != file.digest {
                drift.push(changed(part, &whole, at.as_str(), expected, file.digest));
            }
        }
        // What stands there instead is found where all links and unreadable things are.
        (Some(TreeEntry::Link { .. } | TreeEntry::Other { .. }), _) => {}
        (None, Some(files)) if is_folder => {
            for (path, expected) in files {
                let here = format!("{at}/{path}");
                match here.parse().ok().and_then(|here: RelativePath| tree.get(&here)) {
                    Some(TreeEntry::File(file)) if file.digest == *expected => {}
                    Some(TreeEntry::File(file)) => drift.push(changed(part, &whole, &here, *expected, file.digest)),
                    Some(TreeEntry::Link { .. } | TreeEntry::Other { .. }) => {}
                    None => drift.push(missing(part, &whole, &here, Some(*expected))),
                }
            }
        }
        (None, None) if is_folder => {
            let reason = format!("{whole} lies here as a folder, and its manifest lists no files");
            drift.push(found(DriftRule::NotComparable, at.as_str(), Some(part), reason, UNCOMPARED));
        }
        (None, _) => drift.push(missing(part, &whole, at.as_str(), artifact.and_then(|artifact| artifact.sha256))),
    }
}

const UNCOMPARED: &str =
    "place a version whose manifest has `artifact.files` or `artifact.digests.sha256`, and lock again";
const REPLACED: &str = "put the certified file back; a change of it is raw code or a new version to be certified";

fn changed(part: &str, whole: &str, path: &str, expected: Digest, digest: Digest) -> Drift {
    let reason = format!("{whole} was certified with {expected}, here is {digest}");
    let mut drift = found(DriftRule::FileChanged, path, Some(part), reason, REPLACED);
    (drift.expected, drift.found) = (Some(expected), Some(digest));
    drift
}

fn missing(part: &str, whole: &str, path: &str, expected: Option<Digest>) -> Drift {
    let reason = format!("{whole} was certified with this file, and it is not here");
    let mut drift = found(DriftRule::FileMissing, path, Some(part), reason, "put the certified file back");
    drift.expected = expected;
    drift
}

fn changed_raw(part: &str, raw: &LockedRaw, tree: &Tree, drift: &mut Vec<Drift>) {
    let path = raw.path.as_str();
    let Some(measure) = tree.measure(&raw.path) else {
        let reason = format!("the raw code of `{part}` is not here");
        let way_out = "put it back, or take the part out of the assembly and lock again";
        let mut drifted = found(DriftRule::RawMissing, path, Some(part), reason, way_out);
        drifted.expected = Some(raw.digest);
        return drift.push(drifted);
    };
    if measure.digest != raw.digest {
        let reason = format!("the raw code of `{part}` was locked with {}, here is {}", raw.digest, measure.digest);
        let way_out = "have the change reviewed and lock again, or undo it";
        let mut drifted = found(DriftRule::RawChanged, path, Some(part), reason, way_out);
        (drifted.expected, drifted.found) = (Some(raw.digest), Some(measure.digest));
        drift.push(drifted);
    }
}

/// What no part was certified or declared with.
fn strangers(lock: &Lock, tree: &Tree, own: &OwnFiles, owners: &BTreeMap<&str, Owner<'_>>, drift: &mut Vec<Drift>) {
    let own: BTreeSet<&RelativePath> = own.lock.iter().chain(own.assembly.iter().map(|(path, _)| path)).collect();
    let owner = |path: &str| {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.chain([path]).find_map(|step| owners.get(step).map(|owner| (step.len(), *owner)))
    };
    let skipped = |path: &str| owner(path).is_none() && lock.unmanaged().matches(path);
    for (path, entry) in tree.entries() {
        let text = path.as_str();
        match (entry, owner(text)) {
            _ if skipped(text) => {}
            (TreeEntry::Link { target }, owner) => {
                let reason = format!(
                    "a symbolic link to `{}`; what is there is compared with nothing",
                    crate::error::shorten(target)
                );
                let way_out = "put the file itself there, or declare the link as unmanaged";
                drift.push(found(DriftRule::Symlink, text, owner.map(|(_, owner)| owner.part), reason, way_out));
            }
            (TreeEntry::Other { what }, owner) => {
                let reason = format!("no file, or none that can be read: {}", crate::error::shorten(what));
                let way_out = "remove it, let it be read, or declare it as unmanaged";
                drift.push(found(DriftRule::Unreadable, text, owner.map(|(_, owner)| owner.part), reason, way_out));
            }
            (TreeEntry::File(file), Some((length, Owner { part, component: Some(component) }))) => {
                // What lies at the component's own path was compared already.
                let Some(below) = text.get(length + 1..) else { continue };
                let files = component.artifact.as_ref().map(|artifact| &artifact.files);
                if files.is_some_and(|files| !files.is_empty() && !files.contains_key(below)) {
                    let reason = format!("{}@{} was certified without this file", component.name, component.version);
                    let way_out =
                        "take it out of the component's folder; if it is code, declare it as raw code elsewhere";
                    let mut drifted = found(DriftRule::FileUnexpected, text, Some(part), reason, way_out);
                    drifted.found = Some(file.digest);
                    drift.push(drifted);
                }
            }
            (TreeEntry::File(file), None) if !own.contains(path) => {
                let reason = "the file belongs to no part".to_owned();
                let way_out = "declare it as raw code with owner and reviewer, or as unmanaged when it is no code";
                let mut drifted = found(DriftRule::RawUndeclared, text, None, reason, way_out);
                drifted.found = Some(file.digest);
                drift.push(drifted);
            }
            (TreeEntry::File(_), _) => {}
        }
    }
    for name in tree.unnamed().filter(|name| !skipped(name)) {
        let reason = "the name is no path that means the same on every machine".to_owned();
        let way_out = "rename it: UTF-8, no backslash, no control characters, at most 512 characters";
        let path = crate::error::shorten(name);
        drift.push(found(DriftRule::NameNotPortable, &path, owner(name).map(|(_, owner)| owner.part), reason, way_out));
    }
}

fn found(rule: DriftRule, path: &str, part: Option<&str>, reason: String, way_out: &str) -> Drift {
    Drift {
        rule: rule.id(),
        severity: Severity::Error,
        path: path.to_owned(),
        part: part.map(str::to_owned),
        expected: None,
        found: None,
        reason,
        way_out: way_out.to_owned(),
    }
}
