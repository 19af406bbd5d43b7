//! Assemblies that are kept by name, so that a change of the catalogue can be answered with who is touched.

use fitment_assembly::{Assembly, Source, Target};
use fitment_catalog::{ComponentName, Digest, Format};
use serde_json::json;

use super::registry::{Touched, TouchedAssembly};
use super::{AssemblySource, CheckedAssembly, component_reference, judged, read};
use crate::audit::{Act, Author};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::limits::page_size;
use crate::store::{StoredAssembly, StoredClaim, StoredPart};

/// Assemblies that are kept at most.
const MAX_ASSEMBLIES: u64 = 100_000;
/// Assemblies of a page.
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Names of touched assemblies that an answer to a change holds.
const TOUCHED_NAMES: usize = 100;

/// A kept assembly.
#[derive(Debug)]
pub struct KeptAssembly {
    /// `namespace/name`.
    pub name: ComponentName,
    /// Digest of the document.
    pub digest: Digest,
    /// Its owner, as the document says.
    pub owner: Option<String>,
    /// When it was kept.
    pub time: jiff::Timestamp,
    /// Who kept it, as they said.
    pub actor: String,
    /// Changes with every change of it.
    pub etag: String,
    /// Number of its parts.
    pub parts: u32,
    /// The document as it was sent, and what a check finds now; `None` in lists.
    pub checked: Option<(Vec<u8>, CheckedAssembly)>,
}

impl KeptAssembly {
    fn of(record: StoredAssembly, checked: Option<(Vec<u8>, CheckedAssembly)>) -> Self {
        let etag = record.etag();
        let StoredAssembly { name, digest, owner, time, actor, components: _, parts, claims: _ } = record;
        Self { name, digest, owner, time, actor, etag, parts, checked }
    }
}

/// A page of kept assemblies.
#[derive(Debug)]
pub struct AssemblyListing {
    /// By name.
    pub assemblies: Vec<KeptAssembly>,
    /// For the next page; empty on the last.
    pub next_token: String,
    /// On all pages.
    pub total: u64,
}

impl Engine {
    /// Keeps an assembly, in place of the one of its name. It need not pass: one that is in use is in use.
    ///
    /// Errors: a document that cannot be read, another etag, as many as are kept.
    pub async fn register_assembly(
        &self,
        source: String,
        document: Vec<u8>,
        etag: String,
        author: Author,
    ) -> Result<KeptAssembly, EngineError> {
        self.change(move |shared| {
            let from = AssemblySource::Document { source, bytes: document.clone() };
            let assembly = read(shared, &from)?;
            let reader = shared.store.read()?;
            let before = reader.assembly(assembly.name())?;
            agree(assembly.name(), &etag, before.as_ref())?;
            if before.is_none() && reader.assemblies()? >= MAX_ASSEMBLIES {
                return Err(EngineError::TooManyAssemblies {
                    most: usize::try_from(MAX_ASSEMBLIES).unwrap_or(usize::MAX),
                });
            }
            let (checked, record) = judged(shared, assembly, |assembly, _, facts| {
                let mut components = Vec::new();
                for part in assembly.parts() {
                    let Source::Component(component) = &part.source else { continue };
                    let known = match facts.find(&component.reference)? {
                        Some(doc) => facts.known(doc)?,
                        None => None,
                    };
                    components.push(StoredPart {
                        id: part.id.clone(),
                        reference: component.reference.to_string(),
                        digest: known.map(|known| known.facts.digest),
                    });
                }
                Ok(StoredAssembly {
                    name: assembly.name().clone(),
                    digest: assembly.digest(),
                    owner: assembly.owner().map(str::to_owned),
                    time: (shared.clock)(),
                    actor: author.actor.clone(),
                    components,
                    parts: u32::try_from(assembly.parts().len()).unwrap_or(u32::MAX),
                    claims: claims(assembly),
                })
            })?;
            let act = Act {
                action: "assembly.register",
                subject: record.name.to_string(),
                detail: json!({
                    "digest": record.digest.to_string(),
                    "parts": record.parts,
                    "passes": checked.report.passes(),
                    "findings": checked.report.findings.len(),
                }),
            };
            shared.store.put_assembly(&record, &document, act, &author)?;
            shared.assemblies.insert(shared, &record)?;
            Ok(KeptAssembly::of(record, Some((document, checked))))
        })
        .await
    }

    /// A kept assembly with its document, checked now.
    ///
    /// Errors: no such assembly.
    pub async fn kept_assembly(&self, name: ComponentName) -> Result<KeptAssembly, EngineError> {
        self.compute(move |shared| {
            let reader = shared.store.read()?;
            let unknown = || EngineError::AssemblyUnknown { name: name.to_string() };
            let record = reader.assembly(&name)?.ok_or_else(unknown)?;
            let document = reader.assembly_document(&name)?.ok_or_else(unknown)?;
            let assembly = Assembly::parse(&name.to_string(), &document, Format::Auto)?;
            let (checked, ()) = judged(shared, assembly, |_, _, _| Ok(()))?;
            Ok(KeptAssembly::of(record, Some((document, checked))))
        })
        .await
    }

    /// Lists kept assemblies by name. `size`: 1 to 1,000; 0: 100.
    pub async fn kept_assemblies(&self, size: usize, token: String) -> Result<AssemblyListing, EngineError> {
        let size = page_size(size, DEFAULT_PAGE, MAX_PAGE)?;
        self.compute(move |shared| {
            let reader = shared.store.read()?;
            let mut found = reader.assemblies_after(&token, size + 1)?;
            let more = found.len() > size;
            found.truncate(size);
            let next_token = found.last().filter(|_| more).map(|last| last.name.to_string()).unwrap_or_default();
            let assemblies = found.into_iter().map(|record| KeptAssembly::of(record, None)).collect();
            Ok(AssemblyListing { assemblies, next_token, total: reader.assemblies()? })
        })
        .await
    }

