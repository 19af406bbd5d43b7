//! What a check says: findings, each with the rule that it comes from, its place, the reason and the way out.

use std::fmt;

use fitment_catalog::Digest;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The assembly does not pass.
    Error,
    /// It passes, and somebody should act.
    Warning,
    /// It passes, and somebody should know.
    Note,
}

impl Severity {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares the built-in rules with their ids and severities.
macro_rules! rules {
    ($(#[doc = $doc:literal] $name:ident = $id:literal, $severity:ident;)+) => {
        /// A built-in rule. Ids are stable: reports, hooks and suppressions name them. Findings of a configuration have
        /// the rule `configuration/` and the binder's word, those of a Cedar policy `policy/` and the policy's id.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $doc] $name,)+
        }

        impl Rule {
            /// Every rule, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its stable id.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            /// What it finds, in a sentence.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $doc.trim_ascii(),)+
                }
            }

            /// How much its findings weigh.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)+
                }
            }
        }
    };
}

rules! {
    /// The catalogue has no such version that the caller may use.
    PartUnknown = "part-unknown", Error;
    /// The version found is not the one that the document names.
    PartMismatch = "part-mismatch", Error;
    /// The version is not certified now.
    PartNotCertified = "part-not-certified", Error;
    /// Whether the version is certified is not known.
    CertificationUnknown = "certification-unknown", Error;
    /// The version's certification ends sooner than a policy allows.
    CertificationEndsSoon = "certification-ends-soon", Error;
    /// The version is deprecated.
    PartDeprecated = "part-deprecated", Warning;
    /// A version lies outside a range that the document or a policy states.
    VersionOutOfRange = "version-out-of-range", Error;
    /// Nothing proves what an external part claims.
    EvidenceMissing = "evidence-missing", Error;
    /// The proof of what an external part claims has ended.
    EvidenceExpired = "evidence-expired", Error;
    /// A licence that a policy does not allow.
    LicenseNotAllowed = "license-not-allowed", Error;
    /// A policy speaks of licences, and the part states none.
    LicenseUnknown = "license-unknown", Error;
    /// A connection or an exposure names a part that the document does not have.
    PartMissing = "part-missing", Error;
    /// A connection or an exposure names a port that its part does not have on that side.
    PortMissing = "port-missing", Error;
    /// A required port is not connected.
    PortUnconnected = "port-unconnected", Error;
    /// The two ports of a connection speak different protocols.
    ProtocolMismatch = "protocol-mismatch", Error;
    /// The connecting side does not prove who it is, and the other side asks for it.
    AuthenticationMissing = "authentication-missing", Error;
    /// The two sides authenticate in different ways.
    AuthenticationMismatch = "authentication-mismatch", Error;
    /// The connecting side needs scopes that the other side does not offer.
    ScopeMissing = "scope-missing", Error;
    /// A connection carries a class of data that one of its ports is not certified for.
    DataClassNotCarried = "data-class-not-carried", Error;
    /// A connection leaves out a class of data that the connecting port carries.
    DataClassUnderstated = "data-class-understated", Error;
    /// A part touches a protected class of data without what is asked for that.
    DataClassNotCertified = "data-class-not-certified", Error;
    /// The offered port carries protected classes of data beyond what the connection states.
    DataClassWider = "data-class-wider", Note;
    /// Connections lead round in a circle where a policy forbids it.
    Cycle = "cycle", Error;
    /// No part covers a requirement that the assembly declares.
    RequirementNotCovered = "requirement-not-covered", Error;
    /// The Cedar policies at hand are not those that a policy pins.
    InvariantsMismatch = "invariants-mismatch", Error;
    /// A Cedar policy could not be evaluated.
    InvariantFailed = "invariant-failed", Error;
    /// An assembly is to be locked with a report that is not about it, or not about these facts.
    ReportMismatch = "report-mismatch", Error;
    /// Raw code is to be locked that is neither stated nor at hand.
    RawUnknown = "raw-unknown", Error;
    /// Raw code is not where the document says.
    RawMissing = "raw-missing", Error;
    /// Raw code that is to be locked holds a link, or something that cannot be read.
    RawUnreadable = "raw-unreadable", Error;
    /// Raw code is not what the document states.
    RawMismatch = "raw-mismatch", Error;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Where in the document something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// JSON pointer into the document as it was written (RFC 6901); empty for the whole.
    pub pointer: String,
    /// The part concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The connection concerned, `part.port -> part.port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Which list of the document, and which entry: pointers as texts would put 10 before 2.
    #[serde(skip)]
    pub(crate) order: (u8, usize),
}

/// One thing that is wrong with an assembly, or unknown about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A [`Rule`]'s id, `configuration/…` or `policy/…`.
    pub rule: String,
    /// How much it weighs.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub way_out: String,
}

impl Finding {
    /// A finding of a built-in rule.
    pub(crate) fn new(rule: Rule, place: Place, reason: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            rule: rule.id().to_owned(),
            severity: rule.severity(),
            place,
            reason: reason.into(),
            way_out: way_out.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, severity, place, reason, way_out } = self;
        write!(f, "{severity} {rule} at {}: {reason}; {way_out}", place.pointer)
    }
}

/// All findings of one check, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The assembly's digest.
    pub assembly: Digest,
    /// The organisation's policies' digest.
    pub policies: Digest,
    /// The Cedar policies' digest.
    pub invariants: Digest,
    /// The instant that it holds for.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Ordered as the document is, then by rule.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing weighs as an error.
    pub fn passes(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Puts findings into the order of a report and takes repetitions out.
pub(crate) fn ordered(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| finding.place.order;
        key(a)
            .cmp(&key(b))
            .then_with(|| a.place.pointer.cmp(&b.place.pointer))
            .then_with(|| a.rule.cmp(&b.rule))
            .then_with(|| a.reason.cmp(&b.reason))
    });
    findings.dedup();
    findings
}
