//! What a caller's language model needs to fill in a configuration, and the judgement of what it filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fitment_catalog::{
    BindingFault, Bound, Configuration, ContextPack, Digest, Format, Manifest, PackPart, Port, SchemaFault, Uncovered,
    bind, context_pack,
};
use serde_json::{Value, json};

use super::component_reference;
use super::facts::CatalogFacts;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::permit::Viewer;

/// Components of a context pack, and parts whose ports may be bound to.
const MAX_COMPONENTS: usize = 256;
/// Tokens of a context pack.
const MAX_BUDGET: usize = 1_000_000;

/// A configuration that was judged.
#[derive(Debug)]
pub struct BoundConfiguration {
    /// The version.
    pub component: Digest,
    /// As it is used, or all that is wrong with it.
    pub bound: Result<Bound, Vec<BindingFault>>,
}

/// Forms of a configuration schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaForm {
    /// As it was certified.
    Closed,
    /// The restricted JSON Schema that structured-output features take.
    StructuredOutput,
    /// A GBNF grammar.
    Gbnf,
}

/// A configuration schema in one form.
#[derive(Debug)]
pub struct ConfigurationForm {
    /// The version.
    pub component: Digest,
    /// Canonical JSON, or the grammar.
    pub text: String,
    /// What the form cannot say.
    pub uncovered: Vec<Uncovered>,
}

/// How tokens are counted: byte-pair encodings that large language models use, by tiktoken's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// `o200k_base`: GPT-4o and later.
    #[default]
    O200k,
    /// `cl100k_base`: GPT-4 and GPT-3.5.
    Cl100k,
}

impl Tokenizer {
    /// Tokens of a text. The first count of a process loads the encoding: some 0.2 s and 90 MB.
    fn count(self, text: &str) -> usize {
        let encoding = match self {
            Self::O200k => tiktoken_rs::o200k_base_singleton(),
            Self::Cl100k => tiktoken_rs::cl100k_base_singleton(),
        };
        encoding.encode_ordinary(text).len()
    }
}

impl fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        })
    }
}

impl FromStr for Tokenizer {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "" | "o200k_base" => Ok(Self::O200k),
            "cl100k_base" => Ok(Self::Cl100k),
            _ => Err(EngineError::field("tokenizer", "is not known; write o200k_base or cl100k_base")),
        }
    }
}

/// A context pack, and how its tokens were counted.
#[derive(Debug)]
pub struct PackedContext {
    /// The text and what it holds.
    pub pack: ContextPack,
    /// How tokens were counted.
    pub tokenizer: Tokenizer,
}