    /// Forgets an assembly.
    ///
    /// Errors: no such assembly, another etag.
    pub async fn delete_assembly(&self, name: ComponentName, etag: String, author: Author) -> Result<(), EngineError> {
        self.change(move |shared| {
            let record = shared.store.read()?.assembly(&name)?;
            let record = record.ok_or_else(|| EngineError::AssemblyUnknown { name: name.to_string() })?;
            agree(&name, &etag, Some(&record))?;
            let detail = json!({ "digest": record.digest.to_string() });
            let act = Act { action: "assembly.delete", subject: name.to_string(), detail };
            shared.store.remove_assembly(&name, act, &author, (shared.clock)())?;
            shared.assemblies.remove(&name);
            Ok(())
        })
        .await
    }

    /// Kept assemblies that use what is asked about, by name. `version`: where a version is meant, as it was named.
    pub async fn touched_assemblies(&self, asked: AskedImpact) -> Result<Vec<TouchedAssembly>, EngineError> {
        self.compute(move |shared| {
            let (target, named) = match asked {
                AskedImpact::Component(name) => (Target::Component(name), None),
                AskedImpact::Version(text) => {
                    let reference = component_reference("target.version", &text)?;
                    let facts = super::CatalogFacts::new(shared, (shared.clock)())?;
                    let known = facts.find(&reference)?.map(|doc| shared.store.read()?.version_or_deleted(doc));
                    let digest = known.transpose()?.flatten().map(|version| version.card.digest);
                    let digest = match (digest, &reference) {
                        (Some(digest), _) => Some(digest),
                        (None, fitment_assembly::Reference::Digest(digest)) => Some(*digest),
                        (None, fitment_assembly::Reference::Named { .. }) => None,
                    };
                    // A version that nobody has may still be named by documents.
                    (Target::Version(digest.unwrap_or_else(|| Digest::of(text.as_bytes()))), Some(text))
                }
                AskedImpact::Certificate(digest) => (Target::Certificate(digest), None),
                AskedImpact::Key(id) => (Target::Key(id), None),
                AskedImpact::Standard(standard) => (Target::Standard(standard), None),
            };
            Ok(shared.assemblies.touched(&target, named.as_deref()))
        })
        .await
    }

    /// Kept assemblies that use any of these versions, counted, with the first names.
    pub fn touched_by(&self, versions: &[Digest]) -> Touched {
        let targets: Vec<Target> = versions.iter().copied().map(Target::Version).collect();
        self.shared().assemblies.count(&targets, TOUCHED_NAMES)
    }

    /// Kept assemblies that use a version which is not certified now.
    pub fn touched_uncertified(&self) -> Touched {
        let shared = self.shared();
        let lost = {
            let index = shared.index.searchable();
            let certified = |digest: &Digest| {
                let doc = shared.store.read().ok()?.by_digest(digest).ok()??;
                index.view.known(doc)?.certified.as_ref().map(|certified| certified.certified)
            };
            shared.assemblies.used().into_iter().filter(|digest| certified(digest) == Some(false)).collect::<Vec<_>>()
        };
        self.touched_by(&lost)
    }
}

/// What somebody asks the impact of.
#[derive(Clone, Debug)]
pub enum AskedImpact {
    /// All versions of a component.
    Component(ComponentName),
    /// A version, by name or digest.
    Version(String),
    /// A certificate.
    Certificate(Digest),
    /// A key, by any of its ids.
    Key(String),
    /// A standard, or `standard/requirement`.
    Standard(String),
}

/// What the document declares, and what its parts outside the catalogue claim.
fn claims(assembly: &Assembly) -> Vec<StoredClaim> {
    let declared = assembly.standards().iter().flat_map(|(standard, requirements)| {
        let requirements = requirements.iter().map(move |requirement| format!("{standard}/{requirement}"));
        std::iter::once(standard.clone()).chain(requirements)
    });
    let claimed = assembly.parts().iter().filter_map(|part| match &part.source {
        Source::External(external) => Some((part, external)),
        Source::Component(_) | Source::Raw(_) => None,
    });
    let claimed = claimed.flat_map(|(part, external)| {
        let by = (part.id.clone(), outside(&external.owner));
        external.compliance.texts().map(move |claim| StoredClaim { claim, part: Some(by.clone()) })
    });
    declared.map(|claim| StoredClaim { claim, part: None }).chain(claimed).collect()
}

/// A part outside the catalogue, for people.
pub(super) fn outside(owner: &str) -> String {
    format!("run by {owner}")
}

fn agree(name: &ComponentName, expected: &str, record: Option<&StoredAssembly>) -> Result<(), EngineError> {
    let actual = record.map(StoredAssembly::etag).unwrap_or_default();
    if expected.is_empty() || expected == actual {
        return Ok(());
    }
    Err(EngineError::EtagMismatch { what: format!("assembly {name}"), expected: expected.to_owned(), actual })
}

impl Shared {
    /// Lets kept assemblies follow what was written. What fails is logged and made up for by the next change.
    pub(crate) fn follow_assemblies(&self) {
        if let Err(error) = self.assemblies.follow(self) {
            tracing::warn!(%error, "the register of assemblies could not follow the catalogue");
        }
    }
}
