//! Assemblies over the catalogue: what is known of their parts, checks, locks, reports, and those that are kept.
//!
//! The rules are `fitment-assembly`'s and the binding of configurations is `fitment-catalog`'s; here both meet the store, the
//! trust root and the clock. A check reads one view of the catalogue and one set of policies.

mod bind;
mod documents;
mod facts;
mod kept;
mod plan;
mod policies;
mod registry;
#[cfg(test)]
mod tests;
mod watch;

use fitment_assembly::{Assembly, Reference, Report, check};
use fitment_catalog::{ComponentName, Format};

use self::facts::CatalogFacts;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::limits::without_controls;
use crate::store::Revision;

pub use self::bind::{BoundConfiguration, ConfigurationForm, PackedContext, SchemaForm, Tokenizer};
pub use self::documents::{AssemblyReport, LockedAssembly, PartNeed, ProposedUpgrade, REPORT_FILES};
pub use self::kept::{AskedImpact, AssemblyListing, KeptAssembly};
pub use self::plan::{AssemblyPlan, PlanQuery, PlannedIntent};
pub(crate) use self::policies::RulesInForce;
pub use self::policies::{AssemblyPolicies, CedarText};
pub(crate) use self::registry::Registry;
pub use self::registry::{Touched, TouchedAssembly};
pub use self::watch::{AssemblyChange, AssemblyWatch};

/// Longest name of a source, in bytes.
const MAX_SOURCE_BYTES: usize = 1024;

/// An assembly that somebody asks about.
#[derive(Clone, Debug)]
pub enum AssemblySource {
    /// A document, and its name for messages.
    Document {
        /// File name or the like; empty: `assembly`.
        source: String,
        /// YAML or JSON.
        bytes: Vec<u8>,
    },
    /// One that is kept.
    Kept(ComponentName),
}

/// An assembly and what was found.
#[derive(Debug)]
pub struct CheckedAssembly {
    /// The assembly.
    pub assembly: Assembly,
    /// What was found, and what it was judged by.
    pub report: Report,
    /// The revision of the catalogue.
    pub revision: Revision,
}

impl Engine {
    /// Checks an assembly under the policies in force.
    ///
    /// Errors: a document that cannot be read, no such kept assembly, a revision that is not reached.
    pub async fn check_assembly(
        &self,
        source: AssemblySource,
        min_revision: Revision,
    ) -> Result<CheckedAssembly, EngineError> {
        self.reached(min_revision)?;
        self.compute(move |shared| {
            let assembly = read(shared, &source)?;
            judged(shared, assembly, |_, _, _| Ok(())).map(|(checked, ())| checked)
        })
        .await
    }
}

/// Reads an assembly.
fn read(shared: &Shared, source: &AssemblySource) -> Result<Assembly, EngineError> {
    match source {
        AssemblySource::Document { source, bytes } => {
            if source.len() > MAX_SOURCE_BYTES {
                let fault = format!("is {} bytes long, at most {MAX_SOURCE_BYTES} are taken", source.len());
                return Err(EngineError::field("source", fault));
            }
            without_controls("source", source, &[])?;
            let source = if source.is_empty() { "assembly" } else { source };
            Ok(Assembly::parse(source, bytes, Format::Auto)?)
        }
        AssemblySource::Kept(name) => {
            let document = shared.store.read()?.assembly_document(name)?;
            let document = document.ok_or_else(|| EngineError::AssemblyUnknown { name: name.to_string() })?;
            Ok(Assembly::parse(&name.to_string(), &document, Format::Auto)?)
        }
    }
}

/// Checks an assembly now, and makes something of what is known.
fn judged<T>(
    shared: &Shared,
    assembly: Assembly,
    make: impl FnOnce(&Assembly, &Report, &CatalogFacts<'_>) -> Result<T, EngineError>,
) -> Result<(CheckedAssembly, T), EngineError> {
    shared.keep_time()?;
    judged_at(shared, assembly, (shared.clock)(), make)
}

/// The same at an instant.
fn judged_at<T>(
    shared: &Shared,
    assembly: Assembly,
    now: jiff::Timestamp,
    make: impl FnOnce(&Assembly, &Report, &CatalogFacts<'_>) -> Result<T, EngineError>,
) -> Result<(CheckedAssembly, T), EngineError> {
    let facts = CatalogFacts::new(shared, now)?;
    let rules = shared.assembly_rules.in_force();
    let report = check(&assembly, &rules.policies, &rules.invariants, &facts);
    let made = make(&assembly, &report, &facts)?;
    let revision = facts.revision()?;
    facts.finish()?;
    Ok((CheckedAssembly { assembly, report, revision }, made))
}

/// `namespace/name@version` or `sha256:...`.
///
/// Errors: anything else.
pub(crate) fn component_reference(field: &str, text: &str) -> Result<Reference, EngineError> {
    let fault = |error: String| {
        EngineError::field(field, format!("names no version ({error}); write namespace/name@version or sha256:..."))
    };
    if text.starts_with("sha256:") {
        return text.parse().map(Reference::Digest).map_err(|error| fault(format!("{error}")));
    }
    let (name, version) = text.split_once('@').ok_or_else(|| fault("it has no `@`".to_owned()))?;
    Ok(Reference::Named {
        name: name.parse().map_err(|error| fault(format!("{error}")))?,
        version: version.parse().map_err(|error| fault(format!("{error}")))?,
        digest: None,
    })
}
