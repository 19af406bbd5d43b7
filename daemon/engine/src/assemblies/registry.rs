//! Kept assemblies in memory: who uses which version, and what stands behind each.
//!
//! Rebuilt from the store at the start. A change of the catalogue costs this nothing unless a kept assembly uses the version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fitment_assembly::{Claims, ImpactIndex, Target, VersionTraits};
use fitment_catalog::{ComponentName, Digest, Manifest};
use fitment_trust::{Predicate, TrustRoot, VerifiedCertificate};
use parking_lot::RwLock;

use crate::engine::Shared;
use crate::error::EngineError;
use crate::store::{Change, Revision, StoreReader, StoredAssembly, StoredClaim};

/// Assemblies read from the store at once.
const PAGE: usize = 256;

/// An assembly, and its part that claims something with who runs that; no part where the assembly declares it.
type Claimant = (ComponentName, Option<(String, String)>);

/// Kept assemblies.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    index: ImpactIndex,
    /// Versions that the documents name and the catalogue does not have: `namespace/name@version` or digest -> assembly, part.
    missing: BTreeMap<String, BTreeSet<(ComponentName, String)>>,
    /// What documents name by themselves: a standard or `standard/requirement` -> who does.
    claims: BTreeMap<String, BTreeSet<Claimant>>,
    /// What was taken in of each assembly, to be taken out again.
    records: BTreeMap<ComponentName, Summary>,
    /// Versions in use, with how many parts use each.
    used: BTreeMap<Digest, usize>,
    /// Versions that are or were in use -> `namespace/name@version`.
    named: BTreeMap<Digest, Arc<str>>,
    /// The revision up to which versions are described.
    seen: Revision,
    /// The trust root under which they are.
    root: Option<Digest>,
}

/// What is kept in memory of an assembly.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) owner: Option<String>,
    /// By id.
    parts: Vec<(String, Digest)>,
    missing: Vec<(String, String)>,
    claims: Vec<StoredClaim>,
}

/// An assembly that a target touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedAssembly {
    /// `namespace/name`.
    pub name: ComponentName,
    /// Its owner, as the document says.
    pub owner: Option<String>,
    /// Ids of its parts concerned, each with the version that it uses: `namespace/name@version`, or as the document names one
    /// that the catalogue does not have.
    pub parts: BTreeMap<String, Arc<str>>,
}

