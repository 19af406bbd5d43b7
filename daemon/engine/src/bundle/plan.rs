//! What an import would do to the catalogue as it stands, entry by entry. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Digest, Lifecycle};
use fitment_index::DocId;

use super::content::{BundleContent, CarriedCertificate, CarriedVersion};
use super::manifest::BundleKind;
use crate::certification::MAX_CERTIFICATES;
use crate::error::EngineError;
use crate::store::StoreReader;

/// Changes that are listed one by one.
const MAX_LISTED: usize = 1000;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It cannot be taken, and so nothing is.
    Conflict,
    /// What is here stays against what the bundle says.
    Kept,
    /// It is new here.
    Created,
    /// It is in another state than before.
    Updated,
    /// It is as it was.
    Unchanged,
}

impl Fate {
    /// Its name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Kept => "kept",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// How many entries of a kind have which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleCounts {
    /// New.
    pub created: u64,
    /// In another state.
    pub updated: u64,
    /// As they were.
    pub unchanged: u64,
    /// What is here stays.
    pub kept: u64,
    /// Not to be taken.
    pub conflicts: u64,
}

/// What becomes of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleChange {
    /// Its kind.
    pub kind: BundleKind,
    /// What it is about.
    pub subject: String,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, or from what to what.
    pub detail: String,
}

/// What an import would do. Numbers are places in the bundle's content.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(super) create: Vec<usize>,
    pub(super) moves: Vec<(DocId, Lifecycle)>,
    /// The certificate, and the versions that it is to be recorded under.
    pub(super) certificates: Vec<(usize, Vec<Digest>)>,
    pub(super) evidence: Vec<Digest>,
    pub(super) revocations: Vec<usize>,
    pub(super) touched: Vec<DocId>,
    pub(super) trust_root: bool,
    pub(super) rankers: Vec<usize>,
    pub(super) calibrations: Vec<usize>,
    counts: BTreeMap<BundleKind, BundleCounts>,
    changes: Vec<BundleChange>,
}

impl Plan {
    /// Compares a bundle with the catalogue.
    pub(super) fn of(content: &BundleContent, reader: &StoreReader) -> Result<Self, EngineError> {
        let mut plan = Self::default();
        plan.trust_root(content, reader)?;
        let mut coming = BTreeSet::new();
        for (at, version) in content.versions.iter().enumerate() {
            plan.version(at, version, reader)?;
            coming.insert(version.manifest.digest());
        }
        if coming.len() != content.versions.len() {
            return Err(EngineError::BundleDamaged { path: "file".into(), detail: "it holds a version twice".into() });
        }
        for (at, certificate) in content.certificates.iter().enumerate() {
            plan.certificate(at, certificate, &coming, reader)?;
        }
        for digest in content.evidence.keys() {
            let there = reader.evidence(digest)?.is_some();
            if !there {
                plan.evidence.push(*digest);
            }
            plan.note((BundleKind::Evidence, digest.to_string(), new_unless(there), String::new()));
        }
        let known: Vec<Digest> = reader.revocations()?.iter().map(fitment_trust::Revocation::digest).collect();
        for (at, (revocation, _)) in content.revocations.iter().enumerate() {
            let there = known.contains(&revocation.digest());
            if !there {
                plan.revocations.push(at);
                let claim = revocation.claim();
                if let Some(version) = claim.version {
                    plan.touched.extend(reader.by_digest(&version)?);
                }
                if let Some(certificate) = claim.certificate {
                    for version in reader.versions_under(&certificate)? {
                        plan.touched.extend(reader.by_digest(&version.parse()?)?);
                    }
                }
            }
            plan.note((BundleKind::Revocation, revocation.digest().to_string(), new_unless(there), String::new()));
        }
        for (at, ranker) in content.rankers.iter().enumerate() {
            let here = reader.ranker(&ranker.model_digest)?;
            let subject = format!("{} of model {}", ranker.id, ranker.model_digest);
            let noted = match here {
                Some(here) if here.id == ranker.id => (BundleKind::Ranker, subject, Fate::Unchanged, String::new()),
                here => {
                    plan.rankers.push(at);
                    let fate = if here.is_some() { Fate::Updated } else { Fate::Created };
                    let detail = here.map(|here| format!("{} was in force and is kept", here.id)).unwrap_or_default();
                    (BundleKind::Ranker, subject, fate, detail)
                }
            };
            plan.note(noted);
        }
        for (at, carried) in content.calibrations.iter().enumerate() {
            let calibration = &carried.calibration;
            let here = reader.calibration(&calibration.model_digest)?;
            let subject = format!("{} of model {}", calibration.id, calibration.model_digest);
            let noted = match here {
                Some(here) if here.id == calibration.id => {
                    (BundleKind::Calibration, subject, Fate::Unchanged, String::new())
                }
                here => {
                    plan.calibrations.push(at);
                    let fate = if here.is_some() { Fate::Updated } else { Fate::Created };
                    (
                        BundleKind::Calibration,
                        subject,
                        fate,
                        here.map(|here| format!("{} was in force", here.id)).unwrap_or_default(),
                    )
                }
            };
            plan.note(noted);
        }
        Ok(plan)
    }

