//! The compliance report of an assembly: what stands behind each part, in three forms of the same facts.
//!
//! [`Compliance`] puts a checked assembly together with what is recorded about its parts. It is written as `CycloneDX`
//! 1.6 ([`Compliance::to_cyclonedx`]), as an OSCAL component definition ([`Compliance::to_oscal`]) and as a page for
//! people ([`Compliance::to_html`]); [`Compliance::statement`] is what is signed over the files. All four are functions
//! of the input alone: the same input gives the same bytes.
//!
//! What no certificate covers is shown as not covered, whatever else is claimed.

mod configuration;
mod coverage;
mod cyclonedx;
mod graph;
mod oscal;
mod page;
mod statement;
mod text;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::Digest;
use jiff::Timestamp;
use serde_json::Value;

pub use coverage::{Asked, Cover, Coverage, Row};
pub use statement::{COMPLIANCE_TYPE, ReportFile};

use crate::document::Assembly;
use crate::error::AssemblyError;
use crate::facts::VersionFacts;
use crate::finding::{Finding, Report};
use crate::tree::Tree;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// The assembly.
    pub assembly: &'a Assembly,
    /// What its check found; its instant is the report's.
    pub check: &'a Report,
    /// What is recorded about the parts that are components, by the part's id. A part without a record is shown as
    /// unknown.
    pub parts: &'a BTreeMap<String, PartRecord>,
    /// The application's files, where they are at hand: raw code whose digest and lines the document leaves out is
    /// measured there.
    pub tree: Option<&'a Tree>,
    /// The catalogue's revision that the records were read at.
    pub revision: u64,
}

/// What is recorded about one component of an assembly.
#[derive(Debug, Clone, PartialEq)]
pub struct PartRecord {
    /// What the catalogue knows of the version.
    pub version: VersionFacts,
    /// Certificates about it, also those that do not count, in any order.
    pub certificates: Vec<CertificateRecord>,
    /// The configuration as it is bound, defaults filled in; `None` where nobody filled them in.
    pub configuration: Option<Value>,
}

/// A certificate about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// sha256 of the signed payload.
    pub digest: Digest,
    /// Ids of the keys that signed it and are believed; at least one.
    pub issuers: BTreeSet<String>,
    /// First instant at which it counts.
    pub issued: Timestamp,
    /// First instant at which it no longer counts; `None` where it states none.
    pub valid_until: Option<Timestamp>,
    /// What it covers.
    pub standards: Vec<CoveredStandard>,
    /// What a user must see to for it to hold.
    pub conditions: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<EvidenceRecord>,
    /// Why it does not count although it is in its time, such as a revocation; `None` where it counts.
    pub refused: Option<String>,
}

/// A standard that a certificate covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredStandard {
    /// Such as `pci-dss-4.0`.
    pub standard: String,
    /// Ids of the requirements that are covered; empty means the standard as a whole.
    pub requirements: BTreeSet<String>,
    /// The standard's own word for how far it is met.
    pub level: Option<String>,
}

/// A document that a certificate rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// What sort of document it is, such as `sarif` or `audit`.
    pub kind: String,
    /// sha256 of its bytes.
    pub digest: Digest,
    /// Such as `application/sarif+json`.
    pub media_type: String,
    /// Where it may be found: a hint, never fetched.
    pub uri: Option<String>,
}

impl CertificateRecord {
    /// How it stands at an instant.
    pub fn standing(&self, at: Timestamp) -> CertificateStanding {
        if self.refused.is_some() {
            CertificateStanding::Refused
        } else if at < self.issued {
            CertificateStanding::NotYet
        } else if self.valid_until.is_some_and(|until| until <= at) {
            CertificateStanding::Over
        } else {
            CertificateStanding::InForce
        }
    }
}

/// How a certificate stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStanding {
    /// It counts.
    InForce,
    /// Its time has not begun.
    NotYet,
    /// Its time is over.
    Over,
    /// It does not count, for a reason that its record states.
    Refused,
}

impl CertificateStanding {
    /// The words in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::NotYet => "not yet in force",
            Self::Over => "expired",
            Self::Refused => "does not count",
        }
    }
}

/// A compliance report, ready to be written.
#[derive(Debug, Clone)]
pub struct Compliance<'a> {
    input: ReportInput<'a>,
    /// Those of the check, without values that may be secrets.
    findings: Vec<Finding>,
    certificates: Vec<ListedCertificate<'a>>,
    coverage: Coverage,
}

/// A certificate with its number in the report, which is its place in the list, from 1.
#[derive(Debug, Clone)]
struct ListedCertificate<'a> {
    record: &'a CertificateRecord,
    /// Places of the parts that it is about, in the order of the document.
    parts: Vec<usize>,
}

impl<'a> Compliance<'a> {
    /// Puts a report together.
    ///
    /// # Errors
    /// [`AssemblyError::OtherAssembly`] when the check was not of this assembly.
    pub fn new(input: ReportInput<'a>) -> Result<Self, AssemblyError> {
        let given = input.assembly.digest();
        if input.check.assembly != given {
            return Err(AssemblyError::OtherAssembly { checked: input.check.assembly, given });
        }
        let certificates = listed(&input);
        let coverage = Coverage::of(&input, &certificates);
        let findings = configuration::without_values(&input);
        Ok(Self { input, findings, certificates, coverage })
    }

    /// What covers each requirement.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The report as a `CycloneDX` 1.6 bill of materials with attestations, in JSON.
    pub fn to_cyclonedx(&self) -> Vec<u8> {
        cyclonedx::document(self)
    }

    /// The report as an OSCAL 1.2 component definition, in JSON.
    pub fn to_oscal(&self) -> Vec<u8> {
        oscal::document(self)
    }

    /// The report as one self-contained page.
    pub fn to_html(&self) -> String {
        page::document(self)
    }
}

/// Each certificate once, in the order of the parts and, within one, of validity and digest.
fn listed<'a>(input: &ReportInput<'a>) -> Vec<ListedCertificate<'a>> {
    let mut listed: Vec<ListedCertificate<'a>> = Vec::new();
    let mut places: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    for (place, part) in input.assembly.parts().iter().enumerate() {
        let Some(record) = input.parts.get(&part.id) else { continue };
        let mut of_part: Vec<&CertificateRecord> = record.certificates.iter().collect();
        of_part.sort_by_key(|certificate| (certificate.issued, certificate.digest));
        for certificate in of_part {
            let same = places.entry(certificate.digest).or_default();
            // One certificate may count for one part and not for another.
            match same.iter().copied().find(|at| listed[*at].record == certificate) {
                Some(at) if listed[at].parts.last() == Some(&place) => {}
                Some(at) => listed[at].parts.push(place),
                None => {
                    same.push(listed.len());
                    listed.push(ListedCertificate { record: certificate, parts: vec![place] });
                }
            }
        }
    }
    listed
}
