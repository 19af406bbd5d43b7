//! Where a component's bytes are: package URL, digests, and the files that were certified.

use std::collections::BTreeMap;

use super::super::checker::Checker;
use super::super::{Artifact, MAX_ARTIFACT_FILES};
use crate::Digest;
use crate::document::{Node, Tree};
use crate::error::shorten;
use crate::path::RelativePath;

pub(super) fn read(c: &mut Checker, path: &str, node: &Node) -> Option<Artifact> {
    let mut fields = c.mapping(path, node)?;
    let purl = fields.required(c, "purl").and_then(|(path, node)| {
        c.word(
            &path,
            node,
            is_purl,
            "write a package URL of at most 512 characters, such as pkg:npm/%40acme/sign-in-form@2.3.0",
        )
    });
    let mut digests = BTreeMap::new();
    if let Some((path, node)) = fields.optional("digests")
        && let Some(mut entries) = c.mapping(&path, node)
    {
        for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let Some((path, node)) = entries.optional(algorithm) else { continue };
            let Some(digits) = c.raw_text(&path, node) else { continue };
            if digits.len() == length && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                digests.insert(algorithm.to_owned(), digits.to_owned());
            } else {
                c.report(
                    &path,
                    node.place,
                    format!("`{}` is not {length} lower-case hexadecimal digits", shorten(digits)),
                );
            }
        }
        entries.finish(c, &["sha256", "sha384", "sha512"]);
    }
    let files = fields.optional("files").map(|(path, node)| files(c, &path, node)).unwrap_or_default();
    fields.finish(c, &["purl", "digests", "files"]);
    Some(Artifact { purl: purl?, digests, files })
}

fn files(c: &mut Checker, path: &str, node: &Node) -> BTreeMap<RelativePath, Digest> {
    let mut files = BTreeMap::new();
    if c.mapping(path, node).is_none() {
        return files;
    }
    let Tree::Mapping(entries) = &node.tree else { return files };
    if entries.len() > MAX_ARTIFACT_FILES {
        let message = format!(
            "has {} files, at most {MAX_ARTIFACT_FILES} are allowed; state the digest of their archive",
            entries.len()
        );
        c.report(path, node.place, message);
        return files;
    }
    for (key, node) in entries {
        let at = format!("{path}[{}]", shorten(&key.text));
        let digest = c.parsed(&at, node);
        match key.text.parse() {
            Ok(file) => files.extend(digest.map(|digest| (file, digest))),
            Err(error) => c.report(&at, key.place, error.to_string()),
        }
    }
    for (key, _) in entries {
        let Ok(file) = key.text.parse::<RelativePath>() else { continue };
        if let Some(folder) = file.folders().find(|folder| files.contains_key(*folder)) {
            let at = format!("{path}[{}]", shorten(&key.text));
            c.report(&at, key.place, format!("`{}` is a file in this list and cannot hold another", shorten(folder)));
        }
    }
    files
}

/// `^pkg:[A-Za-z][A-Za-z0-9.+-]*/[!-~]+$`, at most 512 bytes.
fn is_purl(text: &str) -> bool {
    let Some((kind, rest)) = text.strip_prefix("pkg:").and_then(|rest| rest.split_once('/')) else { return false };
    text.len() <= 512
        && kind.starts_with(|c: char| c.is_ascii_alphabetic())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic())
}
