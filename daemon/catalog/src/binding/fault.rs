//! What can be wrong with a configuration, in words that say what to write instead.
//!
//! Messages hold what the schema says and never what the caller wrote, save the names of properties, and those only when
//! they do not look like secrets.

use std::collections::HashSet;
use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::{Hole, MAX_FAULTS};
use crate::config_schema::{Ignored, escape, one_line};
use crate::error::shorten;
use crate::manifest::nearest;
use crate::secret::{self, Detector};

/// Most values or names that a way out lists.
const MAX_LISTED: usize = 32;
/// Deepest alternatives of alternatives that are explained.
const MAX_ALTERNATIVE_DEPTH: usize = 3;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingFault {
    /// JSON pointer into the configuration (RFC 6901); empty for the whole. A name that looks like a secret is cut.
    pub pointer: String,
    /// What is broken.
    pub rule: Rule,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub way_out: String,
}

/// Which rule a configuration breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A keyword of the schema, such as `required` or `maximum`.
    Keyword(String),
    /// Where the schema says `x-secret`, references stand.
    SecretReference,
    /// Nothing that looks like a secret stands in a configuration.
    InlineSecret(Detector),
    /// A reference to a port has its form and leads to a port.
    PortReference,
    /// Whatever a port may give is accepted where it is bound.
    PortType,
    /// Secrets flow from ports of secrets to properties for secrets, and nowhere else.
    PortDataClass,
    /// Integers lie within ±(2^53 - 1).
    Number,
    /// The defaults to be filled in have a limit.
    Size,
}

impl Rule {
    pub(super) fn keyword(keyword: &str) -> Self {
        Self::Keyword(keyword.to_owned())
    }
}

/// The keyword, or a word of Fitment's own: `secret-reference`, `inline-secret/DETECTOR`, `port-reference`, `port-type`,
/// `port-data-class`, `number` or `size`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyword(keyword) => f.write_str(keyword),
            Self::SecretReference => f.write_str("secret-reference"),
            Self::InlineSecret(detector) => write!(f, "inline-secret/{detector}"),
            Self::PortReference => f.write_str("port-reference"),
            Self::PortType => f.write_str("port-type"),
            Self::PortDataClass => f.write_str("port-data-class"),
            Self::Number => f.write_str("number"),
            Self::Size => f.write_str("size"),
        }
    }
}

/// `POINTER: REASON (RULE); WAY OUT`.
impl fmt::Display for BindingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, rule, reason, way_out } = self;
        let place = if pointer.is_empty() { "the configuration" } else { pointer };
        write!(f, "{place}: {reason} ({rule}); {way_out}")
    }
}

impl BindingFault {
    pub(super) fn whole(rule: Rule, reason: String, way_out: &str) -> Self {
        Self { pointer: String::new(), rule, reason, way_out: way_out.to_owned() }
    }

    /// A property that the schema does not know.
    pub(super) fn unknown_property(ignored: &Ignored) -> Self {
        let known: Vec<&str> = ignored.known.iter().map(String::as_str).collect();
        unknown(ignored.pointer.clone(), "additionalProperties", &ignored.name, &known)
    }

    /// A required property without a value and without a default.
    pub(super) fn missing(pointer: String, wanted: &str) -> Self {
        let way_out = if wanted.is_empty() { "add it".to_owned() } else { format!("add it: {wanted}") };
        Self { pointer, rule: Rule::keyword("required"), reason: "is missing and has no default".to_owned(), way_out }
    }
}

/// A pointer with one more name.
pub(super) fn pointer_to(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", escape(name))
}

/// A pointer in which names that look like secrets are cut.
pub(super) fn shown_pointer(pointer: &str) -> String {
    let shown: Vec<String> = pointer.split('/').map(shown_name).collect();
    shown.join("/")
}

/// A name, cut when it looks like a secret.
fn shown_name(name: &str) -> String {
    secret::detect("", name).map_or_else(|| name.to_owned(), |found| found.shown)
}

