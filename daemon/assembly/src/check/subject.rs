//! The assembly together with what is known about each part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fitment_catalog::{License, Port};
use jiff::Timestamp;
use serde_json::Value;

use crate::claim::Claims;
use crate::document::{Assembly, Connection, Exposure, ExternalPart, Part, PortAddress, Source};
use crate::facts::{Facts, VersionFacts};
use crate::finding::Place;
use crate::policies::Policies;

pub(super) struct Subject<'a> {
    pub(super) assembly: &'a Assembly,
    pub(super) organisation: &'a Policies,
    pub(super) now: Timestamp,
    pub(super) parts: Vec<Resolved<'a>>,
    by_id: HashMap<&'a str, usize>,
}

/// A part, and the catalogue's word on it.
pub(super) struct Resolved<'a> {
    pub(super) index: usize,
    pub(super) part: &'a Part,
    /// For a component: what the catalogue knows; `None` when it knows nothing.
    pub(super) facts: Option<VersionFacts>,
    pub(super) claims: Claims,
}

/// Both ends of a connection that lead to ports.
pub(super) struct Joined<'s> {
    pub(super) connection: &'s Connection,
    pub(super) place: Place,
    pub(super) from: (&'s Resolved<'s>, &'s Port),
    pub(super) to: (&'s Resolved<'s>, &'s Port),
}

impl<'a> Subject<'a> {
    pub(super) fn new(assembly: &'a Assembly, organisation: &'a Policies, facts: &dyn Facts) -> Self {
        let now = facts.now();
        let resolve = |(index, part): (usize, &'a Part)| {
            let facts = match &part.source {
                Source::Component(component) => facts.version(&component.reference),
                Source::Raw(_) | Source::External(_) => None,
            };
            let claims = match (&part.source, &facts) {
                (Source::External(external), _) if is_proven(external, now) => external.compliance.clone(),
                (_, Some(facts)) => facts.claims.clone(),
                (_, None) => Claims::default(),
            };
            Resolved { index, part, facts, claims }
        };
        Self {
            assembly,
            organisation,
            now,
            parts: assembly.parts().iter().enumerate().map(resolve).collect(),
            by_id: assembly.parts().iter().enumerate().map(|(i, part)| (part.id.as_str(), i)).collect(),
        }
    }

    pub(super) fn part(&self, id: &str) -> Option<&Resolved<'a>> {
        self.by_id.get(id).map(|i| &self.parts[*i])
    }

    /// Whose policies apply, as messages name them, and the policies.
    pub(super) fn policies(&self) -> [(&'static str, &Policies); 2] {
        [("the organisation", self.organisation), ("the assembly", self.assembly.policies())]
    }

    /// What each part offers, where it is known.
    pub(super) fn all_offered(&self) -> BTreeMap<String, &[Port]> {
        self.parts.iter().filter_map(|part| Some((part.part.id.clone(), part.provides()?))).collect()
    }

    /// An offered port, where its part is known and has it.
    pub(super) fn offered(&self, address: &PortAddress) -> Option<(&Resolved<'a>, &Port)> {
        let part = self.part(&address.part)?;
        named(part.provides()?, &address.port).map(|port| (part, port))
    }

    /// The connections both of whose ends lead to ports; what is wrong with the others is found elsewhere.
    pub(super) fn joined(&self) -> impl Iterator<Item = Joined<'_>> {
        self.assembly.connections().iter().enumerate().filter_map(|(i, connection)| {
            let part = self.part(&connection.from.part)?;
            let port = named(part.requires()?, &connection.from.port)?;
            let to = self.offered(&connection.to)?;
            Some(Joined { connection, place: Place::connection(i, connection, ""), from: (part, port), to })
        })
    }

    /// The exposures that lead to a port.
    pub(super) fn exposed(&self) -> impl Iterator<Item = (usize, &Exposure, &Resolved<'a>, &Port)> {
        self.assembly.exposures().iter().enumerate().filter_map(|(i, exposure)| {
            let (part, port) = self.offered(&exposure.port)?;
            Some((i, exposure, part, port))
        })
    }
}

