//! Configuration schemas: what a component may be told, and what is still open once a caller has told some of it.
//!
//! A schema is a promise: nothing outside it may be generated. It is therefore closed at every object, finite in what
//! it refers to, and checked by an engine whose patterns match in linear time.

mod compatibility;
mod configure;
mod judging;
mod port_value;
mod rules;

use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

use rules::Subject;

pub use compatibility::{Compatibility, compatibility};
pub use configure::{Configured, OpenProperty};
pub(crate) use configure::{Filled, Ignored, too_many_defaults};
pub(crate) use judging::{Judging, objections};
pub use port_value::ValueSchema;
pub(crate) use port_value::accepts_all;
pub use rules::SchemaFault;
pub(crate) use rules::{SCHEMA_KEYWORDS, deeper_than, escape, held, one_line, target};

/// Largest compiled pattern, in bytes.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// A JSON Schema (2020-12) of an object, closed at every object. Cheap to clone.
#[derive(Clone)]
pub struct ConfigSchema {
    inner: Arc<Inner>,
}

struct Inner {
    schema: Value,
    /// Compiled on first use, since most versions of a large catalogue are never configured. `None` when a trusted
    /// schema does not compile.
    validator: OnceLock<Option<Validator>>,
    /// What is open before anything is bound; asked for at each match.
    unbound: OnceLock<Configured>,
}

impl ConfigSchema {
    /// Checks a schema. The rules are in docs/manifest.md; in short: JSON Schema 2020-12 with known keywords only (or
    /// `x-…`), root of type object, closed at every object, every value of a stated type, references only into its own
    /// `$defs`, at most 64 KiB and 32 levels, patterns without look-around, defaults that satisfy the schema.
    ///
    /// # Errors
    /// Every fault found, with its JSON pointer.
    pub fn new(schema: Value) -> Result<Self, Vec<SchemaFault>> {
        rules::check(&schema, Subject::Configuration)?;
        let validator = compile(&schema).map_err(|fault| vec![fault])?;
        let unbound = configure::configure(&schema, Some(&validator), &Value::Null);
        if !unbound.violations.is_empty() {
            let fault = |violation: OpenProperty| SchemaFault {
                pointer: rules::pointer_of_default(&schema, &violation.pointer),
                description: format!("the defaults do not satisfy the schema: {}", violation.description),
            };
            return Err(unbound.violations.into_iter().map(fault).collect());
        }
        let inner = Inner { schema, validator: OnceLock::from(Some(validator)), unbound: OnceLock::from(unbound) };
        // The compiled form is dropped: it is large, and few versions are ever configured.
        Ok(Self { inner: Arc::new(Inner { validator: OnceLock::new(), ..inner }) })
    }

    /// A schema that passed [`ConfigSchema::new`] before.
    pub(crate) fn trusted(schema: Value) -> Self {
        Self { inner: Arc::new(Inner { schema, validator: OnceLock::new(), unbound: OnceLock::new() }) }
    }

    /// The schema as written.
    pub fn as_value(&self) -> &Value {
        &self.inner.schema
    }

    /// What is open before anything is bound.
    pub fn unbound(&self) -> &Configured {
        self.inner.unbound.get_or_init(|| configure::configure(&self.inner.schema, self.validator(), &Value::Null))
    }

    /// Fills in defaults around what a caller bound, and says what is still open and what is wrong.
    ///
    /// `bound` is an object from property name to value, nested as the schema is; null means that nothing is bound.
    /// Properties that the schema does not know are left out and reported in [`Configured::ignored`], so that a caller
    /// can offer everything it knows to every candidate.
    pub fn open_configuration(&self, bound: &Value) -> Configured {
        let nothing = match bound {
            Value::Null => true,
            Value::Object(properties) => properties.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
        };
        if nothing {
            return self.unbound().clone();
        }
        configure::configure(&self.inner.schema, self.validator(), bound)
    }

    /// The schema of a component that has nothing to configure.
    pub(crate) fn of_nothing() -> Self {
        Self::trusted(json!({ "type": "object", "additionalProperties": false }))
    }

    /// The properties with the schema's defaults around them, not yet judged.
    pub(crate) fn fill(&self, bound: &Map<String, Value>) -> Filled {
        configure::fill(&self.inner.schema, bound)
    }

    /// The compiled schema; `None` when a trusted schema does not compile.
    pub(crate) fn validator(&self) -> Option<&Validator> {
        self.inner.validator.get_or_init(|| compile(&self.inner.schema).ok()).as_ref()
    }
}

/// Compiles without any way to fetch a document and with the linear-time pattern engine.
fn compile(schema: &Value) -> Result<Validator, SchemaFault> {
    jsonschema::draft202012::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_SIZE_LIMIT).dfa_size_limit(PATTERN_SIZE_LIMIT))
        .build(schema)
        .map_err(|error| SchemaFault {
            pointer: error.instance_path().as_str().to_owned(),
            description: format!("{}; patterns have no look-around and no back-references", rules::one_line(&error)),
        })
}

impl PartialEq for ConfigSchema {
    fn eq(&self, other: &Self) -> bool {
        self.inner.schema == other.inner.schema
    }
}

impl std::fmt::Debug for ConfigSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConfigSchema").field(&self.inner.schema).finish()
    }
}
