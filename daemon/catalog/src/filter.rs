//! Which components a request wants to choose from.
//!
//! A filter is a tree of `and`, `or` and `not` over facts of a manifest. It has a text form for people:
//! `tag:payments and (kind:ui or kind:service) and not license:GPL-3.0-only and version:^2.1`.

mod parser;

use std::fmt;

use semver::{Op, Version, VersionReq};

use crate::identifier::{self, ComponentName, Tag};
use crate::license::License;
use crate::token::{Kind, Lifecycle};
use crate::{CatalogError, Manifest};

/// Deepest nesting of a filter.
pub const MAX_FILTER_DEPTH: usize = 64;
/// Most operators and conditions in a filter.
pub const MAX_FILTER_NODES: usize = 256;

/// A condition on a manifest. Build the leaves that hold text through [`Filter::compliance`], [`Filter::license`] and
/// [`Filter::namespace`], and ranges through [`Filter::version_range`]: they check the form. A leaf of another form matches
/// nothing and has no text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold; with none, everything matches.
    And(Vec<Filter>),
    /// One of these holds; with none, nothing matches.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The manifest has this tag.
    Tag(Tag),
    /// The manifest is of this kind.
    Kind(Kind),
    /// The manifest is at this stage.
    Lifecycle(Lifecycle),
    /// The manifest lists this standard and, if given, this requirement of it.
    Compliance {
        /// The standard, such as `pci-dss-4.0`.
        standard: String,
        /// The requirement's id within it, such as `3.2.1`.
        requirement: Option<String>,
    },
    /// The licence expression names this licence, whatever else it offers.
    License(String),
    /// The name is in this namespace.
    Namespace(String),
    /// The name is this one.
    Name(ComponentName),
    /// The version is this one or a later one, by the precedence of Semantic Versioning (build metadata is ignored).
    MinimumVersion(Version),
    /// The version is in this range, as Cargo reads it: a pre-release only when a bound names one of the same
    /// `MAJOR.MINOR.PATCH`.
    VersionRange(VersionReq),
}

