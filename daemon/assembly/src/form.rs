//! The form of documents: held against the published JSON Schema first, so that the schema and the program cannot
//! differ, and read into typed values after.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::document::ASSEMBLY_SCHEMA;
use crate::error::{AssemblyError, Violation, one_line, shorten};
use crate::lock::LOCK_SCHEMA;

/// Most violations that are reported for one document.
const MAX_VIOLATIONS: usize = 100;

/// Most values of a document, lists and mappings among them: a schema is slow to say what is wrong with each of many.
const MAX_VALUES: usize = 50_000;

/// A document that the published schema has a form for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A whole assembly.
    Assembly,
    /// Policies of an organisation, by themselves.
    Policies,
    /// A lock.
    Lock,
}

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(ASSEMBLY_SCHEMA).expect("the published schema is JSON"));
static ASSEMBLY: LazyLock<Validator> = LazyLock::new(|| compile(&SCHEMA));
static POLICIES_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| json!({ "$ref": "#/$defs/policies", "$defs": SCHEMA["$defs"] }));
static POLICIES: LazyLock<Validator> = LazyLock::new(|| compile(&POLICIES_SCHEMA));

static LOCK_VALUE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(LOCK_SCHEMA).expect("the published schema is JSON"));
static LOCK: LazyLock<Validator> = LazyLock::new(|| compile(&LOCK_VALUE));

fn compile(schema: &Value) -> Validator {
    jsonschema::draft202012::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .expect("the published schema is a valid JSON Schema")
}

impl Form {
    fn parts(self) -> (&'static Validator, &'static Value) {
        match self {
            Self::Assembly => (&ASSEMBLY, &SCHEMA),
            Self::Policies => (&POLICIES, &POLICIES_SCHEMA),
            Self::Lock => (&LOCK, &LOCK_VALUE),
        }
    }
}

/// Reads a value of a form into its serde counterpart.
///
/// # Errors
/// [`AssemblyError::Invalid`] with every violation of the schema.
pub(crate) fn read<T: DeserializeOwned>(file: &str, value: &Value, form: Form) -> Result<T, AssemblyError> {
    if values(value, MAX_VALUES).is_none() {
        let description = format!("has more than {MAX_VALUES} values; split it, or leave out what is not needed");
        let violations = vec![Violation { pointer: String::new(), description }];
        return Err(AssemblyError::Invalid { file: file.to_owned(), violations });
    }
    let (validator, schema) = form.parts();
    let violations: Vec<Violation> =
        validator.iter_errors(value).take(MAX_VIOLATIONS).map(|error| violation(&error, schema)).collect();
    if !violations.is_empty() {
        return Err(AssemblyError::Invalid { file: file.to_owned(), violations });
    }
    T::deserialize(value).map_err(|error| AssemblyError::Invalid {
        file: file.to_owned(),
        violations: vec![Violation { pointer: String::new(), description: one_line(&error) }],
    })
}

/// What is left of a number of values once those of a tree are taken off; `None` when there are more.
fn values(value: &Value, left: usize) -> Option<usize> {
    let left = left.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().try_fold(left, |left, item| values(item, left)),
        Value::Object(entries) => entries.values().try_fold(left, |left, item| values(item, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(left),
    }
}

/// What the schema says, in a sentence with the way out: the description of what stands in that place.
fn violation(error: &ValidationError<'_>, schema: &Value) -> Violation {
    let described = description(schema, error.schema_path().as_str());
    let pointer = error.instance_path().as_str().to_owned();
    let wrong = match error.kind() {
        ValidationErrorKind::OneOfNotValid { .. }
        | ValidationErrorKind::OneOfMultipleValid { .. }
        | ValidationErrorKind::AnyOf { .. } => "has the wrong form".to_owned(),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let keys: Vec<String> = unexpected.iter().map(|key| format!("`{}`", shorten(key))).collect();
            format!("unknown key {}; known keys are {}", keys.join(", "), known_keys(schema, error))
        }
        _ => one_line(&error.masked_with(shown(error.instance()))),
    };
    let description = match described {
        Some(way_out) => format!("{wrong}; {way_out}"),
        None => wrong,
    };
    Violation { pointer, description }
}

/// The value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", shorten(text)),
        Value::Array(items) => format!("the list of {}", items.len()),
        Value::Object(entries) => format!("the mapping of {}", entries.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn known_keys(schema: &Value, error: &ValidationError<'_>) -> String {
    let keys = |node: &Value| {
        node.get("properties").and_then(Value::as_object).map(|entries| entries.keys().cloned().collect::<Vec<_>>())
    };
    node_of(schema, error.schema_path().as_str()).and_then(keys).unwrap_or_default().join(", ")
}

fn description(schema: &Value, path: &str) -> Option<String> {
    node_of(schema, path)?.get("description")?.as_str().map(str::to_owned)
}

/// The schema that holds the keyword at a path, references followed.
fn node_of<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    let (holder, _keyword) = path.rsplit_once('/')?;
    let mut here = schema;
    for token in holder.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        here = match here {
            Value::Object(entries) if token == "$ref" => {
                schema.pointer(entries.get("$ref")?.as_str()?.strip_prefix('#')?)?
            }
            Value::Object(entries) => entries.get(&token)?,
            Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(here)
}
