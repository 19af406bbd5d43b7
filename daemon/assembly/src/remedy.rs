//! What a part that may no longer be used as it is would need: another version, and how much would change with it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use fitment_catalog::{ComponentName, Digest, Lifecycle, Manifest};
use semver::Version;

use crate::check::check;
use crate::document::{Assembly, Part, Reference, Source};
use crate::facts::{Certification, Facts, VersionFacts};
use crate::finding::{Finding, Report, Rule, Severity};
use crate::invariant::InvariantSet;
use crate::policies::Policies;

/// Most versions that are tried for one part: each costs a check.
pub const MAX_TRIED: usize = 16;

/// The rule of a binding that a step takes out.
pub(crate) const REMOVED: &str = "removed";

/// What a catalogue knows beyond the versions that a document names.
pub trait Versions: Facts {
    /// All versions of a component that the caller may use, in any order.
    fn versions(&self, component: &ComponentName) -> Vec<VersionFacts>;

    /// Versions of other components whose manifests say that they supersede this one, in any order.
    fn successors(&self, component: &ComponentName) -> Vec<VersionFacts>;
}

/// What assemblies are judged by.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The organisation's policies.
    pub organisation: &'a Policies,
    /// The Cedar policies.
    pub invariants: &'a InvariantSet,
    /// What the catalogue knows.
    pub facts: &'a dyn Versions,
}

impl Judge<'_> {
    pub(crate) fn check(&self, assembly: &Assembly) -> Report {
        check(assembly, self.organisation, self.invariants, self.facts)
    }
}

/// What a part would need, from the smallest step to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A newer certified version of the component that takes the part's place as it is configured and connected.
    Compatible(Step),
    /// A newer certified version of the component, once the configuration is bound anew.
    Rebind(Step),
    /// A certified version that supersedes this one and asks for other connections: a newer one of the component, or one of
    /// a component that takes its place.
    Supersede(Step),
    /// Nothing certified is left.
    Nothing,
}

impl Remedy {
    /// The step, if there is one.
    pub fn step(&self) -> Option<&Step> {
        match self {
            Self::Compatible(step) | Self::Rebind(step) | Self::Supersede(step) => Some(step),
            Self::Nothing => None,
        }
    }

    /// The word for it: `compatible`, `rebind`, `supersede` or `nothing`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Compatible(_) => "compatible",
            Self::Rebind(_) => "rebind",
            Self::Supersede(_) => "supersede",
            Self::Nothing => "nothing",
        }
    }
}

/// From one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The component that the part would be.
    pub name: ComponentName,
    /// Its version.
    pub version: Version,
    /// The version's digest.
    pub digest: Digest,
    /// What must be bound anew, ordered by pointer.
    pub bindings: Vec<Rebinding>,
    /// What no longer fits around the part, a line each: connections, exposures, requirements, policies.
    pub misfits: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A place of a part's configuration that another version asks to be bound anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rebinding {
    /// JSON pointer into the part's configuration (RFC 6901).
    pub pointer: String,
    /// The binder's rule, such as `required`, or `removed` for what was bound and the version has no property for.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// What a part of an assembly would need to be certified, configured and connected, were nothing else changed. `None` when
/// the assembly has no such part, or it is none of a component. A component that the catalogue does not know by the
/// document's reference is looked for by its name.
pub fn remedy(assembly: &Assembly, part: &str, judge: &Judge<'_>) -> Option<Remedy> {
    let index = assembly.parts().iter().position(|known| known.id == part)?;
    let Source::Component(_) = assembly.parts()[index].source else { return None };
    if candidates(judge, &assembly.parts()[index]).is_empty() {
        return Some(Remedy::Nothing);
    }
    let before = judge.check(assembly);
    Some(best(&Ground { assembly, before: &before, index, judge }).map_or(Remedy::Nothing, |tried| tried.remedy))
}

/// A part in its assembly, and what was found before anything is changed.
pub(crate) struct Ground<'a> {
    pub(crate) assembly: &'a Assembly,
    pub(crate) before: &'a Report,
    pub(crate) index: usize,
    pub(crate) judge: &'a Judge<'a>,
}

