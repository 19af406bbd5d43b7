//! A part as every form of the report sees it: the document's word and the record's.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Artifact, DataClass, Digest, License, Manifest, Port};

use super::{Compliance, PartRecord};
use crate::document::{ComponentPart, Part, PortAddress, RawPart, Reference, Source};
use crate::facts::Certification;
use crate::finding::{Finding, Severity};

/// What had to be written for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surface {
    /// A component as it is.
    Nothing,
    /// A component's configuration.
    Configuration,
    /// Code.
    Code,
    /// Runs elsewhere.
    Outside,
}

impl Surface {
    pub(super) const ALL: [Self; 4] = [Self::Nothing, Self::Configuration, Self::Code, Self::Outside];

    /// The word in files.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "zero",
            Self::Configuration => "minimal",
            Self::Code => "raw",
            Self::Outside => "external",
        }
    }
}

/// A part and its record.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Its place in the document.
    pub(super) place: usize,
    pub(super) part: &'a Part,
    pub(super) record: Option<&'a PartRecord>,
    /// Of raw code, as far as they are known.
    digest: Option<Digest>,
    lines: Option<u32>,
}

/// A connection's two ends, as far as they are known.
pub(super) struct Ends<'a> {
    pub(super) from: Option<&'a Port>,
    pub(super) to: Option<&'a Port>,
}

impl<'a> Compliance<'a> {
    /// Its parts in the order of the document.
    pub(super) fn views(&self) -> impl Iterator<Item = View<'a>> + use<'a> {
        let (records, tree) = (self.input.parts, self.input.tree);
        let view = move |(place, part): (usize, &'a Part)| {
            let record = match part.source {
                Source::Component(_) => records.get(&part.id),
                Source::Raw(_) | Source::External(_) => None,
            };
            let (digest, lines) = match &part.source {
                Source::Raw(raw) => {
                    let measure = || tree.and_then(|tree| tree.measure(&raw.path));
                    (raw.digest.or_else(|| Some(measure()?.digest)), raw.lines.or_else(|| Some(measure()?.lines)))
                }
                Source::Component(_) | Source::External(_) => (None, None),
            };
            View { place, part, record, digest, lines }
        };
        self.input.assembly.parts().iter().enumerate().map(view)
    }

    /// The ports that connections name, by address: those that are required and those that are offered.
    pub(super) fn ports(&self) -> PortTable<'a> {
        let mut table = PortTable::default();
        for view in self.views() {
            let (provides, requires) = view.ports();
            table.provides.extend(provides.iter().map(|port| ((view.part.id.as_str(), port.name()), port)));
            table.requires.extend(requires.iter().map(|port| ((view.part.id.as_str(), port.name()), port)));
        }
        table
    }

    /// Findings of a severity.
    pub(super) fn findings(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    /// How many parts are of each sort, and the lines of code that a person must answer for; `None` where those of some
    /// part are not known.
    pub(super) fn surface(&self) -> (BTreeMap<Surface, usize>, Option<u64>) {
        let mut parts = BTreeMap::new();
        let mut lines = Some(0);
        for view in self.views() {
            *parts.entry(view.surface()).or_insert(0) += 1;
            if view.raw().is_some() {
                lines = lines.zip(view.lines()).map(|(sum, lines)| sum + u64::from(lines));
            }
        }
        (parts, lines)
    }
}

/// Ports by their part and name.
#[derive(Default)]
pub(super) struct PortTable<'a> {
    provides: BTreeMap<(&'a str, &'a str), &'a Port>,
    requires: BTreeMap<(&'a str, &'a str), &'a Port>,
}

impl<'a> PortTable<'a> {
    pub(super) fn ends(&self, from: &PortAddress, to: &PortAddress) -> Ends<'a> {
        Ends { from: self.requires.get(&(from.part.as_str(), from.port.as_str())).copied(), to: self.offered(to) }
    }

    pub(super) fn offered(&self, address: &PortAddress) -> Option<&'a Port> {
        self.provides.get(&(address.part.as_str(), address.port.as_str())).copied()
    }
}

