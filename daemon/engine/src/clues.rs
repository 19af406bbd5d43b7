//! What is kept in memory of a version for the signals beside its vectors and postings.

use fitment_catalog::{LexicalField, Manifest};
use fitment_index::analyze_text;
use fitment_ranking::{TextProfile, term_ids};

/// Words, and vectors of what a version must not answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clues {
    /// Its words and pieces of words.
    pub(crate) text: TextProfile,
    /// Vectors of its counter-examples, one after the other.
    pub(crate) counter_examples: Box<[f32]>,
    /// Centroid of its facets by the second stage's model, unit length; `None` while there is none.
    pub(crate) second_stage: Option<Box<[f32]>>,
}

/// The words of a manifest, from all of its searchable fields.
pub(crate) fn text_profile(manifest: &Manifest) -> TextProfile {
    profile_of(&fitment_catalog::lexical_fields(manifest), manifest.aliases())
}

/// The words of searchable fields. aliases: names beside the title.
pub(crate) fn profile_of(fields: &[(LexicalField, String)], aliases: &[String]) -> TextProfile {
    let mut terms = Vec::new();
    let mut pieces = String::new();
    let mut title = Vec::new();
    for (field, text) in fields {
        let of_field = term_ids(&analyze_text(text));
        terms.extend(&of_field);
        match field {
            LexicalField::Title => title = of_field,
            LexicalField::Summary | LexicalField::ExampleIntents => {}
            LexicalField::Name | LexicalField::WhenToUse | LexicalField::Tags | LexicalField::Configuration => continue,
        }
        pieces.push_str(text);
        pieces.push(' ');
    }
    for alias in aliases {
        pieces.push_str(alias);
        pieces.push(' ');
    }
    let aliases = aliases.iter().map(|alias| term_ids(&analyze_text(alias))).collect();
    TextProfile::new(terms, title, aliases, &pieces)
}