/// A version that was tried.
pub(crate) struct Tried {
    pub(crate) remedy: Remedy,
    pub(crate) assembly: Assembly,
}

/// The first of the compatible ones, else of those that need other bindings, else of those that need less around them
/// changed.
pub(crate) fn best(ground: &Ground<'_>) -> Option<Tried> {
    let part = ground.assembly.parts().get(ground.index)?;
    let mut best: Option<(usize, Tried)> = None;
    for candidate in candidates(ground.judge, part).iter().take(MAX_TRIED) {
        let Some(tried) = attempt(ground, part, candidate) else { continue };
        let cost = match &tried.remedy {
            Remedy::Compatible(_) => return Some(tried),
            Remedy::Rebind(_) => 0,
            Remedy::Supersede(step) => 1 + step.misfits.len(),
            Remedy::Nothing => continue,
        };
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, tried));
        }
    }
    best.map(|(_, tried)| tried)
}

/// Versions that could take the part's place, in the order that they are tried: of its own component newer ones, those that
/// semantic versioning calls compatible first, then of components that supersede it; each certified before deprecated and
/// newest first.
fn candidates(judge: &Judge<'_>, part: &Part) -> Vec<VersionFacts> {
    let Source::Component(component) = &part.source else { return Vec::new() };
    let facts = judge.facts;
    let (name, version) = match (&component.reference, facts.version(&component.reference)) {
        (_, Some(known)) => (known.manifest.name().clone(), known.manifest.version().clone()),
        (Reference::Named { name, version, .. }, None) => (name.clone(), version.clone()),
        // Nobody knows which component that was.
        (Reference::Digest(_), None) => return Vec::new(),
    };
    let now = facts.now();
    let usable = |known: &VersionFacts| {
        matches!(known.lifecycle, Lifecycle::Certified | Lifecycle::Deprecated)
            && matches!(known.certification, Certification::Certified { until } if until.is_none_or(|until| now < until))
            // A pre-release is not offered to who does not use one.
            && (known.manifest.version().pre.is_empty() || !version.pre.is_empty())
    };
    let newer = facts.versions(&name).into_iter().filter(|known| {
        known.manifest.name() == &name
            && *known.manifest.version() > version
            && component.range.as_ref().is_none_or(|range| range.contains(known.manifest.version()))
    });
    let taking_over = facts.successors(&name).into_iter().filter(|known| {
        known.manifest.name() != &name
            && known
                .manifest
                .supersedes()
                .is_some_and(|older| *older.name() == name && older.version().is_none_or(|older| *older >= version))
    });
    let mut candidates: Vec<(u8, VersionFacts)> = newer
        .chain(taking_over)
        .filter(usable)
        .map(|known| {
            let manifest = &known.manifest;
            let far = match (manifest.name() == &name, compatible(&version, manifest.version())) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            };
            (far, known)
        })
        .collect();
    candidates.sort_by(|(a_far, a), (b_far, b)| {
        let key = |known: &VersionFacts| (known.lifecycle != Lifecycle::Certified, known.manifest.name().clone());
        a_far
            .cmp(b_far)
            .then_with(|| key(a).cmp(&key(b)))
            .then_with(|| b.manifest.version().cmp(a.manifest.version()))
            .then_with(|| a.digest.cmp(&b.digest))
    });
    candidates.into_iter().map(|(_, known)| known).collect()
}

/// Whether semantic versioning promises that nothing breaks: the same left-most number that is not 0.
fn compatible(from: &Version, to: &Version) -> bool {
    match (from.major, from.minor) {
        (0, 0) => false,
        (0, minor) => to.major == 0 && to.minor == minor,
        (major, _) => to.major == major,
    }
}