impl Filter {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`CatalogError::InvalidFilter`] with the column, also when the filter is deeper than [`MAX_FILTER_DEPTH`] or
    /// larger than [`MAX_FILTER_NODES`].
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        parser::parse(text)
    }

    /// A condition on a standard (`pci-dss-4.0`) or on one of its requirements (`pci-dss-4.0/3.2.1`).
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when either part has another form.
    pub fn compliance(text: &str) -> Result<Self, CatalogError> {
        let (standard, requirement) = match text.split_once('/') {
            Some((standard, requirement)) => (standard, Some(requirement)),
            None => (text, None),
        };
        if identifier::is_tag(standard) && requirement.is_none_or(identifier::is_requirement) {
            return Ok(Self::Compliance { standard: standard.to_owned(), requirement: requirement.map(str::to_owned) });
        }
        Err(CatalogError::value("standard", text, "write STANDARD or STANDARD/REQUIREMENT, such as pci-dss-4.0/3.2.1"))
    }

    /// A condition on one licence.
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when it is not the id of a single SPDX licence or a `LicenseRef-…`.
    pub fn license(text: &str) -> Result<Self, CatalogError> {
        let license: License = text.parse()?;
        if license.is_single() {
            return Ok(Self::License(text.to_owned()));
        }
        Err(CatalogError::value("licence to filter by", text, "name one licence; combine several with and / or"))
    }

    /// A condition on the namespace.
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when it has another form.
    pub fn namespace(text: &str) -> Result<Self, CatalogError> {
        if identifier::is_label(text) {
            return Ok(Self::Namespace(text.to_owned()));
        }
        Err(CatalogError::value("namespace", text, identifier::LABEL_RULE))
    }

    /// A condition on the version: `^1.2`, `~1.2.3`, `1.*`, `=1.2.3` or bounds with commas between, `>=1.2, <2`. A version
    /// without an operator is refused: some would read it as that version alone, others as all that are compatible.
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when it has another form.
    pub fn version_range(text: &str) -> Result<Self, CatalogError> {
        let range = VersionReq::parse(text).map_err(|error| {
            CatalogError::value("version range", text, format!("{error}; write it like ^1.2 or >=1.2,<2"))
        })?;
        let bare = |(bound, part): (&semver::Comparator, &str)| bound.op == Op::Caret && !part.trim().starts_with('^');
        if range.comparators.iter().zip(text.split(',')).any(bare) {
            let rule = "put an operator before each version: =1.2.3 for that one, ^1.2.3 for all that are compatible";
            return Err(CatalogError::value("version range", text, rule));
        }
        Ok(Self::VersionRange(range))
    }

    /// Whether a manifest fulfils the condition.
    pub fn matches(&self, manifest: &Manifest) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(manifest)),
            Self::Or(some) => some.iter().any(|filter| filter.matches(manifest)),
            Self::Not(filter) => !filter.matches(manifest),
            Self::Tag(tag) => manifest.tags().contains(tag),
            Self::Kind(kind) => manifest.kind() == *kind,
            Self::Lifecycle(lifecycle) => manifest.lifecycle() == *lifecycle,
            Self::Compliance { standard, requirement } => manifest
                .compliance()
                .get(standard)
                .is_some_and(|ids| requirement.as_ref().is_none_or(|requirement| ids.contains(requirement))),
            Self::License(id) => manifest.license().names(id),
            Self::Namespace(namespace) => manifest.name().namespace() == namespace,
            Self::Name(name) => manifest.name() == name,
            Self::MinimumVersion(version) => manifest.version().cmp_precedence(version).is_ge(),
            Self::VersionRange(range) => range.matches(manifest.version()),
        }
    }

    /// The same condition without needless nesting: operators of the same sort are merged, and those over a single
    /// condition are replaced by it. The text form reads back as this.
    #[must_use]
    pub fn simplified(self) -> Self {
        match self {
            Self::And(all) => Self::merged(all, Self::And, |filter| match filter {
                Self::And(inner) => Ok(inner),
                other => Err(other),
            }),
            Self::Or(some) => Self::merged(some, Self::Or, |filter| match filter {
                Self::Or(inner) => Ok(inner),
                other => Err(other),
            }),
            Self::Not(filter) => match filter.simplified() {
                // Everything and nothing are each other's opposite.
                Self::And(all) if all.is_empty() => Self::Or(all),
                Self::Or(some) if some.is_empty() => Self::And(some),
                filter => Self::Not(Box::new(filter)),
            },
            leaf => leaf,
        }
    }

    fn merged(parts: Vec<Self>, whole: fn(Vec<Self>) -> Self, split: fn(Self) -> Result<Vec<Self>, Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match split(part.simplified()) {
                Ok(inner) => flat.extend(inner),
                Err(other) => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.swap_remove(0) } else { whole(flat) }
    }

    /// Holds a filter that was not read by [`Filter::parse`] to the same limits.
    ///
    /// # Errors
    /// [`CatalogError::InvalidFilter`] when it is too deep or too large.
    pub fn check_limits(&self) -> Result<(), CatalogError> {
        let mut waiting = vec![(self, 1)];
        let mut nodes = 0;
        while let Some((filter, depth)) = waiting.pop() {
            nodes += 1;
            if depth > MAX_FILTER_DEPTH || nodes > MAX_FILTER_NODES {
                let description = format!(
                    "more than {MAX_FILTER_DEPTH} levels or {MAX_FILTER_NODES} operators and conditions; split the request"
                );
                return Err(CatalogError::InvalidFilter { column: 1, description });
            }
            match filter {
                Self::And(parts) | Self::Or(parts) => waiting.extend(parts.iter().map(|part| (part, depth + 1))),
                Self::Not(part) => waiting.push((part, depth + 1)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The text form; reads back as [`Filter::simplified`]. `*` stands for everything.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(all) if all.is_empty() => f.write_str("*"),
            Self::Or(some) if some.is_empty() => f.write_str("not *"),
            Self::And(parts) | Self::Or(parts) if parts.len() == 1 => write!(f, "{}", parts[0]),
            Self::And(parts) => join(f, parts, " and "),
            Self::Or(parts) => join(f, parts, " or "),
            Self::Not(filter) => {
                f.write_str("not ")?;
                part(f, filter)
            }
            Self::Tag(tag) => leaf(f, "tag:", tag.as_str()),
            Self::Kind(kind) => leaf(f, "kind:", kind.as_str()),
            Self::Lifecycle(lifecycle) => leaf(f, "lifecycle:", lifecycle.as_str()),
            Self::Compliance { standard, requirement: None } => leaf(f, "compliance:", standard),
            Self::Compliance { standard, requirement: Some(id) } => leaf(f, "compliance:", &format!("{standard}/{id}")),
            Self::License(id) => leaf(f, "license:", id),
            Self::Namespace(namespace) => leaf(f, "namespace:", namespace),
            Self::Name(name) => leaf(f, "name:", &name.to_string()),
            Self::MinimumVersion(version) => leaf(f, "version>=", &version.to_string()),
            Self::VersionRange(range) => leaf(f, "version:", &range.to_string()),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str) -> fmt::Result {
    for (i, filter) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(word)?;
        }
        part(f, filter)?;
    }
    Ok(())
}

/// A filter as a part of another: in parentheses unless it is one word.
fn part(f: &mut fmt::Formatter<'_>, filter: &Filter) -> fmt::Result {
    match filter {
        Filter::And(parts) | Filter::Or(parts) if parts.len() == 1 => part(f, &parts[0]),
        Filter::And(parts) if parts.is_empty() => f.write_str("*"),
        Filter::And(_) | Filter::Or(_) => write!(f, "({filter})"),
        _ => write!(f, "{filter}"),
    }
}

fn leaf(f: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    if !value.is_empty() && value.chars().all(parser::is_bare) {
        return write!(f, "{key}{value}");
    }
    write!(f, "{key}\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