impl Resolved<'_> {
    /// Whether its ports, licence and claims are known.
    pub(super) fn is_known(&self) -> bool {
        self.facts.is_some() || !matches!(self.part.source, Source::Component(_))
    }

    pub(super) fn provides(&self) -> Option<&[Port]> {
        match &self.part.source {
            Source::Component(_) => self.facts.as_ref().map(|facts| facts.manifest.provides()),
            Source::Raw(raw) => Some(&raw.ports.provides),
            Source::External(external) => Some(&external.ports.provides),
        }
    }

    pub(super) fn requires(&self) -> Option<&[Port]> {
        match &self.part.source {
            Source::Component(_) => self.facts.as_ref().map(|facts| facts.manifest.requires()),
            Source::Raw(raw) => Some(&raw.ports.requires),
            Source::External(external) => Some(&external.ports.requires),
        }
    }

    pub(super) fn license(&self) -> Option<&License> {
        match &self.part.source {
            Source::Component(_) => self.facts.as_ref().map(|facts| facts.manifest.license()),
            Source::Raw(raw) => raw.license.as_ref(),
            Source::External(_) => None,
        }
    }

    pub(super) fn owner(&self) -> Option<&str> {
        match &self.part.source {
            Source::Component(_) => self.facts.as_ref().map(|facts| facts.manifest.owner()),
            Source::Raw(raw) => raw.owner.as_deref(),
            Source::External(external) => Some(&external.owner),
        }
    }

    pub(super) fn tags(&self) -> BTreeSet<&str> {
        match &self.part.source {
            Source::Component(_) => {
                let tags = self.facts.iter().flat_map(|facts| facts.manifest.tags());
                tags.map(fitment_catalog::Tag::as_str).collect()
            }
            Source::Raw(_) => BTreeSet::new(),
            Source::External(external) => external.tags.iter().map(String::as_str).collect(),
        }
    }

    /// References to secrets in the configuration as bound.
    pub(super) fn secret_references(&self) -> usize {
        match &self.part.source {
            Source::Component(component) => secret_references(&component.configuration),
            Source::Raw(_) | Source::External(_) => 0,
        }
    }

    /// A place in the part.
    pub(super) fn place(&self, below: &str) -> Place {
        Place::part(self.index, &self.part.id, below)
    }

    /// The part as messages name it.
    pub(super) fn shown(&self) -> String {
        let id = &self.part.id;
        match (&self.part.source, &self.facts) {
            (Source::Component(_), Some(facts)) => format!("`{id}` ({})", facts.manifest),
            (Source::Component(component), None) => format!("`{id}` ({})", component.reference),
            (Source::Raw(raw), _) => format!("`{id}` (raw code in {})", raw.path),
            (Source::External(external), _) => format!("`{id}` (run by {})", external.owner),
        }
    }
}

/// Whether what an external part claims is proven at an instant.
pub(super) fn is_proven(external: &ExternalPart, now: Timestamp) -> bool {
    external.is_proven(now)
}

pub(super) fn named<'p>(ports: &'p [Port], name: &str) -> Option<&'p Port> {
    ports.iter().find(|port| port.name() == name)
}

fn secret_references(value: &Value) -> usize {
    match value {
        Value::String(text) => usize::from(text.starts_with("secret://")),
        Value::Array(items) => items.iter().map(secret_references).sum(),
        Value::Object(entries) => entries.values().map(secret_references).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

impl Place {
    /// A place outside the lists.
    pub(crate) fn document(pointer: &str) -> Self {
        Self { pointer: pointer.to_owned(), part: None, connection: None, order: (3, 0) }
    }

    pub(crate) fn part(index: usize, id: &str, below: &str) -> Self {
        Self {
            pointer: format!("/parts/{index}{below}"),
            part: Some(id.to_owned()),
            connection: None,
            order: (0, index),
        }
    }

    pub(super) fn connection(index: usize, connection: &Connection, below: &str) -> Self {
        Self {
            pointer: format!("/connections/{index}{below}"),
            part: None,
            connection: Some(connection.to_string()),
            order: (1, index),
        }
    }

    pub(super) fn exposure(index: usize, part: &str, below: &str) -> Self {
        Self {
            pointer: format!("/exposures/{index}{below}"),
            part: Some(part.to_owned()),
            connection: None,
            order: (2, index),
        }
    }
}
