//! The whole catalogue as readable files: one manifest a file, and beside them what no manifest says.
//!
//! What is written hangs on the catalogue alone, not on the site: two catalogues that hold the same give the same bytes. The
//! layout is written down in docs/catalog-files.md.

use std::collections::BTreeSet;

use fitment_catalog::{ComponentName, Manifest};
use fitment_index::DocId;
use semver::Version;

use crate::bundle::CarriedRevocation;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::store::{CarriedStanding, Revision, StoreReader};

/// Folder of what belongs to no one version: no namespace has such a name.
pub const FOLDER_RECORDS: &str = "_catalog";
/// How a file that says where a version stands ends; it begins as that of its manifest.
pub const STANDING_ENDING: &str = ".standing.json";
/// Longest file name without its ending, in bytes: 255 is what file systems take.
const MAX_STEM_BYTES: usize = 200;

/// A file of an export.
#[derive(Debug)]
pub struct ExportedFile {
    /// Its path below the folder, with `/` between folders.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

type Take<'t> = &'t mut dyn FnMut(ExportedFile) -> Result<(), EngineError>;

impl Engine {
    /// Hands out the whole catalogue of one revision, file by file: versions by name and semantic version with where they
    /// stand, deleted ones too, then trust roots, revocations, certificates and evidence. Blocks; writes go on meanwhile.
    ///
    /// Returns the revision. Errors: the taker's.
    pub fn export_files(&self, take: Take<'_>) -> Result<Revision, EngineError> {
        let reader = self.shared().store.read()?;
        versions(&reader, take)?;
        for root in reader.trust_roots()? {
            let path = format!("{FOLDER_RECORDS}/trust-roots/{}.json", root.version());
            take(ExportedFile { path, content: crate::bundle::pretty(&root.to_value())? })?;
        }
        for (revocation, envelope) in reader.revocations_with_envelopes()? {
            let path = format!("{FOLDER_RECORDS}/revocations/{}.json", revocation.digest().to_hex());
            let carried = CarriedRevocation { accepted: revocation.to_value(), envelope };
            take(ExportedFile { path, content: crate::bundle::pretty(&carried)? })?;
        }
        reader.every_certificate(|address, envelope| {
            let path = format!("{FOLDER_RECORDS}/certificates/{}.dsse.json", address.to_hex());
            take(ExportedFile { path, content: envelope.into_bytes() })
        })?;
        reader.every_evidence(|digest, content| {
            take(ExportedFile { path: format!("{FOLDER_RECORDS}/evidence/{}", digest.to_hex()), content })
        })?;
        reader.revision()
    }
}

fn versions(reader: &StoreReader, take: Take<'_>) -> Result<(), EngineError> {
    let mut stored: Vec<(ComponentName, Version, DocId, Option<CarriedStanding>)> = Vec::new();
    reader.every_version(|doc, record| {
        let standing = CarriedStanding::of(&record);
        stored.push((record.card.name, record.card.version, doc, standing));
        Ok(())
    })?;
    stored.sort_unstable_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    let mut taken = BTreeSet::new();
    for (name, version, doc, standing) in stored {
        let Some(canonical) = reader.manifest(doc)? else { continue };
        let manifest = Manifest::from_canonical_json("store", &canonical)?;
        let mut stem = format!("{}@{version}", name.name());
        // A version that differs from another in letter case alone would be the same file on some systems.
        if stem.len() > MAX_STEM_BYTES || !taken.insert(format!("{}/{}", name.namespace(), stem.to_lowercase())) {
            stem = format!("{}@sha256-{}", name.name(), manifest.digest().to_hex());
        }
        let stem = format!("{}/{stem}", name.namespace());
        let content = format!("{}\n", manifest.to_yaml().trim_end()).into_bytes();
        take(ExportedFile { path: format!("{stem}.yaml"), content })?;
        if let Some(standing) = standing {
            take(ExportedFile {
                path: format!("{stem}{STANDING_ENDING}"),
                content: crate::bundle::pretty(&standing)?,
            })?;
        }
    }
    Ok(())
}