impl<'a> View<'a> {
    pub(super) fn id(&self) -> &'a str {
        &self.part.id
    }

    pub(super) fn component(&self) -> Option<&'a ComponentPart> {
        match &self.part.source {
            Source::Component(component) => Some(component),
            Source::Raw(_) | Source::External(_) => None,
        }
    }

    pub(super) fn raw(&self) -> Option<&'a RawPart> {
        match &self.part.source {
            Source::Raw(raw) => Some(raw),
            Source::Component(_) | Source::External(_) => None,
        }
    }

    /// Lines of raw code, where they are stated or could be counted.
    pub(super) fn lines(&self) -> Option<u32> {
        self.lines
    }

    pub(super) fn manifest(&self) -> Option<&'a Manifest> {
        self.record.map(|record| record.version.manifest.as_ref())
    }

    pub(super) fn artifact(&self) -> Option<&'a Artifact> {
        self.manifest().and_then(Manifest::artifact)
    }

    /// The part's name and version; the version of components alone.
    pub(super) fn name(&self) -> (String, Option<String>) {
        match (&self.part.source, self.manifest()) {
            (Source::Component(_), Some(manifest)) => {
                (manifest.name().to_string(), Some(manifest.version().to_string()))
            }
            (Source::Component(component), None) => match &component.reference {
                Reference::Named { name, version, .. } => (name.to_string(), Some(version.to_string())),
                Reference::Digest(digest) => (digest.to_string(), None),
            },
            (Source::Raw(raw), _) => (raw.path.to_string(), None),
            (Source::External(_), _) => (self.part.id.clone(), None),
        }
    }

    /// What it is, in a few words.
    pub(super) fn shown(&self) -> String {
        match &self.part.source {
            Source::Component(_) => match self.name() {
                (name, Some(version)) => format!("{name}@{version}"),
                (name, None) => name,
            },
            Source::Raw(raw) => format!("raw code in {}", raw.path),
            Source::External(external) => format!("run by {}", external.owner),
        }
    }

    pub(super) fn surface(&self) -> Surface {
        match &self.part.source {
            Source::Component(component)
                if component.configuration.as_object().is_none_or(serde_json::Map::is_empty) =>
            {
                Surface::Nothing
            }
            Source::Component(_) => Surface::Configuration,
            Source::Raw(_) => Surface::Code,
            Source::External(_) => Surface::Outside,
        }
    }

    pub(super) fn owner(&self) -> Option<&'a str> {
        match &self.part.source {
            Source::Component(_) => self.manifest().map(Manifest::owner),
            Source::Raw(raw) => raw.owner.as_deref(),
            Source::External(external) => Some(&external.owner),
        }
    }

    pub(super) fn license(&self) -> Option<&'a License> {
        match &self.part.source {
            Source::Component(_) => self.manifest().map(Manifest::license),
            Source::Raw(raw) => raw.license.as_ref(),
            Source::External(_) => None,
        }
    }

    /// The digest that addresses it: of a component's manifest, of raw code, of the evidence of something outside.
    pub(super) fn digest(&self) -> Option<Digest> {
        match &self.part.source {
            Source::Component(component) => match (self.record, &component.reference) {
                (Some(record), _) => Some(record.version.digest),
                (None, Reference::Named { digest, .. }) => *digest,
                (None, Reference::Digest(digest)) => Some(*digest),
            },
            Source::Raw(_) => self.digest,
            Source::External(external) => external.evidence,
        }
    }

    /// Offered and needed ports; none where they are not known.
    pub(super) fn ports(&self) -> (&'a [Port], &'a [Port]) {
        match &self.part.source {
            Source::Component(_) => {
                self.manifest().map_or((&[], &[]), |manifest| (manifest.provides(), manifest.requires()))
            }
            Source::Raw(raw) => (&raw.ports.provides, &raw.ports.requires),
            Source::External(external) => (&external.ports.provides, &external.ports.requires),
        }
    }

    /// Classes of data on its ports.
    pub(super) fn data_classes(&self) -> BTreeSet<DataClass> {
        let (provides, requires) = self.ports();
        provides.iter().chain(requires).flat_map(Port::data_classes).copied().collect()
    }

    /// Whether it is certified, in a few words; `None` for what is no component.
    pub(super) fn certification(&self) -> Option<(bool, String)> {
        self.component()?;
        let Some(record) = self.record else {
            return Some((false, "not known to the catalogue".to_owned()));
        };
        Some(match &record.version.certification {
            Certification::Certified { until: Some(until) } => {
                (true, format!("certified until {}", super::text::minute(*until)))
            }
            Certification::Certified { until: None } => (true, "certified".to_owned()),
            Certification::NotCertified { reason } => (false, format!("not certified: {reason}")),
            Certification::Unknown { reason } => (false, format!("not known whether certified: {reason}")),
        })
    }
}
