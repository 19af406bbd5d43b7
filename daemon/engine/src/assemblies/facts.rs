//! What the catalogue knows about the parts of an assembly, at one revision and one instant.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use fitment_assembly::{Certification, Claims, Facts, Reference, VersionFacts, Versions};
use fitment_catalog::{ComponentName, Digest, Manifest};
use fitment_index::DocId;
use fitment_trust::{Covered, Requirement, Revocation, TrustRoot, VerifiedCertificate, coverage};

use crate::engine::Shared;
use crate::error::EngineError;
use crate::store::{Card, Revision, StoreReader, StoredVersion};

/// One view of the catalogue. Answers the same to the same question; a question that the store fails is answered with what
/// is unknown, and [`CatalogFacts::finish`] says so.
pub(super) struct CatalogFacts<'s> {
    shared: &'s Shared,
    reader: StoreReader,
    now: jiff::Timestamp,
    root: Option<Arc<TrustRoot>>,
    revocations: Vec<Revocation>,
    known: RefCell<HashMap<DocId, Option<Arc<Known>>>>,
    fault: RefCell<Option<EngineError>>,
}

/// What is known of a version, with the certificates behind it.
pub(super) struct Known {
    pub(super) facts: VersionFacts,
    pub(super) certificates: Vec<VerifiedCertificate>,
    /// What the certificates that count cover; empty without a trust root.
    pub(super) covered: Vec<Covered>,
}

impl<'s> CatalogFacts<'s> {
    /// The catalogue as it is. `now`: the instant to judge at.
    pub(super) fn new(shared: &'s Shared, now: jiff::Timestamp) -> Result<Self, EngineError> {
        let reader = shared.store.read()?;
        let revocations = reader.revocations()?;
        let root = shared.trust.root();
        Ok(Self { shared, reader, now, root, revocations, known: RefCell::default(), fault: RefCell::default() })
    }

    /// The revision that is read.
    pub(super) fn revision(&self) -> Result<Revision, EngineError> {
        self.reader.revision()
    }

    /// The trust root in force.
    pub(super) fn root(&self) -> Option<&TrustRoot> {
        self.root.as_deref()
    }

    /// The instant that is judged at.
    pub(super) fn instant(&self) -> jiff::Timestamp {
        self.now
    }

    /// Why a certificate in its time does not count.
    pub(super) fn refusal(&self, certificate: &Digest) -> String {
        let revoking = self.revocations.iter().find(|revocation| revocation.claim().certificate == Some(*certificate));
        match revoking {
            Some(revocation) => format!("revocation {} took it back", revocation.digest()),
            None => "its signers may not certify this, or the version was revoked".to_owned(),
        }
    }

    /// Says what the store failed at, if it did.
    pub(super) fn finish(self) -> Result<(), EngineError> {
        self.fault.into_inner().map_or(Ok(()), Err)
    }

    /// The version that a document names.
    pub(super) fn find(&self, reference: &Reference) -> Result<Option<DocId>, EngineError> {
        Ok(match reference {
            Reference::Digest(digest) => self.reader.by_digest(digest)?,
            Reference::Named { name, version, digest: _ } => self.shared.index.searchable().view.find(name, version),
        })
    }

    /// The card of one version; `None`: it is deleted.
    pub(super) fn card(&self, doc: DocId) -> Result<Option<Card>, EngineError> {
        Ok(self.reader.version(doc)?.map(|version| version.card))
    }

    /// What is known of one version; `None`: it is deleted.
    pub(super) fn known(&self, doc: DocId) -> Result<Option<Arc<Known>>, EngineError> {
        if let Some(known) = self.known.borrow().get(&doc) {
            return Ok(known.clone());
        }
        let known = match self.reader.version(doc)? {
            Some(version) => Some(Arc::new(self.read(doc, &version)?)),
            None => None,
        };
        self.known.borrow_mut().insert(doc, known.clone());
        Ok(known)
    }

