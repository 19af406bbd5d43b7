//! Schemas as sets of values: whether one holds the other, and what is left over. The algebra is the library's.

use jsonschema::PatternOptions;
use jsonschema::canonical::{
    self, CanonicalSchema, CanonicalView, Containment, PreparedDocument, RawReason, Satisfiability,
};
use serde_json::Value;

use super::{Compatibility, definitions, unknown};
use crate::config_schema::PATTERN_SIZE_LIMIT;
use crate::config_schema::rules::{SCHEMA_KEYWORDS, escape, held};

/// A difference repeats all properties for each one that changed: where the schemas' sizes multiply to more than this,
/// none is made.
const MAX_DIFFERENCE: usize = 40_000;

/// Both schemas as sets of values.
pub(super) struct Proof<'s> {
    old_value: &'s Value,
    new_value: &'s Value,
    old_document: PreparedDocument<'s>,
    new_document: PreparedDocument<'s>,
    old: CanonicalSchema,
    new: CanonicalSchema,
}

impl<'s> Proof<'s> {
    /// # Errors
    /// Why the schemas cannot be read as sets.
    pub(super) fn of(old: &'s Value, new: &'s Value) -> Result<Self, String> {
        let prepared = |schema: &'s Value| {
            let document = canonical::options()
                .offline()
                .with_draft(jsonschema::Draft::Draft202012)
                .should_validate_formats(true)
                .with_pattern_options(
                    PatternOptions::regex().size_limit(PATTERN_SIZE_LIMIT).dfa_size_limit(PATTERN_SIZE_LIMIT),
                )
                .prepare(schema)
                .map_err(|error| error.to_string())?;
            let read = document.canonicalize().map_err(|error| error.to_string())?;
            Ok::<_, String>((document, read))
        };
        let ((old_document, old_set), (new_document, new_set)) = (prepared(old)?, prepared(new)?);
        Ok(Self { old_value: old, new_value: new, old_document, new_document, old: old_set, new: new_set })
    }

    /// What the older schema accepts and the newer refuses, as a schema, where that can be written down.
    pub(super) fn difference(&self) -> Option<Value> {
        if size(self.old_value).saturating_mul(size(self.new_value)) > MAX_DIFFERENCE {
            return None;
        }
        self.old.subtract(&self.new).ok().map(|left| left.to_json_schema())
    }

    /// Whether the newer schema accepts all that the older accepts; false says nothing.
    pub(super) fn holds(&self) -> bool {
        self.old.satisfiability() == Satisfiability::No
            || covers(&self.new, &self.old)
            || definitions::covered(self.old_value, self.new_value, |old, new| {
                Proof::of(old, new).is_ok_and(|proof| covers(&proof.new, &proof.old))
            })
    }

    /// Where and why nothing could be shown.
    pub(super) fn doubt(&self) -> Compatibility {
        for (version, schema) in [("newer", &self.new), ("older", &self.old)] {
            if let CanonicalView::Raw(raw) = schema.view() {
                let why = match raw.reason {
                    RawReason::Unmodeled | RawReason::UnknownDialect => "combines keywords in a way",
                    RawReason::OutgrewIntersections | RawReason::OutgrewCases | RawReason::InexactIntersection => {
                        "combines more schemas"
                    }
                };
                let at = raw.pointer.unwrap_or_default();
                let pointer = if version == "newer" { at.clone() } else { String::new() };
                return unknown(&pointer, format!("the {version} schema {why} than can be compared, at `{at}`"));
            }
        }
        let pointer = self.smallest_doubt();
        unknown(
            &pointer,
            "neither could it be proven that everything is still accepted, nor was a configuration found that is not",
        )
    }

    /// The deepest property that both schemas list at the same place and whose own schemas are in doubt.
    fn smallest_doubt(&self) -> String {
        let mut pointer = String::new();
        loop {
            let names = |document: &'s Value| document.pointer(&pointer)?.get("properties")?.as_object();
            let (Some(old), Some(new)) = (names(self.old_value), names(self.new_value)) else { return pointer };
            let doubtful = new.keys().filter(|name| old.contains_key(*name)).find_map(|name| {
                let here = format!("{pointer}/properties/{}", escape(name));
                let old = self.old_document.canonicalize_at(&here).ok()?;
                let new = self.new_document.canonicalize_at(&here).ok()?;
                (!covers(&new, &old)).then_some(here)
            });
            match doubtful {
                Some(deeper) => pointer = deeper,
                None => return pointer,
            }
        }
    }
}

fn covers(new: &CanonicalSchema, old: &CanonicalSchema) -> bool {
    matches!(new.covers(old), Ok(Containment::Yes))
}

/// How many subschemas a schema has, itself included.
fn size(schema: &Value) -> usize {
    let Value::Object(keywords) = schema else { return 1 };
    let held = SCHEMA_KEYWORDS.iter().flat_map(|(keyword, shape, _)| held(keywords, keyword, *shape));
    1 + held.map(|(_, schema)| size(schema)).sum::<usize>()
}