impl Engine {
    /// Judges a configuration of one version. `written_as`: the form that it was generated in. `parts`: id to version, of the parts whose ports may be bound to.
    ///
    /// Errors: a configuration that cannot be read, too many parts, no such version.
    pub async fn bind_configuration(
        &self,
        component: String,
        configuration: Vec<u8>,
        written_as: SchemaForm,
        parts: BTreeMap<String, String>,
    ) -> Result<BoundConfiguration, EngineError> {
        if parts.len() > MAX_COMPONENTS {
            return Err(EngineError::field(
                "parts",
                format!("are {}; at most {MAX_COMPONENTS} are taken", parts.len()),
            ));
        }
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let configuration = if configuration.is_empty() {
                Configuration::from_value("configuration", &json!({}))?
            } else {
                Configuration::parse("configuration", &configuration, Format::Auto)?
            };
            let (component, manifest) = manifest_of(shared, &viewer, "component", &component)?;
            let configuration = match (written_as, manifest.config_schema()) {
                (SchemaForm::StructuredOutput, Some(schema)) => {
                    let generated = Value::Object(configuration.as_object().clone());
                    let plain = schema.from_structured(&generated).map_err(|fault| unsayable(&manifest, &fault))?;
                    Configuration::from_value("configuration", &plain)?
                }
                _ => configuration,
            };
            let others = parts
                .iter()
                .map(|(id, reference)| {
                    Ok((id.clone(), manifest_of(shared, &viewer, &format!("parts[{id}]"), reference)?.1))
                })
                .collect::<Result<BTreeMap<String, Manifest>, EngineError>>()?;
            let offered: BTreeMap<String, &[Port]> =
                others.iter().map(|(id, manifest)| (id.clone(), manifest.provides())).collect();
            Ok(BoundConfiguration { component, bound: bind(&manifest, &configuration, &offered) })
        })
        .await
    }

    /// A version's configuration schema in one form.
    ///
    /// Errors: no such version, one without a schema, a form that cannot say it.
    pub async fn configuration_form(
        &self,
        component: String,
        form: SchemaForm,
    ) -> Result<ConfigurationForm, EngineError> {
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let (digest, manifest) = manifest_of(shared, &viewer, "component", &component)?;
            let nothing = || EngineError::NoConfiguration { what: manifest.to_string() };
            let schema = manifest.config_schema().ok_or_else(nothing)?;
            let (text, uncovered) = match form {
                SchemaForm::Closed => (canonical(schema.as_value())?, Vec::new()),
                SchemaForm::StructuredOutput => {
                    let written = schema.structured_output().map_err(|fault| unsayable(&manifest, &fault))?;
                    (canonical(&written.schema)?, written.uncovered)
                }
                SchemaForm::Gbnf => {
                    let written = schema.grammar().map_err(|fault| unsayable(&manifest, &fault))?;
                    (written.text, written.uncovered)
                }
            };
            Ok(ConfigurationForm { component: digest, text, uncovered })
        })
        .await
    }

    /// What a language model is told of components, the most important first, within `budget` tokens. `team`: for the
    /// economics; empty: none.
    ///
    /// Errors: none or too many components, a budget out of range, no such version.
    pub async fn context_pack(
        &self,
        components: Vec<String>,
        budget: usize,
        tokenizer: Tokenizer,
        team: String,
    ) -> Result<PackedContext, EngineError> {
        if components.is_empty() || components.len() > MAX_COMPONENTS {
            let fault = format!("are {}; name 1 to {MAX_COMPONENTS}", components.len());
            return Err(EngineError::field("components", fault));
        }
        if !(1..=MAX_BUDGET).contains(&budget) {
            return Err(EngineError::field("token_budget", format!("is {budget}; ask for 1 to {MAX_BUDGET}")));
        }
        let team = crate::economics::checked_team(&team)?;
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let manifests = components
                .iter()
                .enumerate()
                .map(|(at, named)| {
                    manifest_of(shared, &viewer, &format!("components[{at}]"), named).map(|(_, manifest)| manifest)
                })
                .collect::<Result<Vec<Manifest>, EngineError>>()?;
            let parts: Vec<PackPart<'_>> = (0..)
                .zip(&manifests)
                .map(|(priority, manifest)| PackPart { manifest, tier: manifest.tier(), priority })
                .collect();
            let pack = context_pack(&parts, budget, &|text| tokenizer.count(text));
            shared.economics.served_context((shared.clock)(), &team, pack.tokens);
            Ok(PackedContext { pack, tokenizer })
        })
        .await
    }
}

/// A version's digest and manifest.
///
/// Errors: no such version.
fn manifest_of(shared: &Shared, viewer: &Viewer, field: &str, text: &str) -> Result<(Digest, Manifest), EngineError> {
    let reference = component_reference(field, text)?;
    let facts = CatalogFacts::new(shared, (shared.clock)())?;
    let not_found = || EngineError::NotFound { what: text.to_owned() };
    let doc = facts.find(&reference)?.ok_or_else(not_found)?;
    if viewer.permit.is_some() && !facts.card(doc)?.is_some_and(|card| viewer.sees(&card)) {
        return Err(not_found());
    }
    let known = facts.known(doc)?.ok_or_else(not_found)?;
    Ok((known.facts.digest, Manifest::clone(&known.facts.manifest)))
}

fn unsayable(manifest: &Manifest, fault: &SchemaFault) -> EngineError {
    let SchemaFault { pointer, description } = fault;
    let fault = if pointer.is_empty() { description.clone() } else { format!("{pointer}: {description}") };
    EngineError::FormUnsayable { what: manifest.to_string(), fault }
}

fn canonical(value: &serde_json::Value) -> Result<String, EngineError> {
    serde_json_canonicalizer::to_string(value)
        .map_err(|error| EngineError::Internal(format!("a schema cannot be written: {error}")))
}