/// Drops what the schema says against a text that was refused as a secret, and tells what it says against the example of
/// a port's value as what is wrong with that port.
pub(super) fn withdraw_echoes(faults: &mut Vec<BindingFault>, holes: &[Hole<'_>]) {
    let secrets: HashSet<String> =
        faults.iter().filter(|fault| fault.rule == Rule::SecretReference).map(|fault| fault.pointer.clone()).collect();
    faults.retain_mut(|fault| {
        let Rule::Keyword(keyword) = &fault.rule else { return true };
        if secrets.contains(&fault.pointer) {
            return false;
        }
        let Some(hole) = holes.iter().find(|hole| hole.covers(&fault.pointer)) else { return true };
        if hole.schema.is_none() {
            // Nothing is known of what stands here, which was said already.
            return false;
        }
        fault.reason = format!("`{}` may give what `{keyword}` refuses: {}", hole.text, fault.reason);
        "bind to a port whose value_schema is narrower, or write a value".clone_into(&mut fault.way_out);
        fault.pointer.clone_from(&hole.pointer);
        fault.rule = Rule::PortType;
        true
    });
}

/// What a validator has against a configuration, as one fault or, for unknown properties, several.
pub(super) fn explain(error: &ValidationError<'_>, schema: &Value, instance: &Value, faults: &mut Vec<BindingFault>) {
    let pointer = error.instance_path().as_str();
    if let ValidationErrorKind::AdditionalProperties { unexpected }
    | ValidationErrorKind::UnevaluatedProperties { unexpected } = error.kind()
    {
        let keyword = error.kind().keyword();
        let known = known_properties(schema, error);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let named = unexpected.iter().take(MAX_FAULTS);
        faults.extend(named.map(|name| unknown(pointer_to(pointer, name), keyword, name, &known)));
        return;
    }
    if let ValidationErrorKind::Required { property } = error.kind() {
        let name = property.as_str().unwrap_or_default();
        let pointer = pointer_to(pointer, name);
        if faults.iter().any(|fault| fault.pointer == pointer) {
            // The filling found it too, and knows more of it.
            return;
        }
        let wanted = parent(schema, error).and_then(|parent| parent.get("properties")?.get(name)).map(wanted);
        faults.push(BindingFault::missing(pointer, &wanted.unwrap_or_default()));
        return;
    }
    let (reason, way_out) = words(error, schema, instance, 0);
    let rule = Rule::keyword(error.kind().keyword());
    faults.push(BindingFault { pointer: pointer.to_owned(), rule, reason, way_out });
}

fn unknown(pointer: String, keyword: &str, name: &str, known: &[&str]) -> BindingFault {
    let way_out = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it: nothing can be set here".to_owned(),
        None => format!("remove it, or use one of {}", listed(known.iter().map(|name| (*name).to_owned()))),
    };
    let reason = format!("`{}` is not a property here", shorten(&shown_name(name)));
    BindingFault { pointer, rule: Rule::keyword(keyword), reason, way_out }
}

/// Reason and way out, both from what the schema says.
fn words(error: &ValidationError<'_>, schema: &Value, instance: &Value, depth: usize) -> (String, String) {
    use ValidationErrorKind as Kind;
    let said = |reason: &str, way_out: String| (reason.to_owned(), way_out);
    let at = instance.pointer(error.instance_path().as_str());
    match error.kind() {
        Kind::Type { .. } => {
            let stated = schema.pointer(error.schema_path().as_str());
            let types = stated.map(type_names).unwrap_or_default();
            let found = at.map_or("something else", noun);
            let quoted = matches!(at, Some(Value::String(_))) && !types.iter().any(|name| name.contains("text"));
            let hint = if quoted { ", without quotes" } else { "" };
            let types = types.join(" or ");
            (format!("{found} stands where {types} is wanted"), format!("write {types}{hint}"))
        }
        Kind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
            let words: Vec<&str> = options.iter().map(|option| option.trim_matches('"')).collect();
            let near = at.and_then(Value::as_str).and_then(|text| nearest(text, &words));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            said(
                "is none of the values that may stand here",
                format!("use one of {}{hint}", listed(options.into_iter())),
            )
        }
        Kind::Constant { expected_value } => {
            said("is not the only value that may stand here", format!("write {}", shorten(&expected_value.to_string())))
        }
        Kind::Pattern { pattern } => said(
            "does not match the pattern",
            format!("write a text that matches `{}`{}", shorten(pattern), described(parent(schema, error))),
        ),
        Kind::Format { format } => (
            format!("is not of the format {format}"),
            format!("write {}{}", format_example(format), described(parent(schema, error))),
        ),
        Kind::Minimum { limit } => said("is too small", format!("use {limit} or more")),
        Kind::Maximum { limit } => said("is too large", format!("use {limit} or less")),
        Kind::ExclusiveMinimum { limit } => said("is too small", format!("use more than {limit}")),
        Kind::ExclusiveMaximum { limit } => said("is too large", format!("use less than {limit}")),
        Kind::MultipleOf { multiple_of } => {
            (format!("is no multiple of {multiple_of}"), format!("use a multiple of {multiple_of}"))
        }
        Kind::MinLength { limit } => said("is too short", format!("write at least {limit} characters")),
        Kind::MaxLength { limit } => said("is too long", format!("write at most {limit} characters")),
        Kind::MinItems { limit } => said("has too few items", format!("list at least {limit}")),
        Kind::MaxItems { limit } => said("has too many items", format!("list at most {limit}")),
        Kind::UniqueItems => said("holds an item twice", "list each item once".to_owned()),
        Kind::MinProperties { limit } => said("has too few properties", format!("set at least {limit}")),
        Kind::MaxProperties { limit } => said("has too many properties", format!("set at most {limit}")),
        Kind::Contains => said("does not hold an item of the kind that must be among them", "add one".to_owned()),
        Kind::AdditionalItems { .. } | Kind::UnevaluatedItems { .. } => {
            said("has more items than the schema describes", "remove the last ones".to_owned())
        }
        Kind::FalseSchema => said("may not be set here", "remove it".to_owned()),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let alternatives = context.iter().enumerate().map(|(i, errors)| {
                let first = errors.first().map(|error| alternative(error, schema, instance, depth));
                format!("({}) {}", i + 1, first.unwrap_or_else(|| "is refused".to_owned()))
            });
            said(
                "meets none of the alternatives",
                format!("meet one of them: {}", listed(alternatives).replace(", (", "; (")),
            )
        }
        Kind::OneOfMultipleValid { context } => {
            let met = context.iter().filter(|errors| errors.is_empty()).count();
            (
                format!("meets {met} alternatives of which exactly one may hold"),
                "leave out what belongs to the others".to_owned(),
            )
        }
        Kind::PropertyNames { .. } => {
            said("holds a property whose name has not the form that is wanted", "rename it".to_owned())
        }
        Kind::Not { schema } => said(
            "is what the schema rules out",
            format!("write something that does not meet {}", shorten(&schema.to_string())),
        ),
        _ => (one_line(&error.masked_with("the value")), "see the schema".to_owned()),
    }
}

