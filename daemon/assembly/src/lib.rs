//! Assemblies: which parts make up an application, how they are configured and connected, and whether that may be so.
//!
//! Everything here is a pure function of its arguments: the crate opens no file, reads no clock and knows no store. What
//! a catalogue knows, and what time it is, comes in through [`Facts`].
//!
//! Reading order: [`Assembly`] is the document; [`Facts`] what is known about its parts; [`Policies`] and
//! [`InvariantSet`] what an organisation asks for; [`check()`] puts them together into a [`Report`] of [`Finding`]s;
//! [`ImpactIndex`] says which assemblies use something.

mod check;
mod claim;
mod document;
mod economics;
mod error;
mod facts;
mod finding;
mod form;
mod impact;
mod invariant;
mod plan;
mod policies;

pub use check::check;
pub use claim::{Claim, Claims};
pub use document::{
    ASSEMBLY_SCHEMA, Assembly, Audience, ComponentPart, Connection, Exposure, ExternalPart, MAX_CONNECTIONS,
    MAX_EXPOSURES, MAX_PARTS, Part, PortAddress, Ports, RawPart, Reference, Source,
};
pub use economics::{Counters, Economics, Figures, Group, Period};
pub use error::{AssemblyError, PolicyFault, Violation};
pub use facts::{Binding, BindingFault, Certification, Facts, VersionFacts, bind_to_schema};
pub use finding::{Finding, Place, Report, Rule, Severity};
pub use impact::{ImpactIndex, Target, Use, VersionTraits};
pub use invariant::{CEDAR_SCHEMA, InvariantSet, MAX_POLICIES, MAX_POLICY_BYTES, PolicySource, STARTER_POLICIES};
pub use plan::{
    Choice, Estimates, Intent, Lines, MAX_INTENTS, MAX_TEXT_BYTES, OpenPointer, Plan, PlanError, PlannedOutcome,
    PlannedPart, Surface, split,
};
pub use policies::{LicensePolicy, Policies, VersionRange};
