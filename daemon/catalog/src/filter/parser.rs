//! The text form of a filter.
//!
//! ```text
//! expression = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation = "not" negation | "(" expression ")" | "*" | condition
//! condition = key ":" value | "version" ">=" value
//! value = bare characters | '"' any characters, \" and \\ escaped '"'
//! ```

use semver::Version;

use super::{Filter, MAX_FILTER_DEPTH, MAX_FILTER_NODES};
use crate::CatalogError;
use crate::error::shorten;

const KEYS: &str = "tag:, kind:, lifecycle:, compliance:, license:, namespace:, name:, version:, version>=";

/// Characters that a value may have without quotes.
pub(super) fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '(' | ')' | '"' | '\\')
}

pub(super) fn parse(text: &str) -> Result<Filter, CatalogError> {
    let mut parser = Parser { rest: text, column: 1, nodes: 0 };
    let filter = parser.expression(0)?;
    parser.skip_space();
    match parser.rest.chars().next() {
        None => Ok(filter),
        Some(')') => Err(parser.error("`)` without `(` before it")),
        Some(_) => {
            Err(parser.error(format!("`{}` follows a complete condition; put `and` or `or` between", parser.word())))
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
    /// Column of the first character of `rest`, from 1.
    column: usize,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn expression(&mut self, depth: usize) -> Result<Filter, CatalogError> {
        self.sequence(depth, "or", Filter::Or, |parser, depth| {
            parser.sequence(depth, "and", Filter::And, Self::negation)
        })
    }

    /// One or more parts with a word between them.
    fn sequence(
        &mut self,
        depth: usize,
        word: &str,
        whole: fn(Vec<Filter>) -> Filter,
        part: fn(&mut Self, usize) -> Result<Filter, CatalogError>,
    ) -> Result<Filter, CatalogError> {
        let mut parts = vec![part(self, depth)?];
        while self.keyword(word) {
            parts.push(part(self, depth)?);
        }
        if parts.len() == 1 {
            return Ok(parts.swap_remove(0));
        }
        self.count()?;
        // A filter in parentheses may be of the same sort; one level says the same.
        Ok(whole(parts).simplified())
    }

    fn negation(&mut self, depth: usize) -> Result<Filter, CatalogError> {
        if depth >= MAX_FILTER_DEPTH {
            return Err(self.error(format!("more than {MAX_FILTER_DEPTH} levels; split the request")));
        }
        if self.keyword("not") {
            self.count()?;
            return Ok(Filter::Not(Box::new(self.negation(depth + 1)?)).simplified());
        }
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('(') {
            let opened = self.column;
            self.advance(rest);
            let filter = self.expression(depth + 1)?;
            self.skip_space();
            let Some(rest) = self.rest.strip_prefix(')') else {
                return Err(self.error(format!("`)` is missing for the `(` in column {opened}")));
            };
            self.advance(rest);
            return Ok(filter);
        }
        self.count()?;
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.advance(rest);
            return Ok(Filter::And(Vec::new()));
        }
        self.condition()
    }

    fn condition(&mut self) -> Result<Filter, CatalogError> {
        if self.rest.is_empty() {
            return Err(self.error(format!("a condition is missing; conditions are {KEYS}")));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(self.rest.len());
        let (key, after) = self.rest.split_at(end);
        let operator = if after.starts_with(">=") { ">=" } else { ":" };
        let known = match key {
            "version" => true,
            "tag" | "kind" | "lifecycle" | "compliance" | "license" | "namespace" | "name" => operator == ":",
            _ => false,
        };
        let Some(after) = after.strip_prefix(operator).filter(|_| known) else {
            return Err(self.error(format!("`{}` is not a condition; conditions are {KEYS}", self.word())));
        };
        let start = self.column;
        self.advance(after);
        let value_column = self.column;
        let value = self.value()?;
        let parsed = match key {
            "tag" => value.parse().map(Filter::Tag),
            "kind" => value.parse().map(Filter::Kind),
            "lifecycle" => value.parse().map(Filter::Lifecycle),
            "compliance" => Filter::compliance(&value),
            "license" => Filter::license(&value),
            "namespace" => Filter::namespace(&value),
            "name" => value.parse().map(Filter::Name),
            _ if operator == ":" => Filter::version_range(&value),
            _ => Version::parse(&value)
                .map(Filter::MinimumVersion)
                .map_err(|error| CatalogError::value("version", &value, format!("{error}; write MAJOR.MINOR.PATCH"))),
        };
        let column = if value.is_empty() { start } else { value_column };
        parsed.map_err(|error| CatalogError::InvalidFilter { column, description: error.to_string() })
    }

    fn value(&mut self) -> Result<String, CatalogError> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(|c: char| !is_bare(c)).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            if value.is_empty() {
                return Err(self.error("a value is missing after the condition's name; quote values that hold spaces"));
            }
            self.advance(rest);
            return Ok(value.to_owned());
        };
        let (mut value, mut escaped) = (String::new(), false);
        for (i, c) in quoted.char_indices() {
            match c {
                '"' if !escaped => {
                    self.advance(&quoted[i + 1..]);
                    return Ok(value);
                }
                '\\' if !escaped => escaped = true,
                _ => {
                    value.push(c);
                    escaped = false;
                }
            }
        }
        Err(self.error("the closing `\"` is missing"))
    }

    /// Takes a lower-case word that stands alone.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        let alone = rest.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '*'));
        if alone {
            self.advance(rest);
        }
        alone
    }

    fn count(&mut self) -> Result<(), CatalogError> {
        self.nodes += 1;
        if self.nodes > MAX_FILTER_NODES {
            return Err(self.error(format!("more than {MAX_FILTER_NODES} operators and conditions; split the request")));
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        self.advance(self.rest.trim_start());
    }

    fn advance(&mut self, rest: &'t str) {
        let taken = &self.rest[..self.rest.len() - rest.len()];
        self.column += taken.chars().count();
        self.rest = rest;
    }

    /// The text up to the next space, for a message.
    fn word(&self) -> String {
        shorten(self.rest.split_whitespace().next().unwrap_or_default())
    }

    fn error(&self, description: impl Into<String>) -> CatalogError {
        CatalogError::InvalidFilter { column: self.column, description: description.into() }
    }
}
