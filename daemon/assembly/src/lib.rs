//! Assemblies: which parts make up an application, how they are configured and connected, and whether that may be so.
//!
//! Everything here is a pure function of its arguments: the crate opens no file, reads no clock and knows no store. What
//! a catalogue knows, and what time it is, comes in through [`Facts`].
//!
//! Reading order: [`Assembly`] is the document; [`Facts`] what is known about its parts; [`Policies`] and
//! [`InvariantSet`] what an organisation asks for; [`check()`] puts them together into a [`Report`] of [`Finding`]s;
//! [`lock()`] writes down what passed as a [`Lock`], [`verify()`] holds a [`Tree`] against it, [`sarif()`] tells code hosts
//! of both; [`Compliance`] is the report for an auditor; [`ImpactIndex`] says which assemblies use something, [`remedy()`] what
//! a part of one would need, [`upgrade()`] proposes it.

mod check;
mod claim;
mod document;
mod economics;
mod error;
mod facts;
mod finding;
mod form;
mod globs;
mod impact;
mod invariant;
mod lock;
mod plan;
mod policies;
mod reading;
mod remedy;
mod report;
mod sarif;
mod tree;
mod upgrade;
mod verify;

pub use check::check;
pub use claim::{Claim, Claims};
pub use document::{
    ASSEMBLY_SCHEMA, Assembly, Audience, ComponentPart, Connection, Exposure, ExternalPart, MAX_CONNECTIONS,
    MAX_EXPOSURES, MAX_PARTS, Part, PortAddress, Ports, RawPart, Reference, Source,
};
pub use economics::{Counters, Economics, Figures, Group, Period};
pub use error::{AssemblyError, PolicyFault, Violation};
pub use facts::{Certification, Facts, VersionFacts};
pub use finding::{Finding, Place, Report, Rule, Severity};
pub use globs::PathGlobs;
pub use impact::{ImpactIndex, Target, Use, VersionTraits};
pub use invariant::{CEDAR_SCHEMA, InvariantSet, MAX_POLICIES, MAX_POLICY_BYTES, PolicySource, STARTER_POLICIES};
pub use lock::{
    LOCK_SCHEMA, Lock, LockedArtifact, LockedComponent, LockedExternal, LockedPart, LockedRaw, LockedSource, Locking,
    MAX_LOCK_BYTES, lock,
};
pub use plan::{
    Choice, Estimates, Intent, Lines, MAX_INTENTS, MAX_TEXT_BYTES, OpenPointer, Plan, PlanError, PlannedOutcome,
    PlannedPart, Surface, split,
};
pub use policies::{LicensePolicy, Policies, VersionRange};
pub use remedy::{Judge, MAX_TRIED, Rebinding, Remedy, Step, Versions, remedy};
pub use report::{
    Asked, COMPLIANCE_TYPE, CertificateRecord, CertificateStanding, Compliance, Cover, Coverage, CoveredStandard,
    EvidenceRecord, PartRecord, ReportFile, ReportInput, Row,
};
pub use sarif::{SarifRun, sarif};
pub use tree::{Measure, Tree, TreeEntry, TreeFile};
pub use upgrade::{Outcome, PartUpgrade, Scope, Upgrade, upgrade};
pub use verify::{Drift, DriftRule, OwnFiles, verify};
