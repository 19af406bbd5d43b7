//! Licences as SPDX expressions.

use std::fmt;
use std::str::FromStr;

use crate::CatalogError;

/// An SPDX licence expression, kept as it was written. Identifiers are those of the SPDX licence list (deprecated ones
/// are refused) or `LicenseRef-…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct License {
    expression: String,
    /// Each licence named, without its exception, in order of appearance.
    named: Vec<String>,
}

impl License {
    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// Whether the expression names this licence, alone or as part of a choice or a conjunction. Exceptions after
    /// `WITH` do not count.
    pub fn names(&self, id: &str) -> bool {
        self.named.iter().any(|named| named == id)
    }

    /// Whether the expression is one licence and neither a choice, a conjunction nor a licence with an exception.
    pub(crate) fn is_single(&self) -> bool {
        self.named.len() == 1 && self.named[0] == self.expression
    }
}

impl fmt::Display for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

impl FromStr for License {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 200 {
            return Err(CatalogError::value("licence", text, "use an expression of at most 200 bytes"));
        }
        let parsed = spdx::Expression::parse(text).map_err(|error| {
            let rule = format!(
                "{}; use an SPDX expression such as Apache-2.0, MIT OR Apache-2.0 or LicenseRef-Proprietary",
                error.reason
            );
            CatalogError::value("licence", text, rule)
        })?;
        let named = parsed.requirements().map(|requirement| requirement.req.license.to_string()).collect();
        Ok(Self { expression: text.to_owned(), named })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_name_their_licences() {
        let license: License = "MIT OR GPL-2.0-only WITH Classpath-exception-2.0".parse().expect("valid");
        assert!(license.names("MIT") && license.names("GPL-2.0-only") && !license.names("Apache-2.0"));
        assert!(!license.is_single());
        assert!("LicenseRef-Proprietary".parse::<License>().expect("valid").is_single());
        for bad in ["", "mine", "Apache 2.0", "MIT OR", "(MIT", "GPL-3.0"] {
            assert!(bad.parse::<License>().is_err(), "{bad}");
        }
    }
}
