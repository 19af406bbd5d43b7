//! Checking a snapshot without a store: every byte of it, and that what it says holds together.

use std::collections::BTreeMap;
use std::path::Path;

use fitment_catalog::Digest;
use redb::{TableDefinition, TableHandle};

use super::super::columns::{Column, RowKey};
use super::super::records::{CardOfVersion, decode};
use super::super::tables::{Visitor, visit_named};
use super::super::{AUDIT, FORMAT_VERSION, MANIFESTS, META, VERSIONS};
use super::document::{Document, Model, Table};
use super::folder::Folder;
use super::{SnapshotSummary, Work};
use crate::audit::{AuditHead, AuditRecord};
use crate::error::EngineError;

/// Checks a snapshot: digests, counts, the order of keys, digests of manifests, the audit chain up to the stated head.
///
/// Errors: [`EngineError::SnapshotDamaged`], [`EngineError::SnapshotFormat`], [`EngineError::Stopping`], IO.
pub fn verify_snapshot(file: &Path, work: Work<'_>) -> Result<SnapshotSummary, EngineError> {
    verified(file, work).map(|document| document.summary(file))
}

/// A document all of whose chunks were found right.
pub(super) fn verified(file: &Path, work: Work<'_>) -> Result<Document, EngineError> {
    let document = Document::read(file)?;
    let folder = Folder::new(&Document::folder_of(file));
    let mut content = Content::default();
    let mut done = 0;
    let total = document.rows();
    for table in &document.tables {
        let mut verifier = Verifier { file, folder: &folder, table, content: &mut content, done, total, work };
        if !visit_named(&table.name, &mut verifier)? {
            let found = format!("a table `{}`", table.name);
            return Err(EngineError::SnapshotFormat { path: file.to_path_buf(), found });
        }
        done = verifier.done;
    }
    content.agrees(&document).map_err(|detail| EngineError::SnapshotDamaged { path: file.to_path_buf(), detail })?;
    Ok(document)
}

struct Verifier<'a> {
    file: &'a Path,
    folder: &'a Folder,
    table: &'a Table,
    content: &'a mut Content,
    done: u64,
    total: u64,
    work: Work<'a>,
}

impl Visitor for Verifier<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, _table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        let name = self.table.name.as_str();
        let mut last: Option<Vec<u8>> = None;
        let mut rows = 0u64;
        for chunk in &self.table.chunks {
            self.work.check()?;
            let bytes = self.folder.read(chunk)?;
            let path = self.folder.chunk_file(&chunk.digest);
            let damaged = |detail: String| EngineError::SnapshotDamaged { path: path.clone(), detail };
            let mut rest = bytes.as_slice();
            let mut here = 0u64;
            while !rest.is_empty() {
                let row = take_row(&mut rest).ok_or_else(|| damaged(format!("row {here} of {name} is cut off")))?;
                let malformed = || damaged(format!("row {here} of {name} is malformed"));
                let mut value = row;
                let key = K::take(&mut value).ok_or_else(malformed)?;
                let mut end = value;
                V::take(&mut end).filter(|_| end.is_empty()).ok_or_else(malformed)?;
                let key = K::as_bytes(&key).as_ref().to_vec();
                if last.is_some_and(|last| K::compare(&last, &key).is_ge()) {
                    return Err(damaged(format!("row {here} of {name} is out of order")));
                }
                last = Some(key);
                self.content.take(name, &row[..row.len() - value.len()], value).map_err(damaged)?;
                here += 1;
            }
            if here != chunk.rows {
                return Err(damaged(format!("it holds {here} rows of {name}, not {}", chunk.rows)));
            }
            rows += here;
            self.done += here;
            (self.work.tell)("checking the snapshot", self.done, self.total);
        }
        if rows != self.table.rows {
            let detail = format!("its chunks hold {rows} rows of {name}, not {}", self.table.rows);
            return Err(EngineError::SnapshotDamaged { path: self.file.to_path_buf(), detail });
        }
        Ok(())
    }
}

/// One row, without its length, from the front.
pub(super) fn take_row<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    <&[u8]>::take(bytes)
}

/// What rows must say together.
#[derive(Debug, Default)]
struct Content {
    head: AuditHead,
    meta: BTreeMap<String, Vec<u8>>,
    /// Document -> digest of the manifest that is stored.
    manifests: BTreeMap<u32, Digest>,
    /// Document -> digest that its record says.
    versions: BTreeMap<u32, Digest>,
}

impl Content {
    /// Takes note of one row whose form is right. Errors: what is wrong with what it says.
    fn take(&mut self, table: &str, mut key: &[u8], mut value: &[u8]) -> Result<(), String> {
        let malformed = || format!("a row of {table} is malformed");
        if table == META.name() {
            let key = <&str>::take(&mut key).ok_or_else(malformed)?.to_owned();
            self.meta.insert(key, <&[u8]>::take(&mut value).ok_or_else(malformed)?.to_vec());
        } else if table == MANIFESTS.name() {
            let doc = u32::take(&mut key).ok_or_else(malformed)?;
            self.manifests.insert(doc, Digest::of(<&[u8]>::take(&mut value).ok_or_else(malformed)?));
        } else if table == VERSIONS.name() {
            let doc = u32::take(&mut key).ok_or_else(malformed)?;
            let record: CardOfVersion = decode(<&[u8]>::take(&mut value).ok_or_else(malformed)?)
                .map_err(|error| format!("document {doc}: {error}"))?;
            self.versions.insert(doc, record.card.digest);
        } else if table == AUDIT.name() {
            let sequence = u64::take(&mut key).ok_or_else(malformed)?;
            let record: AuditRecord = decode(<&[u8]>::take(&mut value).ok_or_else(malformed)?)
                .map_err(|error| format!("audit record {sequence}: {error}"))?;
            if record.sequence != sequence {
                return Err(format!("audit record {} stands under {sequence}", record.sequence));
            }
            self.head = record.follow(&self.head).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn agrees(&self, document: &Document) -> Result<(), String> {
        if self.meta.get("format_version").map(Vec::as_slice) != Some(FORMAT_VERSION.to_le_bytes().as_slice()) {
            return Err("its rows are of another store format".into());
        }
        if self.meta.get("revision").map(Vec::as_slice) != Some(document.revision.to_le_bytes().as_slice()) {
            return Err(format!("its rows are not those of revision {}", document.revision));
        }
        if self.meta.get("model").and_then(|model| Model::from_store(model)) != document.model {
            return Err("its rows name another model".into());
        }
        if self.head != document.audit_head {
            let (found, said) = (&self.head, &document.audit_head);
            return Err(format!(
                "its audit chain ends at {}:{}, not at {}:{}",
                found.sequence, found.digest, said.sequence, said.digest
            ));
        }
        for (doc, said) in &self.versions {
            match self.manifests.get(doc) {
                Some(found) if found == said => {}
                Some(found) => return Err(format!("the manifest of document {doc} has digest {found}, not {said}")),
                None => return Err(format!("document {doc} has no manifest")),
            }
        }
        match self.manifests.keys().find(|doc| !self.versions.contains_key(doc)) {
            Some(doc) => Err(format!("the manifest of document {doc} has no record")),
            None => Ok(()),
        }
    }
}
