//! Coverage: standard × requirement × part, and what stands behind each place of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{CertificateStanding, ListedCertificate, ReportInput};
use crate::document::{Part, Source};

/// Rows of what is asked for or claimed, each with a place for every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Ordered by standard and then by what of it.
    pub rows: Vec<Row>,
}

/// One requirement of a standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The standard's id, such as `pci-dss-4.0`.
    pub standard: String,
    /// What of it.
    pub asked: Asked,
    /// Whether the assembly declares to keep it.
    pub declared: bool,
    /// What stands behind it, by part in the order of the document.
    pub parts: Vec<Cover>,
}

/// What of a standard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// That it is named at all, whatever of it.
    Named,
    /// All of it.
    Whole,
    /// One requirement, by its id.
    Requirement(String),
}

impl Asked {
    /// Its words and numbers, so that 10.2 comes after 9.1: a run of digits counts by its length before its digits.
    fn counted(&self) -> Vec<(usize, String)> {
        let id = match self {
            Self::Named | Self::Whole => "",
            Self::Requirement(id) => id.as_str(),
        };
        let runs = id.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
        let run = |run: &[u8]| {
            let text = String::from_utf8_lossy(run).into_owned();
            if run[0].is_ascii_digit() {
                let digits = text.trim_start_matches('0').to_owned();
                (digits.len(), digits)
            } else {
                (0, text)
            }
        };
        runs.map(run).collect()
    }
}

/// What stands behind a requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// Nothing.
    NotCovered,
    /// The claim of an author alone, in a manifest or, for a part outside, in the assembly.
    Claimed,
    /// The claim of a part outside with a document that is named by its digest and still counts.
    Evidence,
    /// Certificates in force, by their numbers in the report, from 1; at least one.
    Certified(Vec<usize>),
}

impl Cover {
    /// The words in reports.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotCovered => "not covered",
            Self::Claimed => "claimed only",
            Self::Evidence => "claimed with evidence",
            Self::Certified(_) => "covered",
        }
    }

    /// Whether a certificate covers it.
    pub const fn is_certified(&self) -> bool {
        matches!(self, Self::Certified(_))
    }
}

impl Row {
    /// The best that any part has.
    pub fn best(&self) -> &Cover {
        self.parts.iter().max().unwrap_or(&Cover::NotCovered)
    }

    /// `pci-dss-4.0/6.4.3`, `pci-dss-4.0 as a whole`, or `pci-dss-4.0 by name`.
    pub fn text(&self) -> String {
        match &self.asked {
            Asked::Named => format!("{} by name", self.standard),
            Asked::Whole => format!("{} as a whole", self.standard),
            Asked::Requirement(id) => format!("{}/{id}", self.standard),
        }
    }
}

/// Standard to what is claimed of it.
type Claimed<'c> = BTreeMap<&'c str, BTreeSet<Asked>>;

impl Coverage {
    pub(super) fn of(input: &ReportInput<'_>, certificates: &[ListedCertificate<'_>]) -> Self {
        let parts = input.assembly.parts();
        let claims: Vec<Claimed<'_>> = parts.iter().map(|part| claimed(input, part)).collect();
        let mut rows: BTreeMap<(&str, Asked), bool> = BTreeMap::new();
        for (standard, ids) in input.assembly.standards() {
            if ids.is_empty() {
                rows.insert((standard, Asked::Named), true);
            }
            rows.extend(ids.iter().map(|id| ((standard.as_str(), Asked::Requirement(id.clone())), true)));
        }
        for (standard, asked) in claims.iter().flatten() {
            for asked in asked {
                rows.entry((standard, asked.clone())).or_insert(false);
            }
        }
        for covered in certificates.iter().flat_map(|certificate| &certificate.record.standards) {
            if covered.requirements.is_empty() {
                rows.entry((&covered.standard, Asked::Whole)).or_insert(false);
            }
            for id in &covered.requirements {
                rows.entry((&covered.standard, Asked::Requirement(id.clone()))).or_insert(false);
            }
        }
        let behind = by_standard(input, certificates, parts.len());
        let row = |((standard, asked), declared): ((&str, Asked), bool)| {
            let cover = |place: usize| {
                let certified = behind.get(standard).and_then(|parts| parts.get(&place)).map(|covered| {
                    let numbers = covered.iter().filter(|(_, ids)| covers(ids, &asked)).map(|(number, _)| *number);
                    numbers.collect::<BTreeSet<usize>>()
                });
                match certified {
                    Some(numbers) if !numbers.is_empty() => Cover::Certified(numbers.into_iter().collect()),
                    _ => without_certificate(input, &parts[place], &claims[place], standard, &asked),
                }
            };
            let parts = (0..parts.len()).map(cover).collect();
            Row { standard: standard.to_owned(), asked, declared, parts }
        };
        let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
        rows.sort_by_cached_key(|row| (row.standard.clone(), row.asked.counted(), row.asked.clone()));
        Self { rows }
    }

    /// The rows of each standard.
    pub fn standards(&self) -> impl Iterator<Item = (&str, &[Row])> {
        self.rows.chunk_by(|a, b| a.standard == b.standard).map(|rows| (rows[0].standard.as_str(), rows))
    }

    /// How many of the declared rows a certificate covers, and how many are declared.
    pub fn declared(&self) -> (usize, usize) {
        let declared = || self.rows.iter().filter(|row| row.declared);
        (declared().filter(|row| row.best().is_certified()).count(), declared().count())
    }
}