    /// A certificate is recorded under each version that it is about and that is here, or comes along.
    fn certificate(
        &mut self,
        at: usize,
        certificate: &CarriedCertificate,
        coming: &BTreeSet<Digest>,
        reader: &StoreReader,
    ) -> Result<(), EngineError> {
        let address = Digest::of(certificate.envelope.as_bytes());
        let mut new = Vec::new();
        let (mut known, mut full) = (false, None);
        for version in certificate.verified.statement().subjects().iter().filter_map(|subject| subject.digest) {
            if reader.by_digest(&version)?.is_none() && !coming.contains(&version) {
                continue;
            }
            let there = reader.certificates_of(&version)?;
            if there.iter().any(|stored| Digest::of(stored.envelope.as_bytes()) == address) {
                known = true;
            } else if there.len() >= MAX_CERTIFICATES {
                full = Some(version);
            } else {
                new.push(version);
            }
        }
        let subject = certificate.verified.digest().to_string();
        let note = |fate, detail| (BundleKind::Certificate, subject, fate, detail);
        let noted = match (full, new.is_empty(), known) {
            (Some(version), ..) => {
                note(Fate::Conflict, format!("{version} has {MAX_CERTIFICATES} certificates already"))
            }
            (None, true, true) => note(Fate::Unchanged, String::new()),
            (None, true, false) => note(Fate::Kept, "no version that it is about is here".into()),
            (None, false, _) => {
                self.certificates.push((at, new));
                note(Fate::Created, String::new())
            }
        };
        self.note(noted);
        Ok(())
    }

    fn trust_root(&mut self, content: &BundleContent, reader: &StoreReader) -> Result<(), EngineError> {
        let Some(root) = &content.trust_root else { return Ok(()) };
        let subject = format!("version {}", root.version());
        let (fate, detail) = match reader.trust_root()? {
            None => (Fate::Created, "from then on only what is certified under it may answer".to_owned()),
            Some(here) if here.digest() == root.digest() => (Fate::Unchanged, String::new()),
            Some(here) if here.version() > root.version() => {
                (Fate::Kept, format!("version {} is in force here", here.version()))
            }
            Some(here) if here.version() == root.version() => {
                (Fate::Conflict, format!("another root of version {} is in force here", here.version()))
            }
            Some(here) => (Fate::Updated, format!("version {} was in force", here.version())),
        };
        self.trust_root = matches!(fate, Fate::Created | Fate::Updated);
        self.note((BundleKind::TrustRoot, subject, fate, detail));
        Ok(())
    }

    fn version(&mut self, at: usize, version: &CarriedVersion, reader: &StoreReader) -> Result<(), EngineError> {
        let manifest = &version.manifest;
        let subject = manifest.to_string();
        let (fate, detail) = match reader.digest_of(manifest.name(), manifest.version())? {
            None => (Fate::Created, version.lifecycle.to_string()),
            Some(taken) if taken != manifest.digest() => {
                (Fate::Conflict, format!("it exists here with digest {taken}, and versions are immutable"))
            }
            Some(digest) => {
                let record = match reader.by_digest(&digest)? {
                    Some(doc) => reader.version_or_deleted(doc)?.map(|record| (doc, record)),
                    None => None,
                };
                match record {
                    // An older build deleted it and kept nothing.
                    None => (Fate::Created, version.lifecycle.to_string()),
                    Some((_, record)) if record.deleted.is_some() => {
                        (Fate::Kept, "it was deleted here; `fitment catalog undelete` brings it back".to_owned())
                    }
                    Some((doc, record)) => {
                        let (here, there) = (record.card.lifecycle, version.lifecycle);
                        if here == there {
                            (Fate::Unchanged, String::new())
                        } else if here.leads_to(there) {
                            self.moves.push((doc, there));
                            (Fate::Updated, format!("{here} to {there}"))
                        } else {
                            (Fate::Kept, format!("it is {here} here, {there} in the bundle"))
                        }
                    }
                }
            }
        };
        if fate == Fate::Created {
            self.create.push(at);
        }
        self.note((BundleKind::Component, subject, fate, detail));
        Ok(())
    }

    /// Whether something is in the way.
    pub(super) fn conflicts(&self) -> u64 {
        self.counts.values().map(|counts| counts.conflicts).sum()
    }

    /// Whether it would change anything.
    pub(super) fn changes_anything(&self) -> bool {
        self.counts.values().any(|counts| counts.created + counts.updated > 0)
    }

    /// A calibration that does not hold here after all.
    pub(super) fn keep_calibration(&mut self, id: &str, detail: &str) {
        let counts = self.counts.entry(BundleKind::Calibration).or_default();
        for change in &mut self.changes {
            if change.kind == BundleKind::Calibration && change.subject.starts_with(id) {
                match change.fate {
                    Fate::Created => counts.created -= 1,
                    Fate::Updated => counts.updated -= 1,
                    Fate::Conflict | Fate::Kept | Fate::Unchanged => continue,
                }
                counts.kept += 1;
                change.fate = Fate::Kept;
                detail.clone_into(&mut change.detail);
            }
        }
    }

    /// How many have which fate, and the first of those that are not unchanged, conflicts first.
    pub(super) fn report(mut self) -> (BTreeMap<BundleKind, BundleCounts>, Vec<BundleChange>) {
        self.changes.sort_by_key(|change| (change.fate, change.kind));
        self.changes.truncate(MAX_LISTED);
        (self.counts, self.changes)
    }

    fn note(&mut self, (kind, subject, fate, detail): (BundleKind, String, Fate, String)) {
        let counts = self.counts.entry(kind).or_default();
        let count = match fate {
            Fate::Conflict => &mut counts.conflicts,
            Fate::Kept => &mut counts.kept,
            Fate::Created => &mut counts.created,
            Fate::Updated => &mut counts.updated,
            Fate::Unchanged => &mut counts.unchanged,
        };
        *count += 1;
        if fate != Fate::Unchanged {
            self.changes.push(BundleChange { kind, subject, fate, detail });
        }
    }
}

fn new_unless(there: bool) -> Fate {
    if there { Fate::Unchanged } else { Fate::Created }
}
