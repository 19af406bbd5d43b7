//! Components as Fitment knows them: manifests, versions, configuration schemas, filters, searchable texts and labelled
//! intents.
//!
//! Everything here is a pure function of its arguments. The crate opens no file, no socket and no thread and reads no
//! clock: callers hand in bytes together with a name for them, which is used in messages only.
//!
//! Reading order: [`Manifest`] is the centre; [`ConfigSchema`] decides how much of a component is still open and
//! [`compatibility`] whether a newer one still accepts what an older one did;
//! [`bind`] judges a configuration, [`ConfigSchema::structured_output`] and [`ConfigSchema::grammar`] keep a language
//! model within what may be configured, and [`context_pack`] tells it what there is to configure;
//! [`Filter`] selects components; [`facets`] and [`lexical_fields`] say what is searched; [`Dataset`] is what accuracy
//! is measured on; [`sample`] is the catalogue that ships with the program.

mod binding;
mod config_schema;
mod context_pack;
mod dataset;
mod digest;
mod document;
mod error;
mod facet;
mod filter;
mod generation;
mod identifier;
mod license;
mod manifest;
mod path;
mod port;
mod sample;
mod secret;
mod token;

pub use binding::{
    BindingFault, Bound, Configuration, MAX_CONFIGURATION_BYTES, MAX_CONFIGURATION_DEPTH, MAX_FAULTS,
    MAX_PORT_BINDINGS, PortBinding, PortReference, Rule, bind,
};
pub use config_schema::{
    Compatibility, ConfigSchema, Configured, OpenProperty, SchemaFault, ValueSchema, compatibility,
};
pub use context_pack::{ContextPack, LeftOut, PackPart, PackPiece, context_pack};
pub use dataset::{
    BeirFolder, Dataset, ExpectedOutcome, File, LabelledIntent, component_name_for, manifest_from_record,
};
pub use digest::Digest;
pub use document::{Format, read_document, read_document_up_to};
pub use error::{CatalogError, Violation, cut};
pub use facet::{Facet, FacetKind, LexicalField, facets, lexical_fields};
pub use filter::{Filter, MAX_FILTER_DEPTH, MAX_FILTER_NODES};
pub use generation::{Grammar, StructuredOutput, Uncovered};
pub use identifier::{ComponentName, Tag};
pub use license::License;
pub use manifest::{
    Artifact, MANIFEST_SCHEMA, MAX_ARTIFACT_FILES, MAX_DEPTH, MAX_MANIFEST_BYTES, Manifest, Supersedes, Tier,
};
pub use path::RelativePath;
pub use port::{Authentication, DataClass, Port};
pub use sample::{SampleFile, sample, sample_calibration, sample_intents};
pub use secret::{Detection, Detector, detect as detect_secret};
pub use token::{Kind, Lifecycle};