impl Registry {
    /// Reads what is kept. Callers hold `writing`, or are the only ones.
    pub(crate) fn bring_up(&self, shared: &Shared) -> Result<(), EngineError> {
        let reader = shared.store.read()?;
        let mut kept = Kept { seen: reader.revision()?, ..Kept::default() };
        let mut after = String::new();
        loop {
            let page = reader.assemblies_after(&after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.name.to_string();
            for record in &page {
                kept.insert(record);
            }
        }
        kept.root = shared.trust.root().map(|root| root.digest());
        let used: Vec<Digest> = kept.used.keys().copied().collect();
        kept.describe(&reader, &used)?;
        *self.0.write() = kept;
        Ok(())
    }

    /// Takes an assembly in, in place of the one of its name.
    pub(super) fn insert(&self, shared: &Shared, record: &StoredAssembly) -> Result<(), EngineError> {
        let reader = shared.store.read()?;
        let mut kept = self.0.write();
        let new = kept.insert(record);
        let described = kept.describe(&reader, &new);
        if described.is_err() {
            // The next change describes all of them.
            kept.seen = 0;
        }
        described
    }

    /// Takes an assembly out.
    pub(super) fn remove(&self, name: &ComponentName) {
        self.0.write().remove(name);
    }

    /// Follows the catalogue. Called after each commit, while nobody else writes.
    pub(crate) fn follow(&self, shared: &Shared) -> Result<(), EngineError> {
        let root_digest = shared.trust.root().map(|root| root.digest());
        let (seen, same_root) = {
            let kept = self.0.read();
            if kept.records.is_empty() {
                drop(kept);
                let mut kept = self.0.write();
                (kept.seen, kept.root) = (shared.index.revision(), root_digest);
                return Ok(());
            }
            (kept.seen, kept.root == root_digest)
        };
        let reader = shared.store.read()?;
        let revision = reader.revision()?;
        if revision == seen && same_root {
            return Ok(());
        }
        let mut versions = BTreeSet::new();
        for change in reader.changes_since(seen)? {
            if let Some(version) = reader.version_or_deleted(change.doc())? {
                let named = format!("{}@{}", version.card.name, version.card.version);
                versions.insert((version.card.digest, matches!(change, Change::Put(_)).then_some(named)));
            }
        }
        let mut kept = self.0.write();
        for (digest, written) in &versions {
            if let Some(named) = written {
                kept.arrived(named, *digest);
            }
        }
        let changed: Vec<Digest> = if same_root {
            versions.into_iter().map(|(digest, _)| digest).filter(|digest| kept.used.contains_key(digest)).collect()
        } else {
            kept.used.keys().copied().collect()
        };
        // What fails here is described by the next change.
        kept.describe(&reader, &changed)?;
        (kept.seen, kept.root) = (revision, root_digest);
        Ok(())
    }

    /// Kept assemblies that a target touches, by name.
    pub(super) fn touched(&self, target: &Target, named: Option<&str>) -> Vec<TouchedAssembly> {
        let kept = self.0.read();
        let mut touched: BTreeMap<&ComponentName, BTreeMap<String, Arc<str>>> = BTreeMap::new();
        for used in kept.index.uses(target) {
            let parts = used.parts.into_iter().map(|part| (part.to_owned(), kept.version_of(used.assembly, part)));
            touched.insert(used.assembly, parts.collect());
        }
        for (reference, (assembly, part)) in kept.missing_of(target, named) {
            touched.entry(assembly).or_default().insert(part.clone(), reference.as_str().into());
        }
        if let Target::Standard(asked) = target {
            for (assembly, part) in kept.claims.get(asked).into_iter().flatten() {
                let parts = touched.entry(assembly).or_default();
                parts.extend(part.iter().map(|(part, by)| (part.clone(), Arc::from(by.as_str()))));
            }
        }
        let touched = touched.into_iter().map(|(name, parts)| {
            let owner = kept.records.get(name).and_then(|summary| summary.owner.clone());
            TouchedAssembly { name: name.clone(), owner, parts }
        });
        touched.collect()
    }

    /// How many assemblies and parts of them a target touches, and the first names.
    pub(crate) fn count(&self, targets: &[Target], most: usize) -> Touched {
        let kept = self.0.read();
        let mut parts: BTreeMap<&ComponentName, BTreeSet<&str>> = BTreeMap::new();
        for target in targets {
            for used in kept.index.uses(target) {
                parts.entry(used.assembly).or_default().extend(used.parts);
            }
        }
        Touched {
            total: parts.len(),
            parts: parts.values().map(BTreeSet::len).sum(),
            names: parts.keys().take(most).map(|name| (*name).clone()).collect(),
        }
    }

    /// Versions in use.
    pub(super) fn used(&self) -> Vec<Digest> {
        self.0.read().used.keys().copied().collect()
    }
}

/// What a change touches, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Kept assemblies.
    pub total: usize,
    /// Parts of them.
    pub parts: usize,
    /// The first names, in order.
    pub names: Vec<ComponentName>,
}

impl Kept {
    /// Takes an assembly in. Returns the versions that nobody else uses: those in use are described already, and followed.
    fn insert(&mut self, record: &StoredAssembly) -> Vec<Digest> {
        self.remove(&record.name);
        let (mut parts, mut missing) = (Vec::new(), Vec::new());
        for part in &record.components {
            match part.digest {
                Some(digest) => parts.push((part.id.clone(), digest)),
                None => missing.push((part.id.clone(), part.reference.clone())),
            }
        }
        let mut new = Vec::new();
        for (_, digest) in &parts {
            let count = self.used.entry(*digest).or_default();
            if *count == 0 {
                new.push(*digest);
            }
            *count += 1;
        }
        for (id, reference) in &missing {
            self.missing.entry(reference.clone()).or_default().insert((record.name.clone(), id.clone()));
        }
        for StoredClaim { claim, part } in &record.claims {
            self.claims.entry(claim.clone()).or_default().insert((record.name.clone(), part.clone()));
        }
        parts.sort_unstable();
        self.index.insert(&record.name, parts.iter().map(|(id, digest)| (id, *digest)));
        let (owner, claims) = (record.owner.clone(), record.claims.clone());
        self.records.insert(record.name.clone(), Summary { owner, parts, missing, claims });
        new
    }