    fn read(&self, doc: DocId, version: &StoredVersion) -> Result<Known, EngineError> {
        let card = &version.card;
        let missing = || EngineError::Internal(format!("{}@{} has no manifest", card.name, card.version));
        let manifest = self.reader.manifest(doc)?.ok_or_else(missing)?;
        let manifest = Arc::new(Manifest::from_canonical_json("store", &manifest)?);
        let (mut certificates, mut covered) = (Vec::new(), Vec::new());
        let (certification, claims) = match &self.root {
            None => (by_lifecycle(), Claims::of_manifest(&manifest)),
            Some(root) => {
                let stored = self.reader.certificates_of(&card.digest)?;
                certificates.extend(stored.iter().filter_map(|stored| root.verify(stored.envelope.as_bytes()).ok()));
                covered = coverage(&card.digest, &card.name, &certificates, &self.revocations, root, self.now);
                (self.certification(root, &card.name, &card.digest, &certificates), claims_of(&covered))
            }
        };
        let facts = VersionFacts {
            manifest,
            digest: card.digest,
            lifecycle: card.lifecycle,
            certification,
            claims,
            certificates: covered
                .iter()
                .flat_map(|covered| &covered.support)
                .map(|behind| behind.certificate)
                .collect(),
        };
        Ok(Known { facts, certificates, covered })
    }

    fn certification(
        &self,
        root: &TrustRoot,
        name: &ComponentName,
        digest: &Digest,
        certificates: &[VerifiedCertificate],
    ) -> Certification {
        let standing = fitment_trust::assess(digest, name, certificates, &self.revocations, root, self.now);
        if standing.certified {
            return Certification::Certified { until: standing.certified_until() };
        }
        let open: Vec<&str> = standing
            .requirements
            .iter()
            .filter(|coverage| !coverage.covered)
            .map(|coverage| coverage.requirement.as_str())
            .collect();
        let reason = match (standing.revoked_by.first(), open.is_empty()) {
            (Some(by), _) => format!("revocation {by} took it back"),
            (None, true) => format!("no policy of trust root {} is about {name}", root.version()),
            (None, false) => format!("no certificate that counts covers {}", open.join(", ")),
        };
        Certification::NotCertified { reason }
    }

    fn facts_of(&self, docs: Vec<DocId>) -> Vec<VersionFacts> {
        docs.into_iter().filter_map(|doc| self.kept(self.known(doc)).map(|known| known.facts.clone())).collect()
    }

    fn kept<T>(&self, found: Result<Option<T>, EngineError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.fault.borrow_mut().get_or_insert(error);
            None
        })
    }
}

impl Facts for CatalogFacts<'_> {
    fn now(&self) -> jiff::Timestamp {
        self.now
    }

    fn version(&self, reference: &Reference) -> Option<VersionFacts> {
        let doc = self.kept(self.find(reference))?;
        self.kept(self.known(doc)).map(|known| known.facts.clone())
    }
}

impl Versions for CatalogFacts<'_> {
    fn versions(&self, name: &ComponentName) -> Vec<VersionFacts> {
        let docs: Vec<DocId> = self.shared.index.searchable().view.versions(name).map(|(_, doc)| doc).collect();
        self.facts_of(docs)
    }

    fn successors(&self, name: &ComponentName) -> Vec<VersionFacts> {
        self.facts_of(self.shared.index.searchable().view.superseding(name))
    }
}

/// Without a trust root a version's lifecycle decides alone.
fn by_lifecycle() -> Certification {
    Certification::Certified { until: None }
}

/// Standards among what certificates cover.
fn claims_of(covered: &[Covered]) -> Claims {
    let mut claims = Claims::default();
    for Covered { what, .. } in covered {
        match what {
            Requirement::Standard { standard, requirement: Some(requirement), .. } => {
                claims.add_requirements(standard, [requirement]);
            }
            Requirement::Standard { standard, requirement: None, .. } => claims.add_whole(standard),
            Requirement::Property(_) => {}
        }
    }
    claims
}
