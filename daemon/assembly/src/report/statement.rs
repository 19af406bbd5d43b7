//! What is signed over a report: an in-toto statement about its files and the assembly.

use fitment_catalog::Digest;
use fitment_trust::{Statement, Subject, TrustError};
use serde_json::{Map, Value, json};

use super::Compliance;
use super::view::Surface;
use crate::finding::Severity;

/// The predicate type of a report's signature. It certifies nothing: no version is among its subjects, and certificates
/// of this type are never counted.
pub const COMPLIANCE_TYPE: &str = "https://fitment.dev/assembly-report/v1";

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Its name, without a folder.
    pub name: String,
    /// sha256 of its bytes.
    pub digest: Digest,
}

impl ReportFile {
    /// A file of these bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), digest: Digest::of(bytes) }
    }
}

impl Compliance<'_> {
    /// The bytes of the statement to be signed with [`fitment_trust::Envelope::sign`]. Its subjects are the files, in the
    /// order given, and the assembly.
    ///
    /// # Errors
    /// As [`Statement::compose`], such as for more than 1,023 files.
    pub fn statement(&self, files: &[ReportFile]) -> Result<Vec<u8>, TrustError> {
        let (assembly, check) = (self.input.assembly, self.input.check);
        let files = files.iter().map(|file| Subject { name: Some(file.name.clone()), digest: Some(file.digest) });
        let about = Subject { name: Some(assembly.name().to_string()), digest: Some(check.assembly) };
        let subjects: Vec<Subject> = files.chain([about]).collect();
        Statement::compose(&subjects, COMPLIANCE_TYPE, &self.predicate())
    }

    fn predicate(&self) -> Value {
        let check = self.input.check;
        let (surface, lines) = self.surface();
        let parts: Map<String, Value> = Surface::ALL
            .iter()
            .map(|sort| (sort.as_str().to_owned(), surface.get(sort).copied().unwrap_or_default().into()))
            .collect();
        let findings: Map<String, Value> = [Severity::Error, Severity::Warning, Severity::Note]
            .iter()
            .map(|severity| (severity.as_str().to_owned(), self.findings(*severity).count().into()))
            .collect();
        let (covered, declared) = self.coverage.declared();
        json!({
            "assembly": { "name": self.input.assembly.name().to_string(), "digest": check.assembly.to_string() },
            "checked_at": check.at.to_string(),
            "revision": self.input.revision,
            "policies": check.policies.to_string(),
            "invariants": check.invariants.to_string(),
            "passes": check.passes(),
            "findings": findings,
            "parts": parts,
            "raw_lines": lines,
            "requirements": { "declared": declared, "covered": covered },
        })
    }
}