    fn remove(&mut self, name: &ComponentName) {
        let Some(Summary { owner: _, parts, missing, claims }) = self.records.remove(name) else { return };
        for StoredClaim { claim, part } in claims {
            if let Some(claiming) = self.claims.get_mut(&claim) {
                claiming.remove(&(name.clone(), part));
                if claiming.is_empty() {
                    self.claims.remove(&claim);
                }
            }
        }
        for (_, digest) in parts {
            if let Some(count) = self.used.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    self.used.remove(&digest);
                }
            }
        }
        for (id, reference) in missing {
            if let Some(waiting) = self.missing.get_mut(&reference) {
                waiting.remove(&(name.clone(), id));
                if waiting.is_empty() {
                    self.missing.remove(&reference);
                }
            }
        }
        self.index.remove(name);
    }

    /// A version came that documents named before the catalogue had it.
    fn arrived(&mut self, named: &str, digest: Digest) {
        for reference in [named.to_owned(), digest.to_string()] {
            for (name, id) in self.missing.remove(&reference).unwrap_or_default() {
                let Some(summary) = self.records.get_mut(&name) else { continue };
                summary.missing.retain(|(part, _)| *part != id);
                summary.parts.push((id, digest));
                summary.parts.sort_unstable();
                *self.used.entry(digest).or_default() += 1;
                self.index.insert(&name, summary.parts.iter().map(|(id, digest)| (id, *digest)));
            }
        }
    }

    /// The version that a part uses.
    fn version_of(&self, assembly: &ComponentName, part: &str) -> Arc<str> {
        let digest = self.records.get(assembly).and_then(|summary| {
            let at = summary.parts.binary_search_by(|(id, _)| id.as_str().cmp(part)).ok()?;
            Some(summary.parts[at].1)
        });
        let named = digest.and_then(|digest| self.named.get(&digest).cloned());
        named.or_else(|| digest.map(|digest| digest.to_string().into())).unwrap_or_default()
    }

    fn missing_of(
        &self,
        target: &Target,
        named: Option<&str>,
    ) -> impl Iterator<Item = (&String, &(ComponentName, String))> {
        let of_component = match target {
            Target::Component(name) => Some(format!("{name}@")),
            _ => None,
        };
        let exact = match target {
            Target::Version(digest) => Some(digest.to_string()),
            _ => None,
        };
        let named = named.map(str::to_owned);
        self.missing
            .iter()
            .filter(move |(reference, _)| {
                of_component.as_ref().is_some_and(|prefix| reference.starts_with(prefix))
                    || exact.as_ref() == Some(reference)
                    || named.as_ref() == Some(reference)
            })
            .flat_map(|(reference, waiting)| waiting.iter().map(move |waiting| (reference, waiting)))
    }

    /// States what stands behind versions, also what counts no more: what stood on it is what is asked for.
    fn describe(&mut self, reader: &StoreReader, versions: &[Digest]) -> Result<(), EngineError> {
        if versions.is_empty() {
            return Ok(());
        }
        let roots = reader.trust_roots()?;
        for digest in versions {
            let Some(doc) = reader.by_digest(digest)? else { continue };
            let Some(manifest) = reader.manifest(doc)? else { continue };
            let manifest = Manifest::from_canonical_json("store", &manifest)?;
            let mut traits = VersionTraits {
                component: manifest.name().clone(),
                certificates: BTreeSet::new(),
                keys: BTreeSet::new(),
                standards: Claims::of_manifest(&manifest).texts().collect(),
            };
            for stored in reader.certificates_of(digest)? {
                let envelope = stored.envelope.as_bytes();
                if let Some(certificate) = roots.iter().rev().find_map(|root| root.verify(envelope).ok()) {
                    add_certificate(&certificate, &roots, &mut traits);
                }
            }
            self.named.insert(*digest, manifest.to_string().into());
            self.index.describe(*digest, traits);
        }
        Ok(())
    }
}

/// A certificate, the keys behind it by their own ids and by those that trust roots give them, and what it covers.
fn add_certificate(certificate: &VerifiedCertificate, roots: &[TrustRoot], traits: &mut VersionTraits) {
    traits.certificates.insert(certificate.digest());
    for key in certificate.signers() {
        traits.keys.insert(key.id());
        let listed = roots.iter().flat_map(TrustRoot::keys).filter(|listed| listed.public == *key);
        traits.keys.extend(listed.map(|listed| listed.id.clone()));
    }
    if let Predicate::Certification(certification) = certificate.statement().predicate() {
        for claim in &certification.standards {
            traits.standards.insert(claim.standard.clone());
            traits.standards.extend(claim.requirements.iter().map(|id| format!("{}/{id}", claim.standard)));
        }
    }
}