/// Standard and part to the numbers of certificates in force and what of the standard each covers.
type Behind<'c> = BTreeMap<&'c str, BTreeMap<usize, Vec<(usize, &'c BTreeSet<String>)>>>;

fn by_standard<'c>(input: &ReportInput<'_>, certificates: &'c [ListedCertificate<'_>], parts: usize) -> Behind<'c> {
    let mut behind = Behind::new();
    for (i, certificate) in certificates.iter().enumerate() {
        if certificate.record.standing(input.check.at) != CertificateStanding::InForce {
            continue;
        }
        for covered in &certificate.record.standards {
            let of_standard = behind.entry(&covered.standard).or_default();
            for place in certificate.parts.iter().filter(|place| **place < parts) {
                of_standard.entry(*place).or_default().push((i + 1, &covered.requirements));
            }
        }
    }
    behind
}

/// Whether these requirements, or with none the whole standard, cover what is asked for.
fn covers(ids: &BTreeSet<String>, asked: &Asked) -> bool {
    match asked {
        Asked::Named => true,
        Asked::Whole => ids.is_empty(),
        Asked::Requirement(id) => ids.is_empty() || ids.contains(id),
    }
}

/// What the author of a part claims.
fn claimed<'c>(input: &ReportInput<'c>, part: &'c Part) -> Claimed<'c> {
    let mut claimed = Claimed::new();
    match &part.source {
        Source::Component(_) => {
            let Some(record) = input.parts.get(&part.id) else { return claimed };
            for (standard, ids) in record.version.manifest.compliance() {
                let ids = ids.iter().map(|id| Asked::Requirement(id.clone()));
                claimed.entry(standard).or_default().extend(ids);
            }
        }
        Source::Raw(_) => {}
        Source::External(external) => {
            for (standard, ids) in external.compliance.entries() {
                let ids = ids.into_iter().flatten().map(|id| Asked::Requirement(id.clone()));
                claimed.entry(standard).or_default().extend(ids);
            }
        }
    }
    for asked in claimed.values_mut().filter(|asked| asked.is_empty()) {
        asked.insert(Asked::Named);
    }
    claimed
}

fn without_certificate(
    input: &ReportInput<'_>,
    part: &Part,
    claims: &Claimed<'_>,
    standard: &str,
    asked: &Asked,
) -> Cover {
    let is_claimed = match (claims.get(standard), asked) {
        (None, _) => false,
        (Some(_), Asked::Named) => true,
        (Some(claimed), asked) => claimed.contains(asked),
    };
    match &part.source {
        _ if !is_claimed => Cover::NotCovered,
        Source::External(external) if external.is_proven(input.check.at) => Cover::Evidence,
        Source::Component(_) | Source::Raw(_) | Source::External(_) => Cover::Claimed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_ordered_as_people_count() {
        let mut ids = ["10.2.1", "2.1.11", "2.1.7", "A.8.24", "A.8.3", "AC-10", "AC-2", "2.1", ""].map(str::to_owned);
        ids.sort_by_cached_key(|id| (Asked::Requirement(id.clone()).counted(), id.clone()));
        assert_eq!(ids, ["", "A.8.3", "A.8.24", "AC-2", "AC-10", "2.1", "2.1.7", "2.1.11", "10.2.1"]);
    }
}