/// Puts a version in the part's place and sees what is found then that was not found before.
fn attempt(ground: &Ground<'_>, part: &Part, candidate: &VersionFacts) -> Option<Tried> {
    let manifest = &candidate.manifest;
    let (assembly, dropped) = moved(ground, part, candidate)?;
    let report = ground.judge.check(&assembly);
    let known: HashSet<_> = errors(ground.before).map(place).collect();
    let at = format!("/parts/{}/configuration", ground.index);
    let (mut bindings, mut misfits) = (dropped, BTreeSet::new());
    for finding in errors(&report) {
        let own = finding.place.part.as_deref() == Some(&*part.id) && finding.place.pointer.starts_with("/parts/");
        let binding = finding.rule.strip_prefix("configuration/").zip(finding.place.pointer.strip_prefix(&at));
        match binding {
            Some((rule, pointer)) if own => bindings.push(Rebinding {
                pointer: pointer.to_owned(),
                rule: rule.to_owned(),
                reason: finding.reason.clone(),
            }),
            // What is wrong elsewhere already is not this step's doing, nor is what nobody connected; what else is wrong
            // with the part must be over.
            _ if own && finding.rule != Rule::PortUnconnected.id() || !known.contains(&place(finding)) => {
                let where_found = finding.place.connection.as_deref().or(finding.place.part.as_deref());
                let whole = where_found.unwrap_or(&finding.place.pointer);
                misfits.insert(format!("{whole}: {} ({})", finding.reason, finding.rule));
            }
            _ => {}
        }
    }
    bindings.sort();
    bindings.dedup();
    let stays = manifest.name() == named(ground, part).as_ref().unwrap_or(manifest.name());
    let step = Step {
        name: manifest.name().clone(),
        version: manifest.version().clone(),
        digest: candidate.digest,
        bindings,
        misfits: misfits.into_iter().collect(),
    };
    let remedy = match (step.misfits.is_empty(), step.bindings.is_empty(), stays) {
        (true, true, true) => Remedy::Compatible(step),
        (true, false, true) => Remedy::Rebind(step),
        _ => Remedy::Supersede(step),
    };
    Some(Tried { remedy, assembly })
}

/// The component that a part is, by the document or the catalogue.
fn named(ground: &Ground<'_>, part: &Part) -> Option<ComponentName> {
    let Source::Component(component) = &part.source else { return None };
    match &component.reference {
        Reference::Named { name, .. } => Some(name.clone()),
        Reference::Digest(_) => Some(ground.judge.facts.version(&component.reference)?.manifest.name().clone()),
    }
}

/// The assembly with a version in a part's place, and the bindings that were dropped since the version has no such
/// properties. The document's way of naming versions is kept.
fn moved(ground: &Ground<'_>, part: &Part, candidate: &VersionFacts) -> Option<(Assembly, Vec<Rebinding>)> {
    let Source::Component(component) = &part.source else { return None };
    let manifest = &candidate.manifest;
    let mut component = component.clone();
    component.reference = match component.reference {
        Reference::Digest(_) => Reference::Digest(candidate.digest),
        Reference::Named { digest, .. } => Reference::Named {
            name: manifest.name().clone(),
            version: manifest.version().clone(),
            digest: digest.map(|_| candidate.digest),
        },
    };
    if named(ground, part).as_ref() != Some(manifest.name()) {
        // The range speaks of another component's versions.
        component.range = None;
    }
    let dropped = drop_unknown(manifest, &mut component.configuration);
    let part = Part { id: part.id.clone(), source: Source::Component(component) };
    Some((ground.assembly.with_part(ground.index, part), dropped))
}

/// Takes out bound properties that a version does not have.
fn drop_unknown(manifest: &Manifest, configuration: &mut serde_json::Value) -> Vec<Rebinding> {
    let ignored = manifest.open_configuration(configuration).ignored;
    let mut dropped = Vec::new();
    for pointer in ignored {
        let Some((holder, key)) = pointer.rsplit_once('/') else { continue };
        let key = key.replace("~1", "/").replace("~0", "~");
        let Some(entries) = configuration.pointer_mut(holder).and_then(serde_json::Value::as_object_mut) else {
            continue;
        };
        if entries.shift_remove(&key).is_some() {
            let reason = format!("{manifest} has no such property");
            dropped.push(Rebinding { pointer, rule: REMOVED.to_owned(), reason });
        }
    }
    dropped
}

fn errors(report: &Report) -> impl Iterator<Item = &Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Error)
}

/// What makes a finding the same one after a version was changed: its reason names versions.
fn place(finding: &Finding) -> (&str, &str) {
    (&finding.rule, &finding.place.pointer)
}
