//! A configuration schema in the forms that language models are held to: a plainer JSON Schema and a grammar.
//!
//! Both are written from one [`outline`] of the schema. Neither can say all that JSON Schema says. What a form cannot say
//! makes it wider, never narrower without a word, and is named; [`crate::bind`] judges what was generated in any case.

mod grammar;
mod outline;
mod structured;

pub use grammar::Grammar;
pub use structured::StructuredOutput;

/// A keyword of a schema that another form of it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uncovered {
    /// JSON pointer into the schema, to the subschema that has the keyword (RFC 6901).
    pub pointer: String,
    /// The keyword.
    pub keyword: String,
}