/// One alternative's first objection.
fn alternative(error: &ValidationError<'_>, schema: &Value, instance: &Value, depth: usize) -> String {
    let pointer = shown_pointer(error.instance_path().as_str());
    let place = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("{place}add `{}`", shorten(property.as_str().unwrap_or_default()))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!(
                "{place}remove {}",
                listed(unexpected.iter().map(|name| format!("`{}`", shorten(&shown_name(name)))))
            )
        }
        _ if depth >= MAX_ALTERNATIVE_DEPTH => format!("{place}see the schema"),
        _ => format!("{place}{}", words(error, schema, instance, depth + 1).1),
    }
}

/// The schema that holds the keyword that failed.
fn parent<'s>(schema: &'s Value, error: &ValidationError<'_>) -> Option<&'s Value> {
    let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(parent)
}

/// Names listed beside the keyword that closes an object.
fn known_properties(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let listed = parent(schema, error).and_then(|parent| parent.get("properties")?.as_object());
    listed.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// What a property's schema asks for, in a few words.
fn wanted(schema: &Value) -> String {
    let described = schema.get("description").and_then(Value::as_str).map(shorten);
    let types = schema.get("type").map(type_names).unwrap_or_default().join(" or ");
    match described {
        Some(text) if types.is_empty() => text,
        Some(text) => format!("{text} ({types})"),
        None => types,
    }
}

fn described(schema: Option<&Value>) -> String {
    let text = schema.and_then(|schema| schema.get("description")?.as_str());
    text.map(|text| format!(": {}", shorten(text))).unwrap_or_default()
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let shown: Vec<String> = items.iter().take(MAX_LISTED).map(|item| shorten(item)).collect();
    let more = items.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn type_names(stated: &Value) -> Vec<&'static str> {
    let words: Vec<&str> = match stated {
        Value::String(only) => vec![only],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![],
    };
    words
        .into_iter()
        .map(|word| match word {
            "string" => "a text",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a mapping",
            _ => "null",
        })
        .collect()
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "an integer",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn format_example(format: &str) -> &'static str {
    match format {
        "date" => "a date such as 2024-02-29",
        "time" => "a time such as 12:00:00Z",
        "date-time" => "a time such as 2024-02-29T12:00:00Z",
        "duration" => "a duration such as PT15M",
        "email" | "idn-email" => "an address such as name@example.com",
        "hostname" | "idn-hostname" => "a host name such as api.example.com",
        "ipv4" => "an address such as 192.0.2.1",
        "ipv6" => "an address such as 2001:db8::1",
        "uri" | "iri" => "an absolute URI such as https://example.com/a",
        "uri-reference" | "iri-reference" => "a URI or a path such as /a",
        "uuid" => "a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057",
        "regex" => "a regular expression",
        "json-pointer" => "a JSON pointer such as /a/0",
        _ => "a text of that format",
    }
}
