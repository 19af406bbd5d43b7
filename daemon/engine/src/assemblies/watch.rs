//! Following kept assemblies: whoever uses a version whose standing changed is told, with what a check finds now.
//!
//! A watcher remembers how the versions in use stood and compares: so it sees what was written, what a trust root changed and
//! what ended by the clock, in one way. Of several changes between two looks it sees the last.

use std::collections::{BTreeMap, BTreeSet};

use fitment_assembly::{Finding, Severity, Target};
use fitment_catalog::{ComponentName, Digest, Lifecycle};

use super::{AssemblySource, judged, read};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::store::{Revision, StoreReader};
use crate::watch::LogPlace;

/// Errors that one change lists.
const MAX_ERRORS: usize = 64;
/// Changes of the log that are looked at at once when a watcher resumes.
const PAGE: usize = 256;

/// A kept assembly that something happened to.
#[derive(Debug)]
pub struct AssemblyChange {
    /// `namespace/name`.
    pub assembly: ComponentName,
    /// What it follows from, for people.
    pub cause: String,
    /// Ids of the parts concerned, in order.
    pub parts: Vec<String>,
    /// Whether it passes now.
    pub passes: bool,
    /// Its errors now.
    pub errors: Vec<Finding>,
    /// The revision that was looked at.
    pub revision: Revision,
}

/// How the versions in use stood at the last look.
#[derive(Debug, Default)]
pub struct AssemblyWatch {
    names: BTreeSet<ComponentName>,
    stood: BTreeMap<Digest, Stands>,
    /// Changes after this one are told at the first look.
    resume: Option<Revision>,
}

/// How a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It is deleted.
    Gone,
    /// It is there.
    At {
        lifecycle: Lifecycle,
        /// `None` without a trust root.
        certified: Option<bool>,
    },
}

impl Stands {
    fn describe(self) -> String {
        match self {
            Self::Gone => "is deleted".to_owned(),
            Self::At { lifecycle, certified: Some(false) } => format!("is {lifecycle} and not certified now"),
            Self::At { lifecycle, certified: Some(true) | None } => format!("is {lifecycle}"),
        }
    }
}

impl Engine {
    /// Begins to follow kept assemblies. `names`: only these; empty: all. `after`: tell first what changed after that revision;
    /// 0: begin now.
    ///
    /// Errors: a revision ahead of the catalogue.
    pub async fn watch_assemblies(
        &self,
        names: BTreeSet<ComponentName>,
        after: Revision,
    ) -> Result<AssemblyWatch, EngineError> {
        self.reached(after)?;
        self.compute(move |shared| {
            shared.keep_time()?;
            let stood = stands(shared, &shared.store.read()?)?;
            Ok(AssemblyWatch { names, stood, resume: (after > 0).then_some(after) })
        })
        .await
    }

    /// What happened since the last look.
    pub async fn assembly_changes(
        &self,
        mut watch: AssemblyWatch,
    ) -> Result<(AssemblyWatch, Vec<AssemblyChange>), EngineError> {
        self.compute(move |shared| {
            shared.keep_time()?;
            let reader = shared.store.read()?;
            let now = stands(shared, &reader)?;
            let mut changed: BTreeMap<Digest, Stands> = BTreeMap::new();
            for (digest, stands) in &now {
                if watch.stood.get(digest).is_some_and(|stood| stood != stands) {
                    changed.insert(*digest, *stands);
                }
            }
            if let Some(after) = watch.resume.take() {
                for digest in changed_after(&reader, after)? {
                    if let Some(stands) = now.get(&digest) {
                        changed.insert(digest, *stands);
                    }
                }
            }
            let changes = told(shared, &reader, &watch.names, &changed)?;
            watch.stood = now;
            Ok((watch, changes))
        })
        .await
    }
}

/// How each version in use stands.
fn stands(shared: &Shared, reader: &StoreReader) -> Result<BTreeMap<Digest, Stands>, EngineError> {
    let used = shared.assemblies.used();
    let mut found = BTreeMap::new();
    for digest in used {
        let Some(doc) = reader.by_digest(&digest)? else {
            found.insert(digest, Stands::Gone);
            continue;
        };
        let index = shared.index.searchable();
        let stands = index.view.known(doc).map_or(Stands::Gone, |known| Stands::At {
            lifecycle: known.card.lifecycle,
            certified: known.certified.as_ref().map(|certified| certified.certified),
        });
        found.insert(digest, stands);
    }
    Ok(found)
}

/// Versions that changed after a revision.
fn changed_after(reader: &StoreReader, after: Revision) -> Result<BTreeSet<Digest>, EngineError> {
    let mut place = LogPlace::after(after);
    let mut found = BTreeSet::new();
    loop {
        let page = reader.logged_after((place.revision, place.position), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        place = LogPlace { revision: last.revision, position: last.position };
        for logged in &page {
            if let Some(version) = reader.version_or_deleted(logged.change.doc())? {
                found.insert(version.card.digest);
            }
        }
    }
}

/// What is told of versions that changed, one change an assembly.
fn told(
    shared: &Shared,
    reader: &StoreReader,
    names: &BTreeSet<ComponentName>,
    changed: &BTreeMap<Digest, Stands>,
) -> Result<Vec<AssemblyChange>, EngineError> {
    let mut touched: BTreeMap<ComponentName, (BTreeSet<String>, Vec<String>)> = BTreeMap::new();
    for (digest, stands) in changed {
        let doc = reader.by_digest(digest)?;
        let version = doc.map(|doc| reader.version_or_deleted(doc)).transpose()?.flatten();
        let named = version.map_or_else(|| digest.to_string(), |v| format!("{}@{}", v.card.name, v.card.version));
        for assembly in shared.assemblies.touched(&Target::Version(*digest), None) {
            if names.is_empty() || names.contains(&assembly.name) {
                let (parts, causes) = touched.entry(assembly.name).or_default();
                parts.extend(assembly.parts.into_keys());
                causes.push(format!("{named} {}", stands.describe()));
            }
        }
    }
    let mut changes = Vec::with_capacity(touched.len());
    for (name, (parts, causes)) in touched {
        let assembly = match read(shared, &AssemblySource::Kept(name.clone())) {
            Ok(assembly) => assembly,
            // Forgotten meanwhile.
            Err(EngineError::AssemblyUnknown { .. }) => continue,
            Err(error) => return Err(error),
        };
        let (checked, ()) = judged(shared, assembly, |_, _, _| Ok(()))?;
        let errors = checked.report.findings.iter().filter(|finding| finding.severity == Severity::Error);
        changes.push(AssemblyChange {
            assembly: name,
            cause: causes.join("; "),
            parts: parts.into_iter().collect(),
            passes: checked.report.passes(),
            errors: errors.take(MAX_ERRORS).cloned().collect(),
            revision: checked.revision,
        });
    }
    Ok(changes)
}
